//! The verdict of the store is that of `analyze run` on the same data.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Folder, Server};
use crate::traffic::{EXPERIMENT, NAME, START, Traffic, labels, log, otlp};

pub(crate) const JSON: &str = "application/json";
pub(crate) const CSV: &str = "text/csv";

/// What the store says, without what only it knows.
pub(crate) fn verdict(server: &Server) -> Value {
    let mut verdict = server.read(&format!("/v1/experiments/{NAME}"));
    verdict.as_object_mut().unwrap().remove("live").unwrap();
    verdict
}

/// Both name other files in messages.
pub(crate) fn same(store: &Value, command: &Value) {
    assert_eq!(store, command, "\nstore: {store:#}\ncommand: {command:#}");
}

#[test]
fn the_store_says_what_the_command_says_of_the_raw_log() {
    let folder = Folder::new(EXPERIMENT);
    let mut traffic = Traffic::new(EXPERIMENT, START);
    let lines = traffic.lines(6000);
    folder.write("access.log", log(&lines));
    folder.write("labels.csv", labels(&lines));
    let expected = folder.analysis(&["--outcomes", "labels.csv"]);
    assert_ne!(expected["decision"], "invalid", "{expected:#}");
    assert_eq!(expected["outcomes"]["matched"], 6000, "{expected:#}");
    let server = folder.serve(&[]);
    let early = server.get(&format!("/v1/experiments/{NAME}"));
    assert_eq!(early.status, 409, "{early:?}");
    for part in lines.chunks(500) {
        let answer = server.post("/v1/logs", JSON, otlp(part));
        assert_eq!((answer.status, answer.text.as_str()), (200, "{}"), "{answer:?}");
    }
    for part in [&lines[..4000], &lines[4000..]] {
        let answer = server.post("/v1/outcomes", CSV, labels(part));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // The labels of the second part begin with another number, so they are written again as the file has them.
    let answer = server.post("/v1/outcomes", CSV, labels(&lines));
    assert_eq!(answer.json()["accepted"], 6000, "{answer:?}");
    same(&verdict(&server), &expected);
    let live = server.read(&format!("/v1/experiments/{NAME}"))["live"].clone();
    assert_eq!(live["weights"], serde_json::json!({"fancy": 40.0}), "{live}");
    assert_eq!(live["trial"], expected["trial"], "{live}");
    assert_eq!(live["requests"], 6000, "{live}");
    assert_eq!(live["breakers"], serde_json::json!({"fancy": "closed"}), "{live}");
}

#[test]
fn outcomes_by_unit_and_in_other_formats_give_the_same() {
    let file = EXPERIMENT.replace("accuracy", "revenue");
    let folder = Folder::new(&file);
    let lines = Traffic::new(&file, START).lines(3000);
    folder.write("access.log", log(&lines));
    let row = |user: u64| {
        let (amount, minute) = (user * 7 % 113, user % 60);
        format!(
            "{{\"unit\": \"user-{user}\", \"revenue\": {amount}.5, \"time\": \"2026-11-23T10:{minute:02}:00Z\"}}"
        )
    };
    let rows: Vec<String> = (0..900).map(row).collect();
    folder.write("sales.json", rows.join("\n"));
    let expected = folder.analysis(&["--outcomes", "sales.json"]);
    assert_eq!(expected["outcomes"]["matched"], 900, "{expected:#}");
    let server = folder.serve(&[]);
    let sent = server.post("/v1/logs", JSON, otlp(&lines));
    assert_eq!(sent.status, 200, "{sent:?}");
    let sent = server.post("/v1/outcomes", "application/x-ndjson", rows[..450].join("\n"));
    assert_eq!(sent.json()["accepted"], 450, "{sent:?}");
    let sent = server.post("/v1/outcomes", JSON, format!("[{}]", rows[450..].join(",")));
    assert_eq!(sent.json()["accepted"], 450, "{sent:?}");
    // All of it again, which changes nothing.
    let again = server.post("/v1/outcomes", "application/x-ndjson", rows.join("\n")).json();
    assert_eq!((&again["accepted"], &again["unchanged"]), (&900.into(), &900.into()), "{again}");
    server.post("/v1/logs", JSON, otlp(&lines));
    same(&verdict(&server), &expected);
    // No user's name is on the disk.
    server.stop();
    for name in ["store.sqlite", "store.sqlite-wal"] {
        let bytes = std::fs::read(folder.path().join("data").join(name)).unwrap_or_default();
        let found = bytes.windows(5).any(|bytes| bytes == b"user-");
        assert!(!found, "{name} contains a unit in plain text");
    }
}

#[test]
fn a_later_value_replaces_an_earlier_one_and_is_counted() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let lines = Traffic::new(EXPERIMENT, START).lines(2000);
    server.post("/v1/logs", JSON, otlp(&lines));
    let wrong: String = lines.iter().fold("request_id,correct\n".to_owned(), |table, line| {
        table + &format!("{},0\n", line["request_id"].as_str().unwrap())
    });
    let sent = server.post("/v1/outcomes", CSV, &wrong).json();
    assert_eq!((&sent["accepted"], &sent["replaced_values"]), (&2000.into(), &0.into()), "{sent}");
    let sent = server.post("/v1/outcomes", CSV, labels(&lines)).json();
    let better = labels(&lines).lines().filter(|line| line.ends_with(",1")).count();
    assert_eq!(sent["replaced_values"], better, "{sent}");
    assert_eq!(sent["unchanged"], 2000 - better, "{sent}");
    folder.write("access.log", log(&lines));
    folder.write("labels.csv", labels(&lines));
    same(&verdict(&server), &folder.analysis(&["--outcomes", "labels.csv"]));
    let live = server.read("/v1/experiments")["experiments"][0]["live"].clone();
    assert_eq!(live["replaced"]["correct"], better, "{live}");
    let one = format!("/v1/outcomes/{}", lines[7]["request_id"].as_str().unwrap());
    let sent = server.post(&one, JSON, r#"{"correct": 0, "revenue": 12.5}"#);
    assert_eq!(sent.status, 200, "{sent:?}");
    assert_eq!(sent.json()["accepted"], 1, "{sent:?}");
}

#[test]
fn two_experiments_share_a_store_and_not_their_outcomes() {
    let other = EXPERIMENT.replace("forecast", "churn").replace("\"one\"", "\"two\"");
    let folder = Folder::new(EXPERIMENT);
    folder.write("other.json", &other);
    let lines = Traffic::new(EXPERIMENT, START).lines(2000);
    let others = Traffic::new(&other, START + 1).lines(3000);
    folder.write("access.log", log(&lines));
    folder.write("labels.csv", labels(&lines));
    let server = folder.serve(&["other.json"]);
    for lines in [&lines, &others] {
        assert_eq!(server.post("/v1/logs", JSON, otlp(lines)).status, 200);
        assert_eq!(server.post("/v1/outcomes", CSV, labels(lines)).status, 200);
    }
    same(&verdict(&server), &folder.analysis(&["--outcomes", "labels.csv"]));
    // Replaced values are those of the experiment's requests.
    let replaced = || {
        let all = server.read("/v1/experiments")["experiments"].clone();
        let of = |name: &str| all.as_array().unwrap().iter().find(|it| it["name"] == name).cloned();
        ["churn", "forecast"].map(|name| of(name).unwrap()["live"]["replaced"].clone())
    };
    // A count that takes long is kept for a while.
    let becomes = |expected: [Value; 2]| {
        let end = Instant::now() + Duration::from_secs(60);
        while replaced() != expected {
            assert!(Instant::now() < end, "{:?}, but expected {expected:?}", replaced());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    becomes([json!({}), json!({})]);
    let replace = |lines: &[Value]| {
        for (score, replaced) in [(1, 0), (2, lines.len())] {
            let row = |line: &Value| json!({"request_id": line["request_id"], "score": score});
            let rows = Value::Array(lines.iter().map(row).collect());
            let sent = server.post("/v1/outcomes", JSON, rows.to_string()).json();
            assert_eq!(sent["replaced_values"], replaced, "{sent}");
        }
    };
    replace(&lines[..3]);
    replace(&others[..5]);
    becomes([json!({"score": 5}), json!({"score": 3})]);
    let verdict = server.read(&format!("/v1/experiments/{NAME}"));
    assert_eq!(verdict["live"]["replaced"], json!({"score": 3}));
    // A request that no exposure has named yet may be of any experiment.
    let late = Traffic::new(&other, START + 2).lines(1);
    replace(&late);
    becomes([json!({"score": 6}), json!({"score": 4})]);
    server.post("/v1/logs", JSON, otlp(&late));
    becomes([json!({"score": 6}), json!({"score": 3})]);
}
