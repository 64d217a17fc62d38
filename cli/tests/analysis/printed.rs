//! What people read: the first sentence of each decision, what to do next, and whether the data can be trusted, in the
//! terminal and on the page.

use crate::Folder;
use crate::crowd::{BASELINE, Crowd, START, Truth, experiment};
use crate::life::{DAY, Force, Life, weight};
use crate::truth::{ROLLOUT, SIMPLE, folder};

const BETTER: Truth = Truth { accuracy: 0.99, ..BASELINE };
const OUTCOMES: [&str; 2] = ["--outcomes", "outcomes.csv"];
const WIDE: [&str; 2] = ["--guardrail", "latency_p95:100ms"];

/// The report of a crowd with this candidate, as text and as a page.
fn printed(candidate: Truth, users: u64, options: &[&str]) -> (String, String) {
    let written = Crowd::new(users, vec![BASELINE, candidate]).write(&experiment(SIMPLE), false);
    both(&folder(SIMPLE, &written), &[&OUTCOMES, options].concat())
}

fn both(folder: &Folder, options: &[&str]) -> (String, String) {
    let (_, text, error) = folder.report(&[options, &["--html", "report.html"]].concat());
    assert_eq!(error, "");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    (text, page)
}

/// A text of the page that has code between backticks.
fn marked(text: &str) -> String {
    let text = text.replace('"', "&quot;");
    let parts = text.split('`').enumerate();
    let part = |(at, part)| {
        if at % 2 == 1 { format!("<code>{part}</code>") } else { String::from(part) }
    };
    parts.map(part).collect()
}

/// The first sentence, and the line `Next: …`; the page has the same ones.
fn sentences((text, page): &(String, String)) -> [String; 2] {
    let unwrapped = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (head, rest) = text.split_once("\n  - ").unwrap();
    let (_, next) = rest.split_once("\nNext: ").unwrap();
    let (next, _) = next.split_once("\n\n").unwrap();
    let [head, next] = [head, next].map(unwrapped);
    let escaped = |text: &str| text.replace('"', "&quot;").replace('/', "&#x2f;");
    assert!(page.contains(&format!("<h1 id=\"verdict\">{}</h1>", escaped(&head))), "{page}");
    assert!(page.contains(&format!("Next: {}.", marked(&next))), "{page}");
    [head, next]
}

/// Whether the text has this form; `…` stands for any number.
fn is_like(text: &str, form: &str) -> bool {
    match form.split_once('…') {
        Some((before, after)) => text.starts_with(before) && text.ends_with(after),
        None => text == form,
    }
}

#[test]
fn the_direction_of_a_column_that_decides_is_said_before_the_numbers() {
    let written = Crowd::new(400, vec![BASELINE, BETTER]).write(&experiment(SIMPLE), false);
    let folder = folder(SIMPLE, &written);
    let outcomes = ["--outcomes", "by_unit.csv", "--metric"];
    for (metric, direction) in [
        ("converted", "higher converted is better; "),
        ("converted:decrease", "lower converted is better; "),
    ] {
        let (text, page) = both(&folder, &[&outcomes[..], &[metric]].concat());
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (top, _) = text.split_once("Primary").unwrap_or((&text, ""));
        assert!(top.contains(direction), "{text}");
        assert!(page.contains(direction), "{page}");
    }
    // What is built in needs no words.
    let (text, _) = both(&folder, &OUTCOMES);
    assert!(!text.contains("is better; "), "{text}");
}

