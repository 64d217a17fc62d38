//! A real Envoy with the module that ships: every scenario, and what only a real Envoy can show.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod bootstrap;
mod explained;
mod exposures;
mod failover;
mod headers;
mod held;
mod lean;
mod listeners;
mod plugins;
mod prefixes;
mod redirects;
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
use sidetrack_lab::{Client, EnvoyBinary, Load, LoadOptions, Request};
use sidetrack_tests::artifact;
use sidetrack_tests::world::{Kind, Stage, run, sidetrack_command};

macro_rules! in_envoy {
    ($($name:ident,)*) => { $(
        #[tokio::test]
        async fn $name() {
            run(Stage::new(Kind::Envoy), scenarios::$name).await;
        }
    )* };
}
scenarios::for_each_scenario!(in_envoy);

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
