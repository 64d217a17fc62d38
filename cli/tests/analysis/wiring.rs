//! From the rendered log format to the parser: both must agree on the name of every field.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::Folder;

const EXPERIMENT: &str = r#"{"experiments": [{"name": "forecast", "unit": [{"header": "x-user-id"}],
    "baseline": "plain", "variants": [{"name": "plain", "cluster": "plain"}, {"name": "fancy", "cluster": "fancy"}],
    "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "canary", "for": "1h", "weights": {"fancy": 5}},
        {"name": "production", "weights": {"fancy": 50}}]}}],
    "settings": {"exposure_unit": "plain"}}"#;

const EXPOSURE: &str = "%FILTER_STATE(wasm.sidetrack.exposure:PLAIN)%";

/// As the filter writes it.
fn exposure(reason: &str, bucket: u32, user: u32) -> Value {
    json!(format!(
        "trial={} config=4e5f6071 weights=fancy=500000/500000 reason={reason} bucket={bucket} unit=user-{user}",
        crate::life::Force::new(EXPERIMENT).trial
    ))
}

/// Requests of a proxy, each as its value of Envoy's operators.
fn requests() -> Vec<BTreeMap<&'static str, Value>> {
    let mut requests = Vec::new();
    for request in 0..40 {
        let is_fancy = request % 2 == 1;
        // Buckets 0 to 499999 belong to fancy in the phase production.
        let bucket = if is_fancy { 7 } else { 700_000 };
        let variant = if is_fancy { "fancy" } else { "plain" };
        let failed = request % 7 == 0;
        // By the clock, this is the phase canary, so the phase of the line matters.
        requests.push(BTreeMap::from([
            ("%START_TIME%", json!(format!("2026-11-23T09:{request:02}:00.000Z"))),
            ("%REQ(X-REQUEST-ID)%", json!(format!("request-{request}"))),
            (
                EXPOSURE,
                exposure(if request == 11 { "override" } else { "hash" }, bucket, request % 20),
            ),
            ("%REQ(X-AB-EXPERIMENT)%", json!("forecast")),
            ("%REQ(X-AB-ASSIGNED?X-AB-VARIANT)%", json!(variant)),
            ("%REQ(X-AB-VARIANT)%", json!(if request == 9 { "plain" } else { variant })),
            ("%REQ(X-AB-PHASE)%", json!("production")),
            (
                "%RESPONSE_CODE%",
                json!(if request == 12 {
                    0
                } else if failed {
                    503
                } else {
                    200
                }),
            ),
            ("%RESPONSE_FLAGS%", json!(if request == 12 { "DC" } else { "-" })),
            ("%DURATION%", json!(10 + request)),
            (
                "%FILTER_STATE(wasm.sidetrack.rescued:PLAIN)%",
                if request == 13 { json!("true") } else { Value::Null },
            ),
        ]));
    }
    // A misassigned bucket is left out, which shows that the bucket is read.
    if let Some(request) = requests.last_mut() {
        request.insert(EXPOSURE, exposure("hash", 999_999, 19));
    }
    requests
}

/// The field names and operators that a rendered configuration logs.
fn format(folder: &Folder, render: &[&str], path: &str) -> Map<String, Value> {
    let (code, text, error) = folder.text(render);
    assert_eq!(code, 0, "{error}");
    let rendered: Value = serde_json::to_value(sidetrack_cli::yaml::parse(&text).unwrap()).unwrap();
    rendered
        .pointer(path)
        .and_then(Value::as_object)
        .unwrap_or_else(|| panic!("no log format at {path}: {text}"))
        .clone()
}

/// The analysis of these requests in this format, as a proxy logs them.
fn analysis(folder: &Folder, format: &Map<String, Value>) -> Value {
    let mut log = String::new();
    for request in requests() {
        let value = |operator: &Value| {
            request.get(operator.as_str().unwrap()).cloned().unwrap_or(Value::Null)
        };
        let line: Map<String, Value> =
            format.iter().map(|(name, operator)| (name.clone(), value(operator))).collect();
        log += &format!("{}\n", Value::from(line));
    }
    folder.write("access.log", log);
    folder.analysis(&["--outcomes", "outcomes.csv"])
}

#[test]
fn the_analysis_reads_every_field_that_the_proxy_logs_for_it() {
    let folder = Folder::new();
    folder.write("experiment.json", EXPERIMENT);
    let outcomes = (0..40).map(|request| format!("request-{request},{}\n", request % 3));
    folder.write("outcomes.csv", format!("request_id,score\n{}", outcomes.collect::<String>()));
    let envoy = format(
        &folder,
        &["render", "envoy", "experiment.json"],
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log/0/typed_config/log_format/json_format",
    );
    let istio = format(
        &folder,
        &["render", "istio", "experiment.json", "--mesh-config"],
        "/meshConfig/extensionProviders/0/envoyFileAccessLog/logFormat/labels",
    );
    let whole = analysis(&folder, &envoy);
    assert_eq!(whole["lines"]["read"], 40, "{whole:#}");
    assert_eq!(whole["lines"]["malformed"], 0, "{whole:#}");
    let ignored = ["method", "path", "first_byte", "first_body", "attempts", "cluster"];
    let read: Vec<&String> =
        envoy.keys().filter(|name| !ignored.contains(&name.as_str())).collect();
    assert_eq!(read.len(), requests()[0].len(), "{read:?}");
    for name in read {
        let mut renamed = envoy.clone();
        let operator = renamed.remove(name).unwrap();
        renamed.insert(format!("{name}_renamed"), operator);
        assert!(analysis(&folder, &renamed) != whole, "{name} is not read");
    }
    // Istio has no failover, so its log has no `rescued`.
    let rescued = "%FILTER_STATE(wasm.sidetrack.rescued:PLAIN)%";
    let mut without: Map<String, Value> = envoy;
    without.retain(|_, operator| operator != rescued);
    assert_eq!(istio, without);
}
