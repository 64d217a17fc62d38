//! `--otlp`: the mesh configuration and the Telemetry together give a proxy a sender of exposures beside its log.

use std::collections::BTreeSet;

use serde_json::Value;
use sidetrack_tests::istio::{Golden, Release};

use super::Case;

#[test]
fn a_gateway_sends_the_fields_of_its_log_to_a_cluster_that_exists() {
    let golden = Golden::read(Release::Newest, "gateway-otlp").unwrap();
    let manager = golden.manager(Case::gateway(Release::Newest, "").entry).unwrap();
    let logs = manager["access_log"].as_array().unwrap();
    let of = |kind: &str| {
        let mut found = logs.iter().filter(|log| log["name"] == kind);
        let log = found.next().unwrap_or_else(|| panic!("no {kind}: {logs:#?}"));
        assert!(found.next().is_none(), "{logs:#?}");
        log
    };
    let [file, sender] =
        ["envoy.access_loggers.file", "envoy.access_loggers.open_telemetry"].map(of);
    // Requests of experiments only, in both.
    assert!(sender["filter"].to_string().contains("'x-ab-experiment' in request.headers"));
    let sender = &sender["typed_config"];
    let attributes = sender["attributes"]["values"].as_array().unwrap().iter();
    let name = |value: &Value| value["key"].as_str().unwrap().to_owned();
    let sent: BTreeSet<String> = attributes.map(name).collect();
    let logged = file["typed_config"]["log_format"]["json_format"].as_object().unwrap();
    let logged: BTreeSet<String> = logged.keys().cloned().collect();
    // Paths and methods are not for a store.
    let kept: BTreeSet<String> = ["method", "path"].map(str::to_owned).into();
    assert_eq!(logged.difference(&sent).cloned().collect::<BTreeSet<_>>(), kept);
    assert!(sent.is_subset(&logged), "{sent:?} {logged:?}");
    let service = &sender["common_config"]["grpc_service"]["envoy_grpc"];
    assert_eq!(service["authority"], "store.models.svc.cluster.local");
    let cluster = golden.clusters.iter().find(|cluster| cluster["name"] == service["cluster_name"]);
    let cluster = cluster.unwrap_or_else(|| panic!("no cluster: {service}")).to_string();
    assert!(cluster.contains("\"http2_protocol_options\""), "gRPC needs HTTP/2: {cluster}");
}
