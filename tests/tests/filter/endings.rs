//! How requests end, over every protocol and framing, on a real Envoy: what each ending counts as.
//!
//! Each case is an experiment of its own, so that all of them run at once and each has its own
//! counters. A breaker in a dry run that opens at the first failure shows which endings are
//! failures for it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod caller;
mod cases;
mod model;
mod page;
mod stand;
mod trailers;
mod transcoder;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack_lab::prometheus_value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use caller::{Caller, Head};
use cases::{CASES, Case, Counts, Protocol};
use stand::Stand;

/// Requests of each case.
const REQUESTS: u32 = 3;

impl Case {
    fn name(&self, number: usize) -> String {
        format!("case-{number}")
    }

    fn experiment(&self, number: usize) -> Value {
        let name = self.name(number);
        let condition = if self.caller == Caller::Connects {
            json!({"hosts": [format!("{name}.{}", self.behavior)]})
        } else if self.is_transcoded() {
            json!({"path": {"prefix": format!("/{}/", transcoder::service(number))}})
        } else {
            json!({"path": {"prefix": format!("/{name}/")}})
        };
        json!({
            "name": name,
            "match": condition,
            "unit": [{"header": "x-user-id"}],
            "baseline": "old",
            "variants": [
                {"name": "old", "cluster": "http1"},
                {"name": "new", "cluster": self.cluster, "weight": 100},
            ],
            "breaker": {"mode": "dry_run", "consecutive_errors": 1, "compare_to_baseline": false},
        })
    }

    async fn send(&self, number: usize, user: u32, stand: &Stand) -> Result<()> {
        let name = self.name(number);
        let addr = stand.addr(self.listener).await?;
        let path = if self.is_transcoded() {
            format!("/{}/{}", transcoder::service(number), self.behavior)
        } else {
            format!("/{name}/{user}/{}", self.behavior)
        };
        let model = if self.cluster == "http2" { &stand.http2 } else { &stand.http1 };
        let arrivals = &model.arrivals;
        let content_type = match self.protocol {
            Protocol::Grpc => "application/grpc",
            Protocol::GrpcWeb => "application/grpc-web",
            _ => "application/json",
        };
        if matches!(self.protocol, Protocol::Grpc | Protocol::GrpcWeb | Protocol::Http2)
            || self.is_transcoded()
        {
            caller::http2(addr, &path, user, content_type, self.caller, arrivals).await
        } else {
            let host = format!("{name}.{}", self.behavior);
            caller::http1(addr, Head { host: &host, path: &path, user }, self.caller, arrivals)
                .await
        }
    }
}

/// Sends all requests, and waits until Envoy has counted them.
async fn send_all(stand: &Arc<Stand>) -> Result<()> {
    // Takes the only token of the rate limit.
    let first = Head { host: "none", path: "/none", user: 0 };
    let limit = stand.addr("limit").await?;
    caller::http1(limit, first, Caller::Waits, &stand.http1.arrivals).await?;
    let mut all = JoinSet::new();
    for (number, case) in CASES.iter().enumerate() {
        let stand = Arc::clone(stand);
        all.spawn(async move {
            for user in 0..REQUESTS {
                let sent = case.send(number, user, &stand).await;
                sent.with_context(|| format!("{:?}: {}", case.protocol, case.ending))?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    let began = Instant::now();
    let active = r"^http\.predictors\.downstream_rq_active$";
    while stand.envoy.stats(active).await?.values().any(|active| *active > 0) {
        ensure!(began.elapsed() < Duration::from_secs(10), "requests are still active");
        sleep(Duration::from_millis(20)).await;
    }
    // The filter publishes its counts on the next tick.
    sleep(Duration::from_millis(300)).await;
    Ok(())
}

/// What was counted for a case.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Success, error, aborted.
    requests: [u32; 3],
    would_trip: bool,
    /// By Envoy's access log.
    flags: BTreeSet<String>,
}

impl Found {
    fn is_as_expected(&self, case: &Case) -> bool {
        let requests = match case.outcome {
            Counts::Success => [REQUESTS, 0, 0],
            Counts::Failure => [0, REQUESTS, 0],
            Counts::Left | Counts::Abandoned => [0, 0, REQUESTS],
            Counts::Nothing => [0; 3],
        };
        let would_trip = case.outcome == Counts::Failure;
        let may_have = |flags: &String| case.flags.split(' ').any(|other| other == flags);
        (self.requests, self.would_trip) == (requests, would_trip)
            && self.flags.iter().all(may_have)
    }

    fn of(name: &str, metrics: &str, flags: &BTreeMap<String, BTreeSet<String>>) -> Self {
        // Its own lines: the text has thousands.
        let metrics: String = metrics
            .lines()
            .filter(|line| line.contains(&format!("\"{name}\"")))
            .fold(String::new(), |text, line| text + line + "\n");
        let value = |metric, labels: &[(&str, &str)]| {
            let labels = [labels, &[("experiment", name), ("model_name", "new")]].concat();
            prometheus_value(&metrics, metric, &labels).expect(metric)
        };
        let requests = ["success", "error", "aborted"].map(|status| {
            let count = value("ab_test_requests_total", &[("status", status)]);
            (0..=1000).find(|&number| f64::from(number) == count).expect("a count")
        });
        let would_trip = value("ab_test_breaker_would_trip_total", &[]) > 0.0;
        Self { requests, would_trip, flags: flags.get(name).cloned().unwrap_or_default() }
    }
}

async fn endings_count_as_documented(has_logger: bool) -> Result<()> {
    let experiments: Vec<Value> =
        CASES.iter().enumerate().map(|(number, case)| case.experiment(number)).collect();
    let stand = Arc::new(Stand::start(&json!({ "experiments": experiments }), has_logger).await?);
    send_all(&stand).await?;
    let metrics = stand.envoy.prometheus().await?;
    let mut flags = BTreeMap::<String, BTreeSet<String>>::new();
    let mut lines = BTreeMap::<String, Vec<String>>::new();
    let requests = CASES.len() * usize::try_from(REQUESTS)?;
    for line in stand.access_log(requests).await?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let of = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        flags.entry(of("experiment")).or_default().insert(of("flags"));
        lines.entry(of("experiment")).or_default().push(line.to_string());
    }
    let mut wrong = String::new();
    for (number, case) in CASES.iter().enumerate() {
        let found = Found::of(&case.name(number), &metrics, &flags);
        if !found.is_as_expected(case) {
            writeln!(wrong, "{number}: {found:?}, but {case:?}")?;
            for line in &lines[&case.name(number)] {
                writeln!(wrong, "  {line}")?;
            }
        }
    }
    let log = stand.envoy.log();
    let log =
        log.lines().filter(|line| !line.contains("would open")).collect::<Vec<_>>().join("\n");
    ensure!(wrong.is_empty(), "\n{wrong}\n{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endings_that_the_access_logger_reports() -> Result<()> {
    endings_count_as_documented(true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endings_without_the_access_logger() -> Result<()> {
    endings_count_as_documented(false).await
}
