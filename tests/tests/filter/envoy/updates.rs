//! Bad files on a real Envoy: listeners of others open, and any order of files ends in the newest good one.

use sidetrack_lab::Behavior;

use super::*;
use crate::dynamic::{Source, Stand, text};

/// The proxy starts with a bad file, gets a good one, and the same bad one again. Then another listener opens.
async fn good_and_bad_files(source: Source) {
    let (bad, old, new) = (text(130), text(0), text(100));
    let mut stand = Stand::start(source, bad.clone()).await;
    stand.expect("predictors", None, None).await;
    stand.expect_rejected(1).await;
    stand.publish(old.clone()).await;
    stand.expect("predictors", Some("old"), Some(&old)).await;
    stand.publish(bad.clone()).await;
    if source == Source::Watched {
        stand.expect_rejected(2).await;
    }
    stand.expect("predictors", Some("old"), Some(&old)).await;
    stand.set_neighbor(true);
    stand.expect("neighbor", Some("old"), Some(&old)).await;
    for listener in ["predictors", "neighbor"] {
        stand.publish(new.clone()).await;
        stand.expect(listener, Some("new"), Some(&new)).await;
        stand.publish(bad.clone()).await;
        stand.expect(listener, Some("new"), Some(&new)).await;
    }
    let stats = stand.envoy.stats("update_rejected$|config_fail$|lds.*rejected").await.unwrap();
    assert!(stats.values().all(|count| *count == 0), "{stats:?}");
    stand.envoy.stop().await.unwrap();
}

#[tokio::test]
async fn bad_files_hold_back_no_listener_and_no_later_file() {
    good_and_bad_files(Source::Watched).await;
}

#[tokio::test]
async fn bad_files_inside_listeners_hold_back_no_listener_and_no_later_file() {
    good_and_bad_files(Source::Listener).await;
}

/// The forecast with all users on a candidate of this name, and this breaker.
fn candidate(name: &str, breaker: Value) -> String {
    let variants = json!([
        {"name": "old", "cluster": "old-cluster"},
        {"name": name, "cluster": "new-cluster", "weight": 100},
    ]);
    forecast_with(json!({"variants": variants, "breaker": breaker})).to_string()
}

impl Stand {
    /// The sum of a metric's series with these labels.
    async fn of(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        sidetrack_lab::prometheus_value(&self.envoy.prometheus().await.unwrap(), name, labels)
    }

    async fn expect_of(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let begun = std::time::Instant::now();
        let mut found = None;
        while begun.elapsed() < Duration::from_secs(10) {
            found = self.of(name, labels).await;
            if found == Some(value) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name}{labels:?} is {found:?}, not {value}\n{}", self.envoy.report().await);
    }

    /// Requests of this many users, at most 100 per second.
    async fn send(&self, users: u32) {
        let client = Client::new(self.addr);
        for user in 0..users {
            let request = Request::get(FORECAST).header("x-user-id", user.to_string());
            client.send(request).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A stream from before an update keeps the old configuration alive. One failure in five is above
/// its limit and below the new one's.
async fn an_old_configuration_judges_nothing(source: Source) {
    let limit = |percent: u32| {
        candidate(
            "new",
            json!({"error_rate": percent, "consecutive_errors": 0, "confidence": 0,
            "compare_to_baseline": false, "min_requests": 20, "window": "10s"}),
        )
    };
    let mut stand = Stand::start_with_drain_time(source, limit(5), 600).await;
    stand.expect("predictors", Some("new"), Some(&limit(5))).await;
    stand.models[1].set(Behavior::Delay(Duration::from_secs(60)));
    let client = Client::new(stand.addr).with_timeout(Duration::from_secs(60));
    let held = tokio::spawn(async move {
        client.send(Request::get(FORECAST).header("x-user-id", "held")).await
    });
    while stand.models[1]
        .requests()
        .iter()
        .all(|it| it.header_text("x-user-id").as_deref() != Some("held"))
    {
        assert!(!held.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stand.models[1].set(Behavior::Healthy);
    stand.publish(limit(90)).await;
    stand.expect("predictors", Some("new"), Some(&limit(90))).await;
    stand.models[1].set(Behavior::ErrorEvery(5));
    stand.send(200).await;
    assert!(!held.is_finished());
    stand.expect_of("ab_test_breaker_trips_total", &[("model_name", "new")], 0.0).await;
    held.abort();
    // By a limit in force it opens.
    stand.publish(limit(6)).await;
    stand.send(150).await;
    stand.expect_of("ab_test_breaker_trips_total", &[("model_name", "new")], 1.0).await;
    stand.envoy.stop().await.unwrap();
}

#[tokio::test]
async fn an_old_configuration_judges_nothing_from_a_file() {
    an_old_configuration_judges_nothing(Source::Watched).await;
}

#[tokio::test]
async fn an_old_configuration_judges_nothing_in_a_listener_that_drains() {
    an_old_configuration_judges_nothing(Source::Listener).await;
}

/// Its breaker is open when another version replaces the candidate.
#[tokio::test]
async fn gauges_of_a_replaced_candidate_go_to_zero() {
    let breaker = || json!({"open_for": "1m"});
    let mut stand = Stand::start(Source::Watched, candidate("v2", breaker())).await;
    stand.models[1].set(Behavior::Status(503));
    stand.send(30).await;
    let (state, weight) = ("ab_test_breaker_state", "ab_test_variant_weight_ppm");
    stand.expect_of(state, &[("model_name", "v2")], 2.0).await;
    stand.expect_of(weight, &[("model_name", "v2")], 1e6).await;
    stand.models[1].set(Behavior::Healthy);
    stand.publish(candidate("v3", breaker())).await;
    stand.expect_of(weight, &[("model_name", "v3")], 1e6).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for metric in [state, weight] {
        assert_eq!(stand.of(metric, &[("model_name", "v2")]).await, Some(0.0), "{metric}");
    }
    assert_eq!(stand.of(weight, &[]).await, Some(1e6));
    stand.envoy.stop().await.unwrap();
}
/// The operator disables an open breaker and enables it again when the candidate is well.
#[tokio::test]
async fn a_breaker_that_was_disabled_starts_closed() {
    let enforced = candidate("new", json!({"open_for": "5m", "max_open_for": "5m"}));
    let mut stand = Stand::start(Source::Watched, enforced.clone()).await;
    stand.models[1].set(Behavior::Status(503));
    stand.send(30).await;
    stand.expect_of("ab_test_breaker_state", &[("model_name", "new")], 2.0).await;
    stand.models[1].set(Behavior::Healthy);
    let disabled = candidate("new", json!({"mode": "disabled"}));
    stand.publish(disabled.clone()).await;
    stand.expect("predictors", Some("new"), Some(&disabled)).await;
    stand.publish(enforced.clone()).await;
    stand.expect("predictors", Some("new"), Some(&enforced)).await;
    stand.expect_of("ab_test_breaker_state", &[("model_name", "new")], 0.0).await;
    stand.envoy.stop().await.unwrap();
}
