//! Replicas that start while something is wrong, and neighbors of a wrong experiment.

use std::time::{Duration, Instant};

use serde_json::json;
use sidetrack_lab::{Client, Request, prometheus_value};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, Pod, PodOptions, Registry, Role};

use crate::stand::{BASELINE, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 100;

async fn all_get(stand: &Stand, pod: &Pod, weight: Option<f64>) {
    let mut expected = stand.assigned(&experiment(weight.unwrap_or(30.0)), USERS);
    if weight.is_none() {
        expected.values_mut().for_each(|variant| BASELINE.clone_into(variant));
    }
    let client = pod.client(GATEWAY_PORT);
    let begun = Instant::now();
    loop {
        let served = Caller::new(HOST).served(&client, expected.keys().cloned()).await;
        if served.as_ref().is_ok_and(|served| *served == expected) {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{weight:?}: {served:?}\n{}",
            pod.log_tail(30)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// With `FAIL_OPEN`, a replica that cannot get the filter serves the baseline. It does not try again by itself; any
/// change of the WasmPlugin helps, an annotation too.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_registry_serves_the_baseline_until_the_next_push() {
    const PORT: u16 = 5002;
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let url = format!("oci://10.244.0.1:{PORT}/sidetrack:v1");
    let manifests = stand.rendered(&experiment(30.0), &["--url", &url]);
    mesh.apply(&manifests).unwrap();
    let replica = stand.gateway();
    all_get(&stand, &replica, None).await;
    let metrics = replica.agent_metrics().await.unwrap();
    let failed = [("result", "fetch_failure")];
    assert!(
        prometheus_value(&metrics, "istio_agent_wasm_config_conversion_count", &failed)
            >= Some(1.0)
    );
    let hash =
        prometheus_value(&replica.envoy_metrics().await.unwrap(), "ab_test_config_hash", &[]);
    assert_eq!(hash, None, "there is no filter");

    let registry = Registry::start(PORT).unwrap();
    registry.push(artifact::wasm(), "v1").unwrap();
    // That nothing is fetched before the next push cannot be seen here: other tests cause pushes.
    mesh.kubectl(&["annotate", "wasmplugin", "--all", "-n", &stand.ingress, "again=1"]).unwrap();
    all_get(&stand, &replica, Some(30.0)).await;
}

/// A proxy whose first experiment is wrong serves the baseline, and the repair arrives at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_a_wrong_experiment_serves_the_baseline_until_it_is_repaired() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let manifests = stand.rendered(&experiment(30.0), &[]);
    mesh.apply(&manifests.replace("weight: 30", "weight: 130")).unwrap();
    let replica = stand.gateway();
    all_get(&stand, &replica, None).await;
    let page = replica.envoy_metrics().await.unwrap();
    assert!(prometheus_value(&page, "ab_test_config_rejected_total", &[]) >= Some(1.0), "{page}");
    assert_eq!(prometheus_value(&page, "ab_test_config_hash", &[]), Some(0.0));
    mesh.apply(&manifests).unwrap();
    all_get(&stand, &replica, Some(30.0)).await;
}

/// While a wrong experiment stands, other teams can change the same gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_experiment_does_not_hold_up_other_listeners() {
    const OTHER: u16 = 8181;
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let manifests = stand.rendered(&experiment(30.0), &[]);
    mesh.apply(&manifests).unwrap();
    let gateway = stand.gateway();
    all_get(&stand, &gateway, Some(30.0)).await;
    mesh.apply(&manifests.replace("weight: 30", "weight: 130")).unwrap();
    let begun = Instant::now();
    loop {
        let page = gateway.envoy_metrics().await.unwrap();
        if prometheus_value(&page, "ab_test_config_rejected_total", &[]) >= Some(1.0) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the wrong experiment does not arrive");
    }
    let theirs = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "theirs", "namespace": stand.ingress},
        "spec": {"selector": {"istio": stand.ingress}, "servers": [{
            "port": {"number": OTHER, "name": "http", "protocol": "HTTP"}, "hosts": ["theirs.example.com"]}]},
    });
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "theirs", "namespace": stand.models},
        "spec": {"hosts": ["theirs.example.com"], "gateways": [format!("{}/theirs", stand.ingress)],
            "http": [{"directResponse": {"status": 200, "body": {"string": "theirs"}}}]},
    });
    mesh.apply_objects(&[theirs, route]).unwrap();
    let begun = Instant::now();
    loop {
        let client = gateway.client(OTHER);
        let answer = client.send(Request::get("/").header("host", "theirs.example.com")).await;
        if answer.as_ref().is_ok_and(|answer| answer.text() == "theirs") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{answer:?}\n{}", gateway.log_tail(20));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    all_get(&stand, &gateway, Some(30.0)).await;
}

/// Two teams on one gateway, each with a file of its own: with different header prefixes, both experiments are right.
#[tokio::test(flavor = "multi_thread")]
async fn two_plugins_with_different_prefixes_split_in_one_gateway() {
    let mesh = Mesh::shared();
    let (one, two) = (Stand::start(mesh).await, Stand::start(mesh).await);
    let (ours, mut theirs) = (experiment(30.0), experiment(40.0));
    theirs["settings"] = json!({"header_prefix": "x-risk-"});
    theirs["experiments"][0]["name"] = json!("risk");
    theirs["experiments"][0]["salt"] = json!("risk-1");
    mesh.apply(&one.rendered(&ours, &[])).unwrap();
    // The other team's models are in a namespace of their own, its host is another one, the gateway is the same.
    let gateway = format!("{}/predictors", one.ingress);
    let selector = format!("istio={}", one.ingress);
    let host = "risk.example.com";
    let options =
        ["--gateway", &gateway, "--selector", &selector, "--host", host, "--name", "risk"];
    mesh.apply(&two.render(&theirs, &options)).unwrap();
    one.gateway_for(&[HOST, host]);
    let pod = mesh
        .pod(PodOptions::new(Role::Gateway, &one.ingress, "gateway", &[("istio", &one.ingress)]))
        .unwrap();
    all_get(&one, &pod, Some(30.0)).await;
    let assigned = two.assigned(&theirs, USERS);
    let client: Client = pod.client(GATEWAY_PORT);
    for (user, variant) in &assigned {
        let answer = client.send(Caller::new(host).request(user)).await.unwrap();
        let header = |name: &str| answer.header_text(name);
        assert_eq!(header("x-risk-variant").as_ref(), Some(variant), "{user}");
        assert_eq!(header("x-model").as_ref(), Some(variant), "{user}");
    }
    assert!(assigned.values().any(|variant| variant == ENHANCED));
    let shared =
        prometheus_value(&pod.envoy_metrics().await.unwrap(), "ab_test_prefix_shared", &[]);
    assert_eq!(shared.unwrap_or_default(), 0.0);
}
