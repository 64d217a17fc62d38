//! Failures that are not the candidate's, and do not open its breaker.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sidetrack_lab::{Behavior, Client, Request};
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::{Answers, Seen};
use crate::stand::{BASELINE, CANDIDATE, Stand, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_the_baseline_shares_does_not_trip() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::start(&json!({}), &[]).await?;
    let answers = Answers::default();
    let load = stand.load(&answers)?;
    sleep(Duration::from_secs(1)).await;
    stand.baseline.set(Behavior::Status(503));
    stand.candidate.set(Behavior::Status(503));
    sleep(Duration::from_secs(2)).await;
    load.stop().await;
    for variant in [BASELINE, CANDIDATE] {
        let failed = |seen: &Seen| seen.variant == variant && seen.status == 503;
        let failures = answers.all().iter().filter(|&seen| failed(seen)).count();
        ensure!(failures > 100, "only {failures} requests of {variant} failed: this shows nothing");
    }
    ensure!(stand.trips().await? == 0.0, "it tripped\n{}", stand.envoy.report().await);
    stand.envoy.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_hang_up_do_not_trip() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::start(&json!({}), &[]).await?;
    stand.candidate.set(Behavior::Delay(Duration::from_millis(400)));
    let impatient = Client::new(stand.addr).with_timeout(Duration::from_millis(50));
    let mut hung_up = 0;
    for user in 0..60 {
        let request = Request::post("/infer", "{}").header("x-user-id", user.to_string());
        hung_up += usize::from(impatient.send(request).await.is_err());
    }
    ensure!(hung_up > 15, "only {hung_up} callers hung up");
    until("they are counted", async || {
        let aborted = [("model_name", CANDIDATE), ("status", "aborted")];
        Ok(stand.metric("ab_test_requests_total", &aborted).await? > 15.0)
    })
    .await?;
    sleep(Duration::from_millis(500)).await;
    ensure!(stand.trips().await? == 0.0, "it tripped\n{}", stand.envoy.report().await);
    stand.envoy.stop().await
}
