//! A candidate that hangs, with clients that leave before `no_answer.after`: what they abandon, in
//! comparison with the baseline, opens its breaker.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sidetrack_lab::{Behavior, Load, LoadOptions, Request};
use tokio::time::sleep;

use crate::ALONE;
use crate::stand::{CANDIDATE, Stand};

/// Sends requests with bodies of this size, from clients that wait for this long.
fn load(stand: &Stand, rate: f64, size: usize, patience: Duration) -> Result<Load> {
    let make = move |n: u64| {
        let user = n.wrapping_mul(2_654_435_761) % 5000;
        Request::post("/infer", "x".repeat(size)).header("x-user-id", user.to_string())
    };
    let mut options = LoadOptions::new(stand.addr, rate, make);
    options.connections = 128;
    options.timeout = patience;
    Load::run(options)
}

/// The time from the beginning of this fault until the breaker opens.
async fn opens_within(
    fault: Behavior,
    rate: f64,
    size: usize,
    patience: Duration,
    limit: Duration,
) -> Result<()> {
    let _alone = ALONE.lock().await;
    let breaker = json!({"window": "10s", "no_answer": {"after": "4s"}});
    let stand = Stand::start(&breaker, &[]).await?;
    let load = load(&stand, rate, size, patience)?;
    sleep(Duration::from_secs(4)).await;
    ensure!(stand.trips().await? == 0.0, "before the fault\n{}", stand.envoy.report().await);
    let began = Instant::now();
    stand.candidate.set(fault);
    while stand.state().await? != 2.0 {
        let report = async || stand.envoy.report().await;
        ensure!(began.elapsed() < limit, "not open after {limit:?}\n{}", report().await);
        sleep(Duration::from_millis(50)).await;
    }
    println!("{fault:?}, clients leave after {patience:?}: open after {:?}", began.elapsed());
    load.stop().await;
    let failed = [("model_name", CANDIDATE), ("status", "error")];
    ensure!(stand.metric("ab_test_requests_total", &failed).await? == 0.0, "there were failures");
    let log = stand.envoy.log();
    ensure!(log.contains("abandoned by their clients before a response"), "{log}");
    stand.envoy.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_hangs_is_noticed_although_all_clients_leave_early() -> Result<()> {
    let (patience, limit) = (Duration::from_secs(1), Duration::from_secs(10));
    opens_within(Behavior::Hang, 40.0, 2, patience, limit).await
}

/// Envoy's buffers take some megabytes of an upload. Then it reads no more from the client, and over
/// HTTP/1.1 it does not notice that the client leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_does_not_read_uploads_is_noticed() -> Result<()> {
    let (patience, limit) = (Duration::from_secs(2), Duration::from_secs(30));
    opens_within(Behavior::NeverRead, 8.0, 12 << 20, patience, limit).await
}
