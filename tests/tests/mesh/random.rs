//! Random experiment files, and commands that render them for a cluster. The same seed gives the same case.

mod options;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::program;

/// The commands, with the number of cases that a cluster must have seen.
pub(crate) const COMMANDS: [(&str, usize); 4] =
    [("istio", 60), ("gateway-api", 30), ("envoy-gateway", 30), ("helm", 15)];

/// An experiment file, and a command of `render` with options.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) command: &'static str,
    experiments: Value,
    options: Vec<&'static str>,
}

/// The case of a seed, whose command is `COMMANDS[seed % 4]`.
pub(crate) fn case(seed: u64) -> Case {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let index = usize::try_from(seed).unwrap() % COMMANDS.len();
    let command = COMMANDS[index].0;
    let experiments: Vec<Value> =
        (0..random.up_to(3)).map(|n| experiment(&mut random, n)).collect();
    let mut file = json!({"experiments": experiments});
    if random.one_in(6) {
        file["settings"] = json!({"header_prefix": "x-team-", "exposure_unit": "none"});
    }
    Case { command, experiments: file, options: options::of(command, &mut random) }
}

impl Case {
    /// The manifests, or the message of `render` that refuses the case.
    pub(crate) fn render(&self, folder: &Path) -> Result<String, String> {
        let file = folder.join("experiments.json");
        fs::write(&file, self.experiments.to_string()).unwrap();
        let chart = folder.join("chart");
        let mut command = Command::new(artifact::cli());
        command.current_dir(super::corpora::root()).args(["render", self.command]).arg(&file);
        if self.command == "helm" {
            command.arg("--force").arg("--out").arg(&chart);
        }
        let run = command.args(&self.options).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let message = text(run.stderr);
        match run.status.code() {
            Some(0) => {}
            Some(1 | 2) => {
                // What is wrong, and what to do. A value that no option takes would be a mistake of this test.
                let is_told = message.starts_with("error") && message.len() > 40;
                let is_of_clap =
                    message.contains("invalid value") || message.contains("unexpected");
                assert!(is_told && !is_of_clap, "{self:#?}\n{message}");
                assert!(run.stdout.is_empty(), "{self:#?}");
                return Err(message);
            }
            _ => panic!("{self:#?}\n{message}"),
        }
        if self.command != "helm" {
            return Ok(text(run.stdout));
        }
        let helm = Command::new(program("helm").unwrap())
            .args(["template", "ab"])
            .arg(&chart)
            .output()
            .unwrap();
        assert!(helm.status.success(), "{self:#?}\n{}", String::from_utf8_lossy(&helm.stderr));
        Ok(text(helm.stdout))
    }
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
const VALUES: &[&str] = &[
    "yes",
    "1",
    "null",
    "*",
    "a b",
    "\"",
    "é",
    "# no comment",
    "{x}",
    "%20",
    "~",
    "{{ x }}",
    "it's",
];
const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE"];

fn experiment(random: &mut Random, number: usize) -> Value {
    let variants = random.up_to(4) + 1;
    let model = |n: usize| format!("model-{number}-{n}");
    let weight = 100 / variants;
    let (clusters, rollout) = (random.one_in(3), random.one_in(6));
    let conditions = conditions(random);
    let path = conditions["path"].as_object().and_then(|path| path.values().next()?.as_str());
    let is_model = path.is_none_or(|path| path.starts_with("/v2/models"));
    let list: Vec<Value> = (0..variants)
        .map(|n| {
            let mut variant = json!({"name": model(n)});
            if n > 0 && !rollout {
                variant["weight"] = json!(random.up_to(weight));
            }
            if clusters {
                let name = if random.one_in(12) { "New.Model" } else { "cluster" };
                variant["cluster"] = json!(format!("{name}-{number}-{n}"));
            }
            if random.one_in(5) {
                variant["request_headers"] = json!({"x-model-version": random.of(VALUES)});
            }
            if is_model && random.one_in(12) {
                variant["path"] = json!({"replace_prefix": ["/v2/models", format!("/new/{n}")]});
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
    if rollout {
        let weights = json!({(model(1)): random.up_to(weight)});
        let phases = json!([{"name": "on", "weights": weights}]);
        experiment["rollout"] = json!({"start": "2026-11-23T09:00:00Z", "phases": phases});
    }
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
    if random.one_in(6) {
        experiment["missing_unit"] = json!(random.of(&["random", "skip"]));
    }
    if random.one_in(6) {
        experiment["breaker"] = json!({"error_rate": 2.5, "slow": {"over": "1500ms", "rate": 5}});
    }
    if random.one_in(40) {
        experiment["unit"] = json!([{"body": "/user~1id"}, {"cookie": "on"}]);
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
    if random.one_in(40) {
        conditions["body"] = json!([{"pointer": "/model", "exact": "forecast"}]);
    }
    conditions
}
