//! A whole analysis of a fixed log under snapshot: its keys in JSON, and its text.

use std::path::Path;
use std::process::Command;

/// Runs `analyze run` on the files in tests/data/analysis.
fn analysis(more: &[&str]) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/analysis");
    let output = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["analyze", "run", "experiment.json", "--exposures", "access.log"])
        .args(["--outcomes", "outcomes.csv", "--guardrail", "latency_p95:100ms"])
        .args(["--metric", "revenue=mean:increase", "--value-per", "accuracy=0.02"])
        .args(["--value-per", "latency_mean=0.001"])
        .args(more)
        .current_dir(data)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_json_of_an_analysis() {
    insta::assert_snapshot!("analysis_json", analysis(&["--json"]));
}

#[test]
fn the_text_of_an_analysis() {
    insta::assert_snapshot!("analysis_text", analysis(&[]));
}
