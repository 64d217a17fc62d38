//! Which of the stored rows a verdict and a page are about.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sidetrack_store::{BreakerReading, BreakerState};

use crate::crowd::{Crowd, FORECAST, START, divert, labels};
use crate::served::Served;

const RATES: [(&str, f64); 2] = [("plain", 0.8), ("fancy", 0.8)];
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn read(served: &Served, path: &str) -> Value {
    let answer = served.get(path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    serde_json::from_str(&answer.text).unwrap()
}

fn live(served: &Served) -> Value {
    serde_json::to_value(served.store.live("forecast").unwrap()).unwrap()
}

#[test]
fn a_request_that_two_experiments_took_counts_in_both() {
    let churn = FORECAST.replace("forecast", "churn").replace("\"one\"", "\"two\"");
    let served = Served::new(&[FORECAST, &churn]);
    let lines = Crowd::new(FORECAST).lines(3000);
    served.expose(&lines);
    // Their ids are those of the first ones.
    served.expose(&Crowd::new(&churn).lines(900));
    served.outcomes(&labels(&lines, &RATES));
    let both = r#"[{"request_id": "request-1", "source": "mirror", "x": 1},
        {"request_id": "request-2000", "source": "mirror", "x": 1}]"#;
    served.send("POST", "/v1/predictions", &JSON, both.as_bytes());
    for (name, matched, predictions) in [("forecast", 3000, 2), ("churn", 900, 1)] {
        let verdict = read(&served, &format!("/v1/experiments/{name}"));
        assert_eq!(verdict["outcomes"]["matched"], matched, "{name}: {}", verdict["outcomes"]);
        let compared = read(&served, &format!("/v1/experiments/{name}/predictions"));
        assert_eq!(compared["mirror_only"], predictions, "{name}: {compared}");
    }
}

