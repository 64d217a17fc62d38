//! `status` from metrics as an Envoy and as Prometheus return them; `cli/tests/run.rs` asks a real Envoy.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;

use super::*;

/// Answers one request with this text.
fn server(body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        // The client reads everything before the connection ends.
        stream.read_to_end(&mut Vec::new()).ok();
    });
    url
}

/// The metrics of a proxy with this configuration.
fn metrics(hash: u32) -> Vec<(&'static str, String, f64)> {
    let of = |model: &str, more: &str| format!("experiment=\"ab\",model_name=\"{model}\"{more}");
    let plugin = "plugin=\"sidetrack-ab\"".to_owned();
    vec![
        ("ab_test_config_hash", plugin.clone(), f64::from(hash)),
        ("ab_test_config_rejected_total", plugin, 2.0),
        ("ab_test_variant_weight_ppm", of("old", ""), 700_000.0),
        ("ab_test_variant_weight_ppm", of("new", ""), 300_000.0),
        ("ab_test_requests_total", of("old", ",status=\"success\""), 70.0),
        ("ab_test_requests_total", of("new", ",status=\"success\""), 20.0),
        ("ab_test_requests_total", of("new", ",status=\"error\""), 10.0),
        ("ab_test_fallbacks_total", of("new", ""), 5.0),
        ("ab_test_breaker_state", of("new", ""), 2.0),
        ("ab_test_breaker_trips_total", of("new", ""), 1.0),
        ("ab_test_variant_weight_ppm", "experiment=\"gone\",model_name=\"x\"".to_owned(), 0.0),
    ]
}

fn page(hash: u32) -> String {
    metrics(hash)
        .iter()
        .map(|(name, labels, value)| format!("{name}{{{labels}}} {value}\n"))
        .collect()
}

fn vector(proxies: &[(&str, u32)]) -> String {
    let mut samples = Vec::new();
    for (pod, hash) in proxies {
        for (name, labels, value) in metrics(*hash) {
            let labels = labels.replace("=\"", "\":\"").replace(',', ",\"");
            samples.push(format!(
                r#"{{"metric":{{"__name__":"{name}","pod":"{pod}","{labels}}},"value":[1.5,"{value}"]}}"#
            ));
        }
    }
    format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        samples.join(",")
    )
}

const FILE: &str = "experiments: [{name: ab, unit: [{header: u}], baseline: old, \
                    variants: [{name: old}, {name: new, weight: 30}]}]\n";

/// The first 32 bits of the hash of [`FILE`].
fn hash() -> u32 {
    let checked = json(&["check", "-", "--json"], FILE.as_bytes());
    u32::from_str_radix(&checked["hash"].as_str().unwrap()[..8], 16).unwrap()
}

#[test]
fn an_envoy_says_what_is_in_force() {
    let url = server(page(0x00ab_cdef));
    let text = seen(&["status", "--admin", &url]).replace(&url, "http://ENVOY");
    snapshot("status_admin", text);
}

#[test]
fn the_file_must_be_in_force() {
    let run = |hash: u32| {
        let url = server(page(hash));
        run(&["status", "-", "--admin", &url, "--json"], FILE.as_bytes())
    };
    let output = run(hash());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["proxies"][0]["current"], true);
    assert_eq!(report["experiments"][0]["variants"][0]["breakers"]["open"], 1, "{report}");
    assert_eq!(report["experiments"].as_array().unwrap().len(), 1, "{report}");
    let output = run(1);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    let output = run(0);
    assert_eq!(code(&output), 1, "nothing is in force: {}", stdout(&output));
}

#[test]
fn prometheus_knows_all_proxies() {
    let url = server(vector(&[("gateway-a", hash()), ("gateway-b", 7)]));
    let output = run(&["status", "-", "--prometheus", &url], FILE.as_bytes());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    snapshot("status_prometheus", stdout(&output));
}

#[test]
fn a_server_that_is_not_a_proxy_is_named() {
    let url = server("other_metric 1\n".to_owned());
    let output = run(&["status", "--admin", &url], b"");
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("does not run the filter"), "{}", stderr(&output));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(&["status", "--admin", &free.to_string()], b"");
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--admin must be the address"), "{}", stderr(&output));
}
