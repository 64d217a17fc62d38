//! Failures that are not the candidate's, and do not open its breaker.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sidetrack_lab::{Behavior, Client, Request};
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::{Answers, Seen};
use crate::stand::{BASELINE, CANDIDATE, Stand, until};
use crate::users::Users;

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

/// Sends a request of each user, over a connection of its own. Every third fails. Waits until all
/// of them are counted.
async fn send(stand: &Stand, variant: &str, users: &[String], failing: &str) -> Result<()> {
    for (number, user) in users.iter().enumerate() {
        let status = if number % 3 == 0 { failing } else { "200" };
        let request = Request::post("/infer", "{}").header("x-user-id", user);
        let answer = Client::new(stand.addr).send(request.header("x-stub-status", status)).await?;
        let served = answer.header_text("x-ab-variant");
        ensure!(answer.status.to_string() == status && served.as_deref() == Some(variant));
    }
    until("they are counted", async || {
        let mut counted = 0.0;
        for status in ["success", "error"] {
            let labels = [("model_name", variant), ("status", status)];
            counted += stand.metric("ab_test_requests_total", &labels).await?;
        }
        Ok(counted == users.len() as f64)
    })
    .await
}

/// Of the candidate's 20 requests, 7 fail. The baseline has less than `min_requests`: 18, of which
/// 6 fail, or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_baseline_below_min_requests_counts_in_the_comparison() -> Result<()> {
    let _alone = ALONE.lock().await;
    let users = Users::new()?;
    let of_baseline: Vec<String> = users.of(BASELINE).take(18).collect();
    let of_candidate: Vec<String> = users.of(CANDIDATE).take(20).collect();
    for (failing, is_shared) in [("503", true), ("200", false)] {
        let stand = Stand::start(&json!({"consecutive_errors": 0}), &[]).await?;
        stand.baseline.set(Behavior::StatusOfRequest);
        stand.candidate.set(Behavior::StatusOfRequest);
        send(&stand, BASELINE, &of_baseline, failing).await?;
        send(&stand, CANDIDATE, &of_candidate, "503").await?;
        stand.each_worker_has(2, 4).await?;
        if is_shared {
            // A breaker is judged once a second at least.
            sleep(Duration::from_millis(2500)).await;
            ensure!(stand.trips().await? == 0.0, "it tripped\n{}", stand.envoy.report().await);
        } else {
            until("it is open", async || Ok(stand.state().await? == 2.0)).await?;
            let (log, why) =
                (stand.envoy.log(), "7 of 20 requests failed; of the baseline's 0 of 18");
            ensure!(log.contains(why), "not for {why:?}:\n{log}");
        }
        stand.envoy.stop().await?;
    }
    Ok(())
}