#[test]
fn the_first_sentence_has_the_decision_and_its_reason() {
    let worse = Truth { accuracy: 0.7, ..BASELINE };
    let failing = Truth { error: 0.08, ..BASELINE };
    let narrow = ["--guardrail", "latency_p95:0.01ms"];
    let planned = |units| [&WIDE[..], &["--planned-units", units]].concat();
    for (candidate, options, head, next) in [
        (
            BETTER,
            WIDE.to_vec(),
            "Promote fancy (exploratory): it is better than plain in accuracy (+… points), and no guardrail is broken",
            "give fancy all traffic, or make it the baseline of the experiment file",
        ),
        (
            worse,
            vec![],
            "Keep plain (exploratory): fancy is worse in accuracy (-… points)",
            "set the weight to 0 for fancy, or remove the experiment from the file",
        ),
        (
            failing,
            vec![],
            "Keep plain (exploratory): fancy breaks the guardrail error_rate",
            "set the weight to 0 for fancy, or remove the experiment from the file",
        ),
        (
            BASELINE,
            planned("3000"),
            "Keep plain (exploratory): the planned units are reached, and no candidate is better",
            "set the weight to 0 for fancy, or remove the experiment from the file",
        ),
        (
            BASELINE,
            planned("9000"),
            "No decision yet (exploratory): fancy shows no significant difference in accuracy",
            "keep the experiment running (3000 of 9000 planned units so far), and look at the result as \
             often as you like",
        ),
        (
            BASELINE,
            vec![],
            "No decision yet (exploratory): fancy shows no significant difference in accuracy",
            "keep the experiment running, and look at the result as often as you like; `sidetrack size` \
             computes how many units an effect needs",
        ),
        (
            BETTER,
            narrow.to_vec(),
            "No decision yet (exploratory): fancy is better in accuracy (+… points), but the guardrail latency_p95 \
             is not settled",
            "keep the experiment running, and look at the result as often as you like; `sidetrack size` \
             computes how many units an effect needs",
        ),
        (
            BETTER,
            [&narrow[..], &["--planned-units", "3000"]].concat(),
            "No decision (exploratory): the planned units are reached, and fancy is better in accuracy (+… points), \
             but the guardrail latency_p95 is not settled",
            "decide by the intervals below what the risk is worth, or plan a larger experiment",
        ),
    ] {
        let found = sentences(&printed(candidate, 3000, &options));
        assert!(is_like(&found[0], head), "{}\ninstead of {head}", found[0]);
        assert_eq!(found[1], next, "{head}");
    }
}

