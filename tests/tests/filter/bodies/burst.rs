//! A body that is above the limit by as much as Envoy reads at once: it must not be a 413.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sidetrack::request::{Body, Unread};
use sidetrack_tests::world::{Kind, Stage, World, run};
use tokio::time::sleep;

use super::{Wire, echoing, file, is_as_decided, question_of, user_of_new};

/// What arrives while Envoy is busy: more than it reads at once.
const BURST: usize = 3 << 20;

/// Sends a signal to Envoy, so that it works or does not.
fn signal(world: &World, name: &str) {
    let pid = world.real().envoy.pid().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// Sends `first` bytes of a chunked JSON body, and all others while Envoy does not read.
async fn send_in_a_burst(world: &World, body: &str, first: usize) {
    let mut wire = Wire::open(world).await;
    wire.begin("content-type: application/json\r\ntransfer-encoding: chunked\r\n").await;
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let (first, rest) = body.split_at(first);
    if !first.is_empty() {
        wire.write(chunk(first)).await;
        sleep(Duration::from_millis(200)).await;
    }
    signal(world, "-STOP");
    let rest = chunk(rest) + "0\r\n\r\n";
    let later = async {
        sleep(Duration::from_millis(200)).await;
        signal(world, "-CONT");
    };
    tokio::join!(wire.write(rest), later);
    let answer = wire.answer().await;
    is_as_decided(&world.plan(), &answer, body.as_bytes(), Body::Unread(Unread::TooLarge));
}

async fn passes(file: Value, limit: usize) {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let mut file = file;
        file["settings"]["body_limit"] = json!(limit);
        let world = echoing(&stage, &file).await;
        // Envoy 1.36 has no limit for the bodies of a virtual host, so it answers 413 there.
        if world.real().envoy.version().await.unwrap().unwrap().starts_with("1.36.") {
            return;
        }
        let body = question_of(&user_of_new(&world.plan()), limit + BURST);
        for first in [0, limit / 2, limit] {
            send_in_a_burst(&world, &body, first).await;
        }
        let reason = [("reason", "body_too_large")];
        world.expect_metric("ab_test_missing_unit_total", &reason, 3).await;
    })
    .await;
}

#[tokio::test]
async fn a_burst_beyond_a_small_limit_reaches_the_model() {
    passes(file(), 64 << 10).await;
}

#[tokio::test]
async fn a_burst_beyond_a_large_limit_reaches_the_model() {
    let mut file = file();
    for variant in 0..2 {
        file["experiments"][0]["variants"][variant]["body"] = json!({"/model": "m".repeat(2000)});
    }
    passes(file, 4 << 20).await;
}
