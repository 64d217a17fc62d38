//! `sidetrack render grafana`: valid for Grafana's own types, panels without overlap, and equal to
//! the committed file.
//!
//! That every query has data is in `prometheus_envoy.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sidetrack_tests::world::sidetrack_command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn rendered(more: &[&str]) -> String {
    let experiment = root().join("envoy/experiment.yaml").display().to_string();
    sidetrack_command(&[&["render", "grafana", &experiment], more].concat()).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&rendered(&[])).unwrap()
}

fn validated(files: &[PathBuf]) -> Output {
    let python = root().join(".tools/py/bin/python");
    assert!(python.exists(), "{} is missing: run make setup", python.display());
    Command::new(python)
        .arg("-B")
        .arg(root().join("tests/grafana/validate.py"))
        .args(files)
        .output()
        .unwrap()
}

#[test]
fn grafana_would_take_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let files = [&[][..], &["--datasource", "prom-eu", "--job", "mesh"]].map(|more| {
        let file = folder.path().join(format!("{}.json", more.len()));
        fs::write(&file, rendered(more)).unwrap();
        file
    });
    let run = validated(&files);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn grafana_would_not_take_a_broken_one() {
    let cases = [
        (
            "\"drawStyle\": \"line\"",
            "\"drawStyle\": \"lines\"",
            "fieldConfig.defaults.custom.drawStyle",
        ),
        ("\"graphTooltip\": 1", "\"graphTooltip\": 7", "graphTooltip"),
        ("\"colorMode\"", "\"colourMode\"", "'colourMode' was unexpected"),
        ("\"schemaVersion\": 42", "\"schemaVersion\": 41", "schemaVersion"),
        ("\"expr\"", "\"query\"", "'expr' is a required property"),
        ("\"type\": \"stat\"", "\"type\": \"tile\"", "panels.0"),
        ("\"gridPos\"", "\"gridPosition\"", "panels.0"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let whole = rendered(&[]);
    let copies: Vec<PathBuf> = cases
        .iter()
        .enumerate()
        .map(|(i, (good, broken, _))| {
            assert!(whole.contains(good), "{good}");
            let copy = folder.path().join(format!("{i}.json"));
            fs::write(&copy, whole.replace(good, broken)).unwrap();
            copy
        })
        .collect();
    let run = validated(&copies);
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    for (copy, (_, broken, complaint)) in copies.iter().zip(cases) {
        let name = copy.display().to_string();
        assert!(
            said.lines().any(|l| l.starts_with(&name) && l.contains(complaint)),
            "{broken}:\n{said}"
        );
    }
}

#[test]
fn panels_do_not_overlap_and_have_their_own_ids() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut taken = std::collections::BTreeMap::new();
    let mut ids = std::collections::BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{} is wider than the grid", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let before = taken.insert(cell, &panel["title"]);
            assert_eq!(before, None, "{} overlaps at {cell:?}", panel["title"]);
        }
    }
}

#[test]
fn the_variables_begin_with_what_was_asked_for() {
    let text = rendered(&["--datasource", "prom-eu", "--job", "mesh"]);
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let current = |index: usize| &dashboard["templating"]["list"][index]["current"]["value"];
    assert_eq!(current(0), &json!("prom-eu"));
    assert_eq!(current(1), &json!("mesh"));
    assert_eq!(current(2), &json!("financial-ab-test"));
}

/// `UPDATE=1` writes it again.
#[test]
fn the_committed_dashboard_is_what_the_command_writes() {
    let file = root().join("deploy/grafana/sidetrack.json");
    let text = rendered(&[]);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "{} is not what the command writes; UPDATE=1 writes it anew",
        file.display()
    );
}
