//! The module that ships, under the fake host: every scenario, and what only a fake host can show.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod breakers;
mod faults;
mod outcomes;
mod updates;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::scenarios::{
    self, FORECAST, by, experiment, forecast, forecast_with, told, untouched, user_of, variant,
};
use serde_json::{Value, json};
use sidetrack::draw::{Draw, Purpose};
use sidetrack_tests::artifact;
use sidetrack_tests::fake_host::{Exchange, HeaderMap, Module, Proxy, Reply, Vm};
use sidetrack_tests::world::{Kind, Stage, run};

macro_rules! in_process {
    ($($name:ident,)*) => { $(
        #[tokio::test]
        async fn $name() {
            run(Stage::new(Kind::InProcess), scenarios::$name).await;
        }
    )* };
}
scenarios::for_each_scenario!(in_process);

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file)
}

fn vm(proxy: &Proxy, file: &Value) -> Vm {
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure(file.to_string()).unwrap(), "{}", proxy.log_text());
    vm
}

/// The request of a user for the forecast, by the shortest way.
fn get(vm: &Vm, user: &str) -> Exchange {
    vm.get(FORECAST, [("x-user-id", user)]).unwrap()
}

/// How often a metric without labels, or with those of the forecast's experiment, was counted.
fn count(proxy: &Proxy, name: &str) -> u64 {
    proxy.counter(name).unwrap_or_else(|| panic!("no {name}: {:?}", proxy.metrics().keys()))
}

#[test]
fn the_module_draws_as_the_golden_vectors_say() {
    let vectors: Vec<Value> =
        serde_json::from_slice(&fs::read(golden("draw.json")).unwrap()).unwrap();
    let proxy = Proxy::new(Module::sidetrack());
    let worker = proxy.start_vm().unwrap();
    let (mut salt, mut compared) = (String::new(), 0);
    for vector in vectors.iter().filter(|vector| vector["purpose"] == "arm1") {
        if vector["salt"] != salt.as_str() {
            vector["salt"].as_str().unwrap().clone_into(&mut salt);
            let mut file = forecast_with(json!({"salt": salt}));
            file["settings"] = json!({"debug": "allowed"});
            if !worker.configure(file.to_string()).unwrap() {
                // Not every salt is one that the file allows; the core's own test draws with those,
                // too.
                salt.clear();
                continue;
            }
        }
        let hex = vector["unit"].as_str().unwrap();
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let unit: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
        if unit.is_empty() {
            continue;
        }
        let headers = [("x-user-id", unit.as_slice()), ("x-ab-debug", b"1")];
        let bucket = worker.get(FORECAST, headers).unwrap().response_header("x-ab-bucket");
        assert_eq!(bucket, Some(vector["bucket"].to_string()), "{vector}");
        compared += 1;
    }
    assert!(compared > 80, "only {compared} vectors were compared");
}

#[test]
fn the_module_asks_for_no_more_than_the_list_and_is_small() {
    let file = golden("imports.txt");
    let found = Module::sidetrack().imports().join("\n") + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &found).unwrap();
    }
    let listed = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, listed, "the module's imports changed; UPDATE=1 writes {}", file.display());
    let size = fs::metadata(artifact::wasm()).unwrap().len();
    assert!(size < 480 * 1024, "the module has {size} bytes");
}

#[tokio::test]
async fn a_rollout_follows_the_clock() {
    run(Stage::new(Kind::InProcess), |stage| async move {
        let rollout = json!({
            "start": "2026-01-01T01:00:00Z",
            "phases": [{"name": "canary", "for": "1h", "weights": {"new": 5}},
                       {"name": "early", "for": "4h", "weights": {"new": 15}},
                       {"name": "production", "weights": {"new": 30}}],
        });
        let variants =
            json!([{"name": "old", "cluster": "old-cluster"}, {"name": "new", "cluster": "new-cluster"}]);
        let world = stage.start(&forecast_with(json!({"rollout": rollout, "variants": variants}))).await;
        let users: Vec<String> = (0..100).map(|user| user.to_string()).collect();
        let mut with_new: Vec<&String> = Vec::new();
        // The clock begins at midnight.
        for (after, phase, weight) in [
            (0, None, 0),
            (3599, None, 0),
            (3600, Some("canary"), 50_000),
            (7199, Some("canary"), 50_000),
            (7200, Some("early"), 150_000),
            (6 * 3600, Some("production"), 300_000),
            (1_000_000, Some("production"), 300_000),
        ] {
            let proxy = &world.fake().proxy;
            proxy.set_now((1_767_225_600 + after) * 1_000_000_000);
            for user in &users {
                let request = by(user);
                let expected = variant(&world, &request);
                let exchange = world.send(request).await;
                told(&exchange, &expected);
                assert_eq!(exchange.up("x-ab-phase").as_deref(), phase, "after {after} s");
                if expected == "new" && !with_new.contains(&user) {
                    with_new.push(user);
                }
                let stayed = expected == "new" || !with_new.contains(&user);
                assert!(stayed, "user {user} lost the new model after {after} s, though its share only grew");
            }
            // Within a second the published weights follow.
            for worker in &world.fake().workers {
                let period = worker.tick_period().expect("a rollout needs ticks").as_millis();
                (0..1000 / period).for_each(|_| worker.tick().unwrap());
            }
            world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "new")], weight).await;
            world
                .expect_metric("ab_test_variant_weight_ppm", &[("model_name", "old")], 1_000_000 - weight)
                .await;
        }
        assert!((15..50).contains(&with_new.len()), "{}", with_new.len());
        for (phase, requests) in [("canary", 200), ("early", 100), ("production", 200)] {
            world.expect_metric("ab_test_requests_total", &[("phase", phase)], requests).await;
        }
        world.expect_metric("ab_test_requests_total", &[], 700).await;
    })
    .await;
}

