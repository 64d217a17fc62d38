//! From a tag to a promotion or a rollback without hands, as examples/pipeline shows it: the test runs the very script,
//! and asks MLflow, the repository and the files what became of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails may say so abruptly"
)]

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Three Python servers start, one after another, on a machine that does other things as well.
const DEADLINE: Duration = Duration::from_secs(900);
/// The script's ports: the variables that set them, and what README.md says.
const PORTS: [(&str, &str); 8] = [
    ("MLFLOW_PORT", "5000"),
    ("MODELS_PORT", "5001"),
    ("STORE_PORT", "8088"),
    ("PROMETHEUS_PORT", "9090"),
    ("ENVOY_1_PORT", "10000"),
    ("ADMIN_1_PORT", "9901"),
    ("ENVOY_2_PORT", "10001"),
    ("ADMIN_2_PORT", "9902"),
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
        let mut command = Command::new(root().join("examples/pipeline/run.sh"));
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
fn three_tagged_versions_are_decided_without_hands() {
    let (dir, ports) = (tempfile::tempdir().unwrap(), free_ports());
    let mut story = Story::start(dir.path(), &ports);
    story.wait_for("until you press Enter");

    every_user_has_one_draw_in_both_proxies(dir.path());
    the_registry_has_the_results(ports["MLFLOW_PORT"], &story.text);
    the_repository_has_the_reasons(dir.path());
    the_readme_shows_the_very_commands(&story.text, &ports);
    let line = story.text.lines().find(|line| line.starts_with("All three versions")).unwrap();
    println!("{line}");

    drop(story);
    for (name, port) in ports {
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "something still listens on {name}, {port}"
        );
    }
}

/// Within a trial, a user has the same bucket in both proxies, and all steps were in force.
fn every_user_has_one_draw_in_both_proxies(dir: &Path) {
    let mut users: HashMap<(String, String), u64> = HashMap::new();
    let mut weights: BTreeSet<String> = BTreeSet::new();
    let mut diverted: BTreeSet<String> = BTreeSet::new();
    for proxy in ["proxy-1", "proxy-2"] {
        let log = std::fs::read_to_string(dir.join(proxy).join("exposures.jsonl")).unwrap();
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let exposure: HashMap<&str, &str> =
                sidetrack::exposure::values(text(&line, "exposure")).collect();
            assert!(["hash", "breaker_open", "probe"].contains(&exposure["reason"]), "{line}");
            weights.insert(exposure["weights"].to_owned());
            if exposure["reason"] == "breaker_open" {
                diverted.insert(text(&line, "assigned").to_owned());
            }
            let bucket = exposure["bucket"].parse().unwrap();
            let key = (exposure["trial"].to_owned(), exposure["unit"].to_owned());
            // The same draw in both proxies.
            assert_eq!(*users.entry(key).or_insert(bucket), bucket, "{line}");
        }
    }
    for wanted in ["digits-v2=200000/500000", "digits-v2=500000/500000", "digits-v3=200000/500000"]
    {
        assert!(weights.contains(wanted), "{wanted} was never in force: {weights:?}");
    }
    assert!(diverted.contains("digits-v4"), "its breaker never opened: {diverted:?}");
    assert!(users.len() > 1000, "{}", users.len());
}

fn the_registry_has_the_results(port: u16, story: &str) {
    let version = |alias: &str| {
        let found = mlflow(port, "registered-models/get?name=digits", None);
        let aliases = found["registered_model"]["aliases"].as_array().unwrap();
        let named = aliases.iter().find(|found| found["alias"] == alias);
        named.unwrap_or_else(|| panic!("no {alias}\n{story}"))["version"].clone()
    };
    let (champion, previous) = (version("champion"), version("previous_champion"));
    assert_eq!((champion, previous), (json!("2"), json!("1")), "{story}");
    // Prometheus or the store may be the first to know that version 4 fails.
    let fails = ["the breaker of digits-v4 opened in 2 of 2 proxies", "of digits-v4 is "];
    for (number, result, reasons) in [
        (2, "promoted", &[][..]),
        (3, "rolled_back", &["accuracy of digits-v3 is significantly worse"][..]),
        (4, "rolled_back", &fails),
    ] {
        let call = format!("model-versions/get?name=digits&version={number}");
        let version = mlflow(port, &call, None)["model_version"].clone();
        let tags = tags(&version);
        assert_eq!(tags["ab_test.result"], result, "{tags:?}\n{story}");
        assert!(!tags.contains_key("ab_test_candidate"), "{tags:?}");
        let is_said = |reason: &&str| tags["ab_test.reason"].contains(reason);
        assert!(reasons.is_empty() || reasons.iter().any(is_said), "{tags:?}\n{story}");
        let call = format!("runs/get?run_id={}", tags["ab_test.run_id"]);
        let run = mlflow(port, &call, None)["run"].clone();
        assert_eq!(run["info"]["status"], "FINISHED", "{run}");
        // Breakers may end a test before it has outcomes.
        if number != 4 {
            let metrics = run["data"]["metrics"].as_array().unwrap();
            let key = format!("accuracy/digits-v{number}/diff");
            assert!(metrics.iter().any(|metric| metric["key"] == key), "no {key} in {metrics:?}");
        }
        let run_tags = self::tags(&run["data"]);
        assert_eq!(run_tags["ab_test.result"], result, "{run_tags:?}");
    }
}

fn the_repository_has_the_reasons(dir: &Path) {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        let output = command.arg("-C").arg(dir.join("experiments.git")).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let log = git(&["log", "--reverse", "--format=%s", "main"]);
    let subjects: Vec<&str> =
        log.lines().filter_map(|line| line.strip_prefix("digits-ab-test: ")).collect();
    let place = |wanted: &str| {
        let found = subjects.iter().position(|subject| *subject == wanted);
        found.unwrap_or_else(|| panic!("no {wanted:?} in\n{log}"))
    };
    let story = [
        "test digits-v2 against digits-v1",
        "raise digits-v2 from 20 % to 50 %",
        "promote digits-v2",
        "test digits-v3 against digits-v2",
        "test digits-v4 against digits-v2",
    ];
    assert!(story.into_iter().map(place).is_sorted(), "{log}");
    for candidate in ["digits-v3", "digits-v4"] {
        let start = format!("roll {candidate} back from ");
        assert!(subjects.iter().any(|subject| subject.starts_with(&start)), "{log}");
    }
    // What is deployed at the end.
    let file = git(&["show", "main:experiment.yaml"]);
    assert!(file.contains("baseline: \"digits-v2\"") && file.contains("weight: 0 "), "{file}");
}

/// What README.md tells readers to type is what the script has done, ports apart.
fn the_readme_shows_the_very_commands(output: &str, ports: &HashMap<&str, u16>) {
    let mut output = output.to_owned();
    for (name, usual) in PORTS {
        output = output.replace(&ports[name].to_string(), usual);
    }
    let ran: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let readme = std::fs::read_to_string(root().join("examples/pipeline/README.md"))
        .unwrap()
        .replace(" \\\n    ", " ");
    let shown: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!(shown, ran);
}
