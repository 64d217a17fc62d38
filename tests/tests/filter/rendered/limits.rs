//! Limits of the rendered clusters.

use super::*;

/// Envoy's own default allows 1024 requests for each cluster.
const MANY: usize = 1100;

#[tokio::test]
async fn streams_that_last_long_are_not_limited_in_number() {
    let stub = ModelStub::start("new").await.unwrap();
    stub.set(Behavior::Delay(Duration::from_secs(4)));
    let proxy = Rendered::start(&file(), &["--endpoint", &new_at(stub.addr())]).await;
    let mut all = JoinSet::new();
    for _ in 0..MANY {
        let client = Client::new(proxy.addr);
        all.spawn(async move { timeout(2 * DEADLINE, client.send(infer())).await });
    }
    let answers = all.join_all().await;
    let good = answers.iter().filter(|it| matches!(it, Ok(Ok(answer)) if answer.status == 200));
    assert_eq!(good.count(), MANY, "{}", proxy.envoy.report().await);
    let peak = proxy.envoy.stats("cluster.new-cluster.upstream_cx_total").await.unwrap();
    assert!(peak.values().all(|connections| *connections > 1024), "they did not overlap: {peak:?}");
}
