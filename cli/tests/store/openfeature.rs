//! OpenFeature's own SDKs evaluate experiments at the store: Python, JavaScript on servers and in browsers.
//!
//! `scripts/setup.sh tests` fetches them; `tests/openfeature/` has the programs that use them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::server::{Folder, Server};

const USERS: usize = 200;

const EXPERIMENTS: &str = r#"{"experiments": [
    {"name": "forecast", "salt": "one", "match": {"path": {"prefix": "/a"}},
     "unit": [{"header": "x-user-id"}], "baseline": "plain",
     "variants": [{"name": "plain"}, {"name": "fancy", "weight": 40}]},
    {"name": "off", "enabled": false, "unit": [{"header": "x-user-id"}], "baseline": "plain",
     "variants": [{"name": "plain"}, {"name": "fancy", "weight": 40}]}]}"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What an SDK makes of the store's answers.
fn evaluate(command: &mut Command, server: &Server) -> Value {
    let output = command.arg(&server.url).arg(USERS.to_string()).output();
    let output =
        output.unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/setup.sh tests"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("{error}\n{errors}\nif a module is missing, run scripts/setup.sh tests")
    })
}

/// The variants that the proxy gives to the users.
fn assigned(folder: &Folder) -> Vec<String> {
    let users: String = (0..USERS).map(|number| format!("user-{number}\n")).collect();
    let mut command = folder.command(&["assign", "experiment.json", "--experiment", "forecast"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), users.as_bytes()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    output.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().to_owned()).collect()
}

/// What holds for each SDK.
fn check(found: &Value, folder: &Folder, server: Server) {
    let assigned = assigned(folder);
    assert_eq!(found["users"], json!(assigned));
    let one = &assigned[1];
    let found_one = &found["one"];
    assert_eq!(found_one["value"], json!(one), "{found_one}");
    assert_eq!(found_one["variant"], json!(one), "{found_one}");
    assert_eq!((&found_one["reason"], &found_one["error"]), (&json!("SPLIT"), &Value::Null));
    assert_eq!(found_one["trial"].as_str().unwrap().len(), 8, "{found_one}");
    assert_eq!(found["off"]["value"], "plain", "{}", found["off"]);
    assert_eq!(
        (&found["off"]["reason"], &found["off"]["error"]),
        (&json!("DISABLED"), &Value::Null)
    );
    for (case, code) in [
        ("unknown", "FLAG_NOT_FOUND"),
        ("no_key", "TARGETING_KEY_MISSING"),
        ("long_key", "INVALID_CONTEXT"),
        ("type", "TYPE_MISMATCH"),
    ] {
        let found = &found[case];
        assert_eq!(
            (&found["error"], &found["reason"]),
            (&json!(code), &json!("ERROR")),
            "{case}: {found}"
        );
        let default = if case == "type" { json!(true) } else { json!("default") };
        assert_eq!(found["value"], default, "{case}: {found}");
    }
    // All users, one of them twice more: the store cannot know that the caller expects another type.
    server.stop();
    let info = folder.run(&["store", "info", "data", "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["asked"], USERS + 2, "{info:#}");
    assert_eq!(info["trials"], json!([]), "what was asked is no traffic: {info:#}");
}

#[test]
fn python() {
    let folder = Folder::new(EXPERIMENTS);
    let server = folder.serve(&[]);
    let mut command = Command::new(root().join(".tools/store/bin/python"));
    let found = evaluate(command.arg(root().join("tests/openfeature/evaluate.py")), &server);
    check(&found, &folder, server);
}

#[test]
fn javascript_on_servers_and_in_browsers() {
    let folder = Folder::new(EXPERIMENTS);
    let server = folder.serve(&[]);
    // Packages are found beside the program.
    let packages = root().join(".tools/openfeature/node_modules").canonicalize();
    let packages = packages.expect("no packages; run scripts/setup.sh tests");
    let modules = folder.path().join("node_modules");
    std::os::unix::fs::symlink(packages, modules).unwrap();
    let program = root().join("tests/openfeature/evaluate.mjs");
    let program = folder.write("evaluate.mjs", std::fs::read(program).unwrap());
    let found = evaluate(Command::new("node").arg(program), &server);
    // A prefetch of all experiments is the same, and not stored.
    let bulk = &found["bulk"];
    assert_eq!((&bulk["one"], &bulk["off"]), (&found["one"], &found["off"]));
    assert_eq!(bulk["unknown"]["error"], "FLAG_NOT_FOUND", "{bulk}");
    assert_eq!(bulk["other"]["value"], found["users"][2], "{bulk}");
    // The second time with the tag of the first; another user has another answer.
    let exchanges = found["exchanges"].as_array().unwrap();
    assert_eq!((&exchanges[0]["tag"], &exchanges[0]["status"]), (&Value::Null, &json!(200)));
    assert!(exchanges[1]["tag"].is_string() && exchanges[1]["status"] == 304, "{exchanges:?}");
    assert_eq!(exchanges.last().unwrap()["status"], 200, "{exchanges:?}");
    check(&found, &folder, server);
}
