//! The query of `analyze sql` on the log of an experiment in which no request was aborted.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Folder;

const DATA: &str = "--by request_id --column correct";

#[test]
fn a_log_without_aborted_requests_has_a_verdict() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = |tools: &str, script: &str| {
        let mut command = Command::new(root.join(".tools").join(tools).join("bin/python"));
        command.arg("-B").arg(root.join("tests/engines").join(script));
        command
    };
    let folder = Folder::new();
    let written = python("py", "story.py").arg(folder.path()).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    // What the story's clients aborted, and what an idle stream ended.
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let is_aborted = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        ["DC", "SI"].contains(&line["flags"].as_str().unwrap())
    };
    let kept: Vec<&str> = log.lines().filter(|line| !is_aborted(line)).collect();
    assert!(kept.len() < log.lines().count());
    let log = folder.write("access.log", (kept.join("\n") + "\n").as_bytes());

    let tables = ["--exposures", "exposures", "--outcomes", "outcomes"];
    let words = ["analyze", "sql", "experiment.json", "--dialect", "duckdb"];
    let query = [&words[..], &tables].concat();
    let query: Vec<&str> = query.into_iter().chain(DATA.split(' ')).collect();
    let query = folder.write("duckdb.sql", &folder.run(&query).stdout);
    let labels = folder.path().join("labels.csv");
    let mut engine = python("engines", "engines.py");
    let sums = engine.arg("duckdb").arg(query).arg(log).arg(labels).output().unwrap();
    assert!(sums.status.success(), "{sums:?}");
    folder.write("sums.csv", &sums.stdout);

    let summary = ["analyze", "summary", "experiment.json", "--json", "--from", "sums.csv"];
    let output = folder.run(&summary);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = ["analyze", "run", "experiment.json", "--exposures", "access.log", "--json"];
    let run = folder.run(&[&run[..], &["--outcomes", "labels.csv"]].concat());
    let direct: Value = serde_json::from_slice(&run.stdout).unwrap();
    for key in ["decision", "variants", "srm"] {
        assert_eq!(found[key], direct[key], "{key}");
    }
}
