//! The command from outside: what it prints, where, and with which exit code.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails may say so abruptly"
)]

#[path = "command/analyze.rs"]
mod analyze;
#[path = "command/assign.rs"]
mod assign;
#[path = "command/bandit.rs"]
mod bandit;
#[path = "command/check.rs"]
mod check;
#[path = "command/delivery.rs"]
mod delivery;
#[path = "command/edit.rs"]
mod edit;
#[path = "command/explain.rs"]
mod explain;
#[path = "command/gateway.rs"]
mod gateway;
#[path = "command/helm.rs"]
mod helm;
#[path = "command/init.rs"]
mod init;
#[path = "command/kserve.rs"]
mod kserve;
#[path = "command/kube.rs"]
mod kube;
#[path = "command/manual.rs"]
mod manual;
#[path = "command/otlp.rs"]
mod otlp;
#[path = "command/plan.rs"]
mod plan;
#[path = "command/render.rs"]
mod render;
#[path = "command/seldon.rs"]
mod seldon;
#[path = "command/simulate.rs"]
mod simulate;
#[path = "command/size.rs"]
mod size;
#[path = "command/status.rs"]
mod status;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Runs `sidetrack` in the folder of the test files.
fn run(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(arguments)
        .current_dir(data())
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = stdin.to_vec();
    // From a thread, since the command may answer before it has read everything. It may also end before.
    let writer = std::thread::spawn(move || pipe.write_all(&input).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What the command writes to stderr, with each note in one line.
fn notes(output: &Output) -> String {
    stderr(output).replace("\n      ", " ")
}

fn json(arguments: &[&str], stdin: &[u8]) -> serde_json::Value {
    let output = run(arguments, stdin);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What a user sees.
fn seen(arguments: &[&str]) -> String {
    let output = run(arguments, b"");
    let errors = if output.stderr.is_empty() {
        String::new()
    } else {
        format!("--- stderr\n{}", stderr(&output))
    };
    format!(
        "$ sidetrack {}\n{}{errors}--- exit {}",
        arguments.join(" "),
        stdout(&output),
        code(&output)
    )
}

/// Compares with tests/snapshots; `cargo insta review` takes over what has changed on purpose.
fn snapshot(name: &str, text: impl AsRef<str>) {
    insta::assert_snapshot!(name, text.as_ref());
}

/// A request that the full experiment takes, in its second phase.
fn full<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "explain",
        "full.yaml",
        "--at",
        "2026-11-23T10:30:00Z",
        "--host",
        "predictor.example.com",
    ];
    arguments.extend(["--path", "/v2/models/forecast/infer", "--header", "x-tenant: acme"]);
    arguments.extend(more);
    arguments
}

#[test]
fn the_schema_knows_every_key_of_the_full_example() {
    let schema = json(&["schema"], b"");
    let text = std::fs::read_to_string(data().join("full.yaml")).unwrap();
    let file: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    known(&schema, &file, "");
}

/// Walks the file along the schema: every key must be there, with a description.
fn known(schema: &serde_json::Value, value: &serde_json::Value, at: &str) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let own = &schema["properties"][key];
                let inner = if own.is_null() { &schema["additionalProperties"] } else { own };
                assert!(inner.is_object(), "{at}.{key} is not in the schema: {schema}");
                assert!(
                    own.is_null() || own["description"].is_string(),
                    "{at}.{key} has no description"
                );
                known(inner, value, &format!("{at}.{key}"));
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| known(&schema["items"], item, &format!("{at}[]")))
        }
        _ => {}
    }
}

#[test]
fn each_command_has_help_with_an_example() {
    for command in [
        "init",
        "run",
        "status",
        "check",
        "explain",
        "assign",
        "simulate",
        "plan",
        "set",
        "promote",
        "advance",
        "schema",
        "size",
        "analyze",
        "bandit",
        "package",
        "import seldon",
        "export seldon",
    ] {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let output = run(&words, b"");
        assert_eq!(code(&output), 0);
        let example = format!("sidetrack {command}");
        assert!(
            stdout(&output).contains("Example") && stdout(&output).contains(&example),
            "{}",
            stdout(&output)
        );
    }
}
