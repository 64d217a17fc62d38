//! `analyze shadow` and `analyze drift` from outside: what they print, write and return.

use std::fmt::Write as _;

use serde_json::Value;

use super::Folder;

const FILE: &str = r#"{"experiments": [{"name": "e", "salt": "s", "unit": [{"header": "u"}],
    "baseline": "old", "variants": [{"name": "old"}, {"name": "new", "weight": 0}]}]}"#;

/// 100 users with four requests each; the mirror predicts another class for every tenth user.
fn predictions() -> String {
    let mut rows = String::new();
    for user in 0..100 {
        for request in 0..4 {
            for source in ["baseline", "mirror"] {
                let differs = source == "mirror" && user % 10 == 0;
                let (class, score) = if differs { ("dog", 0.9) } else { ("cat", 0.5) };
                let score = score + f64::from(request) / 100.0;
                writeln!(
                    rows,
                    r#"{{"request_id":"r{user}-{request}","source":"{source}","unit":"u{user}","label":"{class}","score":{score},"latency":{}}}"#,
                    if source == "mirror" { 30 } else { 20 }
                )
                .unwrap();
            }
        }
    }
    rows
}

pub(crate) fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("experiment.json", FILE);
    folder.write("predictions.ndjson", predictions());
    folder
}

fn shadow<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let run = ["analyze", "shadow", "experiment.json", "--predictions", "predictions.ndjson"];
    [&run[..], more].concat()
}

#[test]
fn a_shadow_comparison_says_what_to_do_and_does_nothing() {
    let folder = folder();
    let (code, text, errors) = folder.text(&shadow(&[]));
    assert_eq!((code, errors.as_str()), (0, ""));
    for part in [
        "The mirror predicts the same label as the baseline in 90 % of the requests.",
        "e · 400 pairs · 100 units; intervals of 95 % by unit",
        "cat → dog  40",
        "latency: difference +10.00",
        "Nothing was changed.",
        "sidetrack set experiment.json new=1",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let unchanged = std::fs::read_to_string(folder.path().join("experiment.json")).unwrap();
    assert_eq!(unchanged, FILE);
    let listed = text.lines().filter(|line| line.contains("label cat → dog, score")).count();
    assert_eq!(listed, 10, "{text}");
    let (_, text, _) = folder.text(&shadow(&["--worst", "2", "--json"]));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["worst"].as_array().unwrap().len(), 2);
    assert_eq!(json["classes"][0]["equal"], 360);
}

#[test]
fn a_shadow_comparison_has_exit_codes() {
    let folder = folder();
    for (least, wanted) in [("80", 0), ("90", 4), ("99", 3)] {
        let (code, text, _) = folder.text(&shadow(&["--min-agreement", least, "--exit-code"]));
        assert_eq!(code, wanted, "{least}: {text}");
        let (code, ..) = folder.text(&shadow(&["--min-agreement", least]));
        assert_eq!(code, 0, "{least}");
    }
    let mut rows = predictions();
    for row in 0..10 {
        writeln!(rows, r#"{{"request_id":"x{row}","source":"baseline","label":"cat"}}"#).unwrap();
    }
    folder.write("predictions.ndjson", rows);
    let (code, text, _) = folder.text(&shadow(&[]));
    assert!(
        code == 1 && text.contains("2.44 % of the requests have no prediction of the mirror"),
        "{text}"
    );
    assert!(!text.contains("sidetrack set"), "{text}");
    let (code, ..) = folder.text(&shadow(&["--max-missing", "3"]));
    assert_eq!(code, 0);
    folder.write("predictions.ndjson", "request_id,score\na,1\n");
    let (code, _, errors) = folder.text(&shadow(&[]));
    assert!(
        code == 1 && errors.contains("--predictions: the predictions have no column source"),
        "{errors}"
    );
}

#[test]
fn drift_is_printed_drawn_and_written_for_prometheus() {
    let folder = folder();
    let drift = ["analyze", "drift", "experiment.json", "--values", "predictions.ndjson"];
    let run = |more: &[&str]| folder.text(&[&drift[..], more].concat());
    let more = ["--by", "source", "--textfile", "drift.prom", "--exit-code"];
    let (code, text, errors) = run(&more);
    assert_eq!((code, errors.as_str()), (3, ""), "{text}");
    for part in ["Drift: label", "baseline → mirror", "categories", "█", "chance is by unit"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let file = std::fs::read_to_string(folder.path().join("drift.prom")).unwrap();
    let labels = r#"{experiment="e",model_name="mirror",against="baseline",column="label"}"#;
    assert!(file.contains(&format!("ab_test_drift{labels} 1\n")), "{file}");
    assert!(file.contains(&format!("ab_test_drift_psi{labels} 0.")), "{file}");
    let program = promtool();
    let checked = std::process::Command::new(program)
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(folder.path().join("drift.prom")).unwrap())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let (code, text, _) = run(&["--by", "source", "--column", "latency", "--threshold", "99"]);
    assert!(code == 0 && !text.contains("label"), "{text}");
    let (code, _, errors) = run(&["--column", "labl"]);
    assert!(code == 1 && errors.contains("unknown column \"labl\""), "{errors}");
}

/// promtool, where `scripts/setup.sh tests` puts it.
fn promtool() -> std::path::PathBuf {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let fetched = root.join("../.tools/prometheus/promtool");
    if fetched.exists() { fetched } else { "promtool".into() }
}

#[test]
fn the_alerts_for_drift_fire() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let tested = std::process::Command::new(promtool())
        .args(["test", "rules", "drift.tests.yaml"])
        .current_dir(root.join("../deploy/prometheus"))
        .output()
        .unwrap();
    assert!(tested.status.success(), "{tested:?}");
}

#[test]
fn init_makes_the_step_before_the_first_percent() {
    let folder = Folder::new();
    let init = ["init", "--api", "mlflow", "--unit", "header:x-user-id", "--shadow"];
    let (code, text, errors) = folder.text(&init);
    assert_eq!(code, 0, "{errors}");
    for next in ["analyze shadow experiment.yaml", "sidetrack set experiment.yaml candidate=1"] {
        assert!(text.contains(next), "{text}");
    }
    let explain = ["explain", "experiment.yaml", "--method", "POST", "--path", "/invocations"];
    let user = ["--header", "x-user-id: 1", "--json"];
    let (code, text, errors) = folder.text(&[&explain[..], &user].concat());
    assert_eq!(code, 0, "{errors}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["assigned"], &json["mirror"]), (&"baseline".into(), &"candidate".into()));
    let (code, _, errors) =
        folder.text(&[&init[..], &["--share", "5", "--out", "b.yaml"]].concat());
    assert!(code == 2 && errors.contains("cannot be used with"), "{errors}");
    let file = std::fs::read_to_string(folder.path().join("experiment.yaml")).unwrap();
    assert!(file.contains("weight: 0  #") && file.contains("percent: 100}"), "{file}");
    let (code, _, errors) = folder.text(&["set", "experiment.yaml", "candidate=1"]);
    assert_eq!(code, 0, "{errors}");
}
