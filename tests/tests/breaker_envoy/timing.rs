//! The time in which a failing candidate loses its traffic.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack_lab::Behavior;
use sidetrack_tests::artifact;
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::{Answers, Seen};
use crate::fault::{Fault, SLOW_OVER};
use crate::stand::{CANDIDATE, RATE, Stand, until};

const PATIENT: Duration = Duration::from_secs(10);
const IMPATIENT: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

fn runs() -> usize {
    std::env::var("SIDETRACK_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

/// From the candidate's fifth failure to the last request that reached it.
async fn time_to_leave(fault: Fault) -> Result<Duration> {
    let http2 = fault == Fault::GrpcTrailers;
    let options: &[&str] = if http2 { &["--upstream-protocol", "http2"] } else { &[] };
    let stand = Stand::start(&fault.breaker(), options).await?;
    let answers = Answers::default();
    if http2 {
        stand.baseline.set(Behavior::GrpcStatus(0));
        stand.candidate.set(Behavior::GrpcStatus(0));
    }
    let load = stand.load(http2, &answers)?;
    sleep(Duration::from_secs(2)).await;
    fault.begin(&stand.candidate).await;
    sleep(Duration::from_secs(3)).await;
    load.stop().await;
    let slow_over = (fault == Fault::Slow).then_some(SLOW_OVER);
    let of_candidate: Vec<Seen> =
        answers.all().into_iter().filter(|seen| seen.variant == CANDIDATE).collect();
    let mut failures: Vec<Instant> = of_candidate
        .iter()
        .filter(|seen| seen.failed(slow_over))
        .map(|seen| seen.answered)
        .collect();
    failures.sort();
    let fifth =
        *failures.get(4).with_context(|| format!("{fault:?}: only {} failures", failures.len()))?;
    let last =
        of_candidate.iter().map(|seen| seen.sent).max().context("nothing reached the candidate")?;

    ensure!(
        stand.state().await? == 2.0,
        "{fault:?}: the breaker is not open\n{}",
        stand.envoy.report().await
    );
    ensure!(
        stand.trips().await? == 1.0,
        "{fault:?}: not exactly one trip\n{}",
        stand.envoy.report().await
    );
    let log = stand.envoy.log();
    ensure!(
        log.matches("the breaker opens").count() == 1,
        "{fault:?}: not one line for the trip\n{log}"
    );
    let fallbacks = stand.metric("ab_test_fallbacks_total", &[("model_name", CANDIDATE)]).await?;
    ensure!(fallbacks > 100.0, "{fault:?}: {fallbacks} fallbacks");
    stand.both_workers_took_part().await?;
    stand.envoy.stop().await?;
    Ok(last.saturating_duration_since(fifth))
}

async fn leaves_within_a_second(fault: Fault) -> Result<()> {
    let _alone = ALONE.lock().await;
    for run in 1..=runs() {
        let time = time_to_leave(fault).await?;
        println!(
            "{fault:?} run {run}: {} ms from the fifth failure to the last request",
            time.as_millis()
        );
        ensure!(time <= Duration::from_secs(1), "{fault:?}: {time:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_answers_503_leaves_within_a_second() -> Result<()> {
    leaves_within_a_second(Fault::Status503).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_refuses_connections_leaves_within_a_second() -> Result<()> {
    leaves_within_a_second(Fault::Refused).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_resets_leaves_within_a_second() -> Result<()> {
    leaves_within_a_second(Fault::Reset).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_slow_leaves_within_a_second() -> Result<()> {
    leaves_within_a_second(Fault::Slow).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_with_grpc_errors_in_trailers_leaves_within_a_second() -> Result<()> {
    leaves_within_a_second(Fault::GrpcTrailers).await
}

/// The time from a fault to the last request that reaches the candidate, with these workers and
/// clients of this patience.
async fn time_of_fault(
    breaker: &Value,
    workers: u32,
    fault: Behavior,
    patience: Duration,
    limit: Duration,
) -> Result<Duration> {
    let stand = Stand::with_workers(breaker, &[], artifact::wasm(), workers).await?;
    let load = stand.load_of(RATE, 512, patience)?;
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    stand.candidate.set(fault);
    sleep(limit + Duration::from_secs(1)).await;
    load.stop().await;
    let arrivals = stand.arrivals(began);
    let last = *arrivals.last().context("no request reached the candidate")?;
    ensure!(stand.state().await? == 2.0, "{fault:?}: not open\n{}", stand.envoy.report().await);
    ensure!(stand.trips().await? == 1.0, "{fault:?}: not one trip\n{}", stand.envoy.report().await);
    // A hung request fails when its time is up; all others fail when they arrive.
    let first = match fault {
        Behavior::Hang => began,
        _ => *arrivals.get(4).context("fewer than five requests")?,
    };
    stand.envoy.stop().await?;
    Ok(last.saturating_duration_since(first))
}

async fn leaves_within(
    what: &str,
    breaker: Value,
    workers: u32,
    fault: Behavior,
    patience: Duration,
    limit: Duration,
) -> Result<()> {
    let _alone = ALONE.lock().await;
    for run in 1..=runs() {
        let time = time_of_fault(&breaker, workers, fault, patience, limit).await?;
        println!("{what} run {run}: {} ms until the last request", time.as_millis());
        ensure!(time <= limit, "{what}: {time:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_whose_answers_break_off_leaves_within_a_second() -> Result<()> {
    leaves_within("truncated", json!({}), 2, Behavior::Truncate, PATIENT, SECOND).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_16_workers_a_candidate_that_answers_503_leaves_within_a_second() -> Result<()> {
    leaves_within("503, 16 workers", json!({}), 16, Behavior::Status(503), PATIENT, SECOND).await
}

/// Callers give up before Envoy does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_hangs_leaves_although_callers_give_up() -> Result<()> {
    let breaker = json!({"slow": {"over": "200ms", "rate": 5}});
    let limit = Duration::from_millis(3200);
    leaves_within("hung, slow", breaker, 2, Behavior::Hang, IMPATIENT, limit).await?;
    let breaker = json!({"no_answer": {"after": "2s"}});
    let limit = Duration::from_secs(5);
    leaves_within("hung, no answer", breaker, 2, Behavior::Hang, 3 * SECOND, limit).await
}

/// Long streams do not hide the successes: 4 percent of failures trip nothing, 50 percent do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_streams_is_judged_by_its_rate() -> Result<()> {
    const STREAM: Duration = Duration::from_secs(15);
    let _alone = ALONE.lock().await;
    let stand = Stand::start(&json!({}), &[]).await?;
    stand.candidate.set(Behavior::Stream(STREAM, 25));
    let load = stand.load_of(40.0, 700, 2 * STREAM)?;
    sleep(Duration::from_secs(9)).await;
    ensure!(
        stand.trips().await? == 0.0,
        "4 percent of failures tripped\n{}",
        stand.envoy.report().await
    );
    ensure!(stand.candidate.failures().len() > 4, "too few failures: this shows nothing");
    let began = Instant::now();
    stand.candidate.set(Behavior::Stream(STREAM, 2));
    until("it is open", async || Ok(stand.state().await? == 2.0)).await?;
    println!("streams run 1: open after {} ms of 50 percent failures", began.elapsed().as_millis());
    drop(load);
    stand.envoy.stop().await
}
