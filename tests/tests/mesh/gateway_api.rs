//! `render gateway-api` on the real istiod: a gateway that the Gateway API defines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack_tests::mesh::{Mesh, Pod, PodOptions, Port, Role};
use sidetrack_tests::world::sidetrack_command;

use crate::stand::{BASELINE, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

/// The name of the Gateway.
const PUBLIC: &str = "public";
const USERS: usize = 300;

/// A gateway pod, the Gateway that it belongs to, and a service for each model.
fn gateway(stand: &Stand) -> Pod {
    let mesh = stand.mesh;
    let labels = [("gateway.networking.k8s.io/gateway-name", PUBLIC)];
    let pod = mesh.pod(PodOptions::new(Role::Gateway, &stand.ingress, "gateway", &labels)).unwrap();
    let port = Port { name: "http", number: GATEWAY_PORT, target: GATEWAY_PORT };
    let selector = json!({"gateway.networking.k8s.io/gateway-name": PUBLIC});
    mesh.service_of(&stand.ingress, "gateway", &selector, &[port], &[(pod.ip(), "gateway")])
        .unwrap();
    let address = format!("gateway.{}.svc.cluster.local", stand.ingress);
    let object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": PUBLIC, "namespace": stand.ingress},
        "spec": {
            "gatewayClassName": "istio",
            "addresses": [{"type": "Hostname", "value": address}],
            "listeners": [{"name": "http", "port": GATEWAY_PORT, "protocol": "HTTP",
                "allowedRoutes": {"namespaces": {"from": "All"}}}],
        },
    });
    mesh.apply_objects(&[object]).unwrap();
    services(stand);
    pod
}

/// A service for each model.
fn services(stand: &Stand) {
    for model in [&stand.baseline, &stand.enhanced] {
        let name = model.name();
        stand.mesh.service(name, &json!({"version": name}), &[Port::HTTP], &[model]).unwrap();
    }
}

fn render(stand: &Stand, experiment: &Value, more: &[&str]) -> String {
    let name = format!("{}-gateway-api.json", stand.models);
    let file = stand.mesh.file(&name, &experiment.to_string()).unwrap();
    let gateway = format!("{}/{PUBLIC}", stand.ingress);
    let arguments = [
        "render",
        "gateway-api",
        &file,
        "--gateway",
        &gateway,
        "--namespace",
        &stand.models,
        "--url",
        stand.mesh.image(),
    ];
    sidetrack_command(&[&arguments[..], more].concat()).unwrap()
}

fn own(stand: &Stand, experiment: &Value) -> String {
    render(stand, experiment, &["--host", HOST, "--port", "8080"])
}

fn all_baseline() -> BTreeMap<String, String> {
    (0..USERS).map(|user| (format!("user-{user}"), BASELINE.to_owned())).collect()
}

/// Sends requests until these users are served so.
async fn until(pod: &Pod, caller: &Caller, expected: &BTreeMap<String, String>, what: &str) {
    let begun = Instant::now();
    let client = pod.client(GATEWAY_PORT);
    loop {
        let served = caller.served(&client, expected.keys().cloned()).await;
        if served.as_ref().is_ok_and(|served| served == expected) {
            return;
        }
        let ended = begun.elapsed() > Duration::from_secs(30);
        assert!(!ended, "{what}: {:?}\n{}", served.err(), pod.log_tail(20));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn plugin(manifests: &str) -> &str {
    manifests.split("\n---\n").find(|part| part.contains("\nkind: WasmPlugin\n")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_the_gateway_api_splits_and_cannot_be_forged() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let pod = gateway(&stand);
    let first = experiment(30.0);
    let manifests = own(&stand, &first);
    mesh.apply(&manifests).unwrap();
    stand.in_force(&pod, &first).await;
    let caller = Caller::new(HOST);
    let assigned = stand.assigned(&first, USERS);
    until(&pod, &caller, &assigned, "the first split").await;
    let client = pod.client(GATEWAY_PORT);
    let forged = [
        ("x-ab-variant", ENHANCED),
        ("x-ab-experiment", "financial-ab-test"),
        ("x-ab-force", ENHANCED),
    ];
    let forger = caller.with(&forged);
    let served = forger.served(&client, assigned.keys().cloned()).await.unwrap();
    assert_eq!(served, assigned, "forged, with the filter");

    let second = experiment(50.0);
    mesh.apply(&own(&stand, &second)).unwrap();
    stand.in_force(&pod, &second).await;
    until(&pod, &caller, &stand.assigned(&second, USERS), "the changed weight").await;

    mesh.delete(plugin(&manifests)).unwrap();
    until(&pod, &caller, &all_baseline(), "without the filter").await;
    let served = forger.served(&client, assigned.keys().cloned()).await.unwrap();
    assert_eq!(served, all_baseline(), "forged, without the filter");
    let page = pod.envoy_metrics().await.unwrap();
    let bypass = page
        .lines()
        .find(|line| line.contains("_route_sidetrack_bypass_financial_ab_test_upstream_rq_total"));
    assert!(bypass.is_some_and(|line| !line.ends_with(" 0")), "{bypass:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_beside_a_route_take_only_tagged_requests() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let pod = gateway(&stand);
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "predictor", "namespace": stand.models},
        "spec": {
            "parentRefs": [{"name": PUBLIC, "namespace": stand.ingress}],
            "hostnames": [HOST],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/v2/models/forecast/infer"}, "method": "POST"}],
                "backendRefs": [{"name": BASELINE, "port": 8080}],
            }],
        },
    });
    mesh.apply_objects(&[route]).unwrap();
    let caller = Caller::new(HOST);
    until(&pod, &caller, &all_baseline(), "the route alone").await;
    // With what the API server has added to it.
    let text = mesh
        .kubectl(&["get", "httproute", "predictor", "-n", &stand.models, "-o", "yaml"])
        .unwrap();
    let file = mesh.file(&format!("{}-route.yaml", stand.models), &text).unwrap();
    let experiment = experiment(30.0);
    let manifests = render(&stand, &experiment, &["--beside", &file]);
    mesh.apply(&manifests).unwrap();
    stand.in_force(&pod, &experiment).await;
    until(&pod, &caller, &stand.assigned(&experiment, USERS), "beside the route").await;
    mesh.delete(&manifests).unwrap();
    until(&pod, &caller, &all_baseline(), "the route alone again").await;
}