#[test]
fn an_invalid_report_says_what_failed_and_how_to_go_on() {
    let written = Crowd::new(3000, vec![BASELINE, BETTER]).write(&experiment(SIMPLE), false);
    let folder = folder(SIMPLE, &written);
    let is_lost = |line: &&str| {
        let unit = ["3\",\"experiment\"", "4\",\"experiment\""];
        line.contains(r#""assigned":"fancy""#) && unit.iter().any(|end| line.contains(end))
    };
    let kept: Vec<&str> = written.log.lines().filter(|line| !is_lost(line)).collect();
    folder.write("access.log", kept.join("\n"));
    let (text, page) = both(&folder, &OUTCOMES);
    let [head, next] = sentences(&(text.clone(), page));
    let start = "No decision: these data cannot be trusted (sample ratio mismatch";
    assert!(head.starts_with(start), "{text}");
    assert!(
        next.starts_with("find the cause (docs/analysis.md, \"Checks of the data\")"),
        "{text}"
    );
    folder.write("access.log", &written.log);
    folder.write("outcomes.csv", "request_id,correct\nstranger,1\n");
    let (text, page) = both(&folder, &OUTCOMES);
    let [head, _] = sentences(&(text.clone(), page.clone()));
    assert_eq!(head, "No decision: these data cannot be trusted (failed: matched_rows)");
    assert!(text.contains("\nchecks failed: matched_rows\n"), "{text}");
    assert!(page.contains("<td class=\"blocking\">failed</td>"), "{page}");
    folder.write("access.log", "");
    let head = sentences(&both(&folder, &[]))[0].clone();
    assert_eq!(head, "No decision: the logs have no request of this experiment that counts");
}

#[test]
fn every_check_is_in_the_terminal_and_on_the_page() {
    let written = Crowd::new(2000, vec![BASELINE, BASELINE]).write(&experiment(SIMPLE), false);
    let folder = folder(SIMPLE, &written);
    // A few values cannot be read.
    let mut rows: Vec<String> = written.outcomes.lines().map(str::to_owned).collect();
    for row in rows.iter_mut().skip(1).take(3) {
        let (id, rest) = row.split_once(',').unwrap();
        *row = format!("{id},NULL,{}", rest.split_once(',').unwrap().1);
    }
    folder.write("outcomes.csv", rows.join("\n"));
    let found = folder.analysis(&OUTCOMES);
    let checks = found["checks"].as_array().unwrap();
    assert!(checks.len() > 8, "{found:#}");
    let (text, page) = both(&folder, &OUTCOMES);
    let (_, below) = text.split_once("split as configured").unwrap();
    for check in checks {
        let (name, state) = (check["name"].as_str().unwrap(), check["state"].as_str().unwrap());
        let start = match state {
            "ok" => "checks passed: ",
            "warning" => "checks with a warning: ",
            "blocking" => "checks failed: ",
            other => panic!("{other}"),
        };
        let (_, list) = below.split_once(start).unwrap_or_else(|| panic!("{start}: {text}"));
        let list = list.split("\nchecks ").next().unwrap().split("\n\n").next().unwrap();
        assert!(list.contains(name), "{name}: {text}");
        assert!(page.contains(&format!("<th scope=\"row\"><code>{name}</code>")), "{name}");
        let message = check["message"].as_str().unwrap();
        let message = marked(message);
        assert!(page.contains(&format!("<td>{message}</td>")), "{message}: {page}");
    }
    assert!(text.contains("checks with a warning: unreadable_values (accuracy)"), "{text}");
    let accepted = ["--allow", "malformed_rows"];
    folder
        .write("outcomes.csv", format!("{}\n{}", rows.join("\n"), "a,b\n".repeat(rows.len() / 20)));
    let (text, page) = both(&folder, &[&OUTCOMES[..], &accepted].concat());
    assert!(text.contains("checks accepted (--allow): malformed_rows"), "{text}");
    assert!(page.contains("<td class=\"accepted\">accepted (--allow)</td>"), "{page}");
}

#[test]
fn phases_are_shown_with_their_split_and_their_effect() {
    let written = Crowd::new(3000, vec![BASELINE, BETTER]).write(&experiment(ROLLOUT), true);
    let folder = folder(ROLLOUT, &written);
    let (text, page) = both(&folder, &[&OUTCOMES[..], &WIDE].concat());
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    let found = folder.analysis(&OUTCOMES);
    for phase in found["srm"]["phases"].as_array().unwrap() {
        let name = phase["phase"].as_str().unwrap();
        let from = phase["from"].as_str().unwrap().replace(":00Z", "Z");
        let units = phase["seen"]["fancy"].to_string();
        let of_split =
            |words: &&Vec<&str>| words.first() == Some(&name) && words.get(1) == Some(&&*from);
        let row = lines.iter().find(of_split).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(row.contains(&&*units), "{row:?}");
        let of_effect = |words: &&Vec<&str>| {
            words.first() == Some(&name) && words.contains(&"points") && words.contains(&"to")
        };
        assert!(lines.iter().any(|words| of_effect(&words)), "{name}: {text}");
        assert!(page.contains(&format!("<tr><th scope=\"row\">{name}<small>")), "{name}: {page}");
        assert!(page.contains(&format!("<small>{name}: +")), "{name}: {page}");
    }
}

#[test]
fn many_phases_are_cut_to_the_last_ones() {
    let texts = [10.0, 20.0, 30.0].map(|share| weight("s", share));
    let files = texts.each_ref().map(|text| Force::new(text));
    let mut life = Life::new(4);
    for phase in 0..20 {
        let begin = START + DAY * phase;
        life.users(
            phase * 300..(phase + 1) * 300,
            begin..begin + DAY,
            |_| (phase % 3) as usize,
            &files,
            |_, _| 0.5,
        );
    }
    let folder = Folder::new();
    folder.write("experiment.json", &texts[1]);
    folder.write("access.log", &life.log);
    folder.write("outcomes.csv", &life.outcomes);
    let (text, page) = both(&folder, &OUTCOMES);
    assert!(
        text.contains("by phase: units (and target); the last 12 of 20 phases (--json has all)"),
        "{text}"
    );
    assert!(text.contains("and 8 phases before (--json has all)"), "{text}");
    // The split and the effect of each.
    assert_eq!(
        text.lines()
            .filter(|line| line.trim_start().starts_with("fancy ") && line.contains(" 2026-12-"))
            .count(),
        24,
        "{text}"
    );
    assert_eq!(page.matches("<tr><th scope=\"row\">fancy ").count(), 20, "{page}");
}

/// Names as people choose them are long, and there may be several candidates.
#[test]
fn the_text_has_80_columns_and_one_heading_for_all_candidates() {
    let file = SIMPLE
        .replace("fancy\", \"weight\": 30}", "enhanced-predictor-v2\", \"weight\": 30}, {\"name\": \"distilled-predictor-v1\", \"weight\": 30}")
        .replace("{\"name\": \"plain\"}", "{\"name\": \"baseline-predictor-v1\"}")
        .replace("\"baseline\": \"plain\"", "\"baseline\": \"baseline-predictor-v1\"");
    let written =
        Crowd::new(3000, vec![BASELINE, BETTER, BASELINE]).write(&experiment(&file), false);
    let folder = folder(&file, &written);
    let more = ["--guardrail", "error_rate:5pt", "--value-per", "accuracy=0.02"];
    let (text, page) = both(&folder, &[&OUTCOMES[..], &WIDE, &more].concat());
    assert!(
        text.starts_with(
            "Promote enhanced-predictor-v2 (exploratory): it is better than\nbaseline-predictor-v1 in accuracy (+"
        ),
        "{text}"
    );
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    assert_eq!(text.lines().filter(|line| *line == "Value").count(), 1, "{text}");
    assert_eq!(page.matches("<strong>Value</strong>").count(), 1, "{page}");
    let (_, value) = text.split_once("\nValue\n").unwrap();
    for candidate in ["enhanced-predictor-v2", "distilled-predictor-v1"] {
        assert!(value.contains(candidate), "{text}");
    }
}
