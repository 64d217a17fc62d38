//! The store of a run: what Envoy logs is stored, and outcomes meet it.

use std::fmt::Write as _;
use std::path::Path;

use sidetrack_lab::Request;

use crate::subject::{EXPERIMENT, Folder, Live};

/// The experiment with a plan.
fn planned() -> String {
    EXPERIMENT.replace("    breaker:", "    analysis: {metrics: [accuracy]}\n    breaker:")
}

/// The exposures in a log of the folder.
fn log(folder: &Folder, name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.path().join(".sidetrack").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn exposures_and_outcomes_meet_and_the_verdict_is_that_of_the_log() {
    let mut live = Live::start(&planned(), &[]);
    live.until("in_force");
    live.send("/predict", 0..300);
    live.until_stored(300);
    let (status, page) = live.page("/");
    assert!(status == 200 && page.contains("<!doctype html>") && page.contains("ab"), "{page}");
    let (status, early) = live.ask(Request::get("/v1/experiments/ab"));
    assert_eq!(status, 409, "{early}");

    let mut outcomes = "request_id,accuracy\n".to_owned();
    for (line, number) in log(&live.folder, "exposures.jsonl").iter().zip(0..) {
        let id = line["request_id"].as_str().unwrap();
        writeln!(outcomes, "{id},{}", u8::from(number % 3 > 0)).unwrap();
    }
    std::fs::write(live.folder.path().join("outcomes.csv"), &outcomes).unwrap();
    let post = Request::post("/v1/outcomes", outcomes).header("content-type", "text/csv");
    let (status, accepted) = live.ask(post);
    assert_eq!((status, &accepted["accepted"]), (200, &300.into()), "{accepted}");
    let (status, mut verdict) = live.ask(Request::get("/v1/experiments/ab"));
    assert_eq!(status, 200, "{verdict}");
    verdict.as_object_mut().unwrap().remove("live");
    let expected = live.folder.sidetrack(
        &[
            "analyze",
            "run",
            "experiment.yaml",
            "--json",
            "--exposures",
            ".sidetrack/exposures.jsonl",
            "--outcomes",
            "outcomes.csv",
        ],
        "",
    );
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    assert_eq!(verdict, expected, "\nstore: {verdict:#}\nlog: {expected:#}");

    // An edit of the file is one of the store, too: a new salt is a new trial, and another name another experiment.
    live.folder.write(&planned().replace("name: ab\n", "name: again\n"));
    live.until("in_force");
    live.eventually("/predict", |answers| answers.iter().all(|got| got.status == 200));
    live.state(|state| state["experiments"][0]["name"] == "again");
    let (_, all) = live.ask(Request::get("/v1/experiments"));
    assert_eq!(all["experiments"][0]["name"], "again", "{all}");
    let folder = live.stop("TERM");
    // The last requests before the end are stored as well.
    assert_eq!(folder.stored(), log(&folder, "exposures.jsonl").len() as u64);
    folder.left_nothing();

    // The next run goes on.
    let mut live = Live::start_in(folder, &[], None);
    live.until("in_force");
    live.send("/predict", 0..50);
    let folder = live.stop("INT");
    assert_eq!(folder.stored(), log(&folder, "exposures.jsonl").len() as u64);
}

#[test]
fn the_log_is_rotated_and_no_line_is_lost() {
    const LIMIT: u64 = 60 << 10;
    let mut live = Live::start(EXPERIMENT, &["--log-size", "60KiB"]);
    live.until("in_force");
    let size = |folder: &Path, name: &str| {
        std::fs::metadata(folder.join(".sidetrack").join(name)).map_or(0, |about| about.len())
    };
    let mut rotations = 0;
    let mut sent = 0;
    let mut before = size(live.folder.path(), "exposures.jsonl");
    while rotations < 4 {
        live.send("/predict", 0..40);
        sent += 40;
        let now = size(live.folder.path(), "exposures.jsonl");
        rotations += u32::from(now < before);
        before = now;
        assert!(sent < 8_000, "{rotations} rotations");
    }
    live.until_stored(sent);
    let folder = live.stop("TERM");
    assert_eq!(folder.stored(), sent, "each request once");
    for name in ["exposures.jsonl", "exposures.jsonl.1"] {
        // Requests of half a second are in Envoy's buffer, and go on to the old file.
        assert!(size(folder.path(), name) < LIMIT * 20, "{name}");
    }
    let names = std::fs::read_dir(folder.path().join(".sidetrack")).unwrap();
    let logs = names.filter(|name| {
        name.as_ref().unwrap().file_name().to_string_lossy().starts_with("exposures")
    });
    assert_eq!(logs.count(), 2);
    folder.left_nothing();
}

#[test]
fn a_store_that_cannot_be_opened_is_reported_and_the_traffic_goes_on() {
    let folder = Folder::new(EXPERIMENT);
    std::fs::create_dir_all(folder.path().join(".sidetrack/store")).unwrap();
    std::fs::write(folder.path().join(".sidetrack/store/store.sqlite"), [7; 9000]).unwrap();
    let mut live = Live::start_in(folder, &[], None);
    let event = live.until("store");
    let text = event["text"].as_str().unwrap();
    assert!(
        text.contains("store.sqlite is damaged") && text.contains("traffic goes on"),
        "{event}"
    );
    live.until("in_force");
    let answers = live.send("/predict", 0..20);
    assert!(answers.iter().all(|got| got.status == 200), "{answers:?}");
    let state = live.until("state");
    assert!(state["store_problem"].as_str().unwrap().contains("damaged"), "{state}");
    let folder = live.stop("TERM");
    assert_eq!(log(&folder, "exposures.jsonl").len(), 20);
}

#[test]
fn without_a_store_nothing_listens_and_nothing_is_stored() {
    let mut live = Live::start(EXPERIMENT, &["--no-store"]);
    let started = live.until("started");
    assert_eq!(started["store"], serde_json::Value::Null, "{started}");
    live.until("in_force");
    live.send("/predict", 0..20);
    let folder = live.stop("TERM");
    assert!(!folder.path().join(".sidetrack/store").exists());
    assert_eq!(log(&folder, "exposures.jsonl").len(), 20);
}
