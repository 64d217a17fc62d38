//! How requests end, and that each is counted once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::proxy::{Open, Proxy, file, host};

const TICK: Duration = Duration::from_millis(100);

fn breaker_file() -> Value {
    file(&json!({"breaker": {"consecutive_errors": 1}}))
}

/// A request that is answered with this status; `change` sees it before it ends.
fn ended(proxy: &Proxy, headers: &[(&str, &str)], status: u32, change: impl FnOnce(&Open)) -> Open {
    let mut request = proxy.open(headers);
    request.decide();
    request.respond(status);
    change(&request);
    request.end();
    request
}

#[test]
fn status_flags_and_grpc_status_decide() {
    let grpc = [("x-user-id", "1"), ("content-type", "application/grpc+proto")];
    let plain = [("x-user-id", "1"), ("content-type", "application/json")];
    for (headers, status, flags, grpc_status, expected) in [
        (plain, 200, 0, 0, [1, 0, 0]),
        (plain, 404, 0, 0, [1, 0, 0]),
        (plain, 500, 0, 0, [0, 1, 0]),
        // The upstream broke the response off.
        (plain, 200, 1 << 6, 0, [0, 1, 0]),
        // The client was gone.
        (plain, 200, 1 << 14, 0, [1, 0, 0]),
        // Envoy derives a gRPC status for every request.
        (plain, 200, 0, 14, [1, 0, 0]),
        (grpc, 200, 0, 14, [0, 1, 0]),
        (grpc, 200, 0, 5, [1, 0, 0]),
        (grpc, 200, 0, 0, [1, 0, 0]),
    ] {
        let mut proxy = Proxy::new(&breaker_file());
        ended(&proxy, &headers, status, |request| {
            request.call.flags.set(flags);
            request.call.grpc_status.set(grpc_status);
        });
        proxy.run(TICK);
        let case = format!("{headers:?} {status} {flags:#x} {grpc_status}");
        assert_eq!(proxy.requests("new"), expected, "{case}");
        assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), expected[1], "{case}");
    }
}

#[test]
fn a_clear_success_is_found_in_one_query() {
    let proxy = Proxy::new(&file(&json!({})));
    assert_eq!(proxy.send("anna", 200).call.queries.get(), 1);
    assert!(proxy.send("anna", 503).call.queries.get() > 1);
}

#[test]
fn a_request_without_a_response_is_aborted_and_has_no_time() {
    let mut proxy = Proxy::new(&breaker_file());
    let mut request = proxy.open(&[("x-user-id", "anna")]);
    request.decide();
    request.call.flags.set(1 << 14);
    request.end();
    proxy.run(Duration::from_secs(1));
    assert_eq!(proxy.requests("new"), [0, 0, 1]);
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 0);
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 0);
}

/// HTTP/3: the log callback comes when the stream is gone.
#[test]
fn a_request_that_is_never_logged_is_counted_when_it_is_deleted() {
    let mut proxy = Proxy::new(&file(&json!({})));
    for status in [200, 503] {
        let mut request = proxy.open(&[("x-user-id", "anna")]);
        request.decide();
        request.respond(status);
        request.delete();
    }
    // Its gRPC status is not known yet.
    let mut request = proxy.open(&[("x-user-id", "anna"), ("content-type", "application/grpc")]);
    request.decide();
    request.respond(200);
    request.call.grpc_status.set(2);
    request.delete();
    proxy.run(TICK);
    assert_eq!(proxy.requests("new"), [2, 1, 0]);
}

#[test]
fn a_request_is_counted_once_whatever_callbacks_repeat() {
    let mut proxy = Proxy::new(&file(&json!({})));
    let mut request = proxy.send("anna", 200);
    request.log();
    request.stream.report_failure(&request.call);
    request.delete();
    request.delete();
    proxy.run(TICK);
    assert_eq!(proxy.requests("new"), [1, 0, 0]);
}

/// An earlier filter answered, so this one never saw the request's headers.
#[test]
fn a_stream_may_begin_with_its_end() {
    let mut proxy = Proxy::new(&file(&json!({})));
    let mut request = proxy.open(&[]);
    request.respond(429);
    request.end();
    assert!(request.call.response.borrow().is_empty());
    proxy.run(TICK);
    assert_eq!([proxy.requests("new"), proxy.requests("old")], [[0; 3]; 2]);
}

/// The route sent a failed request of the candidate to the baseline.
#[test]
fn a_rescued_request_is_the_baselines_for_metrics_and_the_candidates_failure() {
    let host = host(&["SIDETRACK_FAILOVER", "SIDETRACK_EXPOSURES"]);
    let mut proxy = Proxy::on(&host, &breaker_file());
    let mut request = proxy.open(&[("x-user-id", "anna")]);
    request.decide();
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
    request.call.attempts.set(2);
    request.call.route.set("sidetrack-failover:new-cluster");
    request.respond(200);
    assert_eq!(request.received("x-ab-variant"), ["old"]);
    assert_eq!(request.received("x-ab-assigned"), ["new"]);
    assert_eq!(request.exposed()[3].as_deref(), Some("true"));
    request.end();
    proxy.run(TICK);
    assert_eq!(proxy.requests("old"), [1, 0, 0]);
    assert_eq!(proxy.requests("new"), [0, 0, 0]);
    assert_eq!(proxy.of("ab_test_fallbacks_total", "new"), 1);
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 1);
}

#[test]
fn a_retry_is_a_rescue_only_on_a_route_that_fails_over() {
    for (variables, route, attempts) in [
        (&["SIDETRACK_FAILOVER"][..], "retries", 2),
        (&["SIDETRACK_FAILOVER"], "sidetrack-failover:new-cluster", 1),
        (&[], "sidetrack-failover:new-cluster", 2),
    ] {
        let mut proxy = Proxy::on(&host(variables), &file(&json!({})));
        let mut request = proxy.open(&[("x-user-id", "anna")]);
        request.decide();
        request.call.attempts.set(attempts);
        request.call.route.set(route);
        request.respond(200);
        request.end();
        assert_eq!(request.received("x-ab-variant"), ["new"], "{variables:?} {route}");
        proxy.run(TICK);
        assert_eq!(proxy.requests("new"), [1, 0, 0], "{variables:?} {route}");
        assert_eq!(proxy.of("ab_test_fallbacks_total", "new"), 0, "{variables:?} {route}");
    }
}
