//! The whole story, as examples/mlflow tells it: the test runs the very script, and asks MLflow and the files what
//! became of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails may say so abruptly"
)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Three Python servers start, one after another, on a machine that does other things as well.
const DEADLINE: Duration = Duration::from_secs(900);
const USERS: usize = 3000;
/// The script's ports: the variables that set them, and what README.md says.
const PORTS: [(&str, &str); 5] = [
    ("MLFLOW_PORT", "5000"),
    ("V1_PORT", "5001"),
    ("V2_PORT", "5002"),
    ("ENVOY_PORT", "10000"),
    ("ADMIN_PORT", "9901"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The script while it runs. It ends its servers when it is told to end, and that it is in any case.
struct Story {
    script: Child,
    lines: Receiver<String>,
    text: String,
    deadline: Instant,
}

impl Story {
    fn start(dir: &Path, ports: &HashMap<&str, u16>) -> Self {
        let mut command = Command::new(root().join("examples/mlflow/run.sh"));
        command
            .arg("--keep")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("NO_COLOR", "1");
        command.envs(ports.iter().map(|(name, port)| (name, port.to_string())));
        command.env("SIDETRACK", env!("CARGO_BIN_EXE_sidetrack"));
        command.env("SIDETRACK_WASM", wasm());
        let mut script = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(script.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { script, lines, text: String::new(), deadline: Instant::now() + DEADLINE }
    }

    /// Waits for a line that says this, or for the end.
    fn wait_for(&mut self, word: &str) {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {word:?} in\n{}", self.text)
            };
            self.text.push_str(&line);
            self.text.push('\n');
            if line.contains(word) {
                return;
            }
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        // Its stdin closes: the reader at its end goes on. The signal is for a story that has not come so far.
        drop(self.script.stdin.take());
        Command::new("kill").arg(self.script.id().to_string()).stderr(Stdio::null()).status().ok();
        self.script.wait().ok();
    }
}

/// The filter: `SIDETRACK_WASM`, or what `make wasm` built.
fn wasm() -> PathBuf {
    let given =
        std::env::var_os("SIDETRACK_WASM").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = given.unwrap_or_else(|| root().join("dist/sidetrack.wasm"));
    path.canonicalize()
        .unwrap_or_else(|error| panic!("{}: {error}: `make wasm` builds it", path.display()))
}

fn free_ports() -> HashMap<&'static str, u16> {
    let held = PORTS.map(|(name, _)| (name, TcpListener::bind("127.0.0.1:0").unwrap()));
    held.iter().map(|(name, listener)| (*name, listener.local_addr().unwrap().port())).collect()
}

fn mlflow(port: u16, call: &str, body: Option<Value>) -> Value {
    let url = format!("http://127.0.0.1:{port}/api/2.0/mlflow/{call}");
    let answer = match body {
        Some(body) => ureq::post(&url).send_json(body),
        None => ureq::get(&url).call(),
    };
    answer.unwrap_or_else(|error| panic!("{url}: {error}")).body_mut().read_json().unwrap()
}

fn tags(version: &Value) -> HashMap<&str, &str> {
    let pair = |tag| (text(tag, "key"), text(tag, "value"));
    version["tags"].as_array().unwrap().iter().map(pair).collect()
}

#[track_caller]
fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn two_versions_go_from_the_registry_to_a_promotion() {
    let (dir, ports) = (tempfile::tempdir().unwrap(), free_ports());
    let mut story = Story::start(dir.path(), &ports);
    story.wait_for("until you press Enter");

    every_request_is_an_exposure_of_a_user_who_keeps_the_version(dir.path());
    the_registry_says_who_won_and_why(ports["MLFLOW_PORT"]);
    the_readme_shows_the_very_commands(&story.text, &ports);

    drop(story);
    for (name, port) in ports {
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "something still listens on {name}, {port}"
        );
    }
}

fn every_request_is_an_exposure_of_a_user_who_keeps_the_version(dir: &Path) {
    let log = std::fs::read_to_string(dir.join("access.log")).unwrap();
    let outcomes = std::fs::read_to_string(dir.join("outcomes.csv")).unwrap();
    let outcomes: HashMap<&str, &str> =
        outcomes.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect();
    let mut users: HashMap<String, String> = HashMap::new();
    let mut requests = 0;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let exposure: HashMap<&str, &str> =
            sidetrack::exposure::values(text(&line, "exposure")).collect();
        assert_eq!(
            (text(&line, "experiment"), exposure["reason"]),
            ("digits-ab-test", "hash"),
            "{line}"
        );
        assert_eq!(line["cluster"], line["served"], "{line}");
        assert!(outcomes.contains_key(text(&line, "request_id")), "{line}");
        let version = users
            .entry(exposure["unit"].to_owned())
            .or_insert_with(|| text(&line, "served").to_owned());
        assert_eq!(version, text(&line, "served"), "a user has changed the version: {line}");
        requests += 1;
    }
    assert_eq!((requests, users.len()), (outcomes.len(), USERS));
    let candidates = users.values().filter(|version| *version == "digits-v2").count();
    // Half of 3000, give or take six standard deviations.
    assert!((1335..=1665).contains(&candidates), "{candidates} of {USERS}");
}

fn the_registry_says_who_won_and_why(port: u16) {
    let version = |alias: &str| {
        let call = format!("registered-models/alias?name=digits&alias={alias}");
        mlflow(port, &call, None)["model_version"].clone()
    };
    let (champion, previous) = (version("champion"), version("previous_champion"));
    assert_eq!((&champion["version"], &previous["version"]), (&json!("2"), &json!("1")));
    let (won, lost) = (tags(&champion), tags(&previous));
    assert_eq!((won["ab_test.result"], lost["ab_test.result"]), ("promoted", "replaced"));
    assert!(!won.contains_key("ab_test_candidate"), "{won:?}");

    let run =
        mlflow(port, &format!("runs/get?run_id={}", won["ab_test.run_id"]), None)["run"].clone();
    assert_eq!(run["info"]["status"], "FINISHED");
    let metric = |key: &str| {
        let metrics = run["data"]["metrics"].as_array().unwrap();
        let found = metrics.iter().find(|metric| metric["key"] == key);
        found.unwrap_or_else(|| panic!("no {key} in {metrics:?}"))["value"].as_f64().unwrap()
    };
    // Version 2 gets 96 of 100 right, version 1 gets 84.
    assert!((0.05..0.20).contains(&metric("accuracy/digits-v2/diff")));
    assert_eq!(metric("units/digits-v1") + metric("units/digits-v2"), 3000.0);
}

/// What README.md tells readers to type is what the script has done, ports apart.
fn the_readme_shows_the_very_commands(output: &str, ports: &HashMap<&str, u16>) {
    let mut output = output.to_owned();
    for (name, usual) in PORTS {
        output = output.replace(&ports[name].to_string(), usual);
    }
    let ran: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let readme = std::fs::read_to_string(root().join("examples/mlflow/README.md"))
        .unwrap()
        .replace(" \\\n    ", " ");
    let shown: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!(shown, ran);
}
