//! `--rewrite-host`: each variant gets its service as the host of its requests, directly or through a gateway of its own,
//! as Knative and KServe need it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use sidetrack_tests::mesh::{Mesh, Model, Pod, Port};
use sidetrack_tests::world::sidetrack_command;

use crate::stand::{BASELINE, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 100;

/// Asks until each user gets the host of the assigned variant.
async fn get_hosts(pod: &Pod, models: &[&Model], expected: &BTreeMap<String, String>) {
    let client = pod.client(GATEWAY_PORT);
    let begun = Instant::now();
    loop {
        models.iter().for_each(|model| model.clear());
        let mut wrong = Vec::new();
        for (user, host) in expected {
            let sent = client.send(Caller::new(HOST).request(user)).await;
            let status = sent.map_or(0, |answer| answer.status);
            let seen = models.iter().flat_map(|model| model.requests());
            let mut of_user = seen.filter(|seen| seen.header("x-user-id") == Some(user.as_bytes()));
            let authority = of_user.next().map(|seen| seen.authority);
            if status != 200 || authority.as_ref() != Some(host) {
                wrong.push(format!("{user}: {status} {authority:?}, expected {host}"));
            }
        }
        if wrong.is_empty() {
            return;
        }
        let late = begun.elapsed() > Duration::from_secs(30);
        assert!(!late, "{:?}\n{}", &wrong[..wrong.len().min(5)], pod.log_tail(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_variant_gets_its_own_host() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30.0);
    let service = |name: &str, model: &Model| {
        mesh.service(name, &json!({"version": name}), &[Port::HTTP], &[model]).unwrap();
    };
    service(BASELINE, &stand.baseline);
    service(ENHANCED, &stand.enhanced);
    let rendered = |more: &[&str]| {
        let gateway = format!("{}/predictors", stand.ingress);
        let selector = format!("istio={}", stand.ingress);
        let file = stand.file(&experiment);
        let options =
            ["render", "istio", &file, "--namespace", &stand.models, "--gateway", &gateway];
        let place =
            ["--selector", &selector, "--host", HOST, "--url", mesh.image(), "--port", "8080"];
        sidetrack_command(&[&options[..], &place, &["--rewrite-host"], more].concat()).unwrap()
    };
    mesh.apply(&rendered(&[])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let assigned = stand.assigned(&experiment, USERS);
    let host = |variant: &str| format!("{variant}.{}.svc.cluster.local", stand.models);
    let hosts: BTreeMap<String, String> =
        assigned.iter().map(|(user, variant)| (user.clone(), host(variant))).collect();
    get_hosts(&gateway, &[&stand.baseline, &stand.enhanced], &hosts).await;
    let (caller, client) = (Caller::new(HOST), gateway.client(GATEWAY_PORT));
    let served = caller.served(&client, assigned.keys().cloned()).await.unwrap();
    assert_eq!(served, assigned);

    // Through a gateway that selects the variant by the host.
    let local = mesh.model(&stand.models, "local-gateway", &json!({"app": "local"})).await.unwrap();
    mesh.service("local-gateway", &json!({"app": "local"}), &[Port::HTTP], &[&local]).unwrap();
    mesh.apply(&rendered(&["--through", "local-gateway:8080"])).unwrap();
    get_hosts(&gateway, &[&local], &hosts).await;

    // Without the filter, all users get the host of the baseline.
    let name = "sidetrack-financial-ab-test";
    mesh.kubectl(&["-n", &stand.ingress, "delete", "wasmplugin", name]).unwrap();
    let hosts = hosts.into_keys().map(|user| (user, host(BASELINE))).collect();
    get_hosts(&gateway, &[&local], &hosts).await;
}
