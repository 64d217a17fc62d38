//! What a page says in each state of an experiment.

use crate::crowd::{Crowd, FORECAST, divert, labels};
use crate::served::{Served, in_words};

const PAGE: &str = "/experiments/forecast";
const SAME: [(&str, f64); 2] = [("plain", 0.8), ("fancy", 0.8)];
const BETTER: [(&str, f64); 2] = [("plain", 0.75), ("fancy", 0.86)];
const WORSE: [(&str, f64); 2] = [("plain", 0.86), ("fancy", 0.72)];

fn says(text: &str, all: &[&str]) {
    for one in all {
        assert!(text.contains(one), "no {one:?} in: {text}");
    }
}

#[test]
fn without_requests_it_says_how_to_send_them() {
    let served = Served::new(&[FORECAST]);
    let page = served.get(PAGE);
    assert_eq!(page.status, 200);
    let words = in_words(&page.text);
    let otlp = format!("sidetrack render envoy FILE --otlp {} > envoy.yaml", served.address);
    says(&words, &["No verdict yet: no request has arrived", &otlp, "--follow access.log"]);
    says(&words, &["forecast", "plain", "fancy", "No request has arrived."]);
    says(&in_words(&served.get("/").text), &["1 experiment in", "No requests yet"]);
}

#[test]
fn beside_a_run_it_names_the_proxy_of_the_run() {
    let served = Served::new(&[FORECAST]);
    served.store.name_proxy("http://127.0.0.1:10007".to_owned());
    let words = in_words(&served.get(PAGE).text);
    says(&words, &["Send requests through the proxy of `sidetrack run`", "http://127.0.0.1:10007"]);
    assert!(!words.contains("render envoy") && !words.contains("--follow"), "{words}");
}

#[test]
fn without_outcomes_it_says_how_to_send_them() {
    let served = Served::new(&[FORECAST]);
    served.expose(&Crowd::new(FORECAST).lines(600));
    let page = served.get(PAGE);
    let words = in_words(&page.text);
    let curl = format!("curl http://{}/v1/outcomes -H", served.address);
    says(
        &words,
        &["No verdict yet: no outcome has arrived", "600 requests are stored", "by accuracy"],
    );
    says(&words, &[&curl, "-d '{\"accuracy\":1,\"request_id\":\"ID\"}'"]);
    // What is in force is known before the verdict.
    says(&words, &["✓ closed", "weights: fancy 40 %", "Requests that each variant served"]);
    // The command does what it says.
    let row = r#"{"accuracy":1,"request_id":"request-1"}"#;
    let kind = [("content-type", "application/json")];
    let sent = served.send("POST", "/v1/outcomes", &kind, row.as_bytes());
    assert!(sent.text.contains("\"accepted\":1"), "{sent:?}");
}

#[test]
fn while_it_runs_it_says_what_would_change_the_decision() {
    let served = Served::new(&[FORECAST]);
    let lines = Crowd::new(FORECAST).lines(3000);
    served.expose(&lines);
    served.outcomes(&labels(&lines, &SAME));
    let page = served.get(PAGE);
    let words = in_words(&page.text);
    says(
        &words,
        &[
            "No decision yet: fancy shows no significant difference in accuracy",
            "More units: 2000 are missing to the planned 3000, at the rate so far in",
            "An interval of accuracy for fancy without zero. It is",
            "1000 of 3000 planned units",
            "Effect on accuracy as units joined",
            "always-valid 95 % interval",
            "margin 2 points",
            "The split is as configured.",
            "3000 lines read, 3000 used",
        ],
    );
    // The numbers of each drawing are there as a table.
    for plot in
        ["Effect on accuracy as units joined", "Split and target", "Latency", "Requests", "Errors"]
    {
        says(
            &page.text,
            &[&format!("<h3>{plot}</h3><svg"), &format!("<summary>Numbers: {plot}</summary>")],
        );
    }
    assert_eq!(page.text.matches("<desc>").count(), page.text.matches("<figure>").count());
    says(&in_words(&served.get("/").text), &["No decision yet", "3000 requests", "40 %"]);
}

