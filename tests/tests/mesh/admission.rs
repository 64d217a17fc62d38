//! `render admission`: the API server rejects wrong experiments with a sentence that names the place, and admits right
//! ones.

use serde_json::{Value, json};
use sidetrack::config;
use sidetrack_tests::mesh::{Applied, Mesh};
use sidetrack_tests::world::sidetrack_command;

/// The policy in a namespace of its own.
struct Policy {
    mesh: &'static Mesh,
    namespace: String,
}

impl Policy {
    fn apply(action: &str) -> Self {
        let mesh = Mesh::shared();
        let namespace = mesh.namespace("admission").unwrap();
        let arguments = [
            "render",
            "admission",
            "--name",
            &namespace,
            "--namespace",
            &namespace,
            "--action",
            action,
        ];
        let manifests = sidetrack_command(&arguments).unwrap();
        // What the policy cannot evaluate is a fault of the policy.
        let strict = manifests.replace("failurePolicy: Ignore", "failurePolicy: Fail");
        assert_ne!(strict, manifests);
        mesh.apply(&strict).unwrap();
        let policy = Self { mesh, namespace };
        // A new policy takes a moment.
        let wrong = policy.plugin("wrong", &json!({"experiments": 1}));
        mesh.until("the policy is in force", || {
            Ok(!policy.tried(std::slice::from_ref(&wrong)).messages.is_empty())
        })
        .unwrap();
        policy
    }

    fn plugin(&self, name: &str, file: &Value) -> Value {
        json!({
            "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"url": "oci://registry.example.com/sidetrack:1", "pluginName": "sidetrack", "pluginConfig": file},
        })
    }

    fn extension(&self, name: &str, file: &Value) -> Value {
        json!({
            "apiVersion": "extensions.istio.io/v1alpha1", "kind": "TrafficExtension",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"app.kubernetes.io/name": "sidetrack"}},
            "spec": {"wasm": {"url": "oci://registry.example.com/sidetrack:1", "pluginConfig": file}},
        })
    }

    /// What `kubectl apply` would answer.
    fn tried(&self, objects: &[Value]) -> Applied {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.mesh.try_apply(&list.to_string(), &["--dry-run=server"]).unwrap()
    }
}

/// A right file with most of the keys.
fn right() -> Value {
    json!({
        "experiments": [
            {
                "name": "forecast", "salt": "forecast-1",
                "match": {"hosts": ["*.example.com"], "path": {"prefix": "/v2"}, "methods": ["POST"],
                          "headers": [{"name": "x-tenant", "exact": "acme"}]},
                "unit": [{"header": "x-user-id"}, {"cookie": "session", "mint": {"max_age": "30d"}}],
                "baseline": "stable",
                "variants": [
                    {"name": "stable"},
                    {"name": "new", "weight": 30, "reserve": 50.5},
                    {"name": "other", "weight": 0},
                ],
                "breaker": {
                    "error_rate": 5, "slow": {"over": "200ms", "rate": 5},
                    "open_for": "1m", "max_open_for": "1m30s",
                },
                "layer": {"name": "checkout", "from": 0, "to": 50},
                "overrides": {"header": "x-ab-force", "units": {"qa alice": "new"}},
            },
            {
                "name": "ranking", "unit": [{"query": "user"}], "baseline": "stable",
                "variants": [{"name": "stable"}, {"name": "new"}],
                "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
                    {"name": "canary", "for": "1h", "weights": {"new": 5}}, {"name": "all", "weights": {"new": 100}}]},
                "layer": {"name": "checkout", "from": 50, "to": 100},
            },
        ],
        "settings": {"body_limit": "64KiB", "debug": {
            "token_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        }},
    })
}

