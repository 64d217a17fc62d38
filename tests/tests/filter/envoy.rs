//! A real Envoy with the module that ships: every scenario, and what only a real Envoy can show.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod failover;
mod headers;
mod plugins;
mod updates;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::scenarios::{
    self, FORECAST, by, experiment, forecast, forecast_with, merge, untouched, user_of, variant,
};
use serde_json::{Value, json};
use sidetrack_lab::{Client, EnvoyBinary, Load, LoadOptions, Request, validate};
use sidetrack_tests::artifact;
use sidetrack_tests::world::{Kind, Stage, World, run, sidetrack_command};

macro_rules! in_envoy {
    ($($name:ident,)*) => { $(
        #[tokio::test]
        async fn $name() {
            run(Stage::new(Kind::Envoy), scenarios::$name).await;
        }
    )* };
}
scenarios::for_each_scenario!(in_envoy);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file)
}

/// Runs a program over units, a line each, and returns the lines that it prints.
fn over(units: &[String], mut program: Command) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), units.join("\n") + "\n").unwrap();
    let run =
        program.stdin(File::open(file.path()).unwrap()).stderr(Stdio::inherit()).output().unwrap();
    assert!(run.status.success(), "{program:?}");
    String::from_utf8(run.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// Five sources agree about the same 10000 units: the recipe in Python, the command, the response
/// headers, the model that received the request, and the metrics.
#[tokio::test]
async fn ten_thousand_units_and_five_accounts_of_them() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let path = golden("assign.json");
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let world = stage.start(&file).await;
        let units: Vec<String> = (0..10_000_u64)
            .map(|n| match n % 4 {
                0 => n.to_string(),
                1 => format!("user-{n:08}"),
                2 => format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                _ => format!("person.{n}@example.com"),
            })
            .collect();
        let mut python = Command::new("python3");
        python.arg("-B").arg(golden("assign.py")).arg(&path);
        let by_recipe = over(&units, python);
        let mut command = Command::new(artifact::cli());
        command.arg("assign").arg(&path);
        assert_eq!(over(&units, command), by_recipe, "the command and the recipe differ");
        let assigned = |line: &String| line.split(',').nth(2).unwrap().to_owned();
        let by_recipe: BTreeMap<String, String> =
            units.iter().cloned().zip(by_recipe.iter().skip(1).map(assigned)).collect();
        assert_eq!(by_recipe.len(), units.len());

        let addr = world.real().addr;
        let mut clients = tokio::task::JoinSet::new();
        for part in units.chunks(1_000) {
            let part = part.to_vec();
            clients.spawn(async move {
                let client = Client::new(addr);
                let mut told = Vec::new();
                for unit in part {
                    let answer =
                        client.send(Request::get("/").header("x-user-id", &unit)).await.unwrap();
                    assert_eq!(answer.status, 200);
                    told.push((unit, answer.header_text("x-ab-variant").unwrap()));
                }
                told
            });
        }
        let told: BTreeMap<String, String> =
            clients.join_all().await.into_iter().flatten().collect();
        assert!(told == by_recipe, "callers were told otherwise than the recipe says");

        let mut asked = BTreeMap::new();
        for (cluster, stub) in &world.real().stubs {
            for seen in stub.requests() {
                let before = asked.insert(seen.header_text("x-user-id").unwrap(), cluster.clone());
                assert_eq!(before, None, "two models, or one twice");
            }
        }
        assert!(asked == by_recipe, "other models were asked than the recipe says");

        let mut counts: BTreeMap<&String, u64> = BTreeMap::new();
        by_recipe.values().for_each(|variant| *counts.entry(variant).or_default() += 1);
        assert!(counts.len() >= 3, "{counts:?}");
        for (variant, count) in counts {
            let labels =
                [("experiment", "golden"), ("model_name", variant.as_str()), ("status", "success")];
            world.expect_metric("ab_test_requests_total", &labels, count).await;
        }
        world.expect_metric("ab_test_requests_total", &[], 10_000).await;
    })
    .await;
}

