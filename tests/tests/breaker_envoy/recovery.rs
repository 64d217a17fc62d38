//! The recovery of a candidate that is healthy again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sidetrack::breaker::STAGES;
use sidetrack_lab::{Behavior, Request};
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::{Answers, Seen};
use crate::stand::{BASELINE, CANDIDATE, Stand, until, until_within};
use crate::users::Users;

/// The candidate's share of these answers.
fn share(answers: &[Seen]) -> f64 {
    let of_candidate = answers.iter().filter(|seen| seen.variant == CANDIDATE).count();
    of_candidate as f64 / answers.len() as f64
}

/// It opens once, passes each stage once, and closes.
async fn recovers_at_once(stand: &Stand) -> Result<()> {
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
    let (state, trips) = (stand.state().await?, stand.trips().await?);
    ensure!(state == 0.0 && trips == 1.0, "state {state}, {trips} trips\n{log}");
    Ok(())
}

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
    let after = answers.sent_after(closed);
    let share = share(&after);
    ensure!(
        (share - 0.5).abs() < 0.06,
        "share {share} of {}\n{}",
        after.len(),
        stand.envoy.report().await
    );
    recovers_at_once(&stand).await?;
    stand.envoy.stop().await
}

/// The first two stages include none of the candidate's users, so each widens after 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_users_have_their_healed_candidate_back() -> Result<()> {
    let _alone = ALONE.lock().await;
    let users = Users::new()?;
    let [_, quarter, _] = STAGES;
    let of_candidate = users.of(CANDIDATE).filter(|user| !users.tries(user, quarter)).take(6);
    let ten: Vec<String> = of_candidate.chain(users.of(BASELINE).take(4)).collect();
    let stand = Stand::start(&json!({"open_for": "1s", "max_open_for": "4s"}), &[]).await?;
    let answers = Answers::default();
    let load = stand.load_of(150.0, &answers, move |n| {
        let user = &ten[usize::try_from(n).unwrap_or(usize::MAX) % ten.len()];
        Request::post("/v2/models/forecast/infer", "{}").header("x-user-id", user)
    })?;
    sleep(Duration::from_secs(1)).await;
    stand.candidate.set(Behavior::Status(503));
    until("it is open", async || Ok(stand.state().await? == 2.0)).await?;
    let opened = Instant::now();
    stand.candidate.set(Behavior::Healthy);
    // `open_for` and its jitter, two stages without users, and the requests of the third.
    let limit = Duration::from_millis(1100 + 2 * 5000 + 3000);
    until_within(limit, "it is closed", async || Ok(stand.state().await? == 0.0)).await?;
    let took = opened.elapsed();
    println!("ten users, 150 requests/s: closed {took:.1?} after the trip");
    ensure!(took > Duration::from_secs(10), "a stage had users: this shows nothing");
    sleep(Duration::from_millis(500)).await;
    let closed = Instant::now();
    sleep(Duration::from_secs(1)).await;
    load.stop().await;
    let share = share(&answers.sent_after(closed));
    ensure!((share - 0.6).abs() < 0.05, "share {share}\n{}", stand.envoy.report().await);
    stand.each_worker_has(2, 8).await?;
    recovers_at_once(&stand).await?;
    stand.envoy.stop().await
}

/// Both fail at three times the limit before the candidate's outage and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_both_share_does_not_keep_a_healed_candidate_away() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::start(&json!({"open_for": "1s", "max_open_for": "4s"}), &[]).await?;
    let fault = Behavior::ErrorEvery(7);
    stand.baseline.set(fault);
    stand.candidate.set(fault);
    let answers = Answers::default();
    let load = stand.load(&answers)?;
    sleep(Duration::from_secs(2)).await;
    ensure!(stand.trips().await? == 0.0, "before the outage\n{}", stand.envoy.report().await);
    stand.candidate.set(Behavior::Status(503));
    until("it is open", async || Ok(stand.state().await? == 2.0)).await?;
    let opened = Instant::now();
    stand.candidate.set(fault);
    until("it is closed", async || Ok(stand.state().await? == 0.0)).await?;
    println!("both at 14 percent of errors: closed {:.1?} after the trip", opened.elapsed());
    let closed = Instant::now();
    sleep(Duration::from_secs(6)).await;
    load.stop().await;
    for variant in [BASELINE, CANDIDATE] {
        let mut after = answers.sent_after(closed);
        after.retain(|seen| seen.variant == variant);
        let failed = after.iter().filter(|seen| seen.failed()).count();
        let rate = failed as f64 / after.len() as f64;
        ensure!((0.1..0.2).contains(&rate), "{variant}: {failed} of {} failed", after.len());
    }
    recovers_at_once(&stand).await?;
    stand.envoy.stop().await
}
