//! `sidetrack calibrate` from outside: the decisions of `analyze run` are as rarely wrong as they should be.

use std::process::Command;

use serde_json::Value;

#[test]
fn no_decision_is_wrong_more_often_than_it_may_be() {
    let output = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["calibrate", "--runs", "100", "--json"])
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failed: Vec<&Value> = found["cells"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|cell| !cell["failed"].as_array().unwrap().is_empty())
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!((output.status.code(), &found["ok"]), (Some(0), &Value::Bool(true)));
    assert!(found["cells"].as_array().unwrap().len() > 50, "{found}");
}

#[test]
fn a_table_has_a_line_for_each_experiment() {
    let run = |format: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
            .args(["calibrate", "--runs", "1"])
            .args(format)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (text, markdown) = (run(&[]), run(&["--markdown"]));
    assert!(text.starts_with("0 of "), "{text}");
    let rows = |text: &str, metric: &str| text.lines().filter(|l| l.contains(metric)).count();
    assert!(rows(&text, "error rate") > 10);
    assert_eq!(rows(&text, "error rate"), rows(&markdown, "| error rate |"));
}
