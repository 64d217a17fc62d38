//! `sidetrack calibrate` from outside: the decisions of `analyze run` are as rarely wrong as they should be, and
//! docs/statistics.md says so.

#![expect(clippy::unwrap_used, reason = "a test that fails may say so abruptly")]

use std::process::{Command, Output};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/statistics.md");

fn calibrate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidetrack")).arg("calibrate").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The table of a grid in the handbook.
fn table(grid: &str) -> String {
    let docs = std::fs::read_to_string(DOCS).unwrap();
    let (_, rest) = docs.split_once(&format!("<!-- calibration: {grid} -->\n\n")).unwrap();
    let (table, _) =
        rest.split_once(&format!("\n<!-- end of the calibration: {grid} -->")).unwrap();
    table.to_owned()
}

#[test]
fn no_decision_is_wrong_more_often_than_it_may_be_and_the_handbook_has_the_table() {
    let output = calibrate(&["--markdown"]);
    let found = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "a rate is too high (marked with !):\n{found}");
    assert!(found.lines().count() > 60, "{found}");
    assert!(
        found == table("coarse"),
        "docs/statistics.md is not what the command writes; renew it with \
         sidetrack calibrate --update docs/statistics.md\n{found}"
    );
}

#[test]
fn a_table_has_a_line_for_each_experiment_and_replaces_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.md");
    let page = "before\n<!-- calibration: coarse -->\nold\n<!-- end of the calibration: coarse -->\nafter\n";
    std::fs::write(&path, page).unwrap();
    let output = calibrate(&["--runs", "1", "--update", path.to_str().unwrap()]);
    let (text, updated) = (stdout(&output), std::fs::read_to_string(&path).unwrap());
    assert!(text.starts_with("0 of "), "{text}");
    let rows = |text: &str, metric: &str| text.lines().filter(|l| l.contains(metric)).count();
    assert!(rows(&text, "error rate") > 10);
    assert_eq!(rows(&text, "error rate"), rows(&updated, "| error rate "));
    assert!(updated.starts_with("before\n<!-- calibration: coarse -->\n\nsidetrack "), "{updated}");
    assert!(updated.ends_with("\n<!-- end of the calibration: coarse -->\nafter\n"), "{updated}");
    assert!(!updated.contains("old"));
    // A file without the markers is not touched, and that is found before the work.
    std::fs::write(&path, "nothing").unwrap();
    let output = calibrate(&["--update", path.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("has no lines <!-- calibration: coarse -->"), "{error}");
}
