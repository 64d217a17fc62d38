//! The time in which a failing candidate loses its traffic.
//!
//! `cargo test` measures each fault with two workers, and what is special to sixteen workers and
//! to callers who give up early. `SIDETRACK_LONG=1` measures all faults with both.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;

use crate::ALONE;
use crate::answers::Answers;
use crate::fault::{Callers, Fault};
use crate::stand::{CANDIDATE, Stand};

const LONG: &str = "SIDETRACK_LONG";

fn runs() -> usize {
    std::env::var("SIDETRACK_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

/// A measurement.
#[derive(Clone, Copy, Debug)]
struct Case {
    fault: Fault,
    workers: u32,
    callers: Callers,
}

impl Case {
    /// From the candidate's fifth failure to the last request that reached it.
    async fn time_to_leave(self) -> Result<Duration> {
        let Self { fault, workers, callers } = self;
        let stand = Stand::for_fault(fault, workers).await?;
        let answers = Answers::default();
        let load = stand.load_for(fault, callers, &answers)?;
        sleep(fault.warm_up()).await;
        ensure!(
            stand.trips().await? == 0.0,
            "{self:?}: tripped before the fault\n{}",
            stand.envoy.report().await
        );
        let began = Instant::now();
        fault.begin(&stand.candidate).await;
        sleep(fault.known_after() + fault.limit() + Duration::from_secs(1)).await;
        let (fifth, last) = match fault {
            Fault::Refused => answers.fifth_failure_and_last_request()?,
            _ => {
                let arrivals = stand.arrivals(began);
                let fifth = *arrivals.get(4).context("fewer than five requests")?;
                let last = *arrivals.last().context("no request reached the candidate")?;
                (fifth + fault.known_after(), last)
            }
        };
        stand.has_tripped_once().await.with_context(|| format!("{self:?}"))?;
        let fallbacks =
            stand.metric("ab_test_fallbacks_total", &[("model_name", CANDIDATE)]).await?;
        ensure!(fallbacks > 20.0, "{self:?}: {fallbacks} fallbacks");
        if callers == Callers::Patient && fault != Fault::Streams {
            stand.all_workers_took_part(workers).await?;
        }
        drop(load);
        stand.envoy.stop().await?;
        Ok(last.saturating_duration_since(fifth))
    }

    async fn measure(self) -> Result<()> {
        let Self { fault, workers, callers } = self;
        for run in 1..=runs() {
            let time = self.time_to_leave().await?;
            let limit = fault.limit();
            println!(
                "{:12} {workers:2} workers {:10} run {run}: {:4} ms (limit {} ms)",
                format!("{fault:?}"),
                format!("{callers:?}"),
                time.as_millis(),
                limit.as_millis(),
            );
            ensure!(time <= limit, "{self:?}: {time:?}");
        }
        Ok(())
    }
}

/// Measures the case, unless the long form measures it anyway.
async fn leaves_in_time(fault: Fault, workers: u32, callers: Callers) -> Result<()> {
    if std::env::var_os(LONG).is_some() {
        return Ok(());
    }
    let _alone = ALONE.lock().await;
    Case { fault, workers, callers }.measure().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_answers_503_leaves_within_a_second() -> Result<()> {
    leaves_in_time(Fault::Status503, 2, Callers::Patient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_16_workers_a_candidate_that_answers_503_leaves_within_a_second() -> Result<()> {
    leaves_in_time(Fault::Status503, 16, Callers::Patient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_refuses_connections_leaves_within_a_second() -> Result<()> {
    leaves_in_time(Fault::Refused, 2, Callers::Patient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_resets_leaves_within_a_second() -> Result<()> {
    leaves_in_time(Fault::Reset, 2, Callers::Patient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_whose_answers_break_off_leaves_within_a_second() -> Result<()> {
    leaves_in_time(Fault::Truncated, 2, Callers::Patient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_slow_leaves_within_a_second() -> Result<()> {
    leaves_in_time(Fault::Slow, 2, Callers::Patient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_with_grpc_errors_in_trailers_leaves_within_a_second() -> Result<()> {
    leaves_in_time(Fault::Grpc, 2, Callers::Patient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_with_errors_in_grpc_web_leaves_within_a_second() -> Result<()> {
    leaves_in_time(Fault::GrpcWeb, 2, Callers::Patient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_hangs_leaves_although_callers_give_up() -> Result<()> {
    leaves_in_time(Fault::Hung, 16, Callers::Impatient).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_does_not_answer_leaves() -> Result<()> {
    leaves_in_time(Fault::Unanswered, 2, Callers::Patient).await
}

/// Long streams do not hide the successes: 4 percent of failures trip nothing, 50 percent do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_streams_is_judged_by_its_rate() -> Result<()> {
    leaves_in_time(Fault::Streams, 2, Callers::Patient).await
}

/// Callers who leave within a stream do not hide that it began well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_streams_is_judged_by_its_rate_although_callers_leave() -> Result<()> {
    leaves_in_time(Fault::Streams, 2, Callers::Impatient).await
}

/// All faults, with few and many workers, and with callers of both kinds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_in_time() -> Result<()> {
    if std::env::var_os(LONG).is_none() {
        return Ok(());
    }
    let _alone = ALONE.lock().await;
    let mut failed = Vec::new();
    for fault in Fault::ALL {
        for callers in [Callers::Patient, Callers::Impatient] {
            // Who has left before `no_answer.after` cannot show that there is no answer.
            if fault == Fault::Unanswered && callers == Callers::Impatient {
                continue;
            }
            for workers in [2, 16] {
                if let Err(error) = (Case { fault, workers, callers }).measure().await {
                    println!("{fault:?} {workers} {callers:?}: {error:?}");
                    failed.push(format!("{fault:?} {workers} {callers:?}: {error}"));
                }
            }
        }
    }
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}