/// Places in the right file, what is there instead (`null` removes it), and what the message says.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "/experiments/0/variants/1/weight",
            json!(130),
            "experiments[0].variants[1].weight is 130, but must be a percentage from 0 to 100",
        ),
        (
            "/experiments/0/variants/1/weight",
            json!("30"),
            "experiments[0].variants[1].weight is \"30\", but must be a percentage from 0 to 100",
        ),
        (
            "/experiments/0/variants/1/weight",
            json!(12.34567),
            "weight is 12.34567, but must be a percentage",
        ),
        (
            "/experiments/0/variants/1/weight",
            Value::Null,
            "experiments[0].variants[1].weight is missing; a candidate needs a percentage from 0 to 100",
        ),
        (
            "/experiments/0/variants/2/weight",
            json!(60),
            "experiments[0].variants: the weights of the candidates, or \
          their reserves, add up to 110.5, but must be at most 100",
        ),
        (
            "/experiments/0/variants/0/weight",
            json!(70),
            "experiments[0].variants[0].weight must not be set for the baseline",
        ),
        (
            "/experiments/0/variants/1/reserve",
            json!(20),
            "reserve is 20, but must be at least the largest weight, 30",
        ),
        (
            "/experiments/0/name",
            json!("my experiment"),
            "experiments[0].name is \"my experiment\", but must be 1 to 63 letters, digits, '.', '_', '-'",
        ),
        (
            "/experiments/0/name",
            json!("ranking"),
            "experiments[1].name is \"ranking\", but another experiment has this name",
        ),
        (
            "/experiments/0/variants/2/name",
            json!("new"),
            "experiments[0].variants[2].name is \"new\", but another variant",
        ),
        (
            "/experiments/0/baseline",
            json!("stabel"),
            "experiments[0].baseline is \"stabel\", but must be one of the variants: stable, new, other",
        ),
        (
            "/experiments/0/unit",
            Value::Null,
            "experiments[0].unit is missing; assignment user_hash needs",
        ),
        (
            "/experiments/0/unit/0",
            json!({"header": "x-user-id", "cookie": "a"}),
            "experiments[0].unit[0] must have exactly one of the keys header, cookie, query, body",
        ),
        (
            "/experiments/0/wieght",
            json!(1),
            "experiments[0].wieght is an unknown key; expected one of: analysis, assignment",
        ),
        (
            "/experiments/0/breaker/slow/ovr",
            json!("1s"),
            "experiments[0].breaker.slow.ovr is an unknown key; expected one of: over, rate",
        ),
        (
            "/setings",
            json!({}),
            "setings is an unknown key; expected one of: experiments, settings",
        ),
        (
            "/experiments/0/breaker/open_for",
            json!("0s"),
            "open_for is \"0s\", but must be a time span from 1s to 1d",
        ),
        (
            "/experiments/0/breaker/open_for",
            json!("10m"),
            "open_for is 10m, but must be at most max_open_for, 1m30s",
        ),
        (
            "/settings/body_limit",
            json!("1GiB"),
            "settings.body_limit is \"1GiB\", but must be a size from 1B to 16MiB",
        ),
        (
            "/settings/body_limit",
            json!("17MiB"),
            "settings.body_limit is \"17MiB\", but must be a size from 1B to 16MiB",
        ),
        (
            "/experiments/0/enabled",
            json!("off"),
            "experiments[0].enabled is \"off\", but must be true or false",
        ),
        (
            "/experiments/0/missing_unit",
            json!("reject"),
            "missing_unit is \"reject\", but must be one of: baseline, random, skip",
        ),
        (
            "/experiments/1/variants/1/weight",
            json!(5),
            "experiments[1].variants[1].weight must not be set next to rollout",
        ),
        (
            "/experiments/1/rollout/phases/0/for",
            Value::Null,
            "experiments[1].rollout.phases[0].for is missing",
        ),
        (
            "/experiments/1/rollout/phases/0/weights",
            json!({"newer": 5}),
            "experiments[1].rollout.phases[0].weights.newer is not a candidate; expected one of: new",
        ),
        (
            "/experiments/1/rollout/start",
            json!("tomorrow"),
            "start is \"tomorrow\", but must be a moment in RFC 3339",
        ),
        (
            "/experiments/1/layer/from",
            json!(40),
            "experiments[1].layer has slots of the layer \"checkout\" that another",
        ),
        (
            "/experiments/0/overrides/units",
            json!({"qa alice": "newest"}),
            "experiments[0].overrides.units.\"qa alice\" is \"newest\", but must be one of the variants: stable, \
             new, other",
        ),
        (
            "/experiments/0/unit/0/header",
            json!("X-AB-Variant"),
            "unit[0].header is \"X-AB-Variant\", a header of the filter's own",
        ),
        (
            "/experiments/0/overrides/header",
            json!("x-user-id"),
            "overrides.header is \"x-user-id\", which an experiment reads",
        ),
        (
            "/experiments/0/match/methods",
            json!([]),
            "experiments[0].match.methods is an empty list",
        ),
        ("/experiments", json!({"name": "forecast"}), "but must be a list"),
        (
            "",
            json!([1, 2]),
            "the experiment file is missing: spec.pluginConfig must have the key experiments",
        ),
    ]
}

