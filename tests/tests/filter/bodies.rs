//! Units in request bodies: which bodies the filter waits for, how it handles the others, and that
//! every body reaches the model byte for byte.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod burst;
mod callbacks;
mod http2;
mod unread;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sidetrack::decide::{self, Decision, Gate, Outcome};
use sidetrack::plan::Plan;
use sidetrack::request::{Body, Request as Asking};
use sidetrack_lab::{Answer, Behavior, Client, Request};
use sidetrack_tests::world::{Kind, Stage, World, run};
use tokio::time::{sleep, timeout};

pub(crate) use http2::upload;
pub(crate) use wire::Wire;

pub(crate) const PATH: &str = "/v2/models/forecast/infer";
/// The file's `body_limit`.
const LIMIT: usize = 4096;
/// The host lets the filter wait.
pub(crate) const WAITS: (&str, &str) = ("SIDETRACK_WAIT_FOR_BODIES", "1");

/// An experiment whose unit is a header's value or else stands in the body.
fn file() -> Value {
    json!({
        "experiments": [{
            "name": "bodies",
            "unit": [{"header": "x-user-id"}, {"body": "/user_id"}],
            "baseline": "old",
            "variants": [
                {"name": "old", "cluster": "old-cluster"},
                {"name": "new", "cluster": "new-cluster", "weight": 50,
                 "request_headers": {"x-model-version": "2"}, "response_headers": {"x-served": "new"}},
            ],
        }],
        "settings": {"debug": "allowed", "body_limit": LIMIT},
    })
}

/// A question of this user to the model.
fn question(user: &str) -> String {
    json!({"inputs": [{"name": "x", "shape": [2], "data": [1.5, 2.0]}], "user_id": user})
        .to_string()
}

/// A question of this user that is so many bytes long.
fn question_of(user: &str, length: usize) -> String {
    let empty = json!({"pad": "", "user_id": user}).to_string();
    json!({"pad": "x".repeat(length - empty.len()), "user_id": user}).to_string()
}