/// The text without what lies between two lines: from the one that is `from`, to just before the
/// one that is `to`.
fn without(text: &str, from: &str, to: &str) -> String {
    let (before, rest) = text.split_once(from).expect("what is to be taken out");
    let (_, after) = rest.split_once(to).expect("what comes after it");
    format!("{before}{to}{after}")
}

#[tokio::test]
async fn without_the_filter_everyone_gets_the_baseline() {
    let stage = Stage::changed(|bootstrap| {
        without(
            &bootstrap,
            "          - name: sidetrack\n",
            "          - name: envoy.filters.http.router\n",
        )
    });
    run(stage, |stage| async move {
        let mut file = forecast_with(
            json!({"overrides": {"header": "x-choose"}, "mirror": {"cluster": "shadow"}}),
        );
        let tagging = json!({
            "name": "images", "match": {"path": {"prefix": "/images"}}, "baseline": "i-old",
            "variants": [{"name": "i-old"}, {"name": "i-new", "weight": 50}],
        });
        let mut images = experiment();
        merge(&mut images, &tagging);
        file["experiments"].as_array_mut().unwrap().push(images);
        let world = stage.start_with(&file, "there is no filter to read this").await;
        untouched(&world.send(by("anna")).await);
        let forge = |mut request: Request| {
            for own in [
                "experiment",
                "variant",
                "assigned",
                "phase",
                "reason",
                "bucket",
                "breaker",
                "config",
            ] {
                request = request.header(format!("x-ab-{own}"), "forged");
            }
            for tester in ["x-ab-force", "x-ab-token", "x-ab-debug", "x-choose"] {
                request = request.header(tester, "new");
            }
            request.header("x-ab-cluster", "new-cluster").header("X-Ab-Mirror", "shadow")
        };
        untouched(&world.send(forge(by("anna"))).await);
        untouched(&world.send(forge(Request::get("/elsewhere"))).await);
        let exchange = world
            .send(
                forge(Request::get("/images/1"))
                    .header("x-ab-experiment", "images")
                    .header("x-ab-variant", "i-new"),
            )
            .await;
        assert_eq!(exchange.cluster(), Some("i-old"));
        assert_eq!(
            exchange.trace_of("x-"),
            [
                "x-forwarded-proto",
                "x-request-id",
                "x-model",
                "x-envoy-upstream-service-time",
                "x-request-id"
            ]
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(
            world.received("shadow") + world.received("new-cluster") + world.received("i-new"),
            0
        );
    })
    .await;
}

/// Where nothing removes the filter's headers before it, the filter alone does.
#[tokio::test]
async fn without_the_early_removal_the_filter_does_it() {
    let stage = Stage::changed(|bootstrap| {
        let to = "          access_log:\n";
        let bootstrap = without(&bootstrap, "          early_header_mutation_extensions:\n", to);
        without(&bootstrap, "            request_headers_to_remove:\n", "            virtual_hosts:\n").replace(
            "            virtual_hosts:\n",
            // What the filter itself sets is still not for the model.
            "            request_headers_to_remove: [x-ab-cluster, x-ab-mirror]\n            virtual_hosts:\n",
        )
    });
    run(stage, scenarios::what_a_client_forges_does_not_survive).await;
}

/// The filter says the variant alone; each exchange is checked for the rest, which the routes say.
#[tokio::test]
async fn lean_routes_say_what_the_filter_does_not() {
    run(Stage::rendered(&["--lean"]), scenarios::a_file_without_clusters_only_tags).await;
    run(Stage::rendered(&["--lean"]), |stage| async move {
        let rollout = json!({
            "start": "2026-01-01T00:00:00Z", "phases": [{"name": "canary", "weights": {"new": 50}}],
        });
        let variants = json!([{"name": "old"}, {"name": "new"}]);
        let breaker = json!({"consecutive_errors": 1, "open_for": "1m"});
        let file =
            forecast_with(json!({"variants": variants, "rollout": rollout, "breaker": breaker}));
        let world = stage.start(&file).await;
        let user = user_of(&world, "new");
        for (user, expected) in [(user_of(&world, "old"), "old"), (user.clone(), "new")] {
            let exchange = world.send(by(&user)).await;
            for told in [exchange.up("x-ab-variant"), exchange.down("x-ab-variant")] {
                assert_eq!(told.as_deref(), Some(expected));
            }
            assert_eq!(exchange.down("x-ab-experiment").as_deref(), Some("forecast-ab"));
            assert_eq!(exchange.down("x-ab-phase").as_deref(), Some("canary"));
            assert_eq!(exchange.down("x-ab-assigned"), None);
        }
        world.model("new", sidetrack_tests::world::Behavior::Status(503));
        let begun = std::time::Instant::now();
        let exchange = loop {
            let exchange = world.send(by(&user)).await;
            if exchange.cluster() == Some("old") {
                break exchange;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "the breaker does not open");
        };
        for told in [exchange.up("x-ab-assigned"), exchange.down("x-ab-assigned")] {
            assert_eq!(told.as_deref(), Some("new"), "the baseline serves for it");
        }
    })
    .await;
}

#[tokio::test]
async fn lean_routes_need_variants_that_they_can_tell_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.json");
    let tagging = json!([{"name": "old"}, {"name": "new", "weight": 30}]);
    let one = forecast_with(json!({"variants": tagging}))["experiments"][0].clone();
    let mut two = one.clone();
    two["name"] = json!("other");
    for (file, why) in [
        (
            forecast(),
            "--lean requires variants without clusters, but those of forecast-ab name clusters",
        ),
        (json!({"experiments": [one, two]}), "forecast-ab and other both have a variant old"),
    ] {
        fs::write(&path, file.to_string()).unwrap();
        let error = sidetrack_command(&["render", "envoy", &path.display().to_string(), "--lean"])
            .unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn ten_bad_updates_under_load_fail_no_request() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = stage.start(&forecast()).await;
        let users: Vec<String> = (0..200).map(|user| user.to_string()).collect();
        let expected: Vec<String> = users.iter().map(|user| variant(&world, &by(user))).collect();
        let (users, expected) = (Arc::new(users), Arc::new(expected));
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let answered = Arc::new(AtomicU64::new(0));
        let mut options = LoadOptions::new(world.real().addr, 250.0, {
            let users = Arc::clone(&users);
            move |n| {
                Request::get(FORECAST)
                    .header("x-user-id", &users[usize::try_from(n).unwrap() % users.len()])
            }
        });
        options.on_answer = {
            let (wrong, answered) = (Arc::clone(&wrong), Arc::clone(&answered));
            Arc::new(move |n, _, answer| {
                let expected = &expected[usize::try_from(n).unwrap() % expected.len()];
                answered.fetch_add(1, Ordering::Relaxed);
                match answer {
                    Ok(answer)
                        if answer.status == 200
                            && answer.header_text("x-ab-variant").as_ref() == Some(expected) => {}
                    other => wrong.lock().unwrap().push(format!("{n}: not {expected}: {other:?}")),
                }
            })
        };
        let load = Load::run(options).unwrap();
        for n in 1..=10_u64 {
            let before = answered.load(Ordering::Relaxed);
            let bad = match n % 3 {
                0 => forecast_with(json!({"baseline": format!("nobody-{n}")})).to_string(),
                1 => forecast_with(json!({"unknown": n})).to_string(),
                _ => "{".repeat(usize::try_from(n).unwrap()),
            };
            world.update_badly(&bad).await;
            while answered.load(Ordering::Relaxed) < before + 20 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let totals = load.stop().await;
        let wrong = wrong.lock().unwrap().clone();
        assert!(
            wrong.is_empty() && totals.errors == 0 && totals.done > 200,
            "{totals:?}: {:#?}",
            wrong.first()
        );
        world.expect_metric("ab_test_config_rejected_total", &[], 10).await;
        world.expect_metric("ab_test_requests_total", &[], totals.done).await;
        let log = world.log();
        assert!(log.contains("experiments[0].baseline") && log.contains("nobody-9"), "{log}");
    })
    .await;
}

