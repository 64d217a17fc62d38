//! `sidetrack calibrate` from outside: the decisions of `analyze run` are as rarely wrong as they should be, and
//! docs/statistics.md says so.

#![expect(clippy::unwrap_used, reason = "a test that fails may say so abruptly")]

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sidetrack_analysis::calibrate::Grid;

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

/// Compares a table of the handbook with what the command writes.
fn is_what_the_command_writes(grid: &str, options: &[&str]) {
    let output = calibrate(&[options, &["--markdown"]].concat());
    let found = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "a rate is too high (marked with !):\n{found}");
    assert!(
        found == table(grid),
        "docs/statistics.md is not what the command writes; renew it with \
         sidetrack calibrate {} --update docs/statistics.md\n{found}",
        options.join(" ")
    );
}

#[test]
fn no_decision_is_wrong_more_often_than_it_may_be_and_the_handbook_has_the_table() {
    is_what_the_command_writes("coarse", &[]);
    assert!(table("coarse").lines().count() > Grid::Coarse.experiments());
}

#[test]
fn the_cases_in_which_the_usual_formulas_err_hold_their_levels_and_are_in_the_handbook() {
    is_what_the_command_writes("corners", &["--corners"]);
    assert!(table("corners").lines().count() > Grid::Corners.experiments());
}

#[test]
fn a_rate_that_looks_too_high_is_simulated_again_with_ten_times_the_runs() {
    let found: serde_json::Value =
        serde_json::from_slice(&calibrate(&["--runs", "20", "--json"]).stdout).unwrap();
    let runs = found["cells"].as_array().unwrap().iter().map(|cell| cell["runs"].as_u64().unwrap());
    let (again, once): (Vec<u64>, Vec<u64>) = runs.partition(|runs| *runs != 20);
    // Of so few runs, two errors look like many.
    assert!(!again.is_empty() && again.len() < once.len() / 2, "{again:?}");
    assert!(again.iter().all(|runs| *runs == 200), "{again:?}");
    let text = stdout(&calibrate(&["--runs", "20"]));
    assert!(text.contains(&format!("\n{} of them again with 200 (", again.len())), "{text}");
}

/// Whether a process handles SIGINT, which would end it before: bit 1 of the signals that it catches.
fn catches_interrupts(id: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0
}

/// Ctrl-C ends the work with what is done.
#[test]
fn an_interrupted_calibration_prints_what_is_done_and_changes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.md");
    let page = "<!-- calibration: full -->\nold\n<!-- end of the calibration: full -->\n";
    std::fs::write(&path, page).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["calibrate", "--full", "--runs", "100000", "--update", path.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id().to_string();
    let begun = Instant::now();
    while !catches_interrupts(&id) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not listen for signals");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("interrupted: "), "{error}");
    let experiments = Grid::Full.experiments();
    let head = stdout(&output);
    assert!(head.starts_with(&format!("full grid: {experiments} experiments (")), "{head}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page);
}

#[test]
fn a_table_has_a_line_for_each_experiment_and_replaces_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.md");
    let page = "before\n<!-- calibration: coarse -->\nold\n<!-- end of the calibration: coarse -->\nafter\n";
    std::fs::write(&path, page).unwrap();
    let output = calibrate(&["--runs", "1", "--update", path.to_str().unwrap()]);
    let (text, updated) = (stdout(&output), std::fs::read_to_string(&path).unwrap());
    assert!(text.starts_with("coarse grid: "), "{text}");
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
