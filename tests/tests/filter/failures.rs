//! Failures that the access logger reports, so that the filter does not check each request.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_lab::Request;
use sidetrack_tests::artifact;
use sidetrack_tests::fake_host::{Module, Proxy, Vm};
use sidetrack_tests::world::{Behavior, Stage, run};

const CANDIDATE: &str = "experiment=.=forecast-ab;.;model_name=.=new;.;";

/// All users get the candidate, and the breaker is disabled.
fn file() -> Value {
    json!({"experiments": [{
        "name": "forecast-ab",
        "unit": [{"header": "x-user-id"}],
        "baseline": "old",
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": 100},
        ],
        "breaker": {"mode": "disabled"},
    }]})
}

fn by(user: u32) -> Request {
    Request::get("/infer").header("x-user-id", user.to_string())
}

fn vm(proxy: &Proxy) -> Vm {
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure(file().to_string()).unwrap(), "{}", proxy.log_text());
    vm
}

/// Requests that the candidate answers with this status.
fn requests(vm: &Vm, count: u32, status: &str, content_type: &str) {
    for user in 0..count {
        let (stream, user) = (vm.stream(), user.to_string());
        let headers = [
            (":authority", "a.b"),
            (":path", "/infer"),
            (":method", "GET"),
            ("x-user-id", user.as_str()),
            ("content-type", content_type),
        ];
        stream.request_headers(headers, true).unwrap();
        stream.response_headers([(":status", status)], true).unwrap();
        stream.finish().unwrap();
    }
    vm.tick().unwrap();
}

/// How many requests were counted as success and as error.
fn counted(proxy: &Proxy) -> (u64, u64) {
    let of = |status| {
        proxy
            .counter(&format!("{CANDIDATE}status=.={status};.;ab_test_requests_total"))
            .unwrap_or_default()
    };
    (of("success"), of("error"))
}

fn questions(proxy: &Proxy) -> u64 {
    let calls = proxy.host_calls();
    let of = |name| calls.get(name).copied().unwrap_or_default();
    of("proxy_call_foreign_function") + of("proxy_get_property")
}

#[test]
fn what_is_not_told_of_has_ended_well_and_is_hardly_asked_about() {
    let proxy = Proxy::new(Module::sidetrack());
    let vm = vm(&proxy);
    assert!(vm.log_failures("failures").unwrap());
    let before = questions(&proxy);
    requests(&vm, 1000, "200", "application/json");
    assert_eq!(counted(&proxy), (1000, 0));
    let asked = questions(&proxy) - before;
    assert!((1..=25).contains(&asked), "asked {asked} times");
    requests(&vm, 500, "503", "application/json");
    requests(&vm, 7, "404", "application/json");
    assert_eq!(counted(&proxy), (1007, 500));
    assert_eq!(proxy.log_text(), "", "nothing to complain of");
}

/// A filter before this one may hide the trailers, so they are read when they pass.
#[test]
fn a_grpc_status_is_read_when_it_passes() {
    let proxy = Proxy::new(Module::sidetrack());
    let vm = vm(&proxy);
    assert!(vm.log_failures("failures").unwrap());
    for (status, expected) in [("0", (1, 0)), ("14", (1, 1)), ("5", (2, 1)), ("x", (2, 2))] {
        let stream = vm.stream();
        let headers = [
            (":authority", "a.b"),
            (":path", "/infer"),
            (":method", "POST"),
            ("x-user-id", "1"),
            ("content-type", "application/grpc"),
        ];
        stream.request_headers(headers, true).unwrap();
        stream.response_headers([(":status", "200")], false).unwrap();
        stream.response_trailers([("grpc-status", status)]).unwrap();
        stream.finish().unwrap();
        vm.tick().unwrap();
        assert_eq!(counted(&proxy), expected, "grpc-status: {status}");
    }
}

