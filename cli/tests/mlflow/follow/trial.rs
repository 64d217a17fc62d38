//! A model with tagged versions, a repository with its clone, and a store that says what the test wants.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidetrack::quantity::Timestamp;

use super::super::server::{Model, server};
use super::super::{Ran, analysis, command, ran};

const TEMPLATE: &str = "\
# What all tests have in common.
unit: [{header: x-user-id}]
analysis:
  metrics: [accuracy]
  planned_units: 100000
  steps:
    - {weight: 5, min_units: 100}
    - {weight: 30, min_units: 100}
settings:
  exposure_unit: digest
";

/// What the store answers.
#[derive(Clone)]
enum Answer {
    Analysis(String),
    NotYet,
    Gone,
}

pub(super) struct Store {
    pub(super) url: String,
    answer: Arc<Mutex<Answer>>,
}

/// Answers all requests with a status and a body, until the test ends.
fn serve(answer: impl Fn() -> (&'static str, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let (status, body) = answer();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
            write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        }
    });
    url
}

/// The admin interface of an Envoy with this configuration in force.
pub(super) fn envoy(hash: u32) -> String {
    serve(move || ("200 OK", format!("ab_test_config_hash{{plugin=\"sidetrack\"}} {hash}\n")))
}

impl Store {
    fn start() -> Self {
        let answer = Arc::new(Mutex::new(Answer::NotYet));
        let shared = Arc::clone(&answer);
        let url = serve(move || match shared.lock().unwrap().clone() {
            Answer::Analysis(text) => ("200 OK", text),
            Answer::NotYet => ("409 Conflict", r#"{"detail": "no outcomes"}"#.to_owned()),
            Answer::Gone => ("500 Internal Server Error", String::new()),
        });
        Self { url, answer }
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn not_yet(&self) {
        self.set(Answer::NotYet);
    }

    pub(super) fn gone(&self) {
        self.set(Answer::Gone);
    }
}

pub(super) struct Trial {
    pub(super) model: Model,
    pub(super) store: Store,
    name: &'static str,
    dir: tempfile::TempDir,
}

pub(super) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Keys and values of MLflow's tags and parameters.
pub(super) fn pairs(list: &Value) -> HashMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pairs = list.as_array().into_iter().flatten();
    pairs.map(|pair| (text(&pair["key"]), text(&pair["value"]))).collect()
}

/// The candidate wins.
pub(super) fn wins(analysis: &mut Value) {
    analysis["decision"] = "promote".into();
    analysis["winner"] = analysis["variants"][1]["name"].clone();
    analysis["metrics"][0]["candidates"][0]["decision"] = "better".into();
}

/// The candidate is significantly worse.
pub(super) fn harms(analysis: &mut Value) {
    analysis["metrics"][0]["candidates"][0]["decision"] = "worse".into();
    analysis["metrics"][0]["candidates"][0]["diff"] = json!(-0.2);
}

impl Trial {
    /// Version 1 is the champion, and these are tagged as candidates.
    pub(super) fn new(name: &'static str, candidates: &[&str]) -> Self {
        let model = server().model(name, 1 + candidates.len());
        for version in candidates {
            model.tag(version, "ab_test_candidate", "true");
        }
        let trial = Self { model, store: Store::start(), name, dir: tempfile::tempdir().unwrap() };
        let at = trial.dir.path();
        git(at, &["init", "--quiet", "--bare", "-b", "main", "remote.git"]);
        trial.clone_as("clone");
        let clone = at.join("clone");
        git(&clone, &["commit", "--quiet", "--allow-empty", "-m", "start"]);
        git(&clone, &["push", "--quiet", "-u", "origin", "main"]);
        trial.template(TEMPLATE);
        trial
    }

    pub(super) fn clone_as(&self, name: &str) -> PathBuf {
        let at = self.dir.path();
        git(at, &["clone", "--quiet", "remote.git", name]);
        git(&at.join(name), &["config", "user.name", name]);
        git(&at.join(name), &["config", "user.email", "robot@example.com"]);
        at.join(name)
    }

