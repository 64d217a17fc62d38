//! Overrides and debug headers: which requests may choose a variant, and which may request the
//! explanation.

use serde_json::json;
use sidetrack_tests::world::Stage;

use super::*;

/// SHA-256 of `test`.
const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A text whose SHA-256 begins with the same three bytes.
const NEAR: &str = "14419626";

async fn expect(world: &World, overridden: u64, served: u64) {
    world
        .expect_metric("ab_test_overrides_total", &[("experiment", "forecast-ab")], overridden)
        .await;
    world.expect_metric("ab_test_requests_total", &[("experiment", "forecast-ab")], served).await;
}

pub(crate) async fn an_override_chooses(stage: Stage) {
    let mut file = forecast_with(json!({"overrides": {"header": "x-ab-force"}}));
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    for (user, forced) in [(&old, "new"), (&new, "old"), (&new, "new")] {
        let exchange =
            world.send(by(user).header("x-ab-force", forced).header("x-ab-debug", "1")).await;
        told(&exchange, forced);
        assert_eq!(exchange.cluster(), Some(format!("{forced}-cluster").as_str()));
        assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("override"));
        assert_eq!(exchange.down("x-ab-bucket"), None);
    }
    expect(&world, 3, 0).await;
    for unknown in ["newer", "", "NEW", "New", "new!", "new,old"] {
        told(&world.send(by(&old).header("x-ab-force", unknown)).await, "old");
    }
    told(&world.get(FORECAST, &[("x-ab-force", "new")]).await, "new");
    expect(&world, 4, 6).await;
    world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
}

pub(crate) async fn an_override_needs_its_token(stage: Stage) {
    let file =
        forecast_with(json!({"overrides": {"header": "x-ab-force", "token_sha256": DIGEST}}));
    let world = stage.start(&file).await;
    let old = user_of(&world, "old");
    let forced = || by(&old).header("x-ab-force", "new");
    told(&world.send(forced()).await, "old");
    for wrong in ["", "TEST", "test1", DIGEST, NEAR] {
        told(&world.send(forced().header("x-ab-token", wrong)).await, "old");
    }
    expect(&world, 0, 6).await;
    told(&world.send(forced().header("x-ab-token", "test")).await, "new");
    expect(&world, 1, 6).await;
    told(&world.send(by(&old).header("x-ab-token", "test")).await, "old");
    expect(&world, 1, 7).await;
}

pub(crate) async fn an_undeclared_override_is_nothing(stage: Stage) {
    let world = stage.start(&forecast()).await;
    let old = user_of(&world, "old");
    told(
        &world.send(by(&old).header("x-ab-force", "new").header("x-ab-token", "test")).await,
        "old",
    );
    expect(&world, 0, 1).await;
}

pub(crate) async fn an_override_header_of_another_name(stage: Stage) {
    let world =
        stage.start(&forecast_with(json!({"overrides": {"header": "x-choose-model"}}))).await;
    let old = user_of(&world, "old");
    let exchange = world.send(by(&old).header("x-choose-model", "new")).await;
    told(&exchange, "new");
    assert_eq!(exchange.up("x-choose-model"), None, "it is the filter's own, too");
    told(&world.send(by(&old).header("x-ab-force", "new")).await, "old");
    expect(&world, 1, 1).await;
}

pub(crate) async fn a_unit_on_the_list_gets_its_variant(stage: Stage) {
    let mut file =
        forecast_with(json!({"overrides": {"units": {"qa-alice": "new", "qa-bob": "old"}}}));
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    for (user, forced) in [("qa-alice", "new"), ("qa-bob", "old")] {
        let exchange = world.send(by(user).header("x-ab-debug", "1")).await;
        told(&exchange, forced);
        assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("override"));
    }
    told(&world.get(FORECAST, &[("cookie", "sid=qa-alice")]).await, "new");
    expect(&world, 3, 0).await;
    let request = by("qa-alice2");
    told(&world.send(request.clone()).await, &variant(&world, &request));
    expect(&world, 3, 1).await;
}

pub(crate) async fn only_a_guarded_override_beats_the_kill_switch(stage: Stage) {
    let overrides = json!({"header": "x-ab-force", "units": {"qa-alice": "new"}});
    let world =
        stage.start(&forecast_with(json!({"enabled": false, "overrides": overrides}))).await;
    told(&world.send(by("anna").header("x-ab-force", "new")).await, "old");
    told(&world.send(by("qa-alice")).await, "old");
    let overrides = json!({"header": "x-ab-force", "token_sha256": DIGEST});
    world.update(&forecast_with(json!({"enabled": false, "overrides": overrides}))).await;
    told(
        &world.send(by("anna").header("x-ab-force", "new").header("x-ab-token", "test")).await,
        "new",
    );
    told(&world.send(by("anna").header("x-ab-force", "new")).await, "old");
    expect(&world, 1, 3).await;
}

/// The headers that only an explanation has.
const EXPLANATION: [&str; 4] = ["x-ab-reason", "x-ab-bucket", "x-ab-breaker", "x-ab-config"];

fn unexplained(exchange: &Exchange) {
    for name in EXPLANATION {
        assert_eq!(exchange.down(name), None, "{name}");
    }
}

pub(crate) async fn debug_is_denied_by_default(stage: Stage) {
    let world = stage.start(&forecast()).await;
    unexplained(
        &world.send(by("anna").header("x-ab-debug", "1").header("x-ab-token", "test")).await,
    );
}

pub(crate) async fn debug_explains_when_allowed(stage: Stage) {
    let mut file = forecast();
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    let request = by("anna").header("x-ab-debug", "1");
    let exchange = world.send(request.clone()).await;
    let bucket = decision(&world, &request).bucket.unwrap().to_string();
    assert_eq!(exchange.down("x-ab-bucket"), Some(bucket));
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("hash"));
    assert_eq!(exchange.down("x-ab-config"), Some(world.plan().hash.short()));
    unexplained(&world.send(by("anna")).await);
    unexplained(&world.send(by("anna").header("x-ab-debug", "")).await);
    unexplained(&world.send(Request::get("/elsewhere").header("x-ab-debug", "1")).await);
}

pub(crate) async fn debug_needs_its_token(stage: Stage) {
    let mut file = forecast();
    file["settings"] = json!({"debug": {"token_sha256": DIGEST}});
    let world = stage.start(&file).await;
    let asked = || by("anna").header("x-ab-debug", "1");
    unexplained(&world.send(asked()).await);
    for wrong in ["guess", NEAR] {
        unexplained(&world.send(asked().header("x-ab-token", wrong)).await);
    }
    unexplained(&world.send(by("anna").header("x-ab-token", "test")).await);
    let exchange = world.send(asked().header("x-ab-token", "test")).await;
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("hash"));
}
