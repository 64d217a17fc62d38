//! How requests ended: answers that break off, callers that leave, answers of 4xx, and candidates that serve nothing.

use serde_json::Value;

use crate::crowd::{BASELINE, Crowd, Truth, Written, experiment};
use crate::truth::{SIMPLE, folder};
use crate::{Folder, number, result};

/// A log in which the candidate is quicker, and a share of its lines changed. `picked` is the last digit of a user's id.
fn changed(picked: &[char], change: impl Fn(&str) -> String) -> Folder {
    let quick = Truth { latency: 20.0, ..BASELINE };
    let mut written = Crowd::new(6000, vec![BASELINE, quick]).write(&experiment(SIMPLE), false);
    let lines = written.log.lines().map(|line| {
        let (_, unit) = line.split_once("\"unit\":\"").unwrap();
        let (unit, _) = unit.split_once('"').unwrap();
        let hit = line.contains("\"assigned\":\"fancy\"")
            && picked.iter().any(|end| unit.ends_with(*end));
        if hit { change(line) + "\n" } else { format!("{line}\n") }
    });
    written.log = lines.collect();
    folder(SIMPLE, &Written { outcomes: String::new(), ..written })
}

const FASTER: [&str; 2] = ["--metric", "latency_mean"];
const ALL: [char; 10] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
const SOME: [char; 3] = ['1', '4', '7'];

fn check<'a>(analysis: &'a Value, name: &str) -> &'a Value {
    let mut checks = analysis["checks"].as_array().unwrap().iter();
    checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("{analysis:#}"))
}

#[test]
fn a_quicker_candidate_wins_if_its_requests_end_well() {
    let found = changed(&[], str::to_owned).analysis(&FASTER);
    assert_eq!(found["decision"], "promote", "{found:#}");
    assert_eq!(check(&found, "client_errors")["state"], "ok");
    assert_eq!(check(&found, "never_served")["state"], "ok");
}

#[test]
fn answers_that_break_off_are_errors() {
    for flag in ["UC", "UR", "SI"] {
        let broken = format!("\"flags\":\"{flag}\"");
        let found =
            changed(&SOME, |line| line.replace("\"flags\":\"-\"", &broken)).analysis(&FASTER);
        assert_eq!(found["decision"], "keep_baseline", "{flag}: {:#}", found["reasons"]);
        assert!(found["reasons"].to_string().contains("error_rate"), "{:#}", found["reasons"]);
        assert!(number(&result(&found, "error_rate")["value"]) > 0.2);
    }
}

#[test]
fn callers_that_leave_break_a_guardrail() {
    // Before the answer, and within it.
    for status in ["0", "200"] {
        let change = |line: &str| {
            line.replace("\"flags\":\"-\"", "\"flags\":\"DC\"")
                .replace("\"status\":200", &format!("\"status\":{status}"))
        };
        let found = changed(&SOME, change).analysis(&FASTER);
        assert_eq!(found["decision"], "keep_baseline", "{status}: {:#}", found["reasons"]);
        assert!(found["reasons"].to_string().contains("abort_rate"), "{:#}", found["reasons"]);
    }
}

#[test]
fn a_candidate_that_refuses_requests_has_no_decision() {
    let refused = |line: &str| line.replace("\"status\":200", "\"status\":404");
    let folder = changed(&SOME, refused);
    let found = folder.analysis(&FASTER);
    assert_eq!(
        (&found["decision"], &check(&found, "client_errors")["state"]),
        (&"invalid".into(), &"blocking".into())
    );
    assert!(number(&check(&found, "client_errors")["variants"]["fancy"]) > 0.2);
    let (code, text, _) = folder.report(&FASTER);
    assert!(
        code == 1 && text.contains("points more of its requests with a status of 300 to 499"),
        "{text}"
    );
    let anyway = folder.analysis(&[&FASTER[..], &["--allow", "client_errors"]].concat());
    assert_eq!(anyway["decision"], "promote");
}

#[test]
fn a_candidate_that_was_never_asked_has_no_decision() {
    let diverted = |line: &str| line.replace("\"served\":\"fancy\"", "\"served\":\"plain\"");
    let found = changed(&ALL, diverted).analysis(&FASTER);
    let check_of = |found: &Value| check(found, "never_served")["state"].clone();
    assert_eq!((&found["decision"], check_of(&found)), (&"invalid".into(), "blocking".into()));
    let some = changed(&SOME, diverted).analysis(&FASTER);
    assert_eq!(check_of(&some), "ok");
    // It was asked and failed; then the baseline was.
    let rescued = |line: &str| diverted(line).replace("\"rescued\":null", "\"rescued\":true");
    let failed = changed(&ALL, rescued).analysis(&FASTER);
    assert_eq!((&failed["decision"], check_of(&failed)), (&"keep_baseline".into(), "ok".into()));
}
