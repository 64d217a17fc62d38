//! The breaker, as the life of a request drives it.

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_proxy::host::Level;

use crate::proxy::{Proxy, file, host};

const TICK: Duration = Duration::from_millis(100);

fn breaker_file(more: &Value) -> Value {
    let mut breaker = json!({"consecutive_errors": 3, "open_for": "1s"});
    for (key, value) in more.as_object().unwrap() {
        breaker[key] = value.clone();
    }
    file(&json!({"breaker": breaker}))
}

#[test]
fn consecutive_failures_open_the_breaker_at_once_on_all_workers() {
    let host = host(&[]);
    let mut one = Proxy::on(&host, &breaker_file(&json!({})));
    let mut other = Proxy::on(&host, &breaker_file(&json!({})));
    assert_eq!(one.of("ab_test_breaker_state", "new"), 0);
    (0..3).for_each(|_| drop(one.send("anna", 503)));
    assert_eq!(one.of("ab_test_breaker_trips_total", "new"), 1);
    assert_eq!(one.of("ab_test_breaker_state", "new"), 2);
    let log = one.log(Level::Warning);
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].starts_with("e/new: the breaker opens for "), "{log:?}");
    let request = one.send("anna", 200);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
    assert_eq!(request.sent("x-ab-assigned"), ["new"]);
    assert_eq!(other.send("anna", 200).sent("x-ab-variant"), ["new"]);
    other.run(TICK);
    assert_eq!(other.send("anna", 200).sent("x-ab-variant"), ["old"]);
    for proxy in [&mut one, &mut other] {
        proxy.run(TICK);
    }
    assert_eq!(one.of("ab_test_fallbacks_total", "new"), 2);
    assert_eq!(one.of("ab_test_breaker_trips_total", "new"), 1, "reported by one worker");
    // Half-open: the tick makes the transition.
    one.run(Duration::from_secs(1));
    assert_eq!(one.of("ab_test_breaker_state", "new"), 1);
    assert_eq!(one.log(Level::Warning).len(), 2);
}

#[test]
fn a_success_in_between_starts_the_streak_again() {
    let proxy = Proxy::new(&breaker_file(&json!({})));
    for status in [503, 503, 200, 503, 503] {
        proxy.send("anna", status);
    }
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 0);
}

/// A request that was decided before a transition does not count after it.
#[test]
fn late_failures_do_not_count_in_the_next_epoch() {
    let mut proxy = Proxy::new(&breaker_file(&json!({})));
    let mut late: Vec<_> = (0..3)
        .map(|_| {
            let mut request = proxy.open(&[("x-user-id", "anna")]);
            request.decide();
            request
        })
        .collect();
    (0..3).for_each(|_| drop(proxy.send("anna", 503)));
    proxy.run(Duration::from_millis(1500));
    assert_eq!(proxy.of("ab_test_breaker_state", "new"), 1);
    for request in &mut late {
        request.respond(503);
        request.end();
    }
    proxy.run(TICK);
    assert_eq!(proxy.of("ab_test_breaker_state", "new"), 1);
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 1);
}

/// A probe counts in the epoch in which it was decided.
#[test]
fn failed_probes_open_the_breaker_again() {
    let mut proxy = Proxy::new(&breaker_file(&json!({})));
    (0..3).for_each(|_| drop(proxy.send("anna", 503)));
    proxy.run(Duration::from_millis(1500));
    // The baseline works; a fault that it shares would not trip.
    for user in 0..1000 {
        let mut request = proxy.open(&[("x-user-id", &user.to_string())]);
        request.decide();
        request.respond(if request.sent("x-ab-variant") == ["new"] { 503 } else { 200 });
        request.end();
    }
    proxy.run(TICK);
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 2);
    assert_eq!(proxy.of("ab_test_breaker_state", "new"), 2);
}

#[test]
fn a_new_worker_publishes_the_state_that_it_finds() {
    let host = host(&[]);
    let proxy = Proxy::on(&host, &breaker_file(&json!({})));
    (0..3).for_each(|_| drop(proxy.send("anna", 503)));
    let name = "ab_test_breaker_state{experiment=\"e\",model_name=\"new\"}";
    let mut series = host.0.series.borrow_mut();
    series.iter_mut().find(|(other, ..)| other == name).unwrap().2 = 7;
    drop(series);
    let mut another = Proxy::on(&host, &breaker_file(&json!({})));
    another.run(TICK);
    assert_eq!(another.value(name), 2);
}

#[test]
fn slow_responses_open_the_breaker_on_the_tick() {
    let slow = json!({"slow": {"over": "100ms", "rate": 5}, "min_requests": 10, "confidence": 0,
        "compare_to_baseline": false});
    for (milliseconds, trips) in [(100, 0), (101, 1)] {
        let mut proxy = Proxy::new(&breaker_file(&slow));
        for _ in 0..20 {
            let mut request = proxy.open(&[("x-user-id", "anna")]);
            request.decide();
            proxy.advance(Duration::from_millis(milliseconds));
            request.respond(200);
            request.end();
        }
        assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 0);
        proxy.run(TICK);
        assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), trips, "{milliseconds} ms");
    }
}

#[test]
fn a_dry_run_reports_and_changes_nothing() {
    let proxy = Proxy::new(&breaker_file(&json!({"mode": "dry_run"})));
    (0..3).for_each(|_| drop(proxy.send("anna", 503)));
    assert_eq!(proxy.of("ab_test_breaker_would_trip_total", "new"), 1);
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 0);
    assert_eq!(proxy.send("anna", 200).sent("x-ab-variant"), ["new"]);
}

/// A model that does not read uploads stalls them. A slow client does not.
#[test]
fn uploads_that_stall_open_the_breaker_and_slow_ones_do_not() {
    for moves in [true, false] {
        let mut proxy = Proxy::new(&file(&json!({
            "variants": [
                {"name": "old", "cluster": "old-cluster"},
                {"name": "new", "cluster": "new-cluster", "weight": 50},
            ],
            "breaker": {"no_answer": {"after": "2s"}},
        })));
        let mut uploads = Vec::new();
        for second in 0..20 {
            for user in 0..10 {
                let user = format!("{second}-{user}");
                let mut request = proxy.open(&[("x-user-id", &user)]);
                request.stream.request_headers(&request.call, false);
                if request.sent("x-ab-variant") == ["new"] {
                    uploads.push(request);
                } else {
                    request.stream.request_body(&request.call, 10, true);
                    request.respond(200);
                    request.end();
                }
            }
            for request in uploads.iter_mut().filter(|_| moves) {
                request.stream.request_body(&request.call, 10, false);
            }
            proxy.run(Duration::from_secs(1));
        }
        let trips = proxy.of("ab_test_breaker_trips_total", "new");
        assert_eq!(trips, u64::from(!moves), "moves: {moves}");
        uploads.iter_mut().for_each(|request| request.end());
    }
}
