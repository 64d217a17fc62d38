//! Failover to the baseline: what clients see, and which requests are sent again.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sidetrack_lab::{Behavior, Client, Request};
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::{Answers, Seen};
use crate::fault::Fault;
use crate::stand::{Stand, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_failover_callers_see_no_failure() -> Result<()> {
    let _alone = ALONE.lock().await;
    for fault in [Fault::Status503, Fault::Refused, Fault::Reset] {
        let stand = Stand::start(&json!({}), &["--failover"]).await?;
        let answers = Answers::default();
        let load = stand.load(&answers)?;
        sleep(Duration::from_secs(1)).await;
        let before = stand.candidate.count();
        ensure!(before > 50, "{fault:?}: the candidate got only {before} requests while healthy");
        fault.begin(&stand.candidate).await;
        sleep(Duration::from_secs(2)).await;
        load.stop().await;
        let failed: Vec<Seen> = answers.all().into_iter().filter(|seen| seen.failed()).collect();
        ensure!(
            failed.is_empty(),
            "{fault:?}: {} failures, {:?}\n{}",
            failed.len(),
            failed.first(),
            stand.envoy.report().await
        );
        ensure!(
            stand.state().await? == 2.0,
            "{fault:?}: the breaker is not open\n{}",
            stand.envoy.report().await
        );
        let rescued = stand.metric("ab_test_requests_total", &[("status", "error")]).await?;
        ensure!(rescued == 0.0, "{fault:?}: {rescued} errors counted for callers");
        println!("{fault:?} with failover: {} answers, none failed", answers.all().len());
        stand.envoy.stop().await?;
    }
    Ok(())
}

/// By default, Envoy allows three concurrent retries per cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_failover_a_burst_of_failures_is_answered_as_well() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::start(&json!({"mode": "disabled"}), &["--failover"]).await?;
    stand.candidate.set(Behavior::Status(503));
    // Slow rescuers, so that all of the burst is under way at once.
    stand.baseline.set(Behavior::Delay(Duration::from_millis(300)));
    let mut burst = tokio::task::JoinSet::new();
    for user in 0..100 {
        let client = Client::new(stand.addr);
        let request = Request::post("/infer", "{}").header("x-user-id", user.to_string());
        burst.spawn(async move { client.send(request).await.map(|answer| answer.status) });
    }
    let answers: Vec<u16> = burst.join_all().await.into_iter().collect::<Result<_>>()?;
    ensure!(
        answers.iter().all(|&status| status == 200),
        "{answers:?}\n{}",
        stand.envoy.report().await
    );
    ensure!(
        stand.candidate.count() > 30,
        "only {} of the burst reached the candidate",
        stand.candidate.count()
    );
    let rescued = r#""rescued":"true""#;
    until("the access log says who was rescued", async || {
        // Envoy writes its log in the background, every ten seconds or when it is asked to.
        stand.envoy.admin_post("/reopen_logs").await?;
        let log = fs::read_to_string(stand.dir.path().join("access.log")).unwrap_or_default();
        Ok(log.matches(rescued).count() as u64 == stand.candidate.count())
    })
    .await?;
    stand.envoy.stop().await
}

/// What must not reach a model twice is not sent twice: another method, or a body that was not
/// kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_is_only_for_what_may_be_sent_twice() -> Result<()> {
    let _alone = ALONE.lock().await;
    let options = ["--failover", "--failover-methods", "GET,PUT", "--failover-buffer", "1000"];
    let stand = Stand::start(&json!({"mode": "disabled"}), &options).await?;
    let client = Client::new(stand.addr);
    let send = async |request: Request| -> Result<u16> {
        Ok(client.send(request.header("x-user-id", "1")).await?.status)
    };
    let put = |body: String| Request { method: "PUT".to_owned(), ..Request::post("/infer", body) };
    let large = "x".repeat(300_000);
    let before = stand.candidate.count();
    ensure!(send(Request::post("/infer", large.clone())).await? == 200);
    ensure!(send(put(large.clone())).await? == 200);
    ensure!(stand.candidate.count() == before + 2, "the user is one of the candidate's");
    stand.candidate.set(Behavior::Status(503));
    ensure!(send(Request::get("/infer")).await? == 200, "sent again");
    ensure!(send(put("{}".into())).await? == 200, "sent again, with its body");
    ensure!(send(Request::post("/infer", "{}")).await? == 503, "POST is not among the methods");
    ensure!(send(put(large)).await? == 503, "too large to be kept");
    ensure!(stand.candidate.count() == before + 6 && stand.baseline.count() == 2);
    stand.envoy.stop().await
}
