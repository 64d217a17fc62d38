//! Modules that are in the proxies' image or in a volume of theirs (`--module-path`): what a proxy does with the file, and
//! what a new replica does without it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack_lab::{Behavior, prometheus_value};
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, Pod, PodOptions, Role};

use crate::stand::{BASELINE, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 100;
const NOWHERE: &str = "/var/lib/sidetrack-mesh/nowhere/sidetrack.wasm";

/// A copy of the module, which the pods see under the same path.
fn module(stand: &Stand) -> String {
    let path = stand.mesh.folder().join(format!("{}.wasm", stand.models));
    fs::copy(artifact::wasm(), &path).unwrap();
    path.to_string_lossy().into_owned()
}

fn unready(stand: &Stand) -> Pod {
    stand.gateway_object();
    let labels = [("istio", stand.ingress.as_str())];
    let options = PodOptions::new(Role::Gateway, &stand.ingress, "gateway", &labels);
    stand.mesh.pod_unready(options).unwrap()
}

/// Asks until the answers are these statuses and models.
async fn all_get(pod: &Pod, expected: &BTreeMap<String, String>) {
    let client = pod.client(GATEWAY_PORT);
    let begun = Instant::now();
    loop {
        let served = Caller::new(HOST).served(&client, expected.keys().cloned()).await;
        if served.as_ref().is_ok_and(|served| served == expected) {
            return;
        }
        let late = begun.elapsed() > Duration::from_secs(40);
        assert!(!late, "{served:?}\n{}", pod.log_tail(30));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn all_baseline(assigned: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    assigned.keys().map(|user| (user.clone(), BASELINE.to_owned())).collect()
}

/// Virtual machines that were made, and those that exist.
async fn vms(pod: &Pod) -> (f64, f64) {
    let page = pod.envoy_metrics().await.unwrap();
    let count = |name: &str| {
        let name = format!("envoy_wasm_envoy_wasm_runtime_v8_{name}");
        prometheus_value(&page, &name, &[]).unwrap_or_else(|| panic!("no {name}"))
    };
    (count("created"), count("active"))
}

/// Neither the registry nor the agent is involved. A WasmPlugin with a file makes Envoy build all VMs again at each
/// change; an EnvoyFilter does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_in_a_file_needs_no_registry() {
    let mesh = Mesh::shared();
    for kind in ["wasmplugin", "envoyfilter"] {
        let stand = Stand::start(mesh).await;
        let path = module(&stand);
        let rendered = |weight: f64| {
            stand.rendered(&experiment(weight), &["--module-path", &path, "--kind", kind])
        };
        mesh.apply(&rendered(30.0)).unwrap();
        let gateway = stand.gateway();
        stand.in_force(&gateway, &experiment(30.0)).await;
        all_get(&gateway, &stand.assigned(&experiment(30.0), USERS)).await;
        let before = vms(&gateway).await;
        mesh.apply(&rendered(40.0)).unwrap();
        stand.in_force(&gateway, &experiment(40.0)).await;
        all_get(&gateway, &stand.assigned(&experiment(40.0), USERS)).await;
        let after = vms(&gateway).await;
        println!("{kind}: VMs made and existing before and after a change: {before:?}, {after:?}");
        let made = after.0 - before.0;
        // Each worker and the main thread, and one that tries the configuration first.
        assert!(if kind == "wasmplugin" { made >= 4.0 } else { made <= 2.0 }, "{kind}: {made}");
        let fetched = gateway.agent_metrics().await.unwrap();
        let conversions =
            fetched.lines().filter(|line| line.starts_with("istio_agent_wasm_remote_fetch_count"));
        assert_eq!(conversions.count(), 0, "{kind}: the agent fetches the module");
    }
}

/// A new replica without the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_file_answers_500_with_a_wasm_plugin() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    mesh.apply(&stand.rendered(&experiment(30.0), &["--module-path", NOWHERE])).unwrap();
    let replica = unready(&stand);
    let client = replica.client(GATEWAY_PORT);
    let begun = Instant::now();
    loop {
        let answer = client.send(Caller::new(HOST).request("user-0")).await;
        if answer.as_ref().is_ok_and(|answer| answer.status == 500) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "{answer:?}\n{}", replica.log_tail(20));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("WasmPlugin without the file: 500, ready: {}", replica.is_ready());
}

/// With an EnvoyFilter, it serves the baseline, and the split as soon as it gets a module that exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_file_serves_the_baseline_with_an_envoy_filter() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let assigned = stand.assigned(&experiment(30.0), USERS);
    let options = ["--kind", "envoyfilter", "--module-path"];
    let rendered =
        |path: &str| stand.rendered(&experiment(30.0), &[&options[..], &[path]].concat());
    mesh.apply(&rendered(NOWHERE)).unwrap();
    let replica = stand.gateway();
    all_get(&replica, &all_baseline(&assigned)).await;
    mesh.apply(&rendered(&module(&stand))).unwrap();
    all_get(&replica, &assigned).await;
    // A running proxy keeps what it has.
    mesh.apply(&rendered(NOWHERE)).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    all_get(&replica, &assigned).await;
}

