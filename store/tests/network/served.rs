//! A store in a folder of its own, served on a free port of this machine, and a client of it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sidetrack::quantity::Timestamp;
use sidetrack_store::{Access, Catalog, ExperimentFile, Limits, Server, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const JSON: &str = "application/json";
pub(crate) const LINES: &str = "application/x-ndjson";
pub(crate) const CSV: &str = "text/csv";

pub(crate) const EXPERIMENT: &str = r#"{"experiments": [{"name": "forecast", "salt": "one",
    "unit": [{"header": "x-user-id"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 40}]}]}"#;

/// 2026-11-23T09:00:00Z.
pub(crate) const START: u64 = 1_795_424_400_000;

/// A store that is served until this is dropped.
pub(crate) struct Served {
    pub(crate) store: Arc<Store>,
    pub(crate) url: String,
    pub(crate) runtime: Runtime,
    /// The header `authorization` of all requests.
    pub(crate) token: Option<String>,
    server: Option<Server>,
    folder: TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The experiments of these files.
pub(crate) fn catalog(files: &[&str]) -> Catalog {
    let file = |text: &&str| {
        let node = serde_json::from_str(text).unwrap();
        let (plan, analyses) = sidetrack_analysis::plan::parse(&node).unwrap();
        ExperimentFile { plan, analyses, text: (*text).to_owned() }
    };
    Catalog::new(files.iter().map(file).collect()).unwrap()
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::with(&[EXPERIMENT], Limits::default(), Access::local())
    }

    pub(crate) fn with(files: &[&str], limits: Limits, access: Access) -> Self {
        Self::on(tempfile::tempdir().unwrap(), files, limits, access)
    }

    pub(crate) fn on(folder: TempDir, files: &[&str], limits: Limits, access: Access) -> Self {
        let store = Store::open(folder.path(), catalog(files), limits).unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inside = runtime.enter();
        let server = Server::start(Arc::clone(&store), listener, access).unwrap();
        drop(inside);
        Self { store, url, runtime, token: None, server: Some(server), folder }
    }

    /// The server, for a test that stops it.
    pub(crate) fn take_server(&mut self) -> Server {
        self.server.take().unwrap()
    }

    /// Stops the server and closes the store; its folder stays.
    pub(crate) fn stop(mut self) -> TempDir {
        let server = self.take_server();
        self.runtime.block_on(server.stop());
        self.store.close();
        let Self { store, runtime, folder, .. } = self;
        runtime.shutdown_timeout(Duration::from_secs(5));
        // Connections of the server may end a moment later.
        for _ in 0..1000 {
            if Arc::strong_count(&store) == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(Arc::into_inner(store).expect("something still uses the store"));
        folder
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &[])
    }

    pub(crate) fn post(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", path, &[("content-type", kind)], body.as_ref())
    }

    /// The body of a good answer.
    pub(crate) fn read(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// The answer to rows, which are accepted.
    pub(crate) fn put(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Value {
        let answer = self.post(path, kind, body);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let page = self.get("/metrics").text;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}: {page}")).parse().unwrap()
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        let answer = if method == "GET" {
            agent.run(request.body(()).unwrap())
        } else {
            agent.run(request.body(body).unwrap())
        };
        let mut answer = answer.unwrap();
        let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        Answer {
            status: answer.status().as_u16(),
            kind: kind.unwrap_or_default().to_owned(),
            text: answer.body_mut().read_to_string().unwrap(),
        }
    }

    /// Stores an exposure of each request.
    pub(crate) fn expose(&self, requests: &[Request<'_>]) {
        let answer = self.put("/v1/logs", JSON, otlp(requests));
        assert_eq!(answer, json!({}), "{answer}");
    }
}

/// A request that a proxy logs.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) id: &'a str,
    pub(crate) experiment: &'a str,
    /// The unit as the log names it.
    pub(crate) unit: &'a str,
    pub(crate) time: u64,
    pub(crate) reason: &'a str,
}

impl<'a> Request<'a> {
    pub(crate) const fn new(id: &'a str, unit: &'a str) -> Self {
        Self { id, experiment: "forecast", unit, time: START, reason: "hash" }
    }

    /// The values of its line.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let Self { id, experiment, unit, time, reason } = self;
        let exposure = format!(
            "trial=b2dee587 config=0a1b2c3d weights=fancy=400000/400000 reason={reason} bucket=7 unit={unit}"
        );
        vec![
            ("time", Timestamp::new(*time).to_string()),
            ("request_id", (*id).to_owned()),
            ("exposure", exposure),
            ("experiment", (*experiment).to_owned()),
            ("assigned", "fancy".to_owned()),
            ("served", if *reason == "hash" { "fancy" } else { "plain" }.to_owned()),
            ("status", "200".to_owned()),
            ("duration", "12".to_owned()),
        ]
    }
}

/// The requests as OTLP in JSON.
pub(crate) fn otlp(requests: &[Request<'_>]) -> String {
    let record = |request: &Request<'_>| {
        let fields = request.fields().into_iter();
        let attributes: Vec<Value> =
            fields.map(|(key, text)| json!({"key": key, "value": {"stringValue": text}})).collect();
        json!({ "attributes": attributes })
    };
    let records: Vec<Value> = requests.iter().map(record).collect();
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string()
}