/// The exposures: a JSON line for each request, in which the unit stands only when it may.
#[tokio::test]
async fn the_access_log_tells_of_every_exposure() {
    for setting in [None, Some("none"), Some("digest"), Some("plain")] {
        run(Stage::new(Kind::Envoy), |stage| async move {
            let mut file = forecast();
            if let Some(setting) = setting {
                file["settings"] = json!({"exposure_unit": setting});
            }
            let world = stage.start(&file).await;
            let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
            for (number, (user, served)) in [(&old, "old"), (&new, "new")].into_iter().enumerate() {
                world.send(by(user).header("x-ab-variant", "forged")).await;
                let log = log_of(&world, number + 1).await;
                let line = log.last().unwrap();
                let pseudonym =
                    world.plan().experiments.first().unwrap().exposure.pseudonym(user.as_bytes());
                let unit = match setting {
                    Some("none") => Value::Null,
                    None | Some("digest") => json!(pseudonym),
                    _ => json!(user),
                };
                let bucket = world
                    .plan()
                    .experiments
                    .first()
                    .unwrap()
                    .arm
                    .bucket(user.as_bytes())
                    .to_string();
                let told = [
                    "unit",
                    "experiment",
                    "assigned",
                    "served",
                    "status",
                    "reason",
                    "bucket",
                    "rescued",
                ];
                let expected =
                    json!([unit, "forecast-ab", served, served, 200, "hash", bucket, null]);
                assert_eq!(json!(told.map(|key| &line[key])), expected, "{setting:?}: {line}");
                assert_eq!(line["cluster"], format!("{served}-cluster"));
                // printf 'trial1\0forecast-ab\0forecast-1' | sha256sum
                let expected = json!(["77ba368c", world.plan().hash.short(), "new=300000/300000"]);
                assert_eq!(json!(["trial", "config", "weights"].map(|key| &line[key])), expected);
                for key in ["time", "request_id", "phase", "duration"] {
                    assert!(line.get(key).is_some(), "no {key} in {line}");
                }
            }
            world.get("/elsewhere", &[("x-user-id", &old)]).await;
            let log = log_of(&world, 3).await;
            assert!(
                ["unit", "experiment", "reason", "bucket"].iter().all(|key| log[2][key].is_null()),
                "{log:?}"
            );
        })
        .await;
    }
}

