//! Two listeners with one plugin, one of them without the access logger that reports failures.

use sidetrack_lab::Behavior;

use super::plugins::{bootstrap, client, manager, models, on_path, start};
use super::*;

/// Users of the two variants.
fn user_of(variant: usize) -> String {
    let file = on_path("e", "/e", 50).to_string();
    let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
    let experiment = plan.experiments.first().unwrap();
    let is_new = |user: &String| experiment.arm.bucket(user.as_bytes()).get() < 500_000;
    (0..100).map(|user| user.to_string()).find(|user| is_new(user) == (variant == 1)).unwrap()
}

/// Successes through the listener with the logger alternate with failures through the other one, so
/// that a check of every n-th request would only see successes.
#[tokio::test]
async fn failures_that_no_logger_reports_are_found_among_alternating_successes() {
    const FAILURES: u32 = 3000;
    const CONNECTIONS: u32 = 6;
    let models = models().await;
    let mut file = on_path("e", "/e", 50);
    file["experiments"][0]["breaker"] = json!({"mode": "disabled"});
    let mut rendered = bootstrap(&file, &models);
    let listeners = rendered["static_resources"]["listeners"].as_array_mut().unwrap();
    let mut silent = listeners[0].clone();
    silent["name"] = json!("silent");
    manager(&mut silent).as_object_mut().unwrap().remove("access_log").unwrap();
    listeners.push(silent);
    models[1].set(Behavior::Status(503));
    let envoy = start(&rendered).await;
    let users = [0, 1].map(user_of);
    for _ in 0..CONNECTIONS {
        let clients = [client(&envoy, "predictors").await, client(&envoy, "silent").await];
        for _ in 0..FAILURES / CONNECTIONS {
            for ((client, user), status) in clients.iter().zip(&users).zip([200, 503]) {
                let request = Request::get("/e").header("x-user-id", user);
                assert_eq!(client.send(request).await.unwrap().status, status);
            }
        }
    }
    let begun = std::time::Instant::now();
    loop {
        let text = envoy.prometheus().await.unwrap();
        let of = |status| {
            let labels = [("experiment", "e"), ("model_name", "new"), ("status", status)];
            sidetrack_lab::prometheus_value(&text, "ab_test_requests_total", &labels).unwrap()
        };
        let (success, error) = (of("success"), of("error"));
        if success + error == f64::from(FAILURES) {
            assert!(
                success < f64::from(FAILURES) / 2.0,
                "{success} of {FAILURES} pass as successes"
            );
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{success} + {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(envoy.log().contains("did not report a failed request"), "{}", envoy.log());
    envoy.stop().await.unwrap();
}