#[test]
fn a_better_candidate_is_to_be_promoted() {
    let served = Served::new(&[FORECAST]);
    let lines = Crowd::new(FORECAST).lines(9300);
    served.expose(&lines);
    served.outcomes(&labels(&lines, &BETTER));
    let page = served.get(PAGE);
    says(&page.text, &["data-decision=\"promote\"", "class=\"verdict promote\""]);
    says(
        &in_words(&page.text),
        &[
            "Promote fancy: it is better than plain in accuracy",
            "withdraws the decision",
            "fixed test",
        ],
    );
}

#[test]
fn a_worse_candidate_is_not() {
    let served = Served::new(&[FORECAST]);
    let lines = Crowd::new(FORECAST).lines(9300);
    served.expose(&lines);
    served.outcomes(&labels(&lines, &WORSE));
    let page = served.get(PAGE);
    says(&page.text, &["data-decision=\"keep_baseline\""]);
    says(&in_words(&page.text), &["Keep plain: fancy is worse in accuracy", "Another candidate"]);
}

#[test]
fn data_that_cannot_be_trusted_decide_nothing() {
    let served = Served::new(&[FORECAST]);
    let mut lines = Crowd::new(FORECAST).lines(9000);
    // A third of the candidate's users are lost.
    let mut lost = 0;
    lines.retain(|line| {
        lost += usize::from(line["assigned"] == "fancy");
        line["assigned"] != "fancy" || !lost.is_multiple_of(3)
    });
    served.expose(&lines);
    served.outcomes(&labels(&lines, &BETTER));
    let page = served.get(PAGE);
    says(&page.text, &["data-decision=\"invalid\""]);
    says(
        &in_words(&page.text),
        &["No decision: these data cannot be trusted", "What would change it", "--allow"],
    );
}

#[test]
fn an_open_breaker_is_there_with_its_history() {
    let served = Served::new(&[FORECAST]);
    let mut lines = Crowd::new(FORECAST).lines(2400);
    // Two minutes in the middle, and the last three.
    divert(&mut lines[600..840], "fancy", "plain");
    divert(&mut lines[2040..], "fancy", "plain");
    served.expose(&lines);
    let page = served.get(PAGE);
    let words = in_words(&page.text);
    says(
        &words,
        &[
            "fancy : ✕ open . The baseline serves its units.",
            "As the exposures of the last two minutes show it",
            "breaker of fancy: open",
        ],
    );
    let trips = page.text.split("Times in which a breaker").nth(1).unwrap();
    let trips = trips.split("</table>").next().unwrap();
    assert_eq!(trips.matches("<tr><th scope=\"row\">fancy").count(), 2, "{trips}");
    // Each row of the log has the configuration that was in force.
    let log = page.text.split("Every transition").nth(1).unwrap();
    let config = page.text.split("<dt>configuration</dt><dd>").nth(1).unwrap();
    let config = format!("<code>{}</code>", config.split('<').next().unwrap());
    assert_eq!(log.matches(&config).count(), 3, "{log}");
    says(&in_words(&served.get("/").text), &["✕ open"]);
}

#[test]
fn steps_show_the_present_one_and_how_far_it_is() {
    let steps = r#""steps": [{"weight": 5, "min_for": "1h", "min_units": 200},
        {"weight": 15, "min_for": "1d", "min_units": 2000}, {"weight": 40, "min_for": "7d"}]"#;
    let file =
        FORECAST.replace("\"planned_units\": 3000", &format!("\"planned_units\": 3000, {steps}"));
    let [first, second] = ["5", "15"].map(|weight| {
        file.replace("\"weight\": 40}],", &format!("\"weight\": {weight}, \"reserve\": 40}}],"))
    });
    let served = Served::new(&[&second]);
    let mut crowd = Crowd::new(&first);
    let mut lines = crowd.lines(900);
    lines.extend(Crowd::follow(&second, &crowd).lines(1500));
    served.expose(&lines);
    served.outcomes(&labels(&lines, &SAME));
    let page = served.get(PAGE);
    let words = in_words(&page.text);
    says(
        &words,
        &["Step 1 done", "Step 2 now", "at least 2000 units, 500 so far", "Step 3 fancy 40 %"],
    );
    assert_eq!(page.text.matches("aria-current=\"step\"").count(), 1);
    says(&words, &["weights: fancy 15 %", "weights: fancy 5 %"]);
}

