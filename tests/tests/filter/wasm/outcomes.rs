//! How a request ended: by Envoy's expressions, by its attributes, and by the name of the route.

use serde_json::json;
use sidetrack::breaker::End;
use sidetrack::outcome::{Ending, Status as Ended};
use sidetrack_tests::fake_host::{HeaderMap, Module, Proxy};

use super::{count, vm};
use crate::scenarios::{FORECAST, forecast_with};

/// However Envoy is asked how a request ended, the answer is the core's: by one expression, or,
/// where Envoy knows none or the request did not end well, by its attributes.
#[test]
fn a_request_ended_as_the_core_says_however_envoy_is_asked() {
    let mut asked = [0, 0];
    for (expressions, fails_over) in [(true, false), (true, true), (false, false), (false, true)] {
        for status in [None, Some(200), Some(404), Some(429), Some(500), Some(503)] {
            for (flags, grpc, attempts) in [
                (0, None, 1),
                (1 << 4, None, 1),
                (1 << 14, None, 1),
                (1 << 24, None, 1),
                (0, Some(0), 1),
                (0, Some(5), 1),
                (0, Some(14), 1),
                (0, None, 2),
                (0, Some(0), 2),
                (0, None, 0),
                (1 << 1, None, 0),
            ] {
                // A success at first sight is not asked whether a model was asked.
                if (status, flags, attempts) == (Some(200), 0, 0) {
                    continue;
                }
                let proxy = Proxy::new(Module::sidetrack());
                if !expressions {
                    proxy.set_foreign("expr_create", None);
                }
                if fails_over {
                    proxy.set_environment("SIDETRACK_FAILOVER", "1");
                }
                let all = json!([{"name": "old"}, {"name": "new", "weight": 100}]);
                let worker = vm(
                    &proxy,
                    &forecast_with(json!({"variants": all, "breaker": {"consecutive_errors": 1}})),
                );
                let stream = worker.stream();
                let kind = if grpc.is_some() { "application/grpc" } else { "application/json" };
                let request = [(":path", FORECAST), ("x-user-id", "1"), ("content-type", kind)];
                stream.request_headers(request, true).unwrap();
                stream.set_number(&["response", "flags"], flags);
                stream.set_number(&["upstream", "request_attempt_count"], attempts);
                if let Some(status) = status {
                    let mut answer: HeaderMap = [(":status", status.to_string())].into();
                    grpc.into_iter()
                        .for_each(|code: u32| answer.add("grpc-status", code.to_string()));
                    stream.response_headers(answer, true).unwrap();
                }
                let before = proxy.host_calls();
                stream.finish().unwrap();
                let more = |call| {
                    let now = proxy.host_calls().get(call).copied().unwrap_or_default();
                    now - before.get(call).copied().unwrap_or_default()
                };
                let ending = Ending {
                    answered: status.is_some(),
                    uploaded: true,
                    code: status.unwrap_or(0),
                    flags: flags.cast_unsigned(),
                    is_grpc: false,
                    grpc_status: grpc.filter(|_| status.is_some()),
                    attempts: attempts.cast_unsigned(),
                    failed_over: fails_over && attempts > 1,
                    is_connect: false,
                    is_timed_out: false,
                };
                let outcome = ending.outcome();
                let reads = more("proxy_get_property");
                let is_known = ending.has_grpc_failure();
                assert_eq!(
                    more("proxy_call_foreign_function"),
                    u64::from(expressions && !is_known)
                );
                let well =
                    status.is_some_and(|status| status < 400) && flags == 0 && !ending.failed_over;
                assert_eq!(
                    reads == 0,
                    expressions && well && !is_known,
                    "{expressions} {ending:?}: {reads} reads"
                );
                asked[usize::from(reads == 0)] += 1;
                let at_once = outcome.end == End::Failed;
                assert_eq!(
                    proxy.log_text().contains("the breaker opens"),
                    at_once,
                    "{expressions} {ending:?}\n{}",
                    proxy.log_text()
                );
                worker.tick().unwrap();
                for (name, status) in [
                    ("success", Ended::Success),
                    ("error", Ended::Error),
                    ("aborted", Ended::Aborted),
                ] {
                    let name = format!(
                        "experiment=.=forecast-ab;.;model_name=.=new;.;status=.={name};.;ab_test_requests_total"
                    );
                    assert_eq!(
                        count(&proxy, &name),
                        u64::from(outcome.status == Some(status)),
                        "{name} {ending:?}"
                    );
                }
            }
        }
    }
    assert!(asked.iter().all(|&count| count > 5), "{asked:?}");
}

/// Only Envoy knows whether a second attempt went to the baseline: by the name of the route.
#[test]
fn a_second_attempt_is_the_baselines_only_on_a_route_that_fails_over() {
    let proxy = Proxy::new(Module::sidetrack());
    proxy.set_environment("SIDETRACK_FAILOVER", "1");
    let all = json!([{"name": "old"}, {"name": "new", "weight": 100}]);
    let worker = vm(&proxy, &forecast_with(json!({ "variants": all })));
    for (route, attempts, variant) in [
        ("sidetrack-failover:new-cluster", 1, "new"),
        ("sidetrack-failover:new-cluster", 2, "old"),
        ("with-retries", 2, "new"),
        ("", 2, "new"),
    ] {
        proxy.set_property(&["xds", "route_name"], route);
        let stream = worker.stream();
        let request = [(":path", FORECAST), ("x-user-id", "1")];
        stream.request_headers(request, true).unwrap();
        stream.set_number(&["upstream", "request_attempt_count"], attempts);
        stream.response_headers([(":status", "200")], true).unwrap();
        let reported = stream.response_header("x-ab-variant");
        assert_eq!(reported.as_deref(), Some(variant.as_bytes()), "{route:?}, attempt {attempts}");
        stream.finish().unwrap();
    }
}
