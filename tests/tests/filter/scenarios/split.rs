//! The split: the variant of each unit, and the headers that report it.

use std::collections::BTreeMap;

use serde_json::json;
use sidetrack::decide::Reason;
use sidetrack_tests::world::Stage;

use super::*;

const USERS: usize = 200;

pub(crate) async fn the_split_is_sticky_and_as_the_recipe_says(stage: Stage) {
    let world = stage.start(&forecast()).await;
    let mut served: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..2 {
        for user in 0..USERS {
            let request = by(&format!("user-{user}"));
            let expected = variant(&world, &request);
            let exchange = world.send(request).await;
            assert_eq!(exchange.status(), 200);
            told(&exchange, &expected);
            assert_eq!(
                exchange.cluster(),
                Some(format!("{expected}-cluster").as_str()),
                "round {round}"
            );
            *served.entry(expected).or_default() += 1;
        }
    }
    assert!(served["new"] > 60 && served["old"] > 200, "{served:?} is no split of 30 percent");
    for (variant, count) in served {
        let labels = [
            ("experiment", "forecast-ab"),
            ("model_name", variant.as_str()),
            ("status", "success"),
        ];
        world.expect_metric("ab_test_requests_total", &labels, count).await;
        assert_eq!(world.received(&format!("{variant}-cluster")), count);
    }
    for nothing in ["error", "aborted"] {
        world.expect_metric("ab_test_requests_total", &[("status", nothing)], 0).await;
    }
    world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
    world.expect_metric("ab_test_config_rejected_total", &[], 0).await;
}

pub(crate) async fn two_candidates_share_the_buckets_in_the_order_of_their_names(stage: Stage) {
    let variants = json!([
        {"name": "zeta", "cluster": "zeta", "weight": 20, "reserve": 40},
        {"name": "old", "cluster": "old-cluster"},
        {"name": "alpha", "cluster": "alpha", "weight": 25.5},
    ]);
    let mut file = forecast_with(json!({"variants": variants}));
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    for user in 0..USERS {
        let exchange = world.send(by(&user.to_string()).header("x-ab-debug", "1")).await;
        let bucket: u32 = exchange.down("x-ab-bucket").unwrap().parse().unwrap();
        // Alpha from 0, 25.5 percent wide; zeta behind it, the first 20 of its 40 percent.
        let expected = match bucket {
            0..255_000 => "alpha",
            255_000..455_000 => "zeta",
            _ => "old",
        };
        told(&exchange, expected);
    }
}

pub(crate) async fn headers_tell_model_and_caller(stage: Stage) {
    let variants = json!([
        {"name": "old", "cluster": "old-cluster"},
        {"name": "new", "cluster": "new-cluster", "weight": 30,
         "request_headers": {"x-model-version": "2.0.0"}, "response_headers": {"x-served-by": "the new one"}},
    ]);
    let world = stage.start(&forecast_with(json!({"variants": variants}))).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));

    let exchange = world.send(by(&new)).await;
    told(&exchange, "new");
    assert_eq!(exchange.up("x-ab-experiment").as_deref(), Some("forecast-ab"));
    assert_eq!(exchange.down("x-ab-experiment").as_deref(), Some("forecast-ab"));
    assert_eq!(exchange.up("x-model-version").as_deref(), Some("2.0.0"));
    assert_eq!(exchange.down("x-served-by").as_deref(), Some("the new one"));
    let trace = ["x-ab-experiment", "x-ab-variant", "x-ab-experiment", "x-ab-variant"];
    assert_eq!(exchange.trace_of("x-ab-"), trace);

    let exchange = world.send(by(&old).header("x-model-version", "mine")).await;
    told(&exchange, "old");
    assert_eq!(exchange.up("x-model-version").as_deref(), Some("mine"), "not the filter's header");
    assert_eq!(exchange.down("x-served-by"), None);
    let exchange = world.send(by(&new).header("x-model-version", "mine")).await;
    let versions: Vec<_> = exchange.model.unwrap().headers;
    let versions: Vec<_> = versions.iter().filter(|(name, _)| name == "x-model-version").collect();
    assert_eq!(
        versions,
        [&("x-model-version".to_owned(), b"2.0.0".to_vec())],
        "the variant's value wins"
    );
}