/// A limit, which the documentation names: an HTTPRoute for a service holds for sidecars too, which go past the waypoint.
#[tokio::test(flavor = "multi_thread")]
async fn sidecars_go_past_a_waypoint_and_can_choose_by_header() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    services(&stand);
    let file = stand.file(&experiment(30.0));
    let waypoint = format!("{}/waypoint", stand.models);
    let place = ["--waypoint", &waypoint, "--namespace", &stand.models, "--service", "predictor"];
    let command = ["render", "gateway-api", &file, "--port", "8080", "--url", mesh.image()];
    mesh.apply(&sidetrack_command(&[&command[..], &place].concat()).unwrap()).unwrap();
    let client = stand.client("batch");
    let caller = Caller::new(&stand.service());
    let forged =
        caller.with(&[("x-ab-variant", ENHANCED), ("x-ab-experiment", "financial-ab-test")]);
    let users: Vec<String> = all_baseline().into_keys().collect();
    let begun = Instant::now();
    while stand.served_in(&client, &caller, users.clone()) != all_baseline() {
        assert!(begun.elapsed() < Duration::from_secs(20), "without headers: the baseline");
    }
    let served = stand.served_in(&client, &forged, users);
    assert!(served.values().all(|model| model == ENHANCED), "{served:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_accepts_all_renderings() {
    let mesh = Mesh::shared();
    let namespace = mesh.namespace("rendered").unwrap();
    let file = mesh.file("gateway-api-all.json", &json!({"experiments": [{
        "name": "Forecast_1", "match": {"hosts": ["a.example.com", "*.b.example.com"],
            "path": {"prefix": "/v1/models/iris"}, "methods": ["POST", "PUT"],
            "headers": [{"name": "x-tenant", "prefix": "ac.me"}, {"name": "x-new", "present": true},
                {"name": "x-old", "present": false}]},
        "unit": [{"header": "x-user-id"}], "baseline": "Old",
        "variants": [{"name": "Old", "cluster": "old"}, {"name": "New", "cluster": "new", "weight": 5,
            "path": {"replace_prefix": ["/v1/models/iris", "/v1/models/iris-2"]}}],
        "mirror": {"cluster": "shadow.archive.svc.cluster.local"},
        "overrides": {"header": "x-test-variant"},
    }]}).to_string()).unwrap();
    let gateway = format!("{namespace}/public");
    let common = ["--namespace", &namespace, "--port", "8080"];
    let gateways = ["--gateway", gateway.as_str()];
    let mut refused = Vec::new();
    for options in [
        &gateways[..],
        &["--gateway", &gateway, "--backend-kind", "inferencepool"],
        &[
            "--gateway",
            &gateway,
            "--rewrite-host",
            "--through",
            "local.knative:80",
            "--timeout",
            "1m30s",
        ],
        &[
            "--gateway",
            &gateway,
            "--listener",
            "http",
            "--kind",
            "trafficextension",
            "--access-log-provider",
            "envoy",
        ],
        &["--waypoint", &gateway, "--service", "predictor"],
    ] {
        let arguments = [&["render", "gateway-api", &file], &common[..], options].concat();
        let manifests = sidetrack_command(&arguments).unwrap();
        // The grant is in a namespace that does not exist here.
        let manifests = manifests.replace("namespace: archive", &format!("namespace: {namespace}"));
        let manifests = manifests.replace("namespace: knative", &format!("namespace: {namespace}"));
        let applied = mesh.try_apply(&manifests, &["--dry-run=server"]).unwrap();
        if !applied.accepted {
            refused.push(format!("{options:?}: {}", applied.messages));
        }
    }
    assert_eq!(refused, [] as [String; 0]);
}
