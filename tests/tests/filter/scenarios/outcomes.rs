//! The outcomes of requests, and how they are counted.

use serde_json::json;
use sidetrack_tests::world::{Behavior, Stage};

use super::*;

/// The breaker would hide what is counted here.
fn without_breaker() -> Value {
    forecast_with(json!({"breaker": {"mode": "disabled"}}))
}

async fn expect(world: &World, variant: &str, success: u64, error: u64, aborted: u64) {
    for (status, count) in [("success", success), ("error", error), ("aborted", aborted)] {
        let labels = [("experiment", "forecast-ab"), ("model_name", variant), ("status", status)];
        world.expect_metric("ab_test_requests_total", &labels, count).await;
    }
}

pub(crate) async fn outcomes_are_counted_by_status(stage: Stage) {
    let world = stage.start(&without_breaker()).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    for status in [200, 204, 302, 400, 404, 429, 499] {
        world.model("new-cluster", Behavior::Status(status));
        assert_eq!(world.send(by(&new)).await.status(), status);
    }
    expect(&world, "new", 7, 0, 0).await;
    for status in [500, 501, 502, 503, 504, 599] {
        world.model("new-cluster", Behavior::Status(status));
        let exchange = world.send(by(&new)).await;
        assert_eq!(exchange.status(), status);
        assert_eq!(
            exchange.down("x-ab-variant").as_deref(),
            Some("new"),
            "the caller is told of a failure, too"
        );
    }
    expect(&world, "new", 7, 6, 0).await;
    world.model("new-cluster", Behavior::Reset);
    let exchange = world.send(by(&new)).await;
    assert_eq!(exchange.status(), 503);
    assert_eq!(exchange.down("x-ab-variant").as_deref(), Some("new"));
    expect(&world, "new", 7, 7, 0).await;
    world.model("new-cluster", Behavior::Healthy);
    world.send(by(&new)).await;
    world.send(by(&old)).await;
    expect(&world, "new", 8, 7, 0).await;
    expect(&world, "old", 1, 0, 0).await;
}

pub(crate) async fn grpc_failures_are_failures(stage: Stage) {
    let world = stage.start(&without_breaker()).await;
    let new = user_of(&world, "new");
    let call = || by(&new).header("content-type", "application/grpc");
    let mut errors = 0;
    for code in 0..=16 {
        world.model("new-cluster", Behavior::Grpc(code));
        world.send(call()).await;
        errors += u64::from([2, 4, 8, 13, 14, 15].contains(&code));
        expect(&world, "new", u64::from(code) + 1 - errors, errors, 0).await;
    }
    // The same number means nothing on a request that is not gRPC.
    world.model("new-cluster", Behavior::Grpc(14));
    world.send(by(&new)).await;
    expect(&world, "new", 18 - errors, errors, 0).await;
}

pub(crate) async fn a_caller_who_hangs_up_counts_as_neither(stage: Stage) {
    let world = stage.start(&without_breaker()).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    world.hang_up(by(&new)).await;
    expect(&world, "new", 0, 0, 1).await;
    world.hang_up(by(&old)).await;
    expect(&world, "old", 0, 0, 1).await;
    told(&world.send(by(&new)).await, "new");
    expect(&world, "new", 1, 0, 1).await;
}