#[test]
fn without_the_logger_every_request_is_asked_about() {
    let proxy = Proxy::new(Module::sidetrack());
    let vm = vm(&proxy);
    requests(&vm, 300, "503", "application/json");
    assert_eq!(counted(&proxy), (0, 300));
    assert!(vm.log_failures("failures").unwrap());
    requests(&vm, 300, "503", "application/json");
    assert_eq!(counted(&proxy), (0, 600));
    vm.log_no_failures().unwrap();
    requests(&vm, 300, "503", "application/json");
    assert_eq!(counted(&proxy), (0, 900));
    assert_eq!(proxy.log_text(), "");
}

/// Two listeners share the VM, and one of them lacks the logger.
#[test]
fn a_logger_that_is_silent_about_a_failure_is_not_believed_again() {
    let proxy = Proxy::new(Module::sidetrack());
    let vm = vm(&proxy);
    assert!(vm.log_failures_elsewhere("failures").unwrap());
    requests(&vm, 3000, "503", "application/json");
    let (success, error) = counted(&proxy);
    assert!(
        success < 1500 && success + error == 3000,
        "{success} failures passed for successes, {error} did not"
    );
    assert_eq!(
        proxy.log_text().matches("did not report a failed request").count(),
        1,
        "{}",
        proxy.log_text()
    );
}

/// Two filters of the module in one chain: both are notified.
#[tokio::test]
async fn every_filter_of_a_request_hears_of_its_failure() {
    let stage = Stage::changed(|bootstrap| {
        let router = "          - name: envoy.filters.http.router\n";
        let second = json!({
            "settings": {"header_prefix": "x-cd-"},
            "experiments": [{"name": "second", "unit": [{"header": "x-user-id"}], "baseline": "a",
                "breaker": {"mode": "disabled"},
                "variants": [{"name": "a"}, {"name": "b", "weight": 50}]}],
        });
        let begin = bootstrap.find("                vm_config:\n").unwrap();
        let end = bootstrap.find("                configuration: {").unwrap();
        let vm = &bootstrap[begin..end];
        let filter = format!(
            "          - name: second\n            typed_config:\n              \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n              config:\n                \
             name: second\n{vm}                configuration:\n                  \"@type\": \
             type.googleapis.com/google.protobuf.StringValue\n                  value: {}\n",
            json!(second.to_string())
        );
        bootstrap.replace(router, &(filter + router))
    });
    run(stage, |stage| async move {
        let world = stage.start(&file()).await;
        world.model("new-cluster", Behavior::Status(503));
        for user in 0..40 {
            assert_eq!(world.send(by(user)).await.status(), 503);
        }
        for experiment in ["forecast-ab", "second"] {
            let labels = [("experiment", experiment), ("status", "error")];
            world.expect_metric("ab_test_requests_total", &labels, 40).await;
        }
    })
    .await;
}

/// A worker whose filter crashed and was loaded again counts failures as before.
#[tokio::test]
async fn failures_are_counted_after_a_crash() {
    let stage = Stage::changed(|bootstrap| {
        let shipped = artifact::wasm().display().to_string();
        assert!(bootstrap.contains(&shipped), "the bootstrap names another module");
        bootstrap.replace(&shipped, &artifact::crashing_wasm().display().to_string())
    });
    run(stage, |stage| async move {
        let world = stage.start(&file()).await;
        world.send(by(1)).await;
        // Enough that both workers crash; a VM younger than its back-off answers 503 by itself.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for _ in 0..10 {
            world.send(by(1).header("x-test-crash", "1")).await;
        }
        world.model("new-cluster", Behavior::Status(418));
        let mut alive = 0;
        while alive < 20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            alive = if world.send(by(1)).await.status() == 418 { alive + 1 } else { 0 };
        }
        world.model("new-cluster", Behavior::Status(502));
        let errors = [("experiment", "forecast-ab"), ("status", "error")];
        let before = world.metric("ab_test_requests_total", &errors).await.unwrap_or_default();
        for user in 0..200 {
            assert_eq!(world.send(by(user)).await.status(), 502);
        }
        world.expect_metric("ab_test_requests_total", &errors, before + 200).await;
    })
    .await;
}