pub(crate) async fn a_file_without_clusters_only_tags(stage: Stage) {
    let world = stage
        .start(&forecast_with(
            json!({"variants": [{"name": "old"}, {"name": "new", "weight": 30}]}),
        ))
        .await;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for user in 0..50 {
        let request = by(&user.to_string());
        let expected = variant(&world, &request);
        let exchange = world.send(request).await;
        told(&exchange, &expected);
        assert_eq!(exchange.cluster(), Some(expected.as_str()), "routes follow x-ab-variant");
        *seen.entry(expected).or_default() += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

pub(crate) async fn two_experiments_do_not_touch_each_other(stage: Stage) {
    let mut file = forecast();
    let mut images = experiment();
    let changes = json!({
        "name": "images", "salt": "images-1", "match": {"path": {"exact": "/v2/models/images/infer"}},
        "baseline": "i-old",
        "variants": [{"name": "i-old", "cluster": "i-old"}, {"name": "i-new", "cluster": "i-new", "weight": 50}],
    });
    merge(&mut images, &changes);
    file["experiments"].as_array_mut().unwrap().push(images);
    let world = stage.start(&file).await;
    let mut forecasts = 0;
    for user in 0..40 {
        for path in [FORECAST, "/v2/models/images/infer?x=1", "/v2/models/images/infer/more"] {
            let request = Request::get(path).header("x-user-id", user.to_string());
            let exchange = world.send(request.clone()).await;
            if path.ends_with("more") {
                untouched(&exchange);
                continue;
            }
            told(&exchange, &variant(&world, &request));
            let name = if path == FORECAST { "forecast-ab" } else { "images" };
            assert_eq!(exchange.up("x-ab-experiment").as_deref(), Some(name));
            forecasts += u64::from(path == FORECAST);
        }
    }
    assert_eq!(counted(&world).await, forecasts);
    world.expect_metric("ab_test_requests_total", &[("experiment", "images")], 40).await;
    assert!(world.received("i-new") > 5 && world.received("i-old") > 5);
}

pub(crate) async fn request_random_draws_each_request(stage: Stage) {
    let mut file = forecast_with(json!({"assignment": "request_random"}));
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    let mut new = 0;
    for _ in 0..200 {
        let exchange = world.send(by("always-the-same").header("x-ab-debug", "1")).await;
        let bucket: u32 = exchange.down("x-ab-bucket").unwrap().parse().unwrap();
        told(&exchange, if bucket < 300_000 { "new" } else { "old" });
        assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("random"));
        new += u32::from(bucket < 300_000);
    }
    // Six standard deviations around 60.
    assert!((21..=99).contains(&new), "{new} of 200 is no 30 percent");
    world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
}

pub(crate) async fn a_layer_keeps_its_experiments_apart(stage: Stage) {
    let layered = |name: &str, from: u32, to: u32| {
        let mut one = experiment();
        let layer = json!({"name": "models", "from": from, "to": to});
        merge(&mut one, &json!({"name": name, "salt": name, "layer": layer}));
        one
    };
    let mut file = json!({"experiments": [layered("first", 0, 40), layered("second", 40, 80)]});
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    for user in 0..USERS {
        let request = by(&user.to_string()).header("x-ab-debug", "1");
        let expected = decision(&world, &request);
        let exchange = world.send(request).await;
        let plan = world.plan();
        let experiment = &plan.experiments[expected.experiment];
        assert_eq!(exchange.up("x-ab-experiment").as_ref(), Some(&experiment.name));
        told(&exchange, &experiment.variants[expected.served].name);
        let reason = exchange.down("x-ab-reason").unwrap();
        assert_eq!(reason, expected.reason.as_str());
        *seen.entry((experiment.name.clone(), reason)).or_default() += 1;
    }
    let count = |name: &str, reason: Reason| {
        seen.get(&(name.to_owned(), reason.as_str().to_owned())).copied().unwrap_or_default()
    };
    let (first, second) = (count("first", Reason::Hash), count("second", Reason::Hash));
    let neither = count("first", Reason::Excluded);
    assert!(first > 50 && second > 50 && neither > 15, "{seen:?}");
    assert_eq!(first + second + neither, 200, "{seen:?}");
}

pub(crate) async fn an_experiment_that_is_switched_off_keeps_only_its_own_slots(stage: Stage) {
    let layered = |name: &str, from: u32, to: u32, enabled: bool| {
        let mut one = experiment();
        let layer = json!({"name": "models", "from": from, "to": to});
        merge(&mut one, &json!({"name": name, "salt": name, "layer": layer, "enabled": enabled}));
        one
    };
    let file = |first: bool, second: bool| {
        let experiments = [
            layered("first", 0, 30, first),
            layered("second", 30, 60, second),
            layered("third", 60, 90, true),
        ];
        json!({"experiments": experiments, "settings": {"debug": "allowed"}})
    };
    let world = stage.start(&file(true, true)).await;
    let mut before = Vec::new();
    for user in 0..60 {
        let exchange = world.send(by(&user.to_string()).header("x-ab-debug", "1")).await;
        let told = |name| exchange.down(name).unwrap();
        before.push((told("x-ab-experiment"), told("x-ab-variant"), told("x-ab-reason")));
    }
    for (first, second) in [(false, true), (true, false), (false, false)] {
        world.update(&file(first, second)).await;
        for (user, (name, variant, reason)) in before.iter().enumerate() {
            let exchange = world.send(by(&user.to_string()).header("x-ab-debug", "1")).await;
            let told = |name| exchange.down(name).unwrap();
            let is_off = (name == "first" && !first) || (name == "second" && !second);
            if reason == "hash" && !is_off {
                assert_eq!(
                    (&told("x-ab-experiment"), &told("x-ab-variant")),
                    (name, variant),
                    "user {user}"
                );
                assert_eq!(told("x-ab-reason"), "hash");
            } else {
                // In the slots of a disabled experiment, or in no slots.
                assert_eq!(
                    (told("x-ab-variant"), told("x-ab-reason")),
                    ("old".into(), "disabled".into())
                );
            }
        }
    }
    for name in ["first", "second", "third"] {
        assert!(
            before.iter().filter(|(taker, _, reason)| taker == name && reason == "hash").count()
                > 5
        );
    }
}

pub(crate) async fn a_rollout_is_in_the_phase_of_the_clock(stage: Stage) {
    let rollout = json!({
        "start": "2020-01-01T00:00:00Z",
        "phases": [{"name": "canary", "for": "1h", "weights": {"new": 5}}, {"name": "all", "weights": {"new": 40}}],
    });
    let variants = json!([{"name": "old", "cluster": "old-cluster"}, {"name": "new", "cluster": "new-cluster"}]);
    let world =
        stage.start(&forecast_with(json!({"rollout": rollout, "variants": variants}))).await;
    for user in 0..50 {
        let request = by(&user.to_string());
        let expected = variant(&world, &request);
        let exchange = world.send(request).await;
        told(&exchange, &expected);
        assert_eq!(exchange.up("x-ab-phase").as_deref(), Some("all"));
        assert_eq!(exchange.down("x-ab-phase").as_deref(), Some("all"));
    }
    world.expect_metric("ab_test_requests_total", &[("phase", "all")], 50).await;
    world.expect_metric("ab_test_requests_total", &[("phase", "canary")], 0).await;
    world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "new")], 400_000).await;
}

