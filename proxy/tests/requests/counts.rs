//! When counts reach the proxy's statistics.

use std::time::Duration;

use serde_json::json;
use sidetrack_proxy::host::Level;

use crate::proxy::{Proxy, file, host};

const TICK: Duration = Duration::from_millis(100);

/// A request whose response takes this long.
fn took(proxy: &Proxy, time: Duration) {
    let mut request = proxy.open(&[("x-user-id", "anna")]);
    request.decide();
    proxy.advance(time);
    request.respond(200);
    request.end();
}

fn bucket(proxy: &Proxy, le: &str) -> u64 {
    proxy.value(&format!(
        "ab_test_response_time_seconds_bucket{{experiment=\"e\",model_name=\"new\",le={le:?}}}"
    ))
}

#[test]
fn counts_are_published_on_the_next_tick_and_times_within_a_second() {
    let mut proxy = Proxy::new(&file(&json!({})));
    assert_eq!(proxy.host.0.tick_period.get(), Some(TICK));
    took(&proxy, Duration::ZERO);
    assert_eq!(proxy.requests("new"), [0, 0, 0]);
    proxy.run(TICK);
    assert_eq!(proxy.requests("new"), [1, 0, 0]);
    proxy.run(8 * TICK);
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 0);
    proxy.run(TICK);
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 1);
    proxy.run(20 * TICK);
    assert_eq!(proxy.requests("new"), [1, 0, 0]);
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 1);
}

/// Each call to the proxy has a price.
#[test]
fn only_series_that_changed_are_published() {
    let mut proxy = Proxy::new(&file(&json!({})));
    took(&proxy, Duration::from_millis(150));
    proxy.run(TICK);
    assert_eq!(proxy.host.0.additions.take(), 1);
    proxy.run(9 * TICK);
    // The buckets from 0.2 to +Inf, and the count.
    assert_eq!(proxy.host.0.additions.take(), 8);
    proxy.run(10 * TICK);
    assert_eq!(proxy.host.0.additions.take(), 0);
}

#[test]
fn without_a_timer_each_request_publishes_its_counts() {
    let host = host(&[]);
    host.0.has_no_timer.set(true);
    let proxy = Proxy::on(&host, &file(&json!({})));
    assert!(proxy.log(Level::Error)[0].contains("provides no timer"));
    assert_ne!(proxy.value("ab_test_config_hash{plugin=\"sidetrack\"}"), 0);
    took(&proxy, Duration::from_secs(1));
    assert_eq!(proxy.requests("new"), [1, 0, 0]);
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 1);
    assert_eq!(proxy.of("ab_test_response_time_seconds_sum", "new"), 1);
}

#[test]
fn response_times_are_a_cumulative_histogram() {
    let mut proxy = Proxy::new(&file(&json!({})));
    // The last bound that holds a time includes it.
    for milliseconds in [4, 5, 6, 100, 101, 20_000] {
        took(&proxy, Duration::from_millis(milliseconds));
    }
    proxy.run(Duration::from_secs(1));
    let buckets = ["0.005", "0.01", "0.05", "0.1", "0.2", "10", "+Inf"];
    assert_eq!(buckets.map(|le| bucket(&proxy, le)), [2, 3, 3, 4, 5, 5, 6]);
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 6);
    took(&proxy, Duration::from_millis(1));
    proxy.run(Duration::from_secs(1));
    assert_eq!(buckets.map(|le| bucket(&proxy, le)), [3, 4, 4, 5, 6, 6, 7]);
}

/// Counters are integers, so the rest of a second is carried over.
#[test]
fn the_sum_of_times_is_at_most_half_a_second_off() {
    let mut proxy = Proxy::new(&file(&json!({})));
    let mut exact = Duration::ZERO;
    for milliseconds in [200, 400, 1300, 30, 30, 2999, 1, 1] {
        let time = Duration::from_millis(milliseconds);
        exact += time;
        took(&proxy, time);
        proxy.run(Duration::from_secs(1));
        let sum = proxy.of("ab_test_response_time_seconds_sum", "new");
        let off = exact.abs_diff(Duration::from_secs(sum));
        assert!(off <= Duration::from_millis(500), "{sum} s instead of {exact:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_makes_a_response_fast() {
    let mut proxy = Proxy::new(&file(&json!({})));
    let mut request = proxy.open(&[("x-user-id", "anna")]);
    request.decide();
    proxy.host.0.now.set(proxy.host.0.now.get() - Duration::from_hours(1));
    request.respond(200);
    request.end();
    proxy.run(Duration::from_secs(1));
    assert_eq!(bucket(&proxy, "0.005"), 1);
}

/// A rollout counts by phase, and publishes its weights by the clock.
#[test]
fn a_rollout_follows_the_clock() {
    let rollout = json!({"start": "2026-01-01T01:00:00Z", "phases": [
        {"name": "canary", "for": "1h", "weights": {"new": 5}},
        {"name": "full", "weights": {"new": 100}},
    ]});
    let variants = json!([{"name": "old"}, {"name": "new"}]);
    let mut proxy = Proxy::new(&file(&json!({"rollout": rollout, "variants": variants})));
    let weights =
        |proxy: &Proxy| ["old", "new"].map(|it| proxy.of("ab_test_variant_weight_ppm", it));
    proxy.run(TICK);
    assert_eq!(weights(&proxy), [1_000_000, 0]);
    assert_eq!(proxy.send("anna", 200).sent("x-ab-variant"), ["old"]);
    for (hours, new) in [(1, 50_000), (2, 1_000_000)] {
        proxy.advance(Duration::from_hours(1));
        proxy.run(9 * TICK);
        proxy.run(TICK);
        assert_eq!(weights(&proxy), [1_000_000 - new, new], "after {hours} hours");
    }
    let request = proxy.send("anna", 200);
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
    assert_eq!(request.sent("x-ab-phase"), ["full"]);
    proxy.run(TICK);
    let name = "ab_test_requests_total{experiment=\"e\",model_name=\"new\",phase=\"full\",\
                status=\"success\"}";
    assert_eq!(proxy.value(name), 1);
}
