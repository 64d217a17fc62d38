//! The module that ships, under the fake host: every scenario, and what only a fake host can show.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod breakers;
mod updates;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::scenarios::{
    self, FORECAST, by, experiment, forecast, forecast_with, told, untouched, user_of, variant,
};
use serde_json::{Value, json};
use sidetrack::breaker::End;
use sidetrack::draw::{Draw, Purpose};
use sidetrack::outcome::{Ending, Status as Ended};
use sidetrack_tests::artifact;
use sidetrack_tests::fake_host::{Action, Exchange, HeaderMap, Module, Proxy, Reply, Status, Vm};
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

/// However Envoy is asked how a request ended, the answer is the core's: by one expression, or,
/// where Envoy knows none or the request did not end well, by its attributes.
#[test]
fn a_request_ended_as_the_core_says_however_envoy_is_asked() {
    let mut asked = [0, 0];
    for (expressions, fails_over) in [(true, false), (true, true), (false, false), (false, true)] {
        for status in [None, Some(200), Some(404), Some(429), Some(500), Some(503)] {
            for (flags, grpc, attempts) in [
                (0, None, 1),
                (1 << 4, None, 1),
                (1 << 14, None, 1),
                (1 << 24, None, 1),
                (0, Some(0), 1),
                (0, Some(5), 1),
                (0, Some(14), 1),
                (0, None, 2),
                (0, Some(0), 2),
                (0, None, 0),
                (1 << 1, None, 0),
            ] {
                // A success at first sight is not asked whether a model was asked.
                if (status, flags, attempts) == (Some(200), 0, 0) {
                    continue;
                }
                let proxy = Proxy::new(Module::sidetrack());
                if !expressions {
                    proxy.set_foreign("expr_create", None);
                }
                if fails_over {
                    proxy.set_environment("SIDETRACK_FAILOVER", "1");
                }
                let all = json!([{"name": "old"}, {"name": "new", "weight": 100}]);
                let worker = vm(
                    &proxy,
                    &forecast_with(json!({"variants": all, "breaker": {"consecutive_errors": 1}})),
                );
                let stream = worker.stream();
                let kind = if grpc.is_some() { "application/grpc" } else { "application/json" };
                let request = [(":path", FORECAST), ("x-user-id", "1"), ("content-type", kind)];
                stream.request_headers(request, true).unwrap();
                stream.set_number(&["response", "flags"], flags);
                stream.set_number(&["upstream", "request_attempt_count"], attempts);
                if let Some(status) = status {
                    let mut answer: HeaderMap = [(":status", status.to_string())].into();
                    grpc.into_iter()
                        .for_each(|code: u32| answer.add("grpc-status", code.to_string()));
                    stream.response_headers(answer, true).unwrap();
                }
                let before = proxy.host_calls();
                stream.finish().unwrap();
                let more = |call| {
                    let now = proxy.host_calls().get(call).copied().unwrap_or_default();
                    now - before.get(call).copied().unwrap_or_default()
                };
                let ending = Ending {
                    answered: status.is_some(),
                    uploaded: true,
                    code: status.unwrap_or(0),
                    flags: flags.cast_unsigned(),
                    grpc_status: grpc.filter(|_| status.is_some()),
                    attempts: attempts.cast_unsigned(),
                    failed_over: fails_over && attempts > 1,
                    is_connect: false,
                    is_timed_out: false,
                };
                let outcome = ending.outcome();
                let reads = more("proxy_get_property");
                let is_known = ending.has_grpc_failure();
                assert_eq!(
                    more("proxy_call_foreign_function"),
                    u64::from(expressions && !is_known)
                );
                let well =
                    status.is_some_and(|status| status < 400) && flags == 0 && !ending.failed_over;
                assert_eq!(
                    reads == 0,
                    expressions && well && !is_known,
                    "{expressions} {ending:?}: {reads} reads"
                );
                asked[usize::from(reads == 0)] += 1;
                let at_once = outcome.end == End::Failed;
                assert_eq!(
                    proxy.log_text().contains("the breaker opens"),
                    at_once,
                    "{expressions} {ending:?}\n{}",
                    proxy.log_text()
                );
                worker.tick().unwrap();
                for (name, status) in [
                    ("success", Ended::Success),
                    ("error", Ended::Error),
                    ("aborted", Ended::Aborted),
                ] {
                    let name = format!(
                        "experiment=.=forecast-ab;.;model_name=.=new;.;status=.={name};.;ab_test_requests_total"
                    );
                    assert_eq!(
                        count(&proxy, &name),
                        u64::from(outcome.status == Some(status)),
                        "{name} {ending:?}"
                    );
                }
            }
        }
    }
    assert!(asked.iter().all(|&count| count > 5), "{asked:?}");
}

