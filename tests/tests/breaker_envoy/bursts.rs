//! Bursts of failures of one user, of two and of three, beside the good traffic of many.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use sidetrack_lab::{Behavior, Client, Request};
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::Answers;
use crate::stand::{BASELINE, CANDIDATE, Stand};
use crate::users::Users;

/// The failures of a burst, as many as trip in a row.
const BURST: usize = 5;
const STATUS: &str = "x-stub-status";

/// How many bursts have reached the candidate since then without another request in between.
fn whole_bursts(stand: &Stand, since: Instant) -> usize {
    let requests: Vec<_> =
        stand.candidate.requests().into_iter().filter(|seen| seen.at > since).collect();
    let runs = requests.chunk_by(|a, b| a.header(STATUS).is_some() == b.header(STATUS).is_some());
    runs.filter(|run| run.len() >= BURST && run.iter().all(|seen| seen.header(STATUS).is_some()))
        .count()
}

/// Waits until the candidate has answered a request of the other traffic: until the next one, a burst has it alone.
async fn other_request(stand: &Stand) -> Result<()> {
    let before = stand.candidate.count();
    let deadline = Instant::now() + Duration::from_secs(5);
    while stand.candidate.count() == before {
        ensure!(Instant::now() < deadline, "the candidate received no other request for 5 s");
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Sends bursts of these users, in turn, until this holds.
async fn send_bursts(
    stand: &Stand,
    users: &[String],
    is_enough: impl AsyncFn() -> Result<bool>,
) -> Result<()> {
    for _ in 0..40 {
        // A connection for each burst, so all of it meets one worker.
        let client = Client::new(stand.addr);
        other_request(stand).await?;
        for user in users.iter().cycle().take(BURST) {
            let request = Request::post("/infer", "{}").header("x-user-id", user);
            client.send(request.header(STATUS, "503")).await?;
            sleep(Duration::from_millis(4)).await;
        }
        sleep(Duration::from_millis(300)).await;
        if is_enough().await? {
            return Ok(());
        }
    }
    bail!("not after 40 bursts of {} users\n{}", users.len(), stand.envoy.report().await)
}

/// The good traffic has 20 requests per second for the candidate and 280 for the baseline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_of_failures_trip_only_if_three_users_have_them() -> Result<()> {
    let _alone = ALONE.lock().await;
    let users = Users::new()?;
    let mut of_candidate: Vec<String> = users.of(CANDIDATE).take(53).collect();
    let failing = of_candidate.split_off(50);
    let of_baseline: Vec<String> = users.of(BASELINE).take(200).collect();
    let stand = Stand::start(&json!({}), &[]).await?;
    stand.candidate.set(Behavior::StatusOfRequest);
    let answers = Answers::default();
    let load = stand.load_of(300.0, &answers, move |n| {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        let user = match n % 15 {
            0 => &of_candidate[n / 15 % of_candidate.len()],
            _ => &of_baseline[n % of_baseline.len()],
        };
        Request::post("/infer", "{}").header("x-user-id", user)
    })?;
    sleep(Duration::from_secs(2)).await;
    for users in [&failing[..1], &failing[..2]] {
        let began = Instant::now();
        send_bursts(&stand, users, async || Ok(whole_bursts(&stand, began) >= 4)).await?;
        let log = stand.envoy.log();
        ensure!(stand.trips().await? == 0.0, "bursts of {} users tripped\n{log}", users.len());
    }
    send_bursts(&stand, &failing, async || Ok(stand.state().await? == 2.0)).await?;
    load.stop().await;
    stand.each_worker_has(2, 8).await?;
    stand.has_tripped_once().await?;
    let log = stand.envoy.log();
    ensure!(log.contains("requests in a row failed"), "no streak:\n{log}");
    ensure!(answers.all().iter().all(|seen| !seen.failed()), "the other users had failures");
    stand.envoy.stop().await
}
