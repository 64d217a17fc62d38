//! What `sidetrack render envoy` writes around the filter, on a real Envoy: timeouts, upgrades,
//! protocols, TLS, the access log, and the pieces for an Envoy that has a configuration already.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod fragments;
mod limits;
mod log;
mod tls;
mod traces;
mod upgrades;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack_lab::{
    Answer, Behavior, Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request,
};
use sidetrack_tests::artifact;
use sidetrack_tests::world::sidetrack_command;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long each answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// All users get the candidate.
fn file() -> Value {
    json!({"experiments": [{
        "name": "e",
        "match": {"path": {"prefix": "/infer"}},
        "unit": [{"header": "x-user-id"}, {"query": "user"}],
        "baseline": "old",
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": 100},
        ],
        "breaker": {"mode": "disabled"},
    }]})
}

/// A request for the candidate.
fn infer() -> Request {
    Request::get("/infer").header("x-user-id", "4711")
}

/// An Envoy with a rendered bootstrap.
struct Rendered {
    envoy: Envoy,
    addr: SocketAddr,
    dir: TempDir,
}

impl Rendered {
    /// Renders a file with these options and starts Envoy.
    async fn start(file: &Value, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bootstrap = render(&dir, file, options);
        Self::of(dir, bootstrap).await
    }

    async fn of(dir: TempDir, bootstrap: String) -> Self {
        let mut options = EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap);
        options.concurrency = 2;
        options.extra_args = ["--file-flush-interval-msec", "50"].map(String::from).to_vec();
        let envoy = Envoy::start(options).await.unwrap();
        let port = envoy.listener_port("predictors").await.unwrap();
        Self { envoy, addr: SocketAddr::from(([127, 0, 0, 1], port)), dir }
    }

    async fn send(&self, request: Request) -> Answer {
        self.answer(&Client::new(self.addr), request).await
    }

    /// Over HTTP/2 without TLS.
    async fn send_http2(&self, request: Request) -> Answer {
        self.answer(&Client::http2(self.addr), request).await
    }

    async fn answer(&self, client: &Client, request: Request) -> Answer {
        match timeout(DEADLINE, client.send(request)).await.unwrap() {
            Ok(answer) => answer,
            Err(error) => panic!("{error:#}\n{}", self.envoy.report().await),
        }
    }

    /// The access log's lines, once there are so many.
    async fn log(&self, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            let lines: Vec<Value> = lines.collect();
            if lines.len() >= count {
                return lines;
            }
            assert!(begun.elapsed() < DEADLINE, "there are not {count} lines: {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What the command writes for a file with these options.
fn render(dir: &TempDir, file: &Value, options: &[&str]) -> String {
    let path = dir.path().join("experiment.json");
    fs::write(&path, file.to_string()).unwrap();
    let [path, log] = [path, dir.path().join("access.log")].map(|path| path.display().to_string());
    let wasm = artifact::wasm().display().to_string();
    let fixed = ["render", "envoy", &path, "--wasm", &wasm, "--access-log", &log];
    let addresses = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    sidetrack_command(&[&fixed[..], &addresses, options].concat()).unwrap()
}

/// The option for the candidate's address.
fn new_at(address: impl std::fmt::Display) -> String {
    format!("new-cluster={address}")
}

#[tokio::test]
async fn a_response_has_no_overall_limit_unless_one_is_set() {
    let stub = ModelStub::start("new").await.unwrap();
    stub.set(Behavior::Delay(Duration::from_millis(1500)));
    let endpoint = new_at(stub.addr());
    for (options, status) in [
        (&[][..], 200),
        (&["--timeout", "500ms"], 504),
        // Nothing arrives while the model is silent.
        (&["--idle-timeout", "500ms"], 504),
        (&["--idle-timeout", "0s"], 200),
    ] {
        let proxy = Rendered::start(&file(), &[&["--endpoint", &endpoint], options].concat()).await;
        assert_eq!(proxy.send(infer()).await.status, status, "{options:?}");
    }
}

/// The head of a message: up to the empty line.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match timeout(DEADLINE, stream.read_u8()).await.unwrap() {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A server that speaks HTTP/1.1 and nothing else. Its responses name the first line of the request.
async fn http1_only() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                let status = if head.starts_with("GET /infer HTTP/1.1") {
                    "200 OK"
                } else {
                    "400 Bad Request"
                };
                let response =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(response.as_bytes()).await.ok();
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_model_without_http2_serves_clients_that_speak_it() {
    let endpoint = new_at(http1_only().await);
    for (options, serves) in [(&[][..], true), (&["--upstream-protocol", "client"], false)] {
        let proxy = Rendered::start(&file(), &[&["--endpoint", &endpoint], options].concat()).await;
        assert_eq!(proxy.send(infer()).await.status, 200, "{options:?}");
        let status = proxy.send_http2(infer()).await.status;
        assert_eq!(status == 200, serves, "{options:?}: {status}");
    }
}

#[tokio::test]
async fn a_grpc_endpoint_gets_http2_from_every_client() {
    let stub = ModelStub::start("new").await.unwrap();
    let addr = stub.addr();
    for (endpoint, options, expected) in [
        (new_at(format!("grpc://{addr}")), &[][..], true),
        (new_at(addr), &["--upstream-protocol", "new-cluster=http2"], true),
        (new_at(addr), &["--upstream-protocol", "old-cluster=http2"], false),
    ] {
        let proxy = Rendered::start(&file(), &[&["--endpoint", &endpoint], options].concat()).await;
        assert_eq!(proxy.send(infer()).await.status, 200, "{endpoint} {options:?}");
        let stats = proxy.envoy.stats(r"^cluster\.new-cluster\.upstream_cx_http2_total$").await;
        let is_http2 = stats.unwrap().values().any(|count| *count > 0);
        assert_eq!(is_http2, expected, "{endpoint} {options:?}");
    }
}
