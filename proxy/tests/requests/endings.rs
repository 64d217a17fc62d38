//! How requests end, and that each is counted once.

use std::time::Duration;

use serde_json::{Value, json};

use sidetrack_proxy::stream::Action;

use crate::proxy::{Open, Proxy, file, host};

const TICK: Duration = Duration::from_millis(100);

const USER: [(&str, &str); 1] = [("x-user-id", "1")];

/// Success, error, aborted, trips.
fn counted(proxy: &Proxy) -> [u64; 4] {
    let [success, error, aborted] = proxy.requests("new");
    [success, error, aborted, proxy.of("ab_test_breaker_trips_total", "new")]
}

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

/// The columns: success, error, aborted, trips.
#[test]
fn status_flags_and_attempts_decide() {
    for (status, flags, attempts, expected) in [
        (200, 0, 1, [1, 0, 0, 0]),
        (404, 0, 1, [1, 0, 0, 0]),
        (500, 0, 1, [0, 1, 0, 1]),
        // The upstream broke the response off.
        (200, 1 << 23, 1, [0, 1, 0, 1]),
        // The client was gone.
        (200, 1 << 14, 1, [0, 0, 1, 0]),
        // A filter behind this one answered.
        (403, 0, 0, [0, 0, 0, 0]),
        (500, 0, 0, [0, 0, 0, 0]),
        // No healthy host.
        (503, 1 << 1, 0, [0, 1, 0, 1]),
        // A WebSocket.
        (101, 1 << 6, 1, [1, 0, 0, 0]),
    ] {
        let mut proxy = Proxy::new(&breaker_file());
        ended(&proxy, &USER, status, |request| {
            request.call.flags.set(flags);
            request.call.attempts.set(attempts);
        });
        proxy.run(TICK);
        let case = format!("{status} {flags:#x} {attempts}");
        assert_eq!(counted(&proxy), expected, "{case}");
    }
}

#[test]
fn a_tunnel_may_end_with_a_flag() {
    let mut proxy = Proxy::new(&breaker_file());
    for is_connect in [true, false] {
        ended(&proxy, &USER, 200, |request| {
            request.call.flags.set(1 << 6);
            request.call.is_connect.set(is_connect);
        });
    }
    proxy.run(TICK);
    assert_eq!(counted(&proxy), [1, 1, 0, 1]);
}

#[test]
fn a_status_408_is_a_failure_if_the_proxy_ended_the_wait() {
    let mut proxy = Proxy::new(&breaker_file());
    for is_local in [false, true] {
        ended(&proxy, &USER, 408, |request| request.call.is_local.set(is_local));
    }
    proxy.run(TICK);
    assert_eq!(counted(&proxy), [1, 1, 0, 1]);
}

#[test]
fn the_grpc_status_of_the_response_decides() {
    let grpc = [("x-user-id", "1"), ("content-type", "application/grpc+proto")];
    let web = [("x-user-id", "1"), ("content-type", "application/grpc-web")];
    for (headers, status, expected) in [
        (grpc, 14, [0, 1, 0, 1]),
        (grpc, 5, [1, 0, 0, 0]),
        (grpc, 0, [1, 0, 0, 0]),
        (web, 14, [0, 1, 0, 1]),
    ] {
        for in_trailers in [true, false] {
            for logs in [true, false] {
                let mut proxy = Proxy::new(&breaker_file());
                let _logger = logs.then(|| proxy.instance("failures"));
                let mut request = proxy.open(&headers);
                request.decide();
                request.respond_with_grpc(status, in_trailers);
                request.end();
                proxy.run(TICK);
                let case = format!("{headers:?} {status}, trailers: {in_trailers}, {logs}");
                assert_eq!(counted(&proxy), expected, "{case}");
            }
        }
    }
}

/// A response with a body and without trailers, or with trailers without a status. The columns: the
/// content types of request and response, a `grpc-status` in the response's headers.
#[test]
fn a_grpc_response_without_a_status_has_failed() {
    const GRPC: &str = "application/grpc";
    const GOOD: [u64; 4] = [1, 0, 0, 0];
    const BAD: [u64; 4] = [0, 1, 0, 1];
    for (request, response, status, expected) in [
        (GRPC, GRPC, None, BAD),
        (GRPC, "application/grpc+proto", None, BAD),
        (GRPC, "application/grpc;charset=utf-8", None, BAD),
        (GRPC, GRPC, Some("14"), BAD),
        (GRPC, GRPC, Some("x"), BAD),
        (GRPC, GRPC, Some("0"), GOOD),
        (GRPC, GRPC, Some("5"), GOOD),
        // The status of grpc-web is in its body, or in the headers if it has none.
        ("application/grpc-web+proto", "application/grpc-web+proto", None, GOOD),
        ("application/grpc-web+proto", "application/grpc-web+proto", Some("14"), BAD),
        // Envoy's grpc_web filter has been at it.
        (GRPC, "application/grpc-web+proto", None, GOOD),
        (GRPC, "application/grpc-web+proto", Some("2"), GOOD),
        // A client can claim anything.
        (GRPC, "application/json", None, GOOD),
        (GRPC, "application/json", Some("14"), GOOD),
        (GRPC, "", None, GOOD),
        ("application/json", "application/json", Some("14"), GOOD),
        ("application/json", GRPC, None, GOOD),
    ] {
        for (has_trailers, logs) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut proxy = Proxy::new(&breaker_file());
            let _logger = logs.then(|| proxy.instance("failures"));
            let mut open = proxy.open(&[("x-user-id", "1"), ("content-type", request)]);
            open.decide();
            let kind = ("content-type".to_owned(), response.to_owned());
            open.call.response.borrow_mut().push(kind);
            let status_line = status.map(|it| ("grpc-status".to_owned(), it.to_owned()));
            open.call.response.borrow_mut().extend(status_line);
            open.respond(200);
            if has_trailers {
                open.stream.response_trailers(&open.call);
            }
            open.end();
            proxy.run(TICK);
            let case = format!("{request} {response} {status:?}, {has_trailers}, {logs}");
            assert_eq!(counted(&proxy), expected, "{case}");
        }
    }
}

