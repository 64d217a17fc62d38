//! A client never chooses the candidate by a header of its own: with the filter, without it, and from a pod that never
//! had it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sidetrack_tests::mesh::{Mesh, Pod};

use crate::stand::{BASELINE, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 100;

/// Everything that a client may try.
pub(crate) fn forgeries() -> Vec<Vec<(&'static str, &'static str)>> {
    vec![
        vec![("x-ab-variant", ENHANCED)],
        vec![("X-AB-Variant", ENHANCED)],
        vec![("x-ab-variant", BASELINE), ("x-ab-variant", ENHANCED)],
        vec![
            ("x-ab-experiment", "financial-ab-test"),
            ("x-ab-variant", ENHANCED),
            ("x-ab-assigned", ENHANCED),
        ],
        vec![("x-ab-force", ENHANCED), ("x-ab-token", "guess"), ("x-ab-debug", "1")],
        vec![
            ("x-ab-cluster", "outbound|8080|enhanced-predictor|predictor"),
            ("x-ab-variant", ENHANCED),
        ],
    ]
}

fn all_baseline(users: usize) -> BTreeMap<String, String> {
    (0..users).map(|user| (format!("user-{user}"), BASELINE.to_owned())).collect()
}

fn plugin(manifests: &str) -> &str {
    manifests.split("\n---\n").find(|part| part.contains("\nkind: WasmPlugin\n")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_gateway() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30.0);
    let manifests = stand.rendered(&experiment, &[]);
    mesh.apply(&manifests).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let assigned = stand.assigned(&experiment, USERS);
    let client = gateway.client(GATEWAY_PORT);
    let caller = Caller::new(HOST);
    for forged in forgeries() {
        let served = caller.with(&forged).served(&client, assigned.keys().cloned()).await.unwrap();
        assert_eq!(served, assigned, "with the filter: {forged:?}");
    }
    mesh.delete(plugin(&manifests)).unwrap();
    let begun = Instant::now();
    while caller.served(&client, assigned.keys().cloned()).await.unwrap() != all_baseline(USERS) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the filter is still there");
    }
    for forged in forgeries() {
        let served = caller.with(&forged).served(&client, assigned.keys().cloned()).await.unwrap();
        assert_eq!(served, all_baseline(USERS), "without the filter: {forged:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sidecars() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30.0);
    let manifests =
        stand.render(&experiment, &["--topology", "sidecar", "--selector", "app=frontend"]);
    mesh.apply(&manifests).unwrap();
    let frontend = stand.client("frontend");
    stand.in_force(&frontend, &experiment).await;
    let batch = stand.client("batch");
    let assigned = stand.assigned(&experiment, USERS);
    let caller = Caller::new(&stand.service());
    let served = |pod: &Pod, forged: &[(&str, &str)]| {
        stand.served_in(pod, &caller.with(forged), assigned.keys().cloned().collect())
    };
    for forged in forgeries() {
        assert_eq!(served(&frontend, &forged), assigned, "with the filter: {forged:?}");
        assert_eq!(served(&batch, &forged), all_baseline(USERS), "another pod: {forged:?}");
    }
    mesh.delete(plugin(&manifests)).unwrap();
    let begun = Instant::now();
    while served(&frontend, &[]) != all_baseline(USERS) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the filter is still there");
    }
    for forged in forgeries() {
        assert_eq!(
            served(&frontend, &forged),
            all_baseline(USERS),
            "without the filter: {forged:?}"
        );
    }
}

/// Sidecars go past a waypoint, its filter and its guard. The waypoint itself is not run here.
#[tokio::test(flavor = "multi_thread")]
async fn past_a_waypoint() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let waypoint = format!("{}/waypoint", stand.models);
    let options = ["--topology", "waypoint", "--waypoint", &waypoint];
    mesh.apply(&stand.render(&experiment(30.0), &options)).unwrap();
    let caller = Caller::new(&stand.service());
    let users: Vec<String> = (0..USERS).map(|user| format!("user-{user}")).collect();
    for namespace in [&stand.models, &stand.ingress] {
        let client = stand.client_in(namespace, "batch");
        // The routes arrive with the sidecar's first configuration.
        let served =
            |forged: &[(&str, &str)]| stand.served_in(&client, &caller.with(forged), users.clone());
        assert_eq!(served(&[]), all_baseline(USERS), "from {namespace}");
        for forged in forgeries() {
            assert_eq!(served(&forged), all_baseline(USERS), "from {namespace}: {forged:?}");
        }
    }
}
