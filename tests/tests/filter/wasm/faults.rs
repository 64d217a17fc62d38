//! Faults of the host: calls that fail, callbacks out of order, VMs that die, and hidden metrics.

use std::time::Duration;

use serde_json::json;
use sidetrack_tests::fake_host::{Action, MetricValue, Module, Proxy, Reply, Status, Vm};

use super::{count, get, vm};
use crate::scenarios::{FORECAST, forecast, forecast_with};

/// Whatever call a host fails: the request passes, and the filter lives.
#[test]
fn a_faulty_host_costs_no_request() {
    let calls = [
        "proxy_get_header_map_pairs",
        "proxy_add_header_map_value",
        "proxy_replace_header_map_value",
        "proxy_remove_header_map_value",
        "proxy_call_foreign_function",
        "proxy_get_property",
        "proxy_increment_metric",
        "proxy_record_metric",
        "proxy_get_metric",
        "proxy_define_metric",
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_get_current_time_nanoseconds",
        "proxy_set_tick_period_milliseconds",
        "random_get",
        "proxy_log",
    ];
    let mut file = forecast_with(
        json!({"missing_unit": "random", "mirror": {"cluster": "shadow", "percent": 50}}),
    );
    file["settings"] = json!({"debug": "allowed"});
    for call in calls {
        for status in
            [Status::InternalFailure, Status::NotFound, Status::BadArgument, Status::Unimplemented]
        {
            for from_the_start in [true, false] {
                let proxy = Proxy::new(Module::sidetrack());
                if from_the_start {
                    proxy.fault(call, status);
                }
                let worker = vm(&proxy, &file);
                proxy.fault(call, status);
                for headers in [
                    vec![("x-user-id", "1")],
                    vec![("x-ab-debug", "1")],
                    vec![("x-ab-cluster", "new-cluster")],
                ] {
                    for reply in [Reply::status(200), Reply::status(503), Reply::Abort] {
                        let exchange =
                            worker.get_replied(FORECAST, headers.clone(), reply).unwrap();
                        assert_eq!(exchange.action, Action::Continue, "{call} {status:?}");
                        assert!(exchange.local_response.is_none(), "{call} {status:?}");
                    }
                }
                worker.tick().unwrap();
                proxy.clear_faults();
                assert!(!worker.is_dead());
                let exchange = get(&worker, "1");
                assert_eq!(
                    exchange.request_header("x-ab-variant").as_deref(),
                    Some("old"),
                    "{call} {status:?}"
                );
            }
        }
    }
}

#[test]
fn requests_without_a_decision_are_counted() {
    let proxy = Proxy::new(Module::sidetrack());
    // Only the headers of requests are read.
    proxy.set_environment("SIDETRACK_ROUTES_CLEAN", "1");
    let worker = vm(&proxy, &forecast());
    assert_eq!(count(&proxy, "ab_test_undecided_total"), 0);
    proxy.fault_times("proxy_get_header_map_pairs", Status::InternalFailure, 3);
    for n in 1..=3 {
        let exchange = get(&worker, "1");
        assert_eq!(exchange.request_header("x-ab-variant"), None);
        assert_eq!(exchange.response_header("x-ab-variant"), None);
        assert_eq!(count(&proxy, "ab_test_undecided_total"), n);
    }
    assert_eq!(get(&worker, "1").request_header("x-ab-variant").as_deref(), Some("old"));
    assert_eq!(count(&proxy, "ab_test_undecided_total"), 3);
}

/// An earlier filter responded: the log callback is the first callback of the filter for this
/// request.
#[test]
fn a_stream_may_begin_with_its_end() {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = vm(&proxy, &forecast());
    for _ in 0..3 {
        worker.stream().finish().unwrap();
    }
    let stream = worker.stream();
    stream.response_headers([(":status", "429")], true).unwrap();
    stream.finish().unwrap();
    let counted = proxy.metrics().into_iter().filter(|(name, value)| {
        name.ends_with("ab_test_requests_total") && *value != MetricValue::Number(0)
    });
    assert_eq!(counted.count(), 0, "{:?}", proxy.metrics());
    assert_eq!(get(&worker, "1").request_header("x-ab-variant").as_deref(), Some("old"));
}

#[test]
fn a_vm_that_dies_takes_no_other_with_it() {
    let proxy = Proxy::new(Module::sidetrack());
    let (first, second) = (vm(&proxy, &forecast()), vm(&proxy, &forecast()));
    let before = get(&second, "anna").request_header("x-ab-variant");
    proxy.set_fuel_limit(50);
    assert!(first.get(FORECAST, [("x-user-id", "anna")]).is_err());
    proxy.set_fuel_limit(10_000_000_000);
    assert!(first.is_dead() && first.get(FORECAST, [("x-user-id", "anna")]).is_err());
    assert_eq!(get(&second, "anna").request_header("x-ab-variant"), before);
    // What Envoy puts in its place goes on where it was.
    let third = vm(&proxy, &forecast());
    assert_eq!(get(&third, "anna").request_header("x-ab-variant"), before);
    let name =
        "experiment=.=forecast-ab;.;model_name=.=old;.;status=.=success;.;ab_test_requests_total";
    let other = name.replace("=old", "=new");
    for worker in [&second, &third] {
        worker.tick().unwrap();
    }
    assert_eq!(count(&proxy, name) + count(&proxy, &other), 3);
}

/// A stats matcher makes every stat read zero for ever. The log reports it, and the breaker works
/// without stats: five failures on one worker, and both workers send the candidate's users to the
/// baseline.
#[test]
fn hidden_metrics_are_said_loudly_and_stop_no_breaker() {
    let proxy = Proxy::new(Module::sidetrack());
    proxy.hide_metrics("");
    let (one, other) = (vm(&proxy, &forecast()), vm(&proxy, &forecast()));
    one.tick().unwrap();
    assert!(proxy.log_text().contains("Envoy hides the filter's metrics"), "{}", proxy.log_text());
    let variant_of = |vm: &Vm, user: &str| get(vm, user).request_header("x-ab-variant");
    let users = (0..1_000).map(|n| format!("user-{n}"));
    let user =
        users.into_iter().find(|user| variant_of(&other, user).as_deref() == Some("new")).unwrap();
    let variant = |vm: &Vm| variant_of(vm, &user);
    assert_eq!(variant(&other).as_deref(), Some("new"));
    for _ in 0..5 {
        one.get_replied(FORECAST, [("x-user-id", user.as_str())], Reply::status(503)).unwrap();
    }
    assert_eq!(variant(&one).as_deref(), Some("old"), "{}", proxy.log_text());
    proxy.advance(Duration::from_millis(100));
    other.tick().unwrap();
    assert_eq!(variant(&other).as_deref(), Some("old"), "{}", proxy.log_text());
    assert_eq!(proxy.log_text().matches("the breaker opens").count(), 1, "{}", proxy.log_text());
}
