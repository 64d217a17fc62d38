//! Evidence from servers: Prometheus, an Envoy, a store.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use super::{FILE, Test, good};

/// Answers each request with what belongs to its first line, until the test ends.
fn server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut line) = (String::new(), String::new());
            lines.read_line(&mut first).unwrap();
            while lines.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let body = answer(&first);
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
            write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        }
    });
    url
}

/// A Prometheus with so many trips in each proxy, and so many ready endpoints.
fn prometheus(trips: &'static [u32], ready: Option<&'static str>) -> String {
    server(move |query| {
        let sample = |proxy: usize, value: &str| {
            format!(r#"{{"metric":{{"pod":"p{proxy}"}},"value":[1.5,"{value}"]}}"#)
        };
        let samples: Vec<String> = if query.contains("ab_test_breaker_trips_total") {
            assert!(query.contains("forecast") && query.contains("fancy"), "{query}");
            trips.iter().enumerate().map(|(at, trips)| sample(at, &trips.to_string())).collect()
        } else {
            ready.iter().map(|ready| sample(0, ready)).collect()
        };
        let samples = samples.join(",");
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{samples}]}}}}"#)
    })
}

#[test]
fn trips_in_most_proxies_or_no_endpoint_roll_back() {
    let test = good();
    let with = |url: &str, more: &[&str]| {
        let dry = ["--prometheus", url, "--dry-run"];
        let (code, text, error) = test.with_logs(&[&dry[..], more].concat());
        (code, text + &error)
    };
    let (code, text) = with(&prometheus(&[1, 2, 0], None), &[]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("opened in 2 of 3 proxies"), "{text}");
    assert_eq!(with(&prometheus(&[1, 0], None), &[]).0, 0);
    assert_eq!(with(&prometheus(&[4], None), &[]).0, 0);
    for ready in [Some("2"), Some("NaN"), None] {
        assert_eq!(with(&prometheus(&[0, 0], ready), &["--ready", "up"]).0, 0, "{ready:?}");
    }
    let (code, text) = with(&prometheus(&[0, 0], Some("0")), &["--ready", "up"]);
    assert!(code == 3 && text.contains("fancy has no ready endpoint"), "{text}");
}

#[test]
fn a_rollback_waits_for_no_source_that_cannot_be_read() {
    let test = good();
    let gone = "http://127.0.0.1:1";
    // Trips, and no store.
    let trips = prometheus(&[1, 1], None);
    let (code, text, error) = test.text(&["--store", gone, "--prometheus", &trips, "--dry-run"]);
    assert!(code == 3 && text.contains("opened in 2 of 2 proxies"), "{text}{error}");
    let quiet = prometheus(&[0, 0], None);
    let (code, text, error) = test.text(&["--store", gone, "--prometheus", &quiet, "--dry-run"]);
    assert!(code == 2 && error.contains(gone), "{text}{error}");
    // Harm in the logs, and no Prometheus.
    let (code, text, error) = super::bad().with_logs(&["--prometheus", gone, "--dry-run"]);
    assert!(code == 3 && text.contains("significantly worse"), "{text}{error}");
    let (code, text, error) = test.with_logs(&["--prometheus", gone, "--dry-run"]);
    assert!(code == 2 && error.contains(gone), "{text}{error}");
}

#[test]
fn an_envoy_without_ready_endpoints_rolls_back() {
    let file =
        FILE.replace("      - name: plain\n", "      - {name: plain, cluster: one}\n").replace(
            "      - name: fancy     # the new one\n",
            "      - name: fancy\n        cluster: two\n",
        );
    let test = Test::new(&file);
    let envoy = |healthy: u32| {
        server(move |_| {
            format!(
                "envoy_cluster_membership_healthy{{envoy_cluster_name=\"one\"}} 1\n\
                 envoy_cluster_membership_healthy{{envoy_cluster_name=\"two\"}} {healthy}\n"
            )
        })
    };
    let (code, text, error) = test.text(&["--admin", &envoy(1)]);
    assert!(code == 4 && text.contains("no evidence is given"), "{text}{error}");
    let (code, text, error) = test.text(&["--admin", &envoy(0)]);
    assert!(code == 3 && text.contains("no ready endpoint"), "{text}{error}");
    assert!(test.file().contains("weight: 0 "), "{}", test.file());
}

#[test]
fn the_server_of_a_store_gives_the_evidence() {
    let test = good();
    let analysis = ["analyze", "run", "experiment.yaml", "--json", "--exposures", "access.log"];
    let analysis = [&analysis[..], &["--outcomes", "outcomes.csv"]].concat();
    let (_, analysis, error) = test.folder.text(&analysis);
    let (served, url) = (analysis.clone(), |body: String| server(move |_| body.clone()));
    let store = url(served);
    let (code, text, error_of) = test.text(&["--store", &store, "--dry-run"]);
    assert_eq!(code, 0, "{text}{error_of}{error}");
    assert!(text.contains("Raise to 15 %"), "{text}");
    // Another salt there.
    let trial =
        serde_json::from_str::<Value>(&analysis).unwrap()["trial"].as_str().unwrap().to_owned();
    let store = url(analysis.replace(&trial, "00000000"));
    let (code, text, error) = test.text(&["--store", &store]);
    assert!(code == 1 && error.contains("analyzes trial 00000000"), "{text}{error}");
    // Other guardrails or planned units there.
    let mut other = serde_json::from_str::<Value>(&analysis).unwrap();
    for digest in ["00000000".into(), Value::Null] {
        other["plan"]["digest"] = digest;
        let (code, text, error) = test.text(&["--store", &url(other.to_string())]);
        assert!(code == 1 && error.contains("but the file has plan "), "{text}{error}");
    }
    // No password in messages.
    let (_, _, error) = test.text(&["--store", "http://u:s3cret@127.0.0.1:1"]);
    assert!(error.contains("http://***@127.0.0.1:1") && !error.contains("s3cret"), "{error}");
    let (_, _, error) = test.with_logs(&["--prometheus", "http://u:s3cret@127.0.0.1:1"]);
    assert!(error.contains("http://***@127.0.0.1:1") && !error.contains("s3cret"), "{error}");
    let (code, _, error) = test.text(&["--store", &url("{}".to_owned())]);
    assert!(code == 2 && error.contains("not the result of an analysis"), "{error}");
    let (code, _, error) = test.text(&["--store", "http://127.0.0.1:1"]);
    assert!(code == 2 && error.contains("--store must be the address"), "{error}");
}