#[tokio::test]
async fn an_empty_configuration_is_none() {
    run(Stage::new(Kind::InProcess), |stage| async move {
        let world = stage.start_with(&forecast(), "").await;
        untouched(&world.send(by("anna")).await);
        world.expect_metric("ab_test_config_rejected_total", &[], 0).await;
        world.update(&forecast()).await;
        told(&world.send(by(&user_of(&world, "new"))).await, "new");
    })
    .await;
}

#[test]
fn a_request_keeps_the_configuration_it_began_with() {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = vm(&proxy, &forecast());
    let stream = worker.stream();
    let headers =
        [(":method", "GET"), (":path", FORECAST), (":authority", "a"), ("x-user-id", "anna")];
    stream.request_headers(headers, true).unwrap();
    let variant = stream.request_header("x-ab-variant").unwrap();
    let mut other = experiment();
    other["name"] = json!("another");
    assert!(worker.configure(json!({"experiments": [other]}).to_string()).unwrap());
    assert_eq!(worker.roots(), 2);
    stream.response_headers([(":status", "200")], true).unwrap();
    assert_eq!(stream.response_header("x-ab-variant"), Some(variant));
    assert_eq!(stream.response_header("x-ab-experiment").as_deref(), Some(&b"forecast-ab"[..]));
    stream.finish().unwrap();
    assert_eq!(worker.roots(), 1, "the old configuration is let go");
    assert_eq!(get(&worker, "anna").request_header("x-ab-experiment").as_deref(), Some("another"));
}

#[test]
fn what_a_model_answers_under_our_names_is_replaced() {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = vm(&proxy, &forecast());
    let answer: HeaderMap = [
        (":status", "200"),
        ("x-ab-variant", "mine"),
        ("x-ab-variant", "mine"),
        ("x-ab-experiment", "mine"),
    ]
    .into();
    let exchange =
        worker.get_replied(FORECAST, [("x-user-id", "1")], Reply::Headers(answer)).unwrap();
    let response = exchange.response.unwrap();
    assert_eq!(response.all("x-ab-variant"), [b"old".to_vec()]);
    assert_eq!(response.all("x-ab-experiment"), [b"forecast-ab".to_vec()]);
}

#[test]
fn memory_does_not_grow_with_requests() {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = vm(&proxy, &forecast());
    let round = || (0..300).for_each(|user| drop(get(&worker, &user.to_string())));
    round();
    let before = worker.memory_bytes();
    for _ in 0..5 {
        round();
        proxy.advance(Duration::from_secs(1));
        worker.tick().unwrap();
    }
    assert_eq!(worker.memory_bytes(), before);
}

/// What the access log reads, and that a proxy without such a log is spared the calls.
#[test]
fn a_decision_is_told_to_the_access_log() {
    let told = |announced: bool, unit: &str, headers: &[(&str, &str)]| {
        let proxy = Proxy::new(Module::sidetrack());
        if announced {
            proxy.set_environment("SIDETRACK_EXPOSURES", "1");
        }
        let mut file = forecast();
        file["settings"] = json!({"exposure_unit": unit});
        let vm = vm(&proxy, &file);
        let stream = vm.stream();
        let mut all = vec![(":method", "GET"), (":path", FORECAST), (":authority", "models.test")];
        all.extend_from_slice(headers);
        stream.request_headers(all, true).unwrap();
        let text = stream.filter_state(&["sidetrack.exposure"]);
        let text = text.map(|value| String::from_utf8(value).unwrap());
        ["unit", "reason", "bucket"].map(|wanted| {
            let mut values = sidetrack::exposure::values(text.as_deref()?);
            values.find(|(key, _)| *key == wanted).map(|(_, value)| value.to_owned())
        })
    };
    let bucket = Draw::new(Purpose::Arm, "forecast-1").bucket(b"anna").to_string();
    let hash = |unit: Option<&str>| {
        [unit.map(str::to_owned), Some("hash".to_owned()), Some(bucket.clone())]
    };
    let (anna, digest) = ([("x-user-id", "anna")], "14ddaacd8eb14e10d45b1e65aabd54f7");
    assert_eq!(told(true, "none", &anna), hash(None));
    assert_eq!(told(true, "plain", &anna), hash(Some("anna")));
    assert_eq!(told(true, "digest", &anna), hash(Some(digest)));
    assert_eq!(told(true, "plain", &[("cookie", "sid=anna")]), hash(Some("anna")));
    assert_eq!(told(false, "plain", &anna), [None, None, None]);
    assert_eq!(told(true, "plain", &[]), [None, Some("missing_unit".to_owned()), None]);
}