/// The candidate has a weight, then none; its users stay with the baseline.
#[test]
fn a_rollback_is_said_with_what_was_before() {
    let stopped = FORECAST.replace("\"weight\": 40}],", "\"weight\": 0}],");
    let served = Served::new(&[&stopped]);
    let mut crowd = Crowd::new(FORECAST);
    let mut lines = crowd.lines(9300);
    let mut rest = Crowd::follow(&stopped, &crowd);
    lines.extend(rest.lines(1200));
    served.expose(&lines);
    served.outcomes(&labels(&lines, &WORSE));
    let page = served.get(PAGE);
    let words = in_words(&page.text);
    says(
        &words,
        &[
            "fancy was rolled back or stopped: its weight is 0 since 2026-11-23T10:17:30Z, after 40 %.",
            "Next: the weight of fancy is 0 now, so all users get plain: remove the experiment",
            "fancy : – no traffic . Its weight is 0, so no user gets it.",
        ],
    );
    assert!(!words.contains("set the weight to 0") && !words.contains("✓ closed"), "{words}");
    // While it has a weight, nothing of this is said.
    let served = Served::new(&[FORECAST]);
    served.expose(&Crowd::new(FORECAST).lines(600));
    let words = in_words(&served.get(PAGE).text);
    assert!(!words.contains("rolled back") && words.contains("✓ closed"), "{words}");
}

#[test]
fn a_rollout_shows_its_phases_by_the_clock() {
    let rollout = r#""rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "canary", "for": "10m", "weights": {"fancy": 5}},
        {"name": "all", "weights": {"fancy": 40}}]},"#;
    let file = FORECAST.replace(", \"weight\": 40}],", &format!("}}],{rollout}"));
    let served = Served::new(&[&file]);
    served.expose(&Crowd::new(&file).lines(2400));
    let words = in_words(&served.get(PAGE).text);
    // The clock of this machine is later than the rollout.
    says(
        &words,
        &["canary done", "all now", "from 2026-11-23T09:00:00Z", "weights: fancy 40 %, phase all"],
    );
}

#[test]
fn several_experiments_are_on_the_index_and_apart() {
    let other = FORECAST.replace("forecast", "churn").replace("\"one\"", "\"two\"");
    let served = Served::new(&[FORECAST, &other]);
    served.expose(&Crowd::new(FORECAST).lines(300));
    let index = served.get("/");
    let words = in_words(&index.text);
    says(&words, &["2 experiments", "churn", "forecast", "300 requests", "No requests yet"]);
    says(&index.text, &["href=\"/experiments/churn\"", "href=\"/experiments/forecast\""]);
    says(&in_words(&served.get("/experiments/churn").text), &["no request has arrived"]);
    let missing = served.get("/experiments/other");
    assert_eq!(
        (missing.status, missing.header("content-type")),
        (404, Some("text/html; charset=utf-8"))
    );
    says(&in_words(&missing.text), &["Unknown experiment", "churn", "forecast"]);
}

#[test]
fn a_file_that_the_proxies_do_not_have_yet_is_noticed() {
    let served = Served::new(&[FORECAST]);
    served.expose(&Crowd::new(FORECAST).lines(300));
    assert!(!served.get(PAGE).text.contains("do not have the file yet"));
    served.replace(&[&FORECAST.replace("\"weight\": 40", "\"weight\": 60")]);
    served.until(PAGE, "the proxies do not have the file yet");
    served.replace(&[&FORECAST.replace("\"one\"", "\"two\"")]);
    served.until(PAGE, "the file has another salt");
    served.replace(&[&FORECAST.replace("\"unit\"", "\"enabled\": false, \"unit\"")]);
    served.until(PAGE, "The experiment is disabled: all requests get plain.");
}
