//! Lean routes, which set the headers that the filter then leaves out.

use std::fs;
use std::time::Duration;

use serde_json::json;
use sidetrack_tests::world::{Stage, run, sidetrack_command};

use crate::scenarios::{self, by, forecast, forecast_with, user_of};

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
