//! `--otlp`: what meshes send to an experiment store, and what is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use super::gateway::{FILE, GATEWAY, objects, of_kind, refused};
use super::*;

const STORE: &str = "store.exposures.svc.cluster.local:8088";
const ISTIO: [&str; 4] = ["--gateway", "ingress/public", "--otlp", STORE];

/// The attributes that Envoy sends with `render envoy --otlp`.
fn of_envoy() -> BTreeMap<String, String> {
    let options = ["--wasm", "a.wasm", "--otlp", "127.0.0.1:1", "--fragment", "access-log"];
    let output = run(&[&["render", "envoy", "-"], &options[..]].concat(), FILE.as_bytes());
    let loggers: Value = serde_saphyr::from_str(stdout(&output)).unwrap();
    let is_otlp = |it: &&Value| it["name"] == "envoy.access_loggers.open_telemetry";
    let otlp = loggers.as_array().unwrap().iter().find(is_otlp).unwrap();
    let values = otlp["typed_config"]["attributes"]["values"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    values.iter().map(|it| (text(&it["key"]), text(&it["value"]["string_value"]))).collect()
}

/// A mesh has no failover of its own, so nothing is rescued.
fn expected() -> BTreeMap<String, String> {
    let mut all = of_envoy();
    all.remove("rescued").unwrap();
    all
}

fn map(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

#[test]
fn istio_sends_the_attributes_that_envoy_sends() {
    let mesh = objects("istio", FILE, &["--mesh-config", "--otlp", STORE]);
    let providers = mesh[0]["meshConfig"]["extensionProviders"].as_array().unwrap();
    let otlp = &providers[1];
    assert_eq!(otlp["name"], "sidetrack-otlp");
    let receiver = &otlp["envoyOtelAls"];
    assert_eq!(receiver["service"], "store.exposures.svc.cluster.local");
    assert_eq!(receiver["port"], 8088);
    assert_eq!(map(&receiver["logFormat"]["labels"]), expected());
    // Without a text of its own, Istio sends a line with the query, which may contain the unit.
    assert_eq!(receiver["logFormat"]["text"], "-");
    let without = objects("istio", FILE, &["--mesh-config"]);
    let without = without[0]["meshConfig"]["extensionProviders"].as_array().unwrap();
    assert_eq!(without.len(), 1);
}

#[test]
fn telemetries_send_the_requests_of_experiments_alone() {
    let otlp = [&GATEWAY[..], &["--otlp", STORE]].concat();
    for (target, options) in [("istio", &ISTIO[..]), ("gateway-api", &otlp)] {
        let objects = objects(target, FILE, options);
        let telemetry = &of_kind(&objects, "Telemetry")[0]["spec"]["accessLogging"];
        let entries = telemetry.as_array().unwrap();
        let last = entries.last().unwrap();
        assert_eq!(last["providers"][0]["name"], "sidetrack-otlp", "{target}");
        assert_eq!(
            last["filter"]["expression"], "'x-ab-experiment' in request.headers",
            "{target}"
        );
        // The log keeps all requests.
        assert_eq!(entries[0]["providers"][0]["name"], "sidetrack", "{target}");
        assert_eq!(entries[0].get("filter"), None, "{target}");
        let text = run(&[&["render", target, "-"], options].concat(), FILE.as_bytes());
        let check = "kubectl -n exposures get service store";
        assert!(stdout(&text).contains(check), "{target}: {}", stdout(&text));
    }
}

#[test]
fn envoy_gateway_sends_to_a_service_or_a_host() {
    let settings = |receiver: &str| {
        let options = [&GATEWAY[..], &["--envoy-proxy", "--otlp", receiver]].concat();
        let objects = objects("envoy-gateway", FILE, &options);
        let logs = &objects[0]["spec"]["telemetry"]["accessLog"]["settings"];
        assert_eq!(logs[0]["sinks"][0]["type"], "File");
        let sent = &logs[1];
        assert_eq!(sent["matches"][0], "'x-ab-experiment' in request.headers");
        assert_eq!(map(&sent["format"]["json"]), expected());
        sent["sinks"][0]["openTelemetry"].clone()
    };
    let service = settings(STORE);
    let reference = &service["backendRefs"][0];
    assert_eq!(
        (&reference["name"], &reference["namespace"], &reference["port"]),
        (&"store".into(), &"exposures".into(), &8088.into())
    );
    assert_eq!(service.get("host"), None);
    let host = settings("otlp.example.com:4317");
    assert_eq!((&host["host"], &host["port"]), (&"otlp.example.com".into(), &4317.into()));
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let gateway = |receiver: &'static str| [&GATEWAY[..], &["--otlp", receiver]].concat();
    for (target, options, words) in [
        ("istio", vec!["--mesh-config", "--otlp", "10.0.0.1:4317"], "by their full names"),
        ("istio", vec!["--mesh-config", "--otlp", "https://a.b:1"], "send no token"),
        ("gateway-api", gateway("store:8088"), "by their full names"),
        ("envoy-gateway", gateway("store.a.svc:8088"), "--envoy-proxy"),
        ("envoy", vec!["--otlp", "127.0.0.1:1", "--otlp-token-file", "t"], "requires TLS"),
        ("envoy", vec!["--otlp-token-file", "t"], "--otlp"),
        (
            "envoy",
            vec!["--otlp", "https://a:1", "--otlp-token-file", "t", "--fragment", "clusters"],
            "does not work with --fragment",
        ),
    ] {
        let why = refused(target, FILE, &options);
        assert!(why.contains(words), "{target} {options:?}: {why}");
    }
}
