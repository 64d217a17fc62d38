//! Lists of units.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

#[test]
fn lines_become_rows_and_bytes_stay() {
    let output = run(&["assign", "simple.yaml"], b"4711\r\n\n4712\na,b\n\"q\"\n\xff\n 4711 ");
    let rows: Vec<&[u8]> = output.stdout.split(|&byte| byte == b'\n').collect();
    assert_eq!(rows[0], b"unit,bucket,variant,phase");
    assert_eq!(rows[1], b"4711,214519,new,");
    assert_eq!(rows[2], b"4712,917171,old,");
    assert!(rows[3].starts_with(b"\"a,b\","));
    assert!(rows[4].starts_with(b"\"\"\"q\"\"\","));
    assert!(rows[5].starts_with(b"\xff,"));
    assert!(rows[6].starts_with(b" 4711 ,"));
    assert_eq!(rows.len(), 8);
    assert_eq!(stderr(&output), "note: skipped 1 empty line\n");
    assert_eq!(code(&output), 0);
}

#[test]
fn a_phase_a_layer_and_a_list_are_honoured() {
    let at = ["assign", "full.yaml", "--at", "2026-11-23T10:30:00Z"];
    let output = run(&at, b"user-1\nuser-3\nqa-alice\n");
    let rows = "user-1,262671,baseline-predictor,early\nuser-3,,,early\nqa-alice,,enhanced-predictor,early\n";
    assert_eq!(stdout(&output), format!("unit,bucket,variant,phase\n{rows}"));
    let before = run(&["assign", "full.yaml", "--at", "2026-11-23T08:00:00Z"], b"user-1\n");
    assert_eq!(stdout(&before), "unit,bucket,variant,phase\nuser-1,,baseline-predictor,\n");
}

#[test]
fn the_experiment_must_be_clear() {
    let output = run(&["assign", "two.yaml"], b"x\n");
    assert_eq!((code(&output), stdout(&output)), (2, ""));
    assert!(stderr(&output).contains("first, second"), "{}", stderr(&output));
    let unknown = run(&["assign", "two.yaml", "--experiment", "third"], b"x\n");
    assert_eq!((code(&unknown), stdout(&unknown)), (1, ""));
    assert_eq!(
        stderr(&unknown),
        "error: --experiment: unknown experiment \"third\"; expected one of: first, second\n"
    );
    let random = run(&["assign", "two.yaml", "--experiment", "second"], b"x\n");
    assert_eq!((code(&random), stdout(&random)), (1, ""));
    assert_eq!(code(&run(&["assign", "two.yaml", "--experiment", "first"], b"x\n")), 0);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["assign", "simple.yaml"])
        .current_dir(data())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(&b"unit\n".repeat(200_000)).ok();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, ""));
}
