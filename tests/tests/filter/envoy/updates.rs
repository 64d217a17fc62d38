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
    assert_eq!(stand.metric("ab_test_plugin_shared").await, Some(0.0));
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

/// The file with the filter cannot be read when the proxy starts.
async fn unreadable_at_the_start(content: Option<&str>) {
    let (bad, old, new) = (text(130), text(0), text(100));
    let stand = Stand::start(Source::Watched, old.clone()).await;
    stand.set_file(content);
    let mut stand = stand.restart().await;
    stand.expect("predictors", None, None).await;
    stand.set_neighbor(true);
    stand.expect("neighbor", None, None).await;
    assert_eq!(stand.metric("ab_test_config_rejected_total").await, Some(0.0));
    stand.publish(bad.clone()).await;
    stand.expect_rejected(1).await;
    stand.expect("predictors", None, None).await;
    stand.publish(new.clone()).await;
    for listener in ["predictors", "neighbor"] {
        stand.expect(listener, Some("new"), Some(&new)).await;
    }
    stand.publish(bad).await;
    stand.expect_rejected(2).await;
    stand.expect("predictors", Some("new"), Some(&new)).await;
    // A running Envoy keeps what it has.
    stand.set_file(content);
    stand.set_neighbor(false);
    stand.expect("predictors", Some("new"), Some(&new)).await;
    stand.publish(old.clone()).await;
    stand.expect("predictors", Some("old"), Some(&old)).await;
    stand.envoy.stop().await.unwrap();
}

/// A command failed, and its empty output was published; then the proxy restarts.
#[tokio::test]
async fn an_empty_file_at_the_start_fails_no_request() {
    unreadable_at_the_start(Some("")).await;
}

#[tokio::test]
async fn a_file_that_is_cut_off_at_the_start_fails_no_request() {
    unreadable_at_the_start(Some("resources:\n- \"@type\": type.googleapis.com/en")).await;
}

#[tokio::test]
async fn a_file_of_something_else_at_the_start_fails_no_request() {
    unreadable_at_the_start(Some("resources: []")).await;
}

/// A plugin without a configuration, as Envoy passes it on: before the first one, and after it.
#[tokio::test]
async fn an_empty_configuration_inside_a_listener_replaces_nothing() {
    let (bad, new) = (text(130), text(100));
    let mut stand = Stand::start(Source::Listener, String::new()).await;
    stand.expect("predictors", None, None).await;
    stand.publish(bad.clone()).await;
    stand.expect_rejected(1).await;
    stand.expect("predictors", None, None).await;
    stand.publish(new.clone()).await;
    stand.expect("predictors", Some("new"), Some(&new)).await;
    stand.publish(String::new()).await;
    stand.expect("predictors", Some("new"), Some(&new)).await;
    stand.set_neighbor(true);
    stand.expect("neighbor", Some("new"), Some(&new)).await;
    stand.expect_rejected(1).await;
    let stand = stand.restart().await;
    stand.expect("predictors", None, None).await;
    stand.envoy.stop().await.unwrap();
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

/// The listener before the rollback drains for ten minutes, and Envoy reuses its instances.
#[tokio::test]
async fn a_rollback_inside_a_listener_is_in_force_before_the_drain_ends() {
    let mut stand = Stand::start_with_drain_time(Source::Listener, text(0), 600).await;
    let mut held = Vec::new();
    for percent in [0, 100, 0, 100] {
        stand.publish(text(percent)).await;
        let variant = if percent == 0 { "old" } else { "new" };
        stand.expect("predictors", Some(variant), Some(&text(percent))).await;
        // A connection keeps the listener alive.
        stand.models.iter().for_each(|model| model.set(Behavior::Delay(Duration::from_secs(60))));
        let client = Client::new(stand.addr).with_timeout(Duration::from_secs(60));
        let count = || stand.models.iter().map(|model| model.requests().len()).sum::<usize>();
        let before = count();
        held.push(tokio::spawn(async move {
            client.send(Request::get(FORECAST).header("x-user-id", "held")).await
        }));
        while count() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stand.models.iter().for_each(|model| model.set(Behavior::Healthy));
    }
    assert!(held.iter().all(|request| !request.is_finished()));
    held.iter().for_each(tokio::task::JoinHandle::abort);
    stand.envoy.stop().await.unwrap();
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

/// A new build of the module takes over. No scrape in between reads a gauge of 0.
async fn gauges_stay_when_the_module_changes(source: Source) {
    let dir = tempfile::tempdir().unwrap();
    let mut stand = Stand::start(source, text(100)).await;
    stand.expect("predictors", Some("new"), Some(&text(100))).await;
    for build in 1..=3_u8 {
        // A custom section makes it other code for Envoy.
        let mut bytes = fs::read(artifact::wasm()).unwrap();
        bytes.extend([0, 6, 4, b't', b'e', b's', b't', build]);
        let module = dir.path().join(format!("{build}.wasm"));
        fs::write(&module, bytes).unwrap();
        let before = vms_created(&stand.envoy).await;
        stand.set_module(&module);
        let (begun, mut has_changed) = (std::time::Instant::now(), false);
        while !has_changed || begun.elapsed() < Duration::from_secs(4) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", stand.envoy.report().await);
            let hash = stand.metric("ab_test_config_hash").await;
            let weight = stand.of("ab_test_variant_weight_ppm", &[("model_name", "new")]).await;
            assert!(hash > Some(0.0) && weight == Some(1e6), "{hash:?}, {weight:?}");
            has_changed |= vms_created(&stand.envoy).await > before;
        }
        stand.expect("predictors", Some("new"), Some(&text(100))).await;
    }
    stand.envoy.stop().await.unwrap();
}

/// How many VMs the process has created.
async fn vms_created(envoy: &sidetrack_lab::Envoy) -> i64 {
    envoy.stats(r"^wasm\..*\.created$").await.unwrap().values().sum()
}

#[tokio::test]
async fn gauges_stay_when_the_module_of_a_watched_file_changes() {
    gauges_stay_when_the_module_changes(Source::Watched).await;
}

#[tokio::test]
async fn gauges_stay_when_the_module_of_a_listener_changes() {
    gauges_stay_when_the_module_changes(Source::Listener).await;
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