/// The core's decision about a request without any header of its own.
fn decided(plan: &Plan, body: Body<'_>) -> Decision {
    struct Asked<'a>(Vec<(&'static str, &'static str)>, Body<'a>);
    impl Asking for Asked<'_> {
        fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
            self.0.values(name)
        }
        fn body(&self) -> Body<'_> {
            self.1
        }
    }
    let entropy = || -> u64 { panic!("a hash needs no randomness") };
    let mut world = decide::World { now: Default::default(), entropy, gate: &|_, _| Gate::Closed };
    let request =
        Asked(vec![(":method", "POST"), (":path", PATH), (":authority", "models.test")], body);
    match decide::decide(plan, &request, &mut world, &mut ()) {
        Outcome::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

fn variant(plan: &Plan, decision: &Decision) -> String {
    plan.experiments.first().unwrap().variants[decision.served].name.clone()
}

/// A user who gets the candidate.
fn user_of_new(plan: &Plan) -> String {
    let is_new = |user: &String| {
        variant(plan, &decided(plan, Body::Whole(question(user).as_bytes()))) == "new"
    };
    (0..).map(|n| format!("user-{n}")).find(is_new).unwrap()
}

/// A world whose models send back what they get.
pub(crate) async fn echoing(stage: &Stage, file: &Value) -> World {
    let world = stage.start(file).await;
    world.real().stubs.values().for_each(|stub| stub.set(Behavior::Echo));
    world
}

fn post(body: impl Into<Bytes>) -> Request {
    Request::post(PATH, body).header("content-type", "application/json").header("x-ab-debug", "1")
}

/// Asserts that an answer is the one that the core's decision about this body promises, and the
/// body itself.
fn is_as_decided(plan: &Plan, answer: &Answer, body: &[u8], read: Body<'_>) {
    let decision = decided(plan, read);
    let name = variant(plan, &decision);
    let header = |name: &str| answer.header_text(name);
    let what = format!(
        "{} bytes, {:?}…: {answer:?}",
        body.len(),
        String::from_utf8_lossy(&body[..body.len().min(60)])
    );
    assert_eq!(answer.status, 200, "{what}");
    assert_eq!(header("x-ab-variant").as_deref(), Some(name.as_str()), "{what}");
    assert_eq!(header("x-model"), Some(format!("{name}-cluster")), "{what}");
    assert_eq!(header("x-served").as_deref(), (name == "new").then_some("new"), "{what}");
    assert_eq!(header("x-ab-reason").as_deref(), Some(decision.reason.as_str()), "{what}");
    assert_eq!(header("x-ab-bucket"), decision.bucket.map(|bucket| bucket.to_string()), "{what}");
    assert_eq!(header("x-ab-breaker").as_deref(), (name == "new").then_some("closed"), "{what}");
    assert!(
        answer.body == body,
        "another body came back: {} of {} bytes",
        answer.body.len(),
        body.len()
    );
}

#[tokio::test]
async fn a_hundred_users_by_their_bodies() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let (plan, client) = (world.plan(), Client::new(world.real().addr));
        let mut counts = [0; 2];
        for n in 0..100 {
            let body = match n % 4 {
                0 => question(&format!("user-{n}")),
                1 => format!(r#"{{"user_id": {n}}}"#),
                2 => format!(
                    "{{\"user_id\":\"first\",\r\n\t\"user_id\" : \"Zo\\u00eb \u{1f682} {n}\" }}\n"
                ),
                _ => question_of(&format!("user-{n}"), LIMIT),
            };
            let answer = client.send(post(body.clone())).await.unwrap();
            is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
            counts[usize::from(answer.header_text("x-ab-variant").unwrap() == "new")] += 1;
        }
        assert!(counts.iter().all(|&count| count > 25), "{counts:?}");
        world.expect_metric("ab_test_requests_total", &[("model_name", "new")], counts[1]).await;
        world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
        for (name, stub) in &world.real().stubs {
            for seen in stub.requests() {
                let version = seen.header_text("x-model-version");
                assert_eq!(version.as_deref(), (name == "new-cluster").then_some("2"));
            }
        }
    })
    .await;
}

/// Envoy keeps at most 1 MiB of a request that is held, unless its route says otherwise; beyond that
/// it answers 413.
#[tokio::test]
async fn a_limit_above_a_mebibyte_works_with_a_buffer_of_that_size() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let mut file = file();
        file["settings"]["body_limit"] = json!("4MiB");
        let world = echoing(&stage, &file).await;
        let plan = world.plan();
        let body = question_of(&user_of_new(&plan), 4 << 20);
        for client in [Client::new(world.real().addr), Client::http2(world.real().addr)] {
            let answer = client.send(post(body.clone())).await.unwrap();
            is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
        }
    })
    .await;
}

#[tokio::test]
async fn the_mirror_gets_the_body_too() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let mut file = file();
        file["experiments"][0]["mirror"] = json!({"cluster": "shadow"});
        let world = echoing(&stage, &file).await;
        let (plan, client) = (world.plan(), Client::new(world.real().addr));
        for n in 0..10 {
            let body = question(&format!("user-{n}"));
            let answer = client.send(post(body.clone())).await.unwrap();
            is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
        }
        let shadow = &world.real().stubs["shadow"];
        timeout(Duration::from_secs(5), async {
            while shadow.requests().iter().filter(|seen| seen.body_len > 0).count() < 10 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        let mut bodies: Vec<Vec<u8>> =
            shadow.requests().into_iter().map(|seen| seen.body).collect();
        bodies.sort();
        let expected: Vec<Vec<u8>> =
            (0..10).map(|n| question(&format!("user-{n}")).into_bytes()).collect();
        assert_eq!(bodies, expected);
        world.expect_metric("ab_test_mirrored_total", &[], 10).await;
    })
    .await;
}