/// Sets or removes a value.
fn changed(mut file: Value, pointer: &str, value: &Value) -> Value {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return value.clone() };
    let parent = file.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(keys), Value::Null) => drop(keys.remove(key)),
        (Value::Object(keys), value) => drop(keys.insert(key.to_owned(), value.clone())),
        (Value::Array(items), value) => items[key.parse::<usize>().unwrap()] = value.clone(),
        (other, _) => panic!("{pointer}: {other}"),
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_experiments_are_rejected_with_the_place_and_a_reason() {
    let policy = Policy::apply("deny");
    assert!(policy.tried(&[policy.plugin("right", &right())]).accepted);
    for (pointer, value, message) in wrong() {
        let file = changed(right(), pointer, &value);
        assert!(
            config::parse_json(file.to_string().as_bytes()).is_err(),
            "{pointer}: {value} is right"
        );
        // The schema of Istio's resource demands a group of keys.
        if file.is_array() {
            continue;
        }
        for object in [policy.plugin("wrong", &file), policy.extension("wrong", &file)] {
            let applied = policy.tried(&[object]);
            assert!(!applied.accepted, "{pointer}: {value} is admitted");
            assert!(
                applied.messages.contains(message),
                "{pointer}: {value}\n{}\n{message}",
                applied.messages
            );
            assert!(!applied.messages.contains("expression"), "{}", applied.messages);
        }
    }
    let mut many = right();
    let line = "x\ny".repeat(3000);
    for key in ["a", "b", "c"] {
        many = changed(many, &format!("/experiments/0/{key}"), &json!(line));
    }
    many = changed(many, "/experiments/0/salt", &json!(line));
    let applied = policy.tried(&[policy.plugin("many", &many)]);
    assert!(
        applied.messages.contains("the experiment file has 4 problems: experiments[0]."),
        "{}",
        applied.messages
    );
    // A plugin of others is none of our business.
    let mut other = policy.plugin("other", &json!({"experiments": 1}));
    other["spec"]["pluginName"] = json!("other");
    assert!(policy.tried(&[other]).accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn right_experiments_are_admitted() {
    let policy = Policy::apply("deny");
    let mut random = Random(7);
    let mut objects = Vec::new();
    for number in 0..200 {
        let file = random.file();
        let text = file.to_string();
        config::parse_json(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let name = format!("random-{number}");
        let object = if number % 2 == 0 { Policy::plugin } else { Policy::extension };
        objects.push(object(&policy, &name, &file));
    }
    // A hundred experiments in one file.
    let one = |number: usize| {
        let mut experiment = right()["experiments"][0].clone();
        experiment["name"] = json!(format!("forecast-{number}"));
        experiment["layer"]["name"] = json!(format!("layer-{number}"));
        experiment
    };
    let hundred: Vec<Value> = (0..100).map(one).collect();
    objects.push(policy.plugin("hundred", &json!({"experiments": hundred})));
    let applied = policy.tried(&objects);
    assert!(applied.accepted, "{}", applied.messages);
    assert_eq!(applied.objects.lines().count(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_experiment_can_be_admitted_with_a_warning() {
    let policy = Policy::apply("warn");
    let applied = policy.tried(&[
        policy.plugin("wrong", &changed(right(), "/experiments/0/baseline", &json!("a")))
    ]);
    assert!(applied.accepted && applied.messages.contains("Warning: "), "{applied:?}");
    assert!(applied.messages.contains("experiments[0].baseline is \"a\""), "{}", applied.messages);
}

/// Random right files, the same in each run.
struct Random(u64);

impl Random {
    /// Below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn of(&mut self, all: &[Value]) -> Value {
        let index = self.below(all.len() as u64);
        all[usize::try_from(index).unwrap()].clone()
    }

    /// A percentage, as the rest of `left` allows.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn percent(&mut self, left: &mut u64) -> Value {
        let ppm = self.below(*left + 1);
        *left -= ppm;
        match self.below(3) {
            0 => {
                *left += ppm % 10_000;
                json!(ppm / 10_000)
            }
            _ => json!(ppm as f64 / 10_000.0),
        }
    }

    fn file(&mut self) -> Value {
        let experiments: Vec<Value> =
            (0..=self.below(4)).map(|number| self.experiment(number)).collect();
        let mut file = json!({"experiments": experiments});
        if self.coin() {
            file["settings"] = json!({
                "header_prefix": self.of(&[json!("x-ab-"), json!("x-team-")]),
                "response_headers": self.coin(),
                "body_limit": self.of(&[
                    json!("64KiB"), json!(1), json!("1MiB512KiB"), json!(16_777_216), json!("16MiB"),
                ]),
                "exposure_unit": self.of(&[json!("digest"), json!("plain"), json!("none")]),
                "debug": self.of(&[json!("denied"), json!("allowed"), json!({"token_sha256": "AB".repeat(32)})]),
            });
        }
        file
    }

    fn experiment(&mut self, number: u64) -> Value {
        let mut left = 1_000_000;
        let candidates = 1 + self.below(3);
        let rollout = self.below(3) == 0;
        let clusters = self.coin();
        let mut variants = vec![json!({"name": "base"})];
        for candidate in 0..candidates {
            let mut variant = json!({"name": format!("candidate.{candidate}_x-")});
            if !rollout {
                variant["weight"] = self.percent(&mut left);
                if self.coin() {
                    variant["reserve"] = variant["weight"].clone();
                }
            }
            if self.coin() {
                variant["request_headers"] = json!({"X-Model-Version": "2.0", "x-b": ""});
                variant["response_headers"] = json!({"set-cookie": "a=b; Path=/"});
                variant["path"] = json!({"replace_prefix": ["/v2", "/v3"]});
            }
            variants.push(variant);
        }
        if clusters {
            for (index, variant) in variants.iter_mut().enumerate() {
                variant["cluster"] = json!(format!("outbound|80|v{index}|a.b.svc.cluster.local"));
            }
        }
        let at = usize::try_from(self.below(variants.len() as u64)).unwrap();
        variants.swap(0, at);
        let units = [
            json!({"header": "X-User-Id"}),
            json!({"cookie": "session_id", "mint": {"max_age": "400d"}}),
            json!({"query": "user[id]"}),
            json!({"body": "/user/a~1b~0"}),
        ];
        let mut unit = vec![self.of(&units)];
        let second = self.of(&units);
        if !unit.contains(&second) {
            unit.push(second);
        }
        let mut experiment = json!({
            "name": format!("Experiment.{number}"), "baseline": "base", "variants": variants, "unit": unit,
        });
        if rollout {
            let weight = |random: &mut Self| {
                let weight = random.of(&[json!(0), json!(12.3456), json!(100)]);
                json!({"candidate.0_x-": weight})
            };
            experiment["rollout"] = json!({
                "start": self.of(&[
                    json!("2026-11-23T09:00:00Z"), json!("1970-01-01T00:00:00.5-05:30"),
                    json!("2030-02-01T10:00:00+01:00"),
                ]),
                "phases": [
                    {"name": "a", "for": "1d2h3m4s5ms", "weights": weight(self)},
                    {"name": "b", "weights": weight(self)},
                ],
            });
        }
        if self.coin() {
            experiment["salt"] = json!("sälz '\" \\ €");
            experiment["enabled"] = json!(self.coin());
            experiment["missing_unit"] =
                self.of(&[json!("baseline"), json!("random"), json!("skip")]);
            let percent = self.of(&[json!(0), json!(0.0001), json!(100)]);
            experiment["mirror"] = json!({"cluster": "shadow", "percent": percent});
        }
        if self.coin() {
            experiment["match"] = json!({
                "hosts": [self.of(&[
                    json!("a"), json!("*.example.com."), json!("-a-.b_c"), json!("[::1]"), json!("10.0.0.1"),
                ])],
                "path": self.of(&[json!({"exact": "/v2/x"}), json!({"prefix": "/v2"})]),
                "methods": ["POST", "M-SEARCH"],
                "headers": [{"name": "x-a", "present": self.coin()}, {"name": "x-b", "prefix": "a"}],
                "body": [{"pointer": "/model", "exact": "m"}],
            });
        }
        if self.coin() {
            experiment["breaker"] = json!({
                "mode": self.of(&[json!("enforce"), json!("dry_run"), json!("disabled")]),
                "error_rate": self.of(&[json!(0), json!(5.5), json!(100)]),
                "slow": {"over": self.of(&[json!("1ms"), json!("1h")]), "rate": 5},
                "no_answer": {"after": self.of(&[json!("0s"), json!("10s")])},
                "window": "1h", "min_requests": 1_000_000, "confidence": 99.9999, "consecutive_errors": 0,
                "compare_to_baseline": self.coin(), "open_for": "1d", "max_open_for": "7d",
            });
        }
        if self.coin() {
            let from = number * 20;
            experiment["layer"] = json!({"name": "layer", "from": from, "to": from + 20});
        }
        if self.coin() {
            experiment["overrides"] = json!({
                "header": self.of(&[json!("x-force"), json!("x-force-2")]),
                "token_sha256": "0f".repeat(32), "units": {"qa alice": "base", "ünï\"t": "candidate.0_x-"},
            });
        }
        if self.coin() {
            experiment["analysis"] =
                json!({"metrics": ["accuracy"], "of-a-newer-command": {"a": 1}});
        }
        experiment
    }
}
