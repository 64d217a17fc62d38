//! Metrics of models from outside: a plan that names predictions and labels, labels in rows of their own, and the report.

use std::fmt::Write as _;

use crate::{Folder, number, result};

const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 50}],
    "analysis": {"model": {"label": "y_true", "score": "score", "positive": "fraud"}, "metrics": ["auc"],
    "guardrails": ["recall:20pt", "log_loss:50%"], "planned_units": 600}}],
    "settings": {"exposure_unit": "plain"}}"#;

/// 600 units with two requests each; the candidate's scores tell more. Labels come in rows of their own.
fn folder() -> Folder {
    let (mut log, mut scores, mut labels) = (String::new(), String::new(), String::new());
    for request in 0..1200u64 {
        let (unit, id) = (request % 600, format!("r{request}"));
        let variant = ["plain", "fancy"][(unit % 2) as usize];
        let second = request * 7 % 3600;
        writeln!(
            log,
            r#"{{"time":"2026-11-23T09:{:02}:{:02}.000Z","request_id":"{id}","unit":"u{unit}","experiment":"e","assigned":"{variant}","served":"{variant}","reason":"hash","status":200,"duration":20}}"#,
            second / 60,
            second % 60
        )
        .unwrap();
        let is_fraud = request * 31 % 100 < 30;
        let noise = (request * 7919 % 997) as f64 / 997.0;
        let signal: f64 = if variant == "fancy" { 0.5 } else { 0.25 };
        let score = (1.0 - signal).mul_add(noise, if is_fraud { signal } else { 0.0 });
        writeln!(scores, r#"{{"request_id":"{id}","score":{score:.3}}}"#).unwrap();
        if request / 2 % 10 != 0 {
            let label = if is_fraud { "fraud" } else { "ok" };
            writeln!(labels, r#"{{"request_id":"{id}","y_true":"{label}"}}"#).unwrap();
        }
    }
    let folder = Folder::new();
    folder.write("experiment.json", FILE);
    folder.write("access.log", log);
    folder.write("outcomes.jsonl", scores + &labels);
    folder
}

#[test]
fn a_plan_names_predictions_and_labels() {
    let folder = folder();
    let found = folder.analysis(&["--outcomes", "outcomes.jsonl"]);
    let auc = result(&found, "auc");
    assert_eq!(auc["decision"], "better", "{found:#}");
    assert!(number(&auc["value"]) > number(&auc["baseline_value"]) + 0.05, "{auc:#}");
    assert_eq!(result(&found, "log_loss")["decision"], "non_inferior");
    let model = &found["model"];
    let counts = ["predictions", "labels", "labeled", "completed"];
    assert_eq!(counts.map(|key| model[key].as_u64().unwrap()), [1200, 1080, 1080, 1080]);
    let variants = model["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 2);
    for variant in variants {
        let bins = variant["calibration"].as_array().unwrap();
        assert_eq!(bins.iter().map(|bin| bin["predictions"].as_u64().unwrap()).sum::<u64>(), 540);
        assert!(number(&variant["ece"]) > number(&variant["ece_by_chance"]), "{variant:#}");
    }
}

#[test]
fn the_report_shows_predictions_and_plots_them() {
    let folder = folder();
    let (code, text, problems) =
        folder.report(&["--outcomes", "outcomes.jsonl", "--html", "report.html"]);
    assert_eq!((code, problems.as_str()), (0, ""), "{text}");
    assert!(text.contains("Predictions  1080 with a label, 120 without"), "{text}");
    assert!(text.contains("fraud labels") && text.contains("by chance"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("Calibration of scores") && page.contains("share of positives"));
}

#[test]
fn a_missing_column_is_named() {
    let folder = folder();
    folder.write("experiment.json", FILE.replace("y_true", "truth"));
    let (code, _, problems) = folder.report(&["--outcomes", "outcomes.jsonl"]);
    assert_eq!(code, 1, "{problems}");
    assert!(
        problems.contains("no column is called truth") && problems.contains("analysis.model.label")
    );
}
