//! Mutual TLS: the identities of workloads decide who may override, and an experiment between two sidecars needs nothing
//! of its own.

use std::time::{Duration, Instant};

use serde_json::json;
use sidetrack_lab::{Answer, Client};
use sidetrack_tests::mesh::{Mesh, Pod, PodOptions, Port, Role};

use crate::stand::{BASELINE, Caller, ENHANCED, HOST, Stand, experiment};

const USERS: usize = 100;
const PORT: u16 = 8443;

/// What a pod gets that calls the gateway with this header, by way of its sidecar.
fn answer(stand: &Stand, pod: &Pod, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
    let service = stand.mesh.get("service", &stand.ingress, "gate").unwrap();
    let ip: std::net::Ipv4Addr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    let request = Caller::new(HOST).with(headers).request("user-0");
    pod.run_inside(move || async move {
        Client::new((ip, PORT).into()).with_timeout(Duration::from_secs(5)).send(request).await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_principal_of_a_tester_overrides() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    // Not 0: a candidate without a weight is not served, whoever asks.
    let mut experiment = experiment(1.0);
    experiment["experiments"][0]["overrides"] = json!({"header": "x-ab-force"});
    let principal = format!("cluster.local/ns/{}/sa/tester", stand.models);
    mesh.apply(&stand.rendered(&experiment, &["--override-principal", &principal])).unwrap();
    // A gateway that ends mutual TLS, and a Service whose callers begin it.
    let gate = format!("gate.{}.svc.cluster.local", stand.ingress);
    mesh.apply_objects(&[
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "predictors", "namespace": stand.ingress},
            "spec": {"selector": {"istio": stand.ingress}, "servers": [{
                "port": {"number": PORT, "name": "https", "protocol": "HTTPS"},
                "tls": {"mode": "ISTIO_MUTUAL"}, "hosts": [HOST]}]},
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "gate", "namespace": stand.models},
            "spec": {"host": gate, "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL", "sni": HOST}}},
        }),
    ])
    .unwrap();
    let gateway = mesh.gateway(&stand.ingress).unwrap();
    let port = Port { name: "tcp-mtls", number: PORT, target: PORT };
    let labels = json!({"istio": stand.ingress});
    let endpoints = [(gateway.ip(), gateway.name())];
    mesh.service_of(&stand.ingress, "gate", &labels, &[port], &endpoints).unwrap();
    let client = |name: &str| {
        let options = PodOptions::new(Role::Sidecar, &stand.models, name, &[("app", name)]);
        mesh.pod(options.account(name)).unwrap()
    };
    let (tester, other) = (client("tester"), client("other"));
    stand.in_force(&gateway, &experiment).await;

    // Both get through, and the baseline.
    for pod in [&tester, &other] {
        let begun = Instant::now();
        loop {
            let answer = answer(&stand, pod, &[]);
            if answer.as_ref().is_ok_and(|answer| {
                answer.status == 200 && answer.header_text("x-model").as_deref() == Some(BASELINE)
            }) {
                break;
            }
            let late = begun.elapsed() > Duration::from_secs(30);
            assert!(!late, "{answer:?}\n{}\n{}", pod.log_tail(10), gateway.log_tail(20));
        }
    }
    let forced = answer(&stand, &tester, &[("x-ab-force", ENHANCED)]).unwrap();
    assert_eq!(forced.status, 200, "{}", forced.text());
    assert_eq!(forced.header_text("x-model").as_deref(), Some(ENHANCED));
    for name in ["x-ab-force", "X-AB-Force"] {
        let refused = answer(&stand, &other, &[(name, ENHANCED)]).unwrap();
        assert_eq!(refused.status, 403, "{}", refused.text());
    }
    // The name of another principal in a header is no identity.
    let xfcc = format!("URI=spiffe://{principal}");
    let forged = [("x-ab-force", ENHANCED), ("x-forwarded-client-cert", xfcc.as_str())];
    assert_eq!(answer(&stand, &other, &forged).unwrap().status, 403);
    // Without a certificate, nothing gets in.
    let plain = gateway.client(PORT).send(Caller::new(HOST).request("user-0")).await;
    assert!(plain.is_err(), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sidecars_split_with_strict_mutual_tls() {
    let mesh = Mesh::shared();
    let models = mesh.namespace("models").unwrap();
    let server = |name: &str| {
        let labels =
            [("app", "predictor"), ("version", name), ("security.istio.io/tlsMode", "istio")];
        let pod = mesh.pod(PodOptions::new(Role::Sidecar, &models, name, &labels)).unwrap();
        let model = pod.serve(name).unwrap();
        (pod, model)
    };
    let (baseline, enhanced) = (server(BASELINE), server(ENHANCED));
    let endpoints = [(baseline.0.ip(), BASELINE), (enhanced.0.ip(), ENHANCED)];
    let selector = json!({"app": "predictor"});
    mesh.service_of(&models, "predictor", &selector, &[Port::HTTP], &endpoints).unwrap();
    let strict = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": models}, "spec": {"mtls": {"mode": "STRICT"}},
    });
    mesh.apply_objects(&[strict]).unwrap();
    // The models of this stand are not used.
    let stand = Stand { models: models.clone(), ..Stand::start(mesh).await };
    let experiment = experiment(30.0);
    let options = ["--topology", "sidecar", "--selector", "app=frontend"];
    mesh.apply(&stand.render(&experiment, &options)).unwrap();
    let options = PodOptions::new(Role::Sidecar, &models, "frontend", &[("app", "frontend")]);
    let frontend = mesh.pod(options.account("frontend")).unwrap();
    stand.in_force(&frontend, &experiment).await;
    let assigned = stand.assigned(&experiment, USERS);
    let users: Vec<String> = assigned.keys().cloned().collect();
    let addr = stand.service_addr();
    let caller = Caller::new(&stand.service());
    let begun = Instant::now();
    loop {
        let (caller, users) = (caller.clone(), users.clone());
        let served = frontend
            .run_inside(move || async move { caller.served(&Client::new(addr), users).await });
        if served.as_ref().is_ok_and(|served| *served == assigned) {
            break;
        }
        let late = begun.elapsed() > Duration::from_secs(30);
        assert!(!late, "{served:?}\n{}\n{}", frontend.log_tail(10), enhanced.0.log_tail(20));
    }
    // The models' sidecars have verified the caller's certificate, and refuse callers without one.
    let identity = format!("spiffe://cluster.local/ns/{models}/sa/frontend");
    let seen = enhanced.1.requests();
    let last = seen.last().unwrap();
    let peer =
        String::from_utf8_lossy(last.header("x-forwarded-client-cert").unwrap()).into_owned();
    assert!(peer.contains(&identity), "{peer}");
    assert!(last.header("x-ab-variant").is_some());
    let plain = Client::new(enhanced.0.addr(8080)).with_timeout(Duration::from_secs(5));
    let plain = plain.send(caller.request("user-0")).await;
    assert!(plain.is_err(), "{plain:?}");
}