/// A line of the access log, with the values of its exposure beside its own.
fn spread(line: &str) -> Option<Value> {
    let mut line: Value = serde_json::from_str(line).ok()?;
    let exposure = line["exposure"].as_str().unwrap_or_default().to_owned();
    for (key, value) in sidetrack::exposure::values(&exposure) {
        line[key] = json!(value);
    }
    Some(line)
}

/// The access log's lines, once there are so many.
async fn log_of(world: &World, count: usize) -> Vec<Value> {
    for _ in 0..500 {
        // Envoy writes its log in the background, every ten seconds or when it is asked to.
        world.real().envoy.admin_post("/reopen_logs").await.unwrap();
        let log = world.real().access_log();
        let lines: Vec<Value> = log.lines().filter_map(spread).collect();
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("there are not {count} lines in the access log:\n{}", world.real().access_log());
}

/// Files of every shape, by name.
fn shapes() -> Vec<(&'static str, Value)> {
    let tagging = json!([{"name": "old"}, {"name": "new", "weight": 30}]);
    let unweighted = json!([{"name": "old", "cluster": "o"}, {"name": "new", "cluster": "n"}]);
    let conditions = json!({
        "hosts": ["models.test", "*.example.com", "[::1]"], "path": {"exact": "/a\"quoted\"'path"},
        "methods": ["GET", "M-SEARCH"],
        "headers": [{"name": "x-tenant", "exact": "a \"b\" \\ c"}, {"name": "x-region", "prefix": "eu-"},
                    {"name": "x-internal", "present": false}, {"name": "x-external", "present": true}],
    });
    let rollout = json!({
        "start": "2026-11-23T09:00:00Z",
        "phases": [{"name": "canary", "for": "1h", "weights": {"new": 5}}, {"name": "all", "weights": {"new": 30}}],
    });
    let mut prefixed = forecast();
    prefixed["settings"] = json!({"header_prefix": "x-trial-"});
    let (mut one, mut two) = (experiment(), experiment());
    merge(
        &mut one,
        &json!({"layer": {"name": "models", "from": 0, "to": 50}, "mirror": {"cluster": "shadow"}}),
    );
    let layer = json!({"name": "models", "from": 50, "to": 100});
    merge(
        &mut two,
        &json!({"name": "other", "layer": layer, "mirror": {"cluster": "shadow-2", "percent": 1}}),
    );
    vec![
        ("simple", forecast()),
        ("tag only", forecast_with(json!({"variants": tagging}))),
        ("conditions", forecast_with(json!({"match": conditions}))),
        ("mirror", forecast_with(json!({"mirror": {"cluster": "shadow", "percent": 5}}))),
        (
            "tag only with a mirror",
            forecast_with(json!({"variants": tagging, "mirror": {"cluster": "shadow"}})),
        ),
        ("layers, several", json!({"experiments": [one, two]})),
        ("rollout", forecast_with(json!({"variants": unweighted, "rollout": rollout}))),
        ("another prefix", prefixed),
        (
            "everything disabled",
            forecast_with(json!({"enabled": false, "breaker": {"mode": "disabled"}})),
        ),
    ]
}

#[tokio::test]
async fn envoy_accepts_what_is_rendered_for_files_of_every_shape() {
    let envoy = EnvoyBinary::find().unwrap();
    let wasm = artifact::wasm().display().to_string();
    let dir = tempfile::tempdir().unwrap();
    let watched = dir.path().join("filter.yaml");
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for (name, file) in shapes() {
        let path = dir.path().join(format!("{name}.json"));
        fs::write(&path, file.to_string()).unwrap();
        files.push((name.to_owned(), path));
    }
    let good = golden("config/good");
    for entry in fs::read_dir(&good).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Without experiments there is nothing to route.
        if name != "no-experiments.yaml" {
            files.push((name, path));
        }
    }
    for (name, path) in files {
        let path = path.display().to_string();
        let render = ["render", "envoy", &path, "--wasm", &wasm];
        let fixed = sidetrack_command(&render).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        validate(&envoy, &fixed).await.unwrap_or_else(|error| panic!("{name}: {error:?}\n{fixed}"));
        let watched_path = watched.display().to_string();
        let render = [&render[..], &["--watch", &watched_path]].concat();
        let filter = sidetrack_command(&[&render[..], &["--filter-only"]].concat()).unwrap();
        fs::write(&watched, filter).unwrap();
        let watching = sidetrack_command(&render).unwrap();
        validate(&envoy, &watching)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}\n{watching}"));
    }
}

#[tokio::test]
async fn the_committed_bootstrap_is_what_the_command_writes() {
    let committed = repository().join("envoy/quickstart.yaml");
    let rendered = Command::new(artifact::cli())
        .current_dir(repository())
        .args(["render", "envoy", "envoy/experiment.yaml"])
        .args([
            "--endpoint",
            "baseline-predictor=127.0.0.1:9001",
            "--endpoint",
            "enhanced-predictor=127.0.0.1:9002",
        ])
        .output()
        .unwrap();
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let rendered = String::from_utf8(rendered.stdout).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&committed, &rendered).unwrap();
    }
    let found = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        found == rendered,
        "envoy/quickstart.yaml is not what the command writes; UPDATE=1 writes it anew"
    );
    let wasm = artifact::wasm().display().to_string();
    let here = found.replace("dist/sidetrack.wasm", &wasm);
    assert_ne!(here, found);
    validate(&EnvoyBinary::find().unwrap(), &here).await.unwrap();
}
