//! Random experiment files and options of `render istio`. The same seed gives the same case.

use serde_json::{Value, json};

/// An experiment file and options for `render istio`.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) experiments: Value,
    pub(crate) options: Vec<String>,
}

pub(crate) fn case(seed: u64) -> Case {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let experiments: Vec<Value> =
        (0..random.up_to(3)).map(|n| experiment(&mut random, n)).collect();
    Case { experiments: json!({"experiments": experiments}), options: options(&mut random) }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 1 to `most`.
    fn up_to(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap() + 1
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.up_to(n) == 1
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.up_to(items.len()) - 1]
    }
}

/// Names that YAML or Kubernetes could misread.
const NAMES: &[&str] = &[
    "forecast",
    "churn-2026",
    "a.b",
    "null",
    "true",
    "0123",
    "1e3",
    "New_Model",
    "x",
    "v2.0.0-rc.1",
    "name-of-sixty-characters-name-of-sixty-characters-name-of-si",
];
const HOSTS: &[&str] = &[
    "a.example.com",
    "b.example.com",
    "*.example.com",
    "predictor.models",
    "predictor",
    "predictor.models.svc.cluster.local",
    "xn--bcher-kva.example",
    "*.a.example.org",
];
const PATHS: &[&str] = &["/", "/v2/models/forecast", "/v2/%2F", "/v1:predict"];
const VALUES: &[&str] =
    &["yes", "1", "null", "*", "a b", "\"", "é", "# no comment", "{x}", "%20", "~"];
const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE"];

fn experiment(random: &mut Random, number: usize) -> Value {
    let variants = random.up_to(4) + 1;
    let model = |n: usize| format!("model-{number}-{n}");
    let weight = 100 / variants;
    let clusters = random.one_in(3);
    let list: Vec<Value> = (0..variants)
        .map(|n| {
            let mut variant = json!({"name": model(n)});
            if n > 0 {
                variant["weight"] = json!(random.up_to(weight));
            }
            if clusters {
                let name = if random.one_in(12) { "New.Model" } else { "cluster" };
                variant["cluster"] = json!(format!("{name}-{number}-{n}"));
            }
            if random.one_in(5) {
                variant["request_headers"] = json!({"x-model-version": random.of(VALUES)});
            }
            variant
        })
        .collect();
    let mut experiment = json!({
        "name": format!("{}-{number}", random.of(NAMES)),
        "unit": [{"header": "x-user-id"}],
        "baseline": model(0),
        "variants": list,
    });
    let conditions = conditions(random);
    if conditions != json!({}) {
        experiment["match"] = conditions;
    }
    if random.one_in(3) {
        experiment["salt"] = json!(random.of(NAMES));
    }
    if random.one_in(4) {
        experiment["mirror"] = json!({"cluster": "copies", "percent": random.up_to(100)});
    }
    if random.one_in(4) {
        experiment["overrides"] = json!({"header": "x-choose", "units": {"7": model(1)}});
    }
    if random.one_in(6) {
        experiment["enabled"] = json!(false);
    }
    experiment
}

fn conditions(random: &mut Random) -> Value {
    let mut conditions = json!({});
    if random.one_in(2) {
        let mut hosts: Vec<&str> = (0..random.up_to(3)).map(|_| random.of(HOSTS)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        conditions["hosts"] = json!(hosts);
    }
    if random.one_in(20) {
        let many: Vec<String> = (0..80).map(|n| format!("tenant-number-{n}.example.com")).collect();
        conditions["hosts"] = json!(many);
    }
    if random.one_in(2) {
        let kind = random.of(&["exact", "prefix"]);
        conditions["path"] = json!({kind: random.of(PATHS)});
    }
    if random.one_in(4) {
        conditions["methods"] = json!([random.of(METHODS)]);
    }
    if random.one_in(3) {
        let headers: Vec<Value> = (0..random.up_to(3))
            .map(|n| match random.up_to(4) {
                1 => json!({"name": format!("x-{n}"), "exact": random.of(VALUES)}),
                2 => json!({"name": format!("x-{n}"), "prefix": random.of(VALUES)}),
                3 => json!({"name": format!("x-{n}"), "present": true}),
                _ => json!({"name": format!("x-{n}"), "present": false}),
            })
            .collect();
        conditions["headers"] = json!(headers);
    }
    conditions
}

fn options(random: &mut Random) -> Vec<String> {
    let mut options = vec!["--namespace", random.of(&["models", "default", "a-1"])];
    let topology = random.of(&["gateway", "gateway", "sidecar", "waypoint"]);
    options.extend(["--topology", topology]);
    match topology {
        "gateway" => options.extend(["--gateway", "istio-ingress/predictor-gateway"]),
        "sidecar" if random.one_in(2) => options.extend(["--selector", "app=frontend"]),
        _ => {}
    }
    if random.one_in(2) {
        options.extend(["--host", random.of(HOSTS)]);
    }
    if random.one_in(4) {
        options.extend(["--host", random.of(HOSTS)]);
    }
    if random.one_in(2) {
        options.extend(["--service", "predictor"]);
    }
    if !random.one_in(3) {
        options.extend(["--port", random.of(&["80", "8080"])]);
    }
    if random.one_in(4) {
        options.extend(["--route", "envoyfilter"]);
    }
    if random.one_in(3) {
        options.extend(["--kind", "trafficextension"]);
    }
    if random.one_in(4) {
        options.extend(["--fail-strategy", random.of(&["open", "close", "reload"])]);
    }
    if random.one_in(5) {
        options.push("--no-guard");
    }
    if random.one_in(5) {
        options.extend(["--name", random.of(&["sidetrack-2", "team-a", "x"])]);
    }
    if random.one_in(5) {
        options.extend(["--pull-secret", "registry"]);
    }
    if random.one_in(5) {
        let urls = [
            "file:///etc/sidetrack.wasm",
            "oci://example.com:5000/a/b:1",
            "https://example.com/x.wasm",
        ];
        options.extend(["--url", random.of(&urls)]);
    }
    options.into_iter().map(str::to_owned).collect()
}