/// Only Envoy knows whether a second attempt went to the baseline: by the name of the route.
#[test]
fn a_second_attempt_is_the_baselines_only_on_a_route_that_fails_over() {
    let proxy = Proxy::new(Module::sidetrack());
    proxy.set_environment("SIDETRACK_FAILOVER", "1");
    let all = json!([{"name": "old"}, {"name": "new", "weight": 100}]);
    let worker = vm(&proxy, &forecast_with(json!({ "variants": all })));
    for (route, attempts, variant) in [
        ("sidetrack-failover:new-cluster", 1, "new"),
        ("sidetrack-failover:new-cluster", 2, "old"),
        ("with-retries", 2, "new"),
        ("", 2, "new"),
    ] {
        proxy.set_property(&["xds", "route_name"], route);
        let stream = worker.stream();
        let request = [(":path", FORECAST), ("x-user-id", "1")];
        stream.request_headers(request, true).unwrap();
        stream.set_number(&["upstream", "request_attempt_count"], attempts);
        stream.response_headers([(":status", "200")], true).unwrap();
        let reported = stream.response_header("x-ab-variant");
        assert_eq!(reported.as_deref(), Some(variant.as_bytes()), "{route:?}, attempt {attempts}");
        stream.finish().unwrap();
    }
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

/// Whatever call a host fails: the request passes, and the filter lives.
#[test]
fn a_faulty_host_costs_no_request() {
    let calls = [
        "proxy_get_header_map_pairs",
        "proxy_add_header_map_value",
        "proxy_replace_header_map_value",
        "proxy_remove_header_map_value",
        "proxy_call_foreign_function",
        "proxy_get_property",
        "proxy_increment_metric",
        "proxy_record_metric",
        "proxy_get_metric",
        "proxy_define_metric",
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_get_current_time_nanoseconds",
        "proxy_set_tick_period_milliseconds",
        "random_get",
        "proxy_log",
    ];
    let mut file = forecast_with(
        json!({"missing_unit": "random", "mirror": {"cluster": "shadow", "percent": 50}}),
    );
    file["settings"] = json!({"debug": "allowed"});
    for call in calls {
        for status in
            [Status::InternalFailure, Status::NotFound, Status::BadArgument, Status::Unimplemented]
        {
            for from_the_start in [true, false] {
                let proxy = Proxy::new(Module::sidetrack());
                if from_the_start {
                    proxy.fault(call, status);
                }
                let worker = vm(&proxy, &file);
                proxy.fault(call, status);
                for headers in [
                    vec![("x-user-id", "1")],
                    vec![("x-ab-debug", "1")],
                    vec![("x-ab-cluster", "new-cluster")],
                ] {
                    for reply in [Reply::status(200), Reply::status(503), Reply::Abort] {
                        let exchange =
                            worker.get_replied(FORECAST, headers.clone(), reply).unwrap();
                        assert_eq!(exchange.action, Action::Continue, "{call} {status:?}");
                        assert!(exchange.local_response.is_none(), "{call} {status:?}");
                    }
                }
                worker.tick().unwrap();
                proxy.clear_faults();
                assert!(!worker.is_dead());
                let exchange = get(&worker, "1");
                assert_eq!(
                    exchange.request_header("x-ab-variant").as_deref(),
                    Some("old"),
                    "{call} {status:?}"
                );
            }
        }
    }
}

#[test]
fn requests_without_a_decision_are_counted() {
    let proxy = Proxy::new(Module::sidetrack());
    // Only the headers of requests are read.
    proxy.set_environment("SIDETRACK_ROUTES_CLEAN", "1");
    let worker = vm(&proxy, &forecast());
    assert_eq!(count(&proxy, "ab_test_undecided_total"), 0);
    proxy.fault_times("proxy_get_header_map_pairs", Status::InternalFailure, 3);
    for n in 1..=3 {
        let exchange = get(&worker, "1");
        assert_eq!(exchange.request_header("x-ab-variant"), None);
        assert_eq!(exchange.response_header("x-ab-variant"), None);
        assert_eq!(count(&proxy, "ab_test_undecided_total"), n);
    }
    assert_eq!(get(&worker, "1").request_header("x-ab-variant").as_deref(), Some("old"));
    assert_eq!(count(&proxy, "ab_test_undecided_total"), 3);
}

/// An earlier filter responded: the log callback is the first callback of the filter for this
/// request.
#[test]
fn a_stream_may_begin_with_its_end() {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = vm(&proxy, &forecast());
    for _ in 0..3 {
        worker.stream().finish().unwrap();
    }
    let stream = worker.stream();
    stream.response_headers([(":status", "429")], true).unwrap();
    stream.finish().unwrap();
    let counted = proxy.metrics().into_iter().filter(|(name, value)| {
        name.ends_with("ab_test_requests_total")
            && *value != sidetrack_tests::fake_host::MetricValue::Number(0)
    });
    assert_eq!(counted.count(), 0, "{:?}", proxy.metrics());
    assert_eq!(get(&worker, "1").request_header("x-ab-variant").as_deref(), Some("old"));
}

#[test]
fn a_vm_that_dies_takes_no_other_with_it() {
    let proxy = Proxy::new(Module::sidetrack());
    let (first, second) = (vm(&proxy, &forecast()), vm(&proxy, &forecast()));
    let before = get(&second, "anna").request_header("x-ab-variant");
    proxy.set_fuel_limit(50);
    assert!(first.get(FORECAST, [("x-user-id", "anna")]).is_err());
    proxy.set_fuel_limit(10_000_000_000);
    assert!(first.is_dead() && first.get(FORECAST, [("x-user-id", "anna")]).is_err());
    assert_eq!(get(&second, "anna").request_header("x-ab-variant"), before);
    // What Envoy puts in its place goes on where it was.
    let third = vm(&proxy, &forecast());
    assert_eq!(get(&third, "anna").request_header("x-ab-variant"), before);
    let name =
        "experiment=.=forecast-ab;.;model_name=.=old;.;status=.=success;.;ab_test_requests_total";
    let other = name.replace("=old", "=new");
    for worker in [&second, &third] {
        worker.tick().unwrap();
    }
    assert_eq!(count(&proxy, name) + count(&proxy, &other), 3);
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

/// A stats matcher makes every stat read zero for ever. The log reports it, and the breaker works
/// without stats: five failures on one worker, and both workers send the candidate's users to the
/// baseline.
#[test]
fn hidden_metrics_are_said_loudly_and_stop_no_breaker() {
    let proxy = Proxy::new(Module::sidetrack());
    proxy.hide_metrics("");
    let (one, other) = (vm(&proxy, &forecast()), vm(&proxy, &forecast()));
    one.tick().unwrap();
    assert!(proxy.log_text().contains("Envoy hides the filter's metrics"), "{}", proxy.log_text());
    let variant_of = |vm: &Vm, user: &str| get(vm, user).request_header("x-ab-variant");
    let users = (0..1_000).map(|n| format!("user-{n}"));
    let user =
        users.into_iter().find(|user| variant_of(&other, user).as_deref() == Some("new")).unwrap();
    let variant = |vm: &Vm| variant_of(vm, &user);
    assert_eq!(variant(&other).as_deref(), Some("new"));
    for _ in 0..5 {
        one.get_replied(FORECAST, [("x-user-id", user.as_str())], Reply::status(503)).unwrap();
    }
    assert_eq!(variant(&one).as_deref(), Some("old"), "{}", proxy.log_text());
    proxy.advance(Duration::from_millis(100));
    other.tick().unwrap();
    assert_eq!(variant(&other).as_deref(), Some("old"), "{}", proxy.log_text());
    assert_eq!(proxy.log_text().matches("the breaker opens").count(), 1, "{}", proxy.log_text());
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