/// With the logger for failures, it refuses the listener, and so does not become ready: a cluster sends it no requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_file_does_not_become_ready_with_the_failure_logger() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let options = ["--kind", "envoyfilter", "--failure-logger", "--module-path", NOWHERE];
    mesh.apply(&stand.rendered(&experiment(30.0), &options)).unwrap();
    let replica = unready(&stand);
    let begun = Instant::now();
    while !replica.log().contains("Invalid path") {
        assert!(begun.elapsed() < Duration::from_secs(40), "{}", replica.log_tail(20));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let answer = replica.client(GATEWAY_PORT).send(Caller::new(HOST).request("user-0")).await;
    println!("failure logger without the file: {answer:?}, ready: {}", replica.is_ready());
    assert!(answer.is_err(), "{answer:?}");
    assert!(!replica.is_ready(), "{}", replica.log_tail(20));
}

/// The logger runs in the filter's VM, so the breaker opens, also after a change of the experiment.
#[tokio::test(flavor = "multi_thread")]
async fn the_failure_logger_reports_failures_to_the_filter() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let path = module(&stand);
    let options = ["--kind", "envoyfilter", "--failure-logger", "--module-path", &path];
    mesh.apply(&stand.rendered(&experiment(30.0), &options)).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment(30.0)).await;
    // One VM per thread: the logger has none of its own.
    let (_, existing) = vms(&gateway).await;
    assert!(existing <= 4.0, "{existing} VMs");
    mesh.apply(&stand.rendered(&experiment(40.0), &options)).unwrap();
    stand.in_force(&gateway, &experiment(40.0)).await;
    let assigned = stand.assigned(&experiment(40.0), USERS);
    all_get(&gateway, &assigned).await;
    stand.enhanced.set(Behavior::Status(503));
    let client = gateway.client(GATEWAY_PORT);
    let mut failed = 0;
    for user in assigned.keys().cycle().take(6 * USERS) {
        let answer = client.send(Caller::new(HOST).request(user)).await.unwrap();
        failed += usize::from(answer.status == 503);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let page = gateway.envoy_metrics().await.unwrap();
    let state = prometheus_value(&page, "ab_test_breaker_state", &[("model_name", ENHANCED)]);
    assert_eq!(state, Some(2.0), "{failed} failures\n{}", gateway.log_tail(20));
    assert!(failed < 60, "{failed} failures before the breaker opened");
    assert!(!gateway.log().contains("did not report a failed request"), "{}", gateway.log_tail(20));
    let log: Vec<Value> = gateway.access_log();
    println!("{failed} failures until the breaker opened; {} lines of the access log", log.len());
}
