//! An Envoy that dies again and again.

use crate::running::shell;
use crate::subject::{EXPERIMENT, Live};

#[test]
fn each_further_crash_waits_twice_as_long() {
    let mut live = Live::start(EXPERIMENT, &[]);
    live.until("in_force");
    let url = live.url();
    for seconds in [1, 2, 4] {
        let pid = live.state(|state| state["running"] == true)["pid"].to_string();
        shell(&format!("kill -9 {pid}"));
        let event = live.until("stopped");
        let words = format!("Envoy exited; it restarts in {seconds} s");
        assert!(event["text"].as_str().unwrap().starts_with(&words), "{event}");
        let restarted = live.until("restarted");
        assert!(between(&event, &restarted) >= seconds, "{event} {restarted}");
        live.eventually("/predict", |answers| answers.iter().all(|got| got.status == 200));
    }
    assert_eq!(live.url(), url);
    live.stop("TERM").left_nothing();
}

/// The end of a run without Envoy is no success.
#[test]
fn a_run_that_ends_without_its_envoy_says_so() {
    let mut live = Live::start(EXPERIMENT, &[]);
    live.until("in_force");
    // The second wait is long enough for a signal.
    for seconds in [1, 2] {
        let pid = live.state(|state| state["running"] == true)["pid"].to_string();
        shell(&format!("kill -9 {pid}"));
        let event = live.until("stopped");
        assert!(event["text"].as_str().unwrap().contains(&format!("in {seconds} s")), "{event}");
    }
    let (code, text) = live.ended("TERM");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("error: Envoy did not run when the run was stopped"), "{text}");
}

/// A file that is deleted changes nothing, and is reported once.
#[test]
fn a_file_that_is_gone_is_said_once_and_the_last_good_one_stays() {
    let mut live = Live::start(EXPERIMENT, &[]);
    live.until("in_force");
    let path = live.folder.path().join("experiment.yaml");
    std::fs::remove_file(&path).unwrap();
    let event = live.until("rejected");
    let words = "does not take effect, ";
    let text = event["text"].as_str().unwrap();
    assert!(text.contains(words) && text.contains("the file does not exist"), "{event}");
    let missing = |state: &serde_json::Value| {
        state["problem"].as_str().is_some_and(|problem| problem.contains("does not exist"))
    };
    live.state(missing);
    live.send("/predict", 0..20);
    live.state(|state| state["experiments"][0]["requests"].as_u64() >= Some(20));
    // As it was: its problem is over.
    live.folder.write(EXPERIMENT);
    live.until("in_force");
    live.state(|state| state["problem"].is_null());
    let text = live.finish("TERM");
    assert_eq!(text.matches("\"event\":\"rejected\"").count(), 1, "{text}");
}

/// The whole seconds between two events.
fn between(one: &serde_json::Value, other: &serde_json::Value) -> u64 {
    let at = |event: &serde_json::Value| -> u64 {
        let time = event["at"].as_str().unwrap();
        sidetrack::quantity::Timestamp::parse(time).unwrap().get()
    };
    // Each event has its time to the millisecond or to the second.
    (at(other) - at(one)).div_ceil(1000)
}
