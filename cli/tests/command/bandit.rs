//! `bandit` edits a file in place, and refuses when the edited file would mean something else.

use super::*;

const REWARDS: &str = "variant,successes,trials\na,100,1000\nb,100,1000\nc,200,1000\n";

/// Runs a step on this file; returns the output and the file afterwards.
fn step(file: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (experiments, rewards) = (path("e.yaml"), path("r.csv"));
    std::fs::write(&experiments, file).unwrap();
    std::fs::write(&rewards, REWARDS).unwrap();
    let mut arguments = vec!["bandit", &experiments, "--experiment", "first"];
    arguments.extend(["--rewards", &rewards, "--out", &experiments]);
    let output = run(&[&arguments[..], &["--at", "2026-11-23T12:00:00Z"]].concat(), b"");
    (output, std::fs::read_to_string(&experiments).unwrap())
}

/// Two experiments; `variants` are those of the second one.
fn file(anchor: &str, variants: &str) -> String {
    let list = "\n    - {name: a}\n    - {name: b, weight: 20}\n    - {name: c, weight: 20}";
    format!(
        "experiments:\n  - name: first\n    unit: [{{header: u}}]\n    baseline: a\n    variants: {anchor}{list}\n  \
         - name: second\n    unit: [{{header: u}}]\n    baseline: a\n    variants: {variants}\n"
    )
}

#[test]
fn the_weights_of_one_experiment_change_and_those_of_another_stay() {
    let other = "[{name: a}, {name: b, weight: 20}, {name: c, weight: 20}]";
    let (output, after) = step(&file("", other));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(after.contains(other) && !after.contains("- {name: c, weight: 20}"), "{after}");
}

#[test]
fn an_edit_that_would_change_another_experiment_is_refused() {
    // The second experiment takes its variants from the first one, so a change of the number changes both.
    let before = file("&variants", "*variants");
    let (output, after) = step(&before);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    assert!(stderr(&output).contains("the file cannot be edited in place"), "{}", stderr(&output));
    assert_eq!(after, before, "the file must stay as it is");
}
