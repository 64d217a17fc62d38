//! A real MLflow server, started once for all tests of this binary; each test has models of its own.

use std::fmt::Debug;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Body;
use ureq::http::Response;

/// MLflow imports half of Python before it answers.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// Ends the server and removes its files when our end of its stdin closes, which happens however we end.
const GUARD: &str = r#"
    set -m
    "${@:2}" < /dev/null & server=$!
    while read -r _; do :; done
    kill -TERM -- -$server; for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 -- -$server || break; sleep 0.3; done 2>/dev/null
    kill -KILL -- -$server 2>/dev/null
    rm -rf "$1"
"#;

pub(super) struct Server {
    pub(super) uri: String,
    /// Its stdin stays open as long as this process lives.
    _guard: Child,
}

/// The server that all tests share.
pub(super) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// The Python environment that `make mlflow` makes.
fn tools() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/mlflow/bin");
    assert!(
        tools.join("mlflow").is_file(),
        "no MLflow at {}: `make mlflow` fetches it",
        tools.display()
    );
    tools.canonicalize().unwrap()
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("sidetrack-mlflow-").tempdir().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::create(dir.join("server.log")).unwrap();
        let mut guard = Command::new("bash")
            .args(["-c", GUARD, "guard"])
            .arg(&dir)
            .arg(tools().join("mlflow"))
            .args(["server", "--host", "127.0.0.1", "--workers", "1", "--port", &port.to_string()])
            .arg("--backend-store-uri")
            .arg(format!("sqlite:///{}/mlflow.db", dir.display()))
            .arg("--artifacts-destination")
            .arg(dir.join("artifacts"))
            .current_dir(&dir)
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let uri = format!("http://127.0.0.1:{port}");
        let deadline = Instant::now() + START_DEADLINE;
        while ureq::get(format!("{uri}/health")).call().is_err() {
            let ended = guard.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
                panic!("MLflow did not start: {ended:?}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Self { uri, _guard: guard }
    }

    fn url(&self, call: &str) -> String {
        format!("{}/api/2.0/mlflow/{call}", self.uri)
    }

    #[track_caller]
    pub(super) fn post(&self, call: &str, body: Value) -> Value {
        answered(
            call,
            &body,
            ureq::post(self.url(call))
                .config()
                .http_status_as_error(false)
                .build()
                .send_json(&body),
        )
    }

    #[track_caller]
    pub(super) fn get(&self, call: &str, query: &[(&str, &str)]) -> Value {
        let request = ureq::get(self.url(call)).query_pairs(query.iter().copied());
        answered(call, query, request.config().http_status_as_error(false).build().call())
    }

    /// A file of a run.
    #[track_caller]
    pub(super) fn artifact(&self, run: &Value, name: &str) -> Vec<u8> {
        let (id, folder) = (
            run["info"]["run_id"].as_str().unwrap(),
            run["info"]["experiment_id"].as_str().unwrap(),
        );
        let url = format!(
            "{}/api/2.0/mlflow-artifacts/artifacts/{folder}/{id}/artifacts/{name}",
            self.uri
        );
        ureq::get(&url).call().unwrap().body_mut().read_to_vec().unwrap()
    }

    /// A registered model with so many versions, the first of them the champion.
    pub(super) fn model(&'static self, name: &'static str, versions: usize) -> Model {
        self.post("registered-models/create", json!({"name": name}));
        for _ in 0..versions {
            self.post("model-versions/create", json!({"name": name, "source": "s3://models/none"}));
        }
        let model = Model { server: self, name };
        model.alias("champion", "1");
        model
    }

    /// All runs of an experiment of MLflow's.
    pub(super) fn runs(&self, experiment: &str) -> Vec<Value> {
        let found = self.get("experiments/get-by-name", &[("experiment_name", experiment)]);
        let id = &found["experiment"]["experiment_id"];
        let found = self.post("runs/search", json!({"experiment_ids": [id]}));
        found["runs"].as_array().cloned().unwrap_or_default()
    }
}

#[track_caller]
fn answered(call: &str, asked: impl Debug, answer: Result<Response<Body>, ureq::Error>) -> Value {
    let mut answer = answer.unwrap_or_else(|error| panic!("{call} {asked:?}: {error}"));
    let text = answer.body_mut().read_to_string().unwrap();
    assert!(answer.status().is_success(), "{call} {asked:?}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// A registered model of one test.
pub(super) struct Model {
    server: &'static Server,
    pub(super) name: &'static str,
}

impl Model {
    pub(super) fn alias(&self, alias: &str, version: &str) {
        let body = json!({"name": self.name, "alias": alias, "version": version});
        self.server.post("registered-models/alias", body);
    }

    pub(super) fn tag(&self, version: &str, key: &str, value: &str) {
        let body = json!({"name": self.name, "version": version, "key": key, "value": value});
        self.server.post("model-versions/set-tag", body);
    }

    /// Aliases and tags, as in `champion=1 1:ab_test.result=replaced`.
    pub(super) fn state(&self) -> String {
        let found = self.server.get("registered-models/get", &[("name", self.name)]);
        let mut state: Vec<String> = Vec::new();
        for alias in found["registered_model"]["aliases"].as_array().into_iter().flatten() {
            state.push(format!(
                "{}={}",
                alias["alias"].as_str().unwrap(),
                alias["version"].as_str().unwrap()
            ));
        }
        let filter = format!("name = '{}'", self.name);
        let found = self.server.get("model-versions/search", &[("filter", &filter)]);
        for version in found["model_versions"].as_array().unwrap() {
            for tag in version["tags"].as_array().into_iter().flatten() {
                let [number, key, value] = [&version["version"], &tag["key"], &tag["value"]];
                let [number, key, value] = [number, key, value].map(|text| text.as_str().unwrap());
                state.push(format!("{number}:{key}={value}"));
            }
        }
        state.sort();
        state.join(" ")
    }
}
