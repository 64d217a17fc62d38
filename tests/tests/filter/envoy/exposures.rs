//! Exposures in the access log of a real Envoy.

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_tests::world::{Kind, Stage, World, run};

use crate::scenarios::{by, forecast, user_of};

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
