//! The split is that of `sidetrack assign`, from `kubectl apply` to the models.

use sidetrack_tests::mesh::Mesh;

use crate::stand::{Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_splits_as_the_command_says() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30.0);
    mesh.apply(&stand.rendered(&experiment, &[])).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let assigned = stand.assigned(&experiment, 10_000);
    let client = gateway.client(GATEWAY_PORT);
    let served = Caller::new(HOST).served(&client, assigned.keys().cloned()).await.unwrap();
    assert_eq!(served, assigned);
    let candidates = assigned.values().filter(|variant| *variant == ENHANCED).count();
    assert!((2800..3200).contains(&candidates), "{candidates}");
    let counts = [stand.baseline.count(), stand.enhanced.count()];
    assert_eq!(
        counts,
        [10_000 - candidates as u64, candidates as u64],
        "retries, or requests of others"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_splits_as_the_command_says() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30.0);
    let options = ["--topology", "sidecar", "--selector", "app=frontend"];
    mesh.apply(&stand.render(&experiment, &options)).unwrap();
    let frontend = stand.client("frontend");
    stand.in_force(&frontend, &experiment).await;
    let assigned = stand.assigned(&experiment, 10_000);
    let caller = Caller::new(&stand.service());
    let served = stand.served_in(&frontend, &caller, assigned.keys().cloned().collect());
    assert_eq!(served, assigned);
}
