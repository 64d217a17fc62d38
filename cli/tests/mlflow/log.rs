//! From an analysis to a run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

/// A planned test of versions 1 and 2, and its analysis.
fn tested(model: &'static str, dir: &Path) -> (String, Value) {
    let registered = server().model(model, 2);
    registered.tag("2", "ab_test_candidate", "true");
    let file = planned(model, dir);
    let variants = [format!("{model}-v1"), format!("{model}-v2")];
    let analysis = analysis::of(&file, &variants[0], &[&variants[1]], Some(&variants[1]));
    (file.to_str().unwrap().to_owned(), analysis)
}

fn log(file: &str, analysis: &Path, more: &[&str]) -> Ran {
    let mut arguments = vec!["log", file, "--analysis", analysis.to_str().unwrap()];
    arguments.extend(more);
    mlflow(&arguments)
}

fn pairs(list: &Value) -> BTreeMap<String, Value> {
    let pairs = list.as_array().unwrap().iter();
    pairs.map(|pair| (pair["key"].as_str().unwrap().to_owned(), pair["value"].clone())).collect()
}

fn only_run(experiment: &str) -> Value {
    let runs = server().runs(experiment);
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

#[test]
fn a_run_has_the_numbers_the_parameters_and_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (file, analysis) = tested("log-whole", dir.path());
    let path = analysis::write(dir.path(), &analysis);
    let report = dir.path().join("page.html");
    std::fs::write(&report, "<h1>Promote</h1>").unwrap();
    let said = log(&file, &path, &["--report", report.to_str().unwrap()]).good();

    let run = only_run("log-whole-ab-test");
    let info = &run["info"];
    assert!(
        said.contains(info["run_id"].as_str().unwrap()) && said.contains("is logged"),
        "{said}"
    );
    assert_eq!(info["status"], "FINISHED");
    assert_eq!(
        (&info["start_time"], &info["end_time"]),
        (&json!(1_795_424_400_000_u64), &json!(1_795_510_800_250_u64))
    );
    let metrics = pairs(&run["data"]["metrics"]);
    for (key, value) in [
        ("accuracy/log-whole-v1/value", 0.84),
        ("accuracy/log-whole-v2/value", 0.95),
        ("accuracy/log-whole-v2/diff", 0.11),
        ("accuracy/log-whole-v2/diff_low", 0.08),
        ("accuracy/log-whole-v2/p_adjusted", 2e-9),
        ("units/log-whole-v2", 900.0),
        ("served_elsewhere/log-whole-v1", 3.0),
        ("lines/malformed", 3.0),
        ("srm/p_value", 0.5),
    ] {
        assert_eq!(metrics.get(key).and_then(Value::as_f64), Some(value), "{key} in {metrics:?}");
    }
    for undefined in ["diff_high", "p_best", "relative_lift_low"] {
        let key = format!("accuracy/log-whole-v2/{undefined}");
        assert!(!metrics.contains_key(&key), "{key} is undefined: {metrics:?}");
    }
    let params = pairs(&run["data"]["params"]);
    for (key, value) in [
        ("config_hash", analysis["config_hash"].as_str().unwrap()),
        ("baseline", "log-whole-v1"),
        ("weight/log-whole-v2", "10"),
        ("model_version/log-whole-v2", "2"),
        ("unit", "body /user_id"),
        ("salt", "log-whole-ab-test/v1/v2"),
    ] {
        assert_eq!(params.get(key), Some(&json!(value)), "{key} in {params:?}");
    }
    let tags = pairs(&run["data"]["tags"]);
    assert_eq!(tags["ab_test.decision"], "promote");
    assert_eq!(tags["ab_test.winner"], "log-whole-v2");
    let note = tags["mlflow.note.content"].as_str().unwrap();
    assert!(
        note.starts_with("**promote: log-whole-v2**") && note.contains("accuracy rises by 0.11"),
        "{note}"
    );
    assert!(
        note.contains("| 0.9500 | 0.8400 | 0.1100 [0.0800, –] | 2.00e-9 (score) | better |"),
        "{note}"
    );

    let stored = |name: &str| String::from_utf8(server().artifact(&run, name)).unwrap();
    assert_eq!(stored("report.html"), "<h1>Promote</h1>");
    assert_eq!(stored("analysis.json"), analysis.to_string());
    assert_eq!(stored("experiment.yaml"), std::fs::read_to_string(&file).unwrap());
}