#[test]
fn a_stray_row_by_request_does_not_replace_those_by_unit() {
    let served = Served::new(&[FORECAST]);
    served.expose(&Crowd::new(FORECAST).lines(1200));
    let mut table = "unit,accuracy\n".to_owned();
    (0..400).for_each(|user| table += &format!("user-{user},{}\n", user % 2));
    served.outcomes(&table);
    for (id, matched) in [("elsewhere", 400), ("request-5", 400)] {
        let path = format!("/v1/outcomes/{id}");
        let sent = served.send("POST", &path, &JSON, br#"{"accuracy": 1}"#);
        assert_eq!(sent.status, 200, "{sent:?}");
        let rows = &read(&served, "/v1/experiments/forecast")["outcomes"];
        assert_eq!(rows["matched"], matched, "{id}: {rows}");
    }
    // More of them do.
    let lines = Crowd::new(FORECAST).lines(1200);
    served.outcomes(&labels(&lines, &RATES));
    assert_eq!(read(&served, "/v1/experiments/forecast")["outcomes"]["matched"], 1200);
}

/// Requests under other weights say nothing about the present ones.
#[test]
fn after_a_raise_the_shares_are_those_since_then() {
    let served = Served::new(&[FORECAST]);
    let raised = FORECAST.replace("40", "10");
    let share = |served: &Served| live(served)["shares"]["fancy"]["share"].as_f64().unwrap();
    let before = Crowd::new(FORECAST).lines(300);
    served.expose(&before);
    assert!((0.3..0.5).contains(&share(&served)));
    // At once, within the five minutes that are shown.
    let mut after = Crowd::new(&raised);
    after.start = START + 150_000;
    served.expose(&after.lines(300));
    let (live, share) = (live(&served), share(&served));
    assert_eq!(live["weights"]["fancy"], 10.0, "{live}");
    assert!((0.02..0.2).contains(&share), "{live}");
}

#[test]
fn an_exposure_of_the_future_does_not_hide_the_present() {
    let served = Served::new(&[FORECAST]);
    let other = FORECAST.replace("\"one\"", "\"two\"").replace("40", "10");
    let present = Crowd::new(FORECAST).lines(300);
    served.expose(&present);
    let before = live(&served);
    // Of another trial, and of the same.
    let trial = &before["trial"];
    for (file, seconds) in [(other.as_str(), 2_300_000_000), (FORECAST, 2_400_000_000_u64)] {
        let mut future = Crowd::new(file);
        future.start = START + seconds * 1000;
        served.expose(&future.lines(1));
        let live = live(&served);
        assert_eq!(live["trial"], *trial, "{live}");
        assert_eq!(live["weights"], before["weights"], "{live}");
        assert_eq!(live["shares"], before["shares"], "{live}");
        let latest = live["latest"].as_str().unwrap();
        assert!(latest.starts_with("2026-11-23T09:0"), "{live}");
    }
    // The log of transitions has them still.
    let page = served.get("/experiments/forecast").text;
    let (present, log) = page.split_once("<section id=\"weights\"").unwrap();
    assert!(!present.contains("2099") && !present.contains("2102"), "{present}");
    assert!(log.contains("2099"), "{log}");
}

/// Why there is no verdict yet.
fn not_yet(served: &Served) -> String {
    let answer = served.get("/v1/experiments/forecast");
    assert_eq!(answer.status, 409, "{answer:?}");
    let problem: Value = serde_json::from_str(&answer.text).unwrap();
    problem["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_new_trial_waits_for_its_own_outcomes() {
    let second = FORECAST.replace("\"one\"", "\"two\"");
    let served = Served::new(&[FORECAST]);
    let lines = Crowd::new(FORECAST).lines(2000);
    served.expose(&lines);
    let missing = not_yet(&served);
    assert!(missing.starts_with("no outcome has accuracy; metrics of requests are: "), "{missing}");
    served.outcomes(&labels(&lines[..9], &RATES).replace("accuracy", "acuracy"));
    let missing = not_yet(&served);
    let wanted = "no outcome has accuracy; the outcomes have: acuracy; metrics of requests are: ";
    assert!(missing.contains(wanted), "{missing}");
    served.outcomes(&labels(&lines, &RATES));
    assert_eq!(read(&served, "/v1/experiments/forecast")["outcomes"]["matched"], 2000);
    served.replace(&[&second]);
    let mut others = Crowd::from(5000, &second);
    others.start = START;
    let others = others.lines(2000);
    served.expose(&others);
    let missing = not_yet(&served);
    let wanted = "no outcome of this trial yet: of 2000 rows, 2000 are about other trials";
    assert!(missing.starts_with(wanted), "{missing}");
    served.outcomes(&labels(&others, &RATES));
    let found = read(&served, "/v1/experiments/forecast");
    let counts = ["matched", "other_trial", "unmatched"].map(|name| &found["outcomes"][name]);
    assert_eq!(counts, [2000, 2000, 0], "{}", found["outcomes"]);
    assert!(!found.to_string().contains("no match in the logs"), "{found:#}");
}

#[test]
fn rows_about_unknown_requests_block_no_other_experiment() {
    let churn = FORECAST.replace("forecast", "churn").replace("\"accuracy\"", "\"error_rate\"");
    let churn = churn.replace("\"error_rate:2pt\", ", "");
    let served = Served::new(&[FORECAST, &churn]);
    served.expose(&Crowd::new(FORECAST).lines(600));
    served.expose(&Crowd::from(5000, &churn).lines(600));
    let decision = || read(&served, "/v1/experiments/churn")["decision"].clone();
    let before = decision();
    assert_ne!(before, "invalid");
    served.outcomes("request_id,accuracy\na,1\nb,1\nc,0\n");
    assert_eq!(decision(), before);
    let missing = not_yet(&served);
    assert!(missing.contains("of 3 rows, 0 are about other trials, and 3 about"), "{missing}");
}

#[test]
fn breakers_that_change_within_a_minute_do_not_count_its_requests_several_times() {
    let served = Served::new(&[FORECAST]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut crowd = Crowd::new(FORECAST);
    (crowd.start, crowd.step) = (u64::try_from(now.as_millis()).unwrap() - 300, 1);
    let mut lines = crowd.lines(300);
    divert(&mut lines, "fancy", "plain");
    let diverted = lines.iter().filter(|line| line["reason"] == "breaker_open").count();
    served.expose(&lines);
    for state in [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Open] {
        let reading = BreakerReading {
            proxy: "one".to_owned(),
            experiment: "forecast".to_owned(),
            variant: "fancy".to_owned(),
            state,
            trips: 1,
        };
        served.store.observe_breakers(&[reading], Duration::from_secs(60)).unwrap();
    }
    let log = read(&served, "/v1/experiments/forecast/log");
    let breakers = log["log"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "breaker");
    let requests: Vec<u64> = breakers.map(|entry| entry["requests"].as_u64().unwrap()).collect();
    assert!(requests.len() >= 3 && diverted > 50, "{log:#}");
    assert_eq!(requests.iter().sum::<u64>(), diverted as u64, "{log:#}");
}