pub(crate) async fn a_rollout_that_has_not_started_is_the_baseline(stage: Stage) {
    let rollout = json!({"start": "2090-01-01T00:00:00Z", "phases": [{"name": "all", "weights": {"new": 100}}]});
    let variants = json!([{"name": "old", "cluster": "old-cluster"}, {"name": "new", "cluster": "new-cluster"}]);
    let mut file = forecast_with(json!({"rollout": rollout, "variants": variants}));
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    let exchange = world.send(by("anna").header("x-ab-debug", "1")).await;
    told(&exchange, "old");
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("not_started"));
    assert_eq!((exchange.down("x-ab-bucket"), exchange.down("x-ab-phase")), (None, None));
    world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "new")], 0).await;
    world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "old")], 1_000_000).await;
}

pub(crate) async fn the_kill_switch_gives_everyone_the_baseline(stage: Stage) {
    let world = stage.start(&forecast()).await;
    let user = user_of(&world, "new");
    told(&world.send(by(&user)).await, "new");
    let mut file = forecast_with(json!({"enabled": false}));
    file["settings"] = json!({"debug": "allowed"});
    world.update(&file).await;
    let exchange = world.send(by(&user).header("x-ab-debug", "1")).await;
    told(&exchange, "old");
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("disabled"));
    world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "new")], 0).await;
    world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "old")], 1_000_000).await;
}