#[test]
fn the_same_analysis_is_one_run_and_another_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let (file, mut analysis) = tested("log-twice", dir.path());
    let path = analysis::write(dir.path(), &analysis);
    log(&file, &path, &[]).good();
    let first = only_run("log-twice-ab-test");
    assert!(log(&file, &path, &[]).good().contains("was already logged"));
    assert_eq!(only_run("log-twice-ab-test"), first);
    analysis["to"] = json!("2026-11-25T09:00:00Z");
    let path = analysis::write(dir.path(), &analysis);
    log(&file, &path, &[]).good();
    assert_eq!(server().runs("log-twice-ab-test").len(), 2);
}

#[test]
fn a_run_that_was_cut_short_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let (file, analysis) = tested("log-half", dir.path());
    let path = analysis::write(dir.path(), &analysis);
    log(&file, &path, &[]).good();
    let whole = only_run("log-half-ab-test");
    // As if the end had never been written: everything is sent again, to the same run.
    let id = &whole["info"]["run_id"];
    server().post("runs/update", json!({"run_id": id, "status": "RUNNING"}));
    server().post("runs/delete-tag", json!({"run_id": id, "key": "ab_test.decision"}));
    assert!(log(&file, &path, &[]).good().contains("is now complete"));
    let completed = only_run("log-half-ab-test");
    assert_eq!(completed["info"]["run_id"], whole["info"]["run_id"]);
    assert_eq!(completed["info"]["status"], "FINISHED");
    assert_eq!(pairs(&completed["data"]["tags"])["ab_test.decision"], "promote");
    assert_eq!(pairs(&completed["data"]["metrics"]), pairs(&whole["data"]["metrics"]));
    let history = server().get(
        "metrics/get-history",
        &[("run_id", id.as_str().unwrap()), ("metric_key", "accuracy/log-half-v2/value")],
    );
    assert_eq!(history["metrics"].as_array().unwrap().len(), 1, "{history}");
}

#[test]
fn more_metrics_than_one_call_may_carry_all_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let (file, mut analysis) = tested("log-large", dir.path());
    let metric = analysis["metrics"][0].clone();
    let metrics = (0..130).map(|index| {
        let mut metric = metric.clone();
        metric["name"] = json!(format!("m{index} (€)"));
        metric
    });
    analysis["metrics"] = metrics.collect();
    let path = analysis::write(dir.path(), &analysis);
    log(&file, &path, &[]).good();
    let metrics = pairs(&only_run("log-large-ab-test")["data"]["metrics"]);
    assert!(metrics.len() > 1000, "{}", metrics.len());
    assert_eq!(metrics["m129 ___/log-large-v2/diff"], json!(0.11));
}

#[test]
fn where_the_server_keeps_no_files_the_rest_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let (file, analysis) = tested("log-bare", dir.path());
    let path = analysis::write(dir.path(), &analysis);
    server().post(
        "experiments/create",
        json!({"name": "bare", "artifact_location": "s3://models/bare"}),
    );
    let said = log(&file, &path, &["--experiment", "bare"]).good();
    assert!(
        said.contains("not stored: analysis.json, experiment.yaml")
            && said.contains("--serve-artifacts"),
        "{said}"
    );
    assert_eq!(only_run("bare")["info"]["status"], "FINISHED");
}

#[test]
fn what_does_not_belong_together_is_refused_and_nothing_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let (file, analysis) = tested("log-refused", dir.path());
    let refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let mut changed = analysis.clone();
        change(&mut changed);
        let path = analysis::write(dir.path(), &changed);
        log(&file, &path, &["--experiment", "log-refused-runs"]).refused(1, words);
    };
    refused(&|a| a["config_hash"] = json!("00ff"), &["the hash is ", "must be 00ff", "hint:"]);
    refused(
        &|a| a["experiment"] = json!("other"),
        &["unknown experiment \"other\"", "expected one of: log-refused-ab-test"],
    );
    refused(&|a| a["version"] = json!(2), &["version is 2, but must be 1"]);
    refused(&|a| a["decision"] = json!("perhaps"), &["perhaps", "analyze run"]);
    refused(&|a| *a = json!([]), &["analysis.json", "is not an analysis"]);
    refused(&|a| a["from"] = json!("yesterday"), &["from is \"yesterday\"", "RFC 3339"]);
    let infinite = analysis.to_string().replace("0.11,", "1e999,");
    let path = dir.path().join("analysis.json");
    std::fs::write(&path, infinite).unwrap();
    log(&file, &path, &["--experiment", "log-refused-runs"]).refused(1, &["out of range"]);

    let folders = server().post(
        "experiments/search",
        json!({"max_results": 1000, "filter": "name LIKE 'log-refused%'"}),
    );
    assert_eq!(folders["experiments"], Value::Null, "{folders}");
}
