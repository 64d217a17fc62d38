//! The recovery of a candidate that is healthy again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sidetrack_lab::Behavior;
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::{Answers, Seen};
use crate::stand::{CANDIDATE, Stand, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healed_candidate_gets_its_share_back_in_stages() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::start(&json!({"open_for": "1s", "max_open_for": "4s"}), &[]).await?;
    let answers = Answers::default();
    let load = stand.load(&answers)?;
    sleep(Duration::from_secs(1)).await;
    stand.candidate.set(Behavior::Status(503));
    until("it is open", async || Ok(stand.state().await? == 2.0)).await?;
    stand.candidate.set(Behavior::Healthy);
    until("it is closed", async || Ok(stand.state().await? == 0.0)).await?;
    let closed = Instant::now();
    sleep(Duration::from_secs(2)).await;
    load.stop().await;
    let after: Vec<Seen> = answers.all().into_iter().filter(|seen| seen.sent > closed).collect();
    let share =
        after.iter().filter(|seen| seen.variant == CANDIDATE).count() as f64 / after.len() as f64;
    ensure!(
        (share - 0.5).abs() < 0.06,
        "share {share} of {}\n{}",
        after.len(),
        stand.envoy.report().await
    );
    let log = stand.envoy.log();
    for line in [
        "the breaker opens for",
        "half-open: 5 percent",
        "half-open: 25 percent",
        "half-open: 100 percent",
        "is closed",
    ] {
        ensure!(log.matches(line).count() == 1, "not one line with {line:?}:\n{log}");
    }
    stand.envoy.stop().await
}