    pub(super) fn template(&self, text: &str) {
        std::fs::write(self.dir.path().join("template.yaml"), text).unwrap();
    }

    pub(super) fn clone(&self) -> PathBuf {
        self.dir.path().join("clone")
    }

    pub(super) fn file(&self) -> PathBuf {
        self.clone().join("experiment.yaml")
    }

    /// The command of a round in this clone.
    pub(super) fn command(&self, clone: &Path, more: &[&str]) -> Command {
        let file = clone.join("experiment.yaml");
        let template = self.dir.path().join("template.yaml");
        let mut command = command(&["mlflow", "follow", file.to_str().unwrap()]);
        command.args(["--model", self.name, "--template", template.to_str().unwrap()]);
        command.args(["--store", &self.store.url, "--push"]).args(more);
        command.env("MLFLOW_TRACKING_URI", &server().uri);
        command
    }

    pub(super) fn run(&self, more: &[&str]) -> Ran {
        ran(&mut self.command(&self.clone(), more))
    }

    /// A round with --promote, which ends with this code.
    #[track_caller]
    pub(super) fn round(&self, code: i32) -> Value {
        let ran = self.run(&["--promote", "--json"]);
        assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// From now on, the store has so much of the present trial: no difference, unless `change` says otherwise.
    pub(super) fn evidence(&self, weight: u32, change: impl FnOnce(&mut Value)) {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let node = sidetrack_cli::yaml::parse(&text).unwrap();
        let plan = sidetrack::config::parse(&node).unwrap();
        let experiment = plan.experiments.iter().next().unwrap();
        let name = |id| experiment.variants[id].name.clone();
        let (baseline, candidate) =
            (name(experiment.baseline), experiment.candidates().next().map(name).unwrap());
        let mut found = analysis::of(&self.file(), &baseline, &[&candidate], None);
        let share = f64::from(weight) / 100.0;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(since.as_millis()).unwrap();
        let (from, now) = (Timestamp::new(now - 10_800_000), Timestamp::new(now));
        found["trial"] = sidetrack::exposure::trial(experiment).into();
        let digest = experiment.analysis.as_ref().map(sidetrack::exposure::short);
        found["plan"] = json!({"digest": digest, "exploratory": []});
        found["decision"] = "inconclusive".into();
        found["planned_units"] = 100_000.into();
        found["metrics"][0]["candidates"][0]["decision"] = "no_difference_shown".into();
        found["phases"] = json!([{
            "phase": null, "from": from.to_string(), "to": now.to_string(),
            "shares": {&baseline: 1.0 - share, &candidate: share},
            "units": {&baseline: 900, &candidate: 900},
        }]);
        change(&mut found);
        self.store.set(Answer::Analysis(found.to_string()));
    }

    /// The file as others get it.
    pub(super) fn pushed(&self) -> String {
        git(&self.dir.path().join("remote.git"), &["show", "main:experiment.yaml"])
    }

    /// The subjects of all pushed commits, the newest first.
    pub(super) fn log(&self) -> String {
        git(&self.dir.path().join("remote.git"), &["log", "--format=%s", "main"])
    }

    /// The only run, and its id.
    pub(super) fn run_of_the_test(&self) -> (Value, String) {
        let runs = server().runs(&format!("{}-ab-test", self.name));
        assert_eq!(runs.len(), 1, "{runs:?}");
        let id = runs[0]["info"]["run_id"].as_str().unwrap().to_owned();
        (runs[0].clone(), id)
    }

    /// The registry after version 2 was promoted, with the run of this id.
    pub(super) fn promoted_state(&self, run: &str) -> String {
        let text = self.model.state();
        let trial = text.split(' ').find(|part| part.starts_with("2:ab_test.trial="));
        format!(
            "1:ab_test.result=replaced 1:ab_test.run_id={run} 2:ab_test.result=promoted \
             2:ab_test.run_id={run} {} champion=2 previous_champion=1",
            trial.unwrap_or("no trial")
        )
    }
}
