//! Clients with HTTP/3. Envoy logs such a request when the client has acknowledged the response,
//! often after the filter's stream is deleted.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::net::UdpSocket;

use serde_json::{Value, json};
use sidetrack_lab::Request;
use sidetrack_tests::fake_host::{Module, Proxy};
use sidetrack_tests::world::{Behavior, Stage, run};

const HOST: &str = "predictor.example.com";

/// All users get the candidate, and the breaker is disabled.
fn file() -> Value {
    json!({"experiments": [{
        "name": "e",
        "unit": [{"header": "x-user-id"}],
        "baseline": "old",
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": 100},
        ],
        "breaker": {"mode": "disabled"},
    }]})
}

#[test]
fn a_request_that_is_logged_late_is_counted_once() {
    for logger in [false, true] {
        let proxy = Proxy::new(Module::sidetrack());
        let vm = proxy.start_vm().unwrap();
        assert!(vm.configure(file().to_string()).unwrap());
        assert!(!logger || vm.log_failures("failures").unwrap());
        for (status, content_type) in
            [("200", "text/plain"), ("503", "text/plain"), ("200", "application/grpc")]
        {
            let stream = vm.stream();
            let headers = [(":path", "/"), ("x-user-id", "1"), ("content-type", content_type)];
            stream.request_headers(headers, true).unwrap();
            stream.response_headers([(":status", status)], true).unwrap();
            stream.finish_and_log_late().unwrap();
        }
        vm.tick().unwrap();
        let count = |status| {
            let name = format!(
                "experiment=.=e;.;model_name=.=new;.;status=.={status};.;ab_test_requests_total"
            );
            proxy.counter(&name).unwrap()
        };
        assert_eq!(
            (count("success"), count("error"), count("aborted")),
            (2, 1, 0),
            "logger: {logger}"
        );
    }
}

/// The listener with the filter speaks HTTP/3, and one before it lets the test speak HTTP/1.1.
fn behind_http3(bootstrap: String) -> String {
    let mut tree: Value = serde_saphyr::from_str(&bootstrap).unwrap();
    let statics = &mut tree["static_resources"];
    let filter = statics["listeners"].as_array_mut().unwrap().pop().unwrap();
    let name = filter["name"].as_str().unwrap().to_owned();
    add_http3(statics, filter, &name);
    tree.to_string()
}

/// Adds this listener over HTTP/3, and one with the given name before it, which speaks HTTP/1.1.
pub(crate) fn add_http3(statics: &mut Value, mut filter: Value, name: &str) {
    let key = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let certificate = json!({"inline_string": key.cert.pem()});
    let private = json!({"inline_string": key.signing_key.serialize_pem()});
    // Free, and unlikely to be taken by another process within a second.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = |protocol, port| json!({"socket_address": {"protocol": protocol, "address": "127.0.0.1", "port_value": port}});
    let socket = |name: &str, side: &str, tls: Value| {
        let kind = format!(
            "type.googleapis.com/envoy.extensions.transport_sockets.quic.v3.Quic{name}Transport"
        );
        json!({"name": "envoy.transport_sockets.quic", "typed_config": {"@type": kind, side: tls}})
    };

    let mut front = filter.clone();
    front["name"] = json!(name);
    filter["name"] = json!(format!("{name}-inner"));
    filter["address"] = address("UDP", port);
    filter["udp_listener_config"] = json!({"quic_options": {}});
    let tls =
        json!({"tls_certificates": [{"certificate_chain": certificate, "private_key": private}]});
    let chain = &mut filter["filter_chains"][0];
    chain["transport_socket"] =
        socket("Downstream", "downstream_tls_context", json!({"common_tls_context": tls}));
    chain["filters"][0]["typed_config"]["codec_type"] = json!("HTTP3");

    let manager = &mut front["filter_chains"][0]["filters"][0]["typed_config"];
    for part in ["access_log", "early_header_mutation_extensions"] {
        manager.as_object_mut().unwrap().remove(part);
    }
    let router = manager["http_filters"].as_array_mut().unwrap().pop().unwrap();
    manager["http_filters"] = json!([router]);
    manager["route_config"] = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": "http3"}}]}]});
    statics["listeners"].as_array_mut().unwrap().extend([filter, front]);

    let trusted = json!({"validation_context": {"trusted_ca": certificate}});
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    statics["clusters"].as_array_mut().unwrap().push(json!({
        "name": "http3",
        "type": "STATIC",
        "typed_extension_protocol_options": {options: {
            "@type": format!("type.googleapis.com/{options}"),
            "explicit_http_config": {"http3_protocol_options": {}},
        }},
        "transport_socket":
            socket("Upstream", "upstream_tls_context", json!({"sni": HOST, "common_tls_context": trusted})),
        "load_assignment": {"cluster_name": "http3", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address("UDP", port)}}]}]},
    }));
}

#[tokio::test]
async fn requests_over_http3_are_counted_as_they_end() {
    run(Stage::changed(behind_http3), |stage| async move {
        let world = stage.start(&file()).await;
        for (status, label) in [(200, "success"), (503, "error")] {
            world.model("new-cluster", Behavior::Status(status));
            for user in 0..40 {
                let request = Request::get("/infer").header("x-user-id", user.to_string());
                let exchange = world.send(request).await;
                assert_eq!((exchange.status(), exchange.cluster()), (status, Some("new-cluster")));
            }
            let labels = [("experiment", "e"), ("model_name", "new"), ("status", label)];
            world.expect_metric("ab_test_requests_total", &labels, 40).await;
        }
    })
    .await;
}