/// Trailers with a gRPC status, as a gRPC-JSON transcoder leaves them behind.
#[test]
fn a_grpc_status_counts_only_for_a_request_that_is_grpc() {
    let mut proxy = Proxy::new(&breaker_file());
    for kind in ["application/json", ""] {
        let mut request = proxy.open(&[("x-user-id", "1"), ("content-type", kind)]);
        request.decide();
        request.respond_with_grpc(14, true);
        request.end();
    }
    proxy.run(TICK);
    assert_eq!(counted(&proxy), [2, 0, 0, 0]);
}

/// Over HTTP/3, Envoy does not report that a client has left.
#[test]
fn a_grpc_client_of_http3_may_have_left_before_the_status() {
    let mut proxy = Proxy::new(&breaker_file());
    ended(&proxy, &[("x-user-id", "1"), ("content-type", "application/grpc")], 200, |open| {
        open.call.is_http3.set(true);
        open.call.response.borrow_mut().push(("content-type".into(), "application/grpc".into()));
    });
    proxy.run(TICK);
    assert_eq!(counted(&proxy), [1, 0, 0, 0]);
}

/// Nobody but the filter may use its names, wherever they are.
#[test]
fn own_names_are_removed_from_trailers() {
    let condition = json!({"headers": [{"name": "x-in", "present": true}]});
    let proxy = Proxy::new(&file(&json!({"match": condition})));
    let lines = || {
        [("x-ab-cluster", "a"), ("x-other", "b"), ("x-ab-variant", "c"), ("x-ab-cluster", "d")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    // Of an experiment, and of none.
    for (name, is_in) in [("x-in", true), ("x-out", false)] {
        let mut open = proxy.open(&[("x-user-id", "1"), (name, "1")]);
        assert_eq!(open.stream.request_headers(&open.call, false), Action::Continue);
        assert_eq!(!open.sent("x-ab-variant").is_empty(), is_in);
        *open.call.trailers.borrow_mut() = lines();
        open.stream.request_trailers(&open.call);
        *open.call.response_trailers.borrow_mut() = lines();
        open.respond(200);
        open.stream.response_trailers(&open.call);
        open.end();
        for left in [&open.call.trailers, &open.call.response_trailers] {
            assert_eq!(*left.borrow(), [("x-other".to_owned(), "b".to_owned())], "{name}");
        }
    }
}

#[test]
fn the_response_time_begins_with_the_end_of_the_request() {
    let slow = json!({"breaker": {
        "slow": {"over": "200ms", "rate": 5}, "min_requests": 20, "compare_to_baseline": false,
    }});
    let time = |proxy: &Proxy, le: &str| {
        proxy.value(&format!(
            "ab_test_response_time_seconds_bucket{{experiment=\"e\",model_name=\"new\",le={le:?}}}"
        ))
    };
    // The upload and the answer, in milliseconds; is it slow?
    for (upload, answer, is_slow) in [(2000, 100, false), (100, 300, true)] {
        let mut proxy = Proxy::new(&file(&slow));
        for user in 0..60 {
            let mut request = proxy.open(&[("x-user-id", &user.to_string())]);
            assert_eq!(request.stream.request_headers(&request.call, false), Action::Continue);
            proxy.advance(Duration::from_millis(upload));
            request.stream.request_body(&request.call, 10, false);
            request.stream.request_body(&request.call, 10, true);
            // A step of the wall clock changes nothing.
            proxy.host.0.now.set(proxy.host.0.now.get() + Duration::from_secs(2));
            proxy.advance(Duration::from_millis(answer));
            request.respond(200);
            request.end();
        }
        proxy.run(Duration::from_secs(1));
        assert_eq!([time(&proxy, "0.2"), time(&proxy, "0.5")], [if is_slow { 0 } else { 60 }, 60]);
        assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), u64::from(is_slow));
    }
}

