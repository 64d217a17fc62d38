//! Configuration updates under traffic.

use serde_json::json;
use sidetrack_tests::world::{Kind, Stage};

use super::*;

pub(crate) async fn a_bad_first_configuration_passes_everything(stage: Stage) {
    let bad = forecast_with(json!({"baseline": "older"})).to_string();
    let world = stage.start_with(&forecast(), &bad).await;
    for user in 0..10 {
        untouched(&world.send(by(&user.to_string())).await);
    }
    untouched(
        &world
            .send(by("anna").header("x-ab-cluster", "new-cluster").header("x-ab-debug", "1"))
            .await,
    );
    world.expect_metric("ab_test_config_rejected_total", &[], 1).await;
    let log = world.log();
    assert!(log.contains("experiments[0].baseline") && log.contains("older"), "{log}");
    // The next good one takes effect.
    world.update(&forecast()).await;
    let new = user_of(&world, "new");
    told(&world.send(by(&new)).await, "new");
    world.expect_metric("ab_test_config_rejected_total", &[], 1).await;
}

pub(crate) async fn a_bad_update_changes_nothing(stage: Stage) {
    let world = stage.start(&forecast()).await;
    let users: Vec<String> = (0..20).map(|user| user.to_string()).collect();
    let mut before = Vec::new();
    for user in &users {
        before.push(world.send(by(user)).await.up("x-ab-variant"));
    }
    let hash = u64::from(world.plan().hash.first_32_bits());
    let bad = [
        ("experiments[0].variants[1].weight", forecast_with(json!({"variants": [
            {"name": "old", "cluster": "old-cluster"}, {"name": "new", "cluster": "new-cluster", "weight": 130},
        ]})).to_string()),
        ("experiments[0].weigth", forecast_with(json!({"weigth": 3})).to_string()),
        ("experiments[0].unit", forecast_with(json!({"unit": []})).to_string()),
        ("the file", "{\"experiments\": [".to_owned()),
        ("experiments", "[]".to_owned()),
    ];
    for (rejected, (path, text)) in (1..).zip(&bad) {
        world.update_badly(text).await;
        world.expect_metric("ab_test_config_rejected_total", &[], rejected).await;
        let log = world.log();
        let lines =
            log.lines().filter(|line| line.contains("configuration rejected")).collect::<Vec<_>>();
        assert!(
            lines.iter().any(|line| line.contains(path)) || *path == "experiments",
            "{path}: {lines:?}"
        );
        for (user, before) in users.iter().zip(&before) {
            assert_eq!(
                world.send(by(user)).await.up("x-ab-variant"),
                *before,
                "user {user} after {path}"
            );
        }
    }
    world.expect_metric("ab_test_config_hash", &[], hash).await;
    assert_eq!(counted(&world).await, 20 * 6);
}

pub(crate) async fn a_good_update_takes_effect(stage: Stage) {
    let world = stage.start(&forecast()).await;
    let old = user_of(&world, "old");
    told(&world.send(by(&old)).await, "old");
    let weight = |weight: f64| {
        let variants = json!([
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": weight},
        ]);
        forecast_with(json!({"variants": variants}))
    };
    world.update(&weight(100.0)).await;
    for _ in 0..12 {
        told(&world.send(by(&old)).await, "new");
    }
    world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "new")], 1_000_000).await;
    world.update(&weight(0.0)).await;
    for _ in 0..12 {
        told(&world.send(by(&old)).await, "old");
    }
    world.expect_metric("ab_test_variant_weight_ppm", &[("model_name", "new")], 0).await;
    // Counts go on over updates.
    assert_eq!(counted(&world).await, 25);
    world.expect_metric("ab_test_config_rejected_total", &[], 0).await;
    let hash = u64::from(world.plan().hash.first_32_bits());
    world.expect_metric("ab_test_config_hash", &[], hash).await;
    if world.kind() == Kind::InProcess {
        let roots: Vec<usize> = world.fake().workers.iter().map(|vm| vm.roots()).collect();
        assert_eq!(roots, [1, 1], "old configurations are let go");
    }
}
