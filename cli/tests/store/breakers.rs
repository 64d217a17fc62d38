//! `serve --admin` and `serve --prometheus`: breakers as the proxies' metrics have them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Folder, Server};
use crate::traffic::{EXPERIMENT, NAME};

/// A page of metrics that answers each request, and can be changed.
#[derive(Clone)]
struct Metrics {
    url: String,
    page: Arc<Mutex<String>>,
}

impl Metrics {
    fn new(page: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let page = Arc::new(Mutex::new(page));
        let of_thread = Arc::clone(&page);
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                let body = of_thread.lock().unwrap().clone();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}",
                    body.len()
                );
                write!(stream, "{head}\r\n\r\n{body}").ok();
                stream.read_to_end(&mut Vec::new()).ok();
            }
        });
        Self { url, page }
    }

    fn set(&self, page: String) {
        *self.page.lock().unwrap() = page;
    }
}

const SERIES: [&str; 3] =
    ["ab_test_config_hash", "ab_test_breaker_state", "ab_test_breaker_trips_total"];

/// The page of an Envoy.
fn envoy(state: u8, trips: u32) -> String {
    let of = format!("experiment=\"{NAME}\",model_name=\"fancy\"");
    let [hash, breaker, count] = SERIES;
    format!("{hash}{{plugin=\"p\"}} 1\n{breaker}{{{of}}} {state}\n{count}{{{of}}} {trips}\n")
}

/// The answer of a Prometheus that scrapes two proxies.
fn vector(states: [u8; 2]) -> String {
    let mut samples = Vec::new();
    for (pod, state) in ["one", "two"].iter().zip(states) {
        for (name, value) in SERIES.iter().zip([1, state, 0]) {
            samples.push(serde_json::json!({
                "metric": {"__name__": name, "pod": pod, "plugin": "p", "experiment": NAME, "model_name": "fancy"},
                "value": [1.5, value.to_string()],
            }));
        }
    }
    serde_json::json!({"status": "success", "data": {"resultType": "vector", "result": samples}})
        .to_string()
}

/// What is in force, as soon as it is so.
fn live(server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let live = server.read("/v1/experiments")["experiments"][0]["live"].take();
        if is_so(&live) {
            return live;
        }
        assert!(Instant::now() < end, "not within 30 s: {live:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_admin_interface_gives_the_exact_state_and_trips() {
    let metrics = Metrics::new(envoy(0, 3));
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&["--admin", &metrics.url]);
    let first = live(&server, |live| live["breakers_from"] == "exact");
    assert_eq!(first["breakers"]["fancy"], "closed", "{first:#}");
    metrics.set(envoy(2, 4));
    let open = live(&server, |live| live["breakers"]["fancy"] == "open");
    assert_eq!(open["proxies"]["fancy"]["open"], 1, "{open:#}");
    let log = server.read(&format!("/v1/experiments/{NAME}/log"));
    assert_eq!(
        (&log["log"][0]["trips"], &log["log"][0]["from"]),
        (&1.into(), &"exact".into()),
        "{log:#}"
    );
    // An Envoy without the filter.
    metrics.set(String::new());
    let inferred = live(&server, |live| live["breakers_from"] == "inferred");
    assert_eq!(inferred["breakers"], serde_json::json!({}), "{inferred:#}");
    let errors = folder.errors();
    assert_eq!(errors.matches("breakers are inferred from exposures: ").count(), 1, "{errors}");
    assert!(errors.contains("does not run the filter"), "{errors}");
    server.stop();
}

#[test]
fn prometheus_gives_the_states_of_all_proxies() {
    let metrics = Metrics::new(vector([0, 1]));
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&["--prometheus", &metrics.url]);
    let found = live(&server, |live| live["breakers_from"] == "exact");
    assert_eq!(found["breakers"]["fancy"], "half_open", "{found:#}");
    assert_eq!(
        found["proxies"]["fancy"],
        serde_json::json!({"closed": 1, "half_open": 1, "open": 0}),
        "{found:#}"
    );
    let both = folder.try_serve(&["--prometheus", &metrics.url, "--admin", &metrics.url]);
    assert!(both.err().unwrap().contains("cannot be used with"));
}
