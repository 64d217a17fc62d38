//! Failures that an access logger reports, so that most requests need not be queried.

use std::time::Duration;

use serde_json::json;
use sidetrack_proxy::host::Level;
use sidetrack_proxy::instance::Instance;

use crate::fake::Fake;
use crate::proxy::{Open, Proxy, file, host};

const TICK: Duration = Duration::from_millis(100);

/// Requests with this status, as a proxy with this logger handles them. Returns how many were
/// queried.
fn send(proxy: &Proxy, logger: Option<&Instance<Fake>>, count: u32, status: u32) -> u32 {
    let queried = (0..count).map(|_| {
        let mut request = answered(proxy, &[("x-user-id", "anna")], status);
        let before = request.call.queries.get();
        request.log();
        let is_queried = request.call.queries.get() > before;
        report(logger, &mut [&mut request], status);
        request.delete();
        u32::from(is_queried)
    });
    queried.sum()
}

fn answered(proxy: &Proxy, headers: &[(&str, &str)], status: u32) -> Open {
    let mut request = proxy.open(headers);
    request.decide();
    request.respond(status);
    request
}

/// The proxy logs a failed request to the logger.
fn report(logger: Option<&Instance<Fake>>, streams: &mut [&mut Open], status: u32) {
    if status < 400 {
        return;
    }
    for number in logger.iter().flat_map(|logger| logger.take_failed_streams()) {
        let open = streams.iter_mut().find(|open| open.number == number).unwrap();
        open.stream.report_failure(&open.call);
    }
}

#[test]
fn unreported_requests_succeed_and_are_rarely_queried() {
    let mut proxy = Proxy::new(&file(&json!({})));
    let logger = proxy.instance("failures");
    assert!(logger.runtime().is_none());
    let queried = send(&proxy, Some(&logger), 12_800, 200);
    assert!((60..=140).contains(&queried), "{queried} of 12800");
    let queried = send(&proxy, Some(&logger), 6_400, 503);
    assert!((25..=75).contains(&queried), "{queried} of 6400");
    send(&proxy, Some(&logger), 7, 404);
    proxy.run(TICK);
    assert_eq!(proxy.requests("new"), [12_807, 6_400, 0]);
    assert_eq!(proxy.log(Level::Error), [""; 0]);
}

#[test]
fn a_reported_failure_counts_for_the_breaker() {
    let proxy = Proxy::new(&file(&json!({"breaker": {"consecutive_errors": 3}})));
    let logger = proxy.instance("failures");
    send(&proxy, Some(&logger), 3, 503);
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 1);
}

/// A second listener has the filter and no logger.
#[test]
fn a_logger_that_misses_a_failure_is_not_trusted_again() {
    let mut proxy = Proxy::new(&file(&json!({})));
    let _logger = proxy.instance("failures");
    send(&proxy, None, 3000, 503);
    proxy.run(TICK);
    let [success, error, aborted] = proxy.requests("new");
    assert!(success < 1500, "the sample finds it: {success} passed for successes");
    assert_eq!((success + error, aborted), (3000, 0));
    let log = proxy.log(Level::Error);
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("did not report a failed request"), "{log:?}");
}

/// Requests of a listener with the logger and of one without alternate in a fixed pattern.
#[test]
fn no_pattern_of_requests_evades_the_sample() {
    for period in [2, 4, 64, 128] {
        for random in [0, 1, 0x5eed, u64::MAX] {
            let host = host(&[]);
            host.0.random.set(random);
            let proxy = Proxy::on(&host, &file(&json!({})));
            let logger = proxy.instance("failures");
            for _ in 0..20_000 / period {
                send(&proxy, Some(&logger), period - 1, 200);
                send(&proxy, None, 1, 503);
            }
            let found = proxy.log(Level::Error).len();
            assert!(found == 1 || period > 64, "every {period}th fails unreported: {found}");
        }
    }
}

#[test]
fn without_a_logger_every_request_is_queried() {
    let proxy = Proxy::new(&file(&json!({})));
    assert_eq!(send(&proxy, None, 200, 200), 200);
    let logger = proxy.instance(" failures\n");
    assert!(send(&proxy, Some(&logger), 100, 200) < 10);
    drop(logger);
    assert_eq!(send(&proxy, None, 200, 200), 200);
}

#[test]
fn what_the_logger_cannot_know_is_queried() {
    let proxy = Proxy::new(&file(&json!({})));
    let logger = proxy.instance("failures");
    for (status, is_queried) in [(0, false), (5, false), (14, true)] {
        let mut grpc = proxy.open(&[("x-user-id", "anna"), ("content-type", "application/grpc")]);
        grpc.decide();
        grpc.respond_with_grpc(status, true);
        grpc.log();
        assert_eq!(grpc.call.queries.get() > 0, is_queried, "gRPC status {status}");
    }
    let mut aborted = proxy.open(&[("x-user-id", "anna")]);
    aborted.decide();
    aborted.log();
    assert!(aborted.call.queries.get() > 0, "no response");
    drop(logger);
    let proxy = Proxy::on(&host(&["SIDETRACK_FAILOVER"]), &file(&json!({})));
    let logger = proxy.instance("failures");
    assert_eq!(send(&proxy, Some(&logger), 10, 200), 10, "attempts");
}

/// A status below 500 is reported, because a filter behind this one may have answered.
#[test]
fn a_reported_request_that_no_model_answered_is_not_counted() {
    let mut proxy = Proxy::new(&file(&json!({})));
    let logger = proxy.instance("failures");
    for attempts in [0, 1] {
        let mut request = answered(&proxy, &[("x-user-id", "anna")], 403);
        request.call.attempts.set(attempts);
        request.log();
        report(Some(&logger), &mut [&mut request], 403);
        request.delete();
    }
    proxy.run(TICK);
    assert_eq!(proxy.requests("new"), [1, 0, 0]);
}

/// Two filters of one chain, or of one worker's two requests after each other.
#[test]
fn every_stream_of_the_failed_request_gets_the_report_and_no_other() {
    let mut proxy = Proxy::new(&file(&json!({})));
    let logger = proxy.instance("failures");
    let user = [("x-user-id", "anna")];
    let mut before = answered(&proxy, &user, 200);
    before.end();
    let (mut first, mut second) = (answered(&proxy, &user, 502), answered(&proxy, &user, 502));
    first.log();
    second.log();
    report(Some(&logger), &mut [&mut first, &mut second], 502);
    first.delete();
    second.delete();
    assert!(logger.take_failed_streams().is_empty());
    proxy.run(TICK);
    assert_eq!(proxy.requests("new"), [1, 2, 0]);
}

#[test]
fn a_filter_is_not_a_logger() {
    let proxy = Proxy::new(&file(&json!({})));
    let _logger = proxy.instance("failures");
    let mut request = answered(&proxy, &[("x-user-id", "anna")], 503);
    request.log();
    assert!(proxy.filter.take_failed_streams().is_empty());
}