/// A model may answer before it has read the request.
#[test]
fn an_answer_before_the_end_of_the_request_has_a_time_and_is_not_slow() {
    let mut proxy = Proxy::new(&breaker_file());
    let mut request = proxy.open(&USER);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Continue);
    proxy.advance(Duration::from_millis(30));
    request.respond(200);
    request.stream.request_body(&request.call, 10, true);
    request.stream.request_trailers(&request.call);
    request.end();
    proxy.run(Duration::from_secs(1));
    assert_eq!(counted(&proxy), [1, 0, 0, 0]);
    assert_eq!(
        proxy.value(
            "ab_test_response_time_seconds_bucket{experiment=\"e\",model_name=\"new\",le=\"0.05\"}"
        ),
        1
    );
}

/// Every fourth request fails at once; the others stream for a minute. Their good headers count.
#[test]
fn good_headers_of_long_answers_count_in_the_rate_before_they_end() {
    let mut rates = Vec::new();
    for is_looked_at in [true, false] {
        let breaker = json!({"breaker": {
            "error_rate": 50, "min_requests": 20, "confidence": 0, "consecutive_errors": 0,
            "compare_to_baseline": false,
        }});
        let mut proxy = Proxy::new(&file(&breaker));
        let mut open = Vec::new();
        for user in 0..100 {
            let mut request = proxy.open(&[("x-user-id", &user.to_string())]);
            request.decide();
            if user % 4 == 0 {
                request.respond(503);
                request.end();
            } else {
                request.respond(200);
                open.push(request);
            }
        }
        for request in &mut open {
            let time = Duration::from_millis(if is_looked_at { 10 } else { 0 });
            request.last(&mut proxy, time);
        }
        proxy.advance(Duration::from_secs(1));
        if is_looked_at {
            open.iter_mut().for_each(|request| request.last(&mut proxy, Duration::ZERO));
        }
        proxy.run(Duration::from_secs(2));
        rates.push(proxy.of("ab_test_breaker_trips_total", "new"));
        assert_eq!(proxy.requests("new"), [0, 25, 0], "an answer is served when it has ended");
    }
    assert_eq!(rates, [0, 1], "25 of 100, or 25 of 25");
}

#[test]
fn a_bad_status_counts_before_its_body_ends_and_once() {
    for (status, attempts, expected) in
        [(500, 1, [0, 1, 0, 1]), (500, 0, [0; 4]), (200, 1, [0; 4]), (404, 1, [0; 4])]
    {
        let mut proxy = Proxy::new(&breaker_file());
        let mut request = proxy.open(&USER);
        request.decide();
        request.respond(status);
        request.call.attempts.set(attempts);
        request.last(&mut proxy, Duration::from_millis(400));
        assert_eq!(request.call.queries.get(), 0, "it may end yet");
        request.last(&mut proxy, Duration::from_millis(100));
        let queries = request.call.queries.get();
        assert!(queries > 0);
        proxy.run(TICK);
        assert_eq!(counted(&proxy), expected, "{status} {attempts}");
        request.last(&mut proxy, Duration::from_secs(5));
        assert_eq!(request.call.queries.get(), queries, "it is read once");
        request.end();
        proxy.run(TICK);
        let ended = [u64::from(status < 500), u64::from(status == 500) * attempts, 0, expected[3]];
        assert_eq!(counted(&proxy), ended, "{status} {attempts}");
    }
}

#[test]
fn an_answer_that_breaks_off_after_it_counted_as_a_success_is_a_failure() {
    let mut proxy = Proxy::new(&breaker_file());
    let mut request = proxy.open(&USER);
    request.decide();
    request.respond(200);
    request.last(&mut proxy, Duration::from_secs(10));
    assert_eq!(counted(&proxy), [0; 4]);
    request.call.flags.set(1 << 6);
    request.end();
    proxy.run(TICK);
    assert_eq!(counted(&proxy), [0, 1, 0, 1]);
}

/// The model does not answer, and all clients give up after a second.
#[test]
fn a_hung_model_is_slow_although_its_callers_give_up() {
    let slow = json!({"breaker": {
        "slow": {"over": "200ms", "rate": 5}, "min_requests": 20, "compare_to_baseline": false,
    }});
    let mut proxy = Proxy::new(&file(&slow));
    for round in 0..6 {
        let mut open: Vec<Open> =
            (0..10).map(|user| proxy.open(&[("x-user-id", &format!("{round} {user}"))])).collect();
        open.iter_mut().for_each(Open::decide);
        proxy.run(Duration::from_secs(1));
        for request in &mut open {
            request.call.flags.set(1 << 14);
            request.end();
        }
    }
    proxy.run(TICK);
    assert_eq!(counted(&proxy), [0, 0, 20, 1]);
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
    let mut request = proxy.open(&[("x-user-id", "1"), ("content-type", "application/grpc")]);
    request.decide();
    request.respond_with_grpc(14, true);
    request.delete();
    proxy.run(TICK);
    assert_eq!(proxy.requests("new"), [1, 2, 0]);
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