pub(crate) async fn the_mirror_gets_its_share(stage: Stage) {
    let by_cluster = experiment()["variants"].clone();
    let tagging = json!([{"name": "old"}, {"name": "new", "weight": 30}]);
    for (variants, suffix) in [(by_cluster, "-cluster"), (tagging, "")] {
        let mirror = json!({"cluster": "shadow", "percent": 40});
        let world =
            stage.start(&forecast_with(json!({"mirror": mirror, "variants": variants}))).await;
        let (mut copies, mut copied) = (0, BTreeMap::new());
        for user in 0..100 {
            let request = by(&user.to_string());
            let (mirror, expected) = (decision(&world, &request).mirror, variant(&world, &request));
            told(&world.send(request).await, &expected);
            copies += u64::from(mirror);
            *copied.entry((expected, mirror)).or_insert(0) += 1;
        }
        assert!(
            (10..70).contains(&copies) && copied.len() == 4,
            "{copied:?} is no 40 percent of each variant"
        );
        world
            .expect_metric("ab_test_mirrored_total", &[("experiment", "forecast-ab")], copies)
            .await;
        // A copy is sent along, and may arrive after the answer.
        for _ in 0..100 {
            if world.received("shadow") >= copies {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(world.received("shadow"), copies);
        let served = ["old", "new"].map(|variant| world.received(&format!("{variant}{suffix}")));
        assert_eq!(served.iter().sum::<u64>(), 100);
    }
}

pub(crate) async fn a_mirror_of_everything_gets_those_without_a_unit_as_well(stage: Stage) {
    for missing in ["baseline", "random"] {
        let mirror = |percent: f64| {
            forecast_with(
                json!({"missing_unit": missing, "mirror": {"cluster": "shadow", "percent": percent}}),
            )
        };
        let world = stage.start(&mirror(99.9999)).await;
        let anonymous = || Request::get(FORECAST);
        for _ in 0..10 {
            assert_eq!(world.send(anonymous()).await.status(), 200);
        }
        world.update(&mirror(100.0)).await;
        for _ in 0..10 {
            assert_eq!(world.send(anonymous()).await.status(), 200);
        }
        world.expect_metric("ab_test_mirrored_total", &[("experiment", "forecast-ab")], 10).await;
        world
            .expect_metric("ab_test_missing_unit_total", &[("experiment", "forecast-ab")], 20)
            .await;
    }
}

pub(crate) async fn weights_and_hash_are_published(stage: Stage) {
    let world = stage.start(&forecast()).await;
    let published = |file: &serde_json::Value| {
        let plan = sidetrack::config::parse_json(file.to_string().as_bytes()).unwrap();
        u64::from(plan.hash.first_32_bits())
    };
    world.expect_metric("ab_test_config_hash", &[], published(&forecast())).await;
    let labels = [("experiment", "forecast-ab"), ("model_name", "new")];
    world.expect_metric("ab_test_variant_weight_ppm", &labels, 300_000).await;
    world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "old")], 700_000).await;
    // Every series is there before anything happened.
    for status in ["success", "error", "aborted"] {
        for variant in ["old", "new"] {
            let labels =
                [("experiment", "forecast-ab"), ("model_name", variant), ("status", status)];
            world.expect_metric("ab_test_requests_total", &labels, 0).await;
        }
    }
    for metric in
        ["ab_test_overrides_total", "ab_test_missing_unit_total", "ab_test_mirrored_total"]
    {
        world.expect_metric(metric, &[("experiment", "forecast-ab")], 0).await;
    }
    let candidate = [("experiment", "forecast-ab"), ("model_name", "new")];
    for metric in
        ["fallbacks_total", "breaker_state", "breaker_trips_total", "breaker_would_trip_total"]
    {
        world.expect_metric(&format!("ab_test_{metric}"), &candidate, 0).await;
    }
    for variant in ["old", "new"] {
        let labels = [("experiment", "forecast-ab"), ("model_name", variant), ("le", "0.2")];
        world.expect_metric("ab_test_response_time_seconds_bucket", &labels, 0).await;
        for part in ["sum", "count"] {
            world
                .expect_metric(&format!("ab_test_response_time_seconds_{part}"), &labels[..2], 0)
                .await;
        }
    }
    world.expect_metric("ab_test_config_rejected_total", &[], 0).await;
}
