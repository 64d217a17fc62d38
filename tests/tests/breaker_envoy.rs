//! The breaker on a real Envoy with two workers: how fast a failing candidate loses its traffic,
//! that it recovers, that the state survives updates and crashes of the filter, and what clients
//! see.
//!
//! One test at a time, because they measure time: `SIDETRACK_RUNS=10` repeats the measurements and
//! prints them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack_lab::{
    Behavior, Client, Envoy, EnvoyBinary, EnvoyOptions, Load, LoadOptions, ModelStub, Request,
    prometheus_value,
};
use sidetrack_tests::artifact;
use sidetrack_tests::world::sidetrack_command;
use tempfile::TempDir;
use tokio::time::sleep;

const RATE: f64 = 600.0;
const BASELINE: &str = "baseline-predictor";
const CANDIDATE: &str = "enhanced-predictor";

/// Tests that measure time must not run beside each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// An Envoy with the breaker, and the two models behind it.
struct Stand {
    envoy: Envoy,
    addr: std::net::SocketAddr,
    baseline: ModelStub,
    candidate: ModelStub,
    watched: PathBuf,
    /// What the bootstrap was rendered with.
    options: Vec<String>,
    dir: TempDir,
}

fn experiment(breaker: &Value) -> Value {
    json!({"experiments": [{
        "name": "forecast", "unit": [{"header": "x-user-id"}], "baseline": BASELINE,
        "variants": [
            {"name": BASELINE, "cluster": BASELINE},
            {"name": CANDIDATE, "cluster": CANDIDATE, "weight": 50},
        ],
        "breaker": breaker,
    }], "settings": {"debug": "allowed"}})
}

impl Stand {
    async fn start(breaker: &Value, more: &[&str]) -> Result<Self> {
        Self::with_module(breaker, more, artifact::wasm()).await
    }

    async fn with_module(breaker: &Value, more: &[&str], wasm: &Path) -> Result<Self> {
        Self::with_workers(breaker, more, wasm, 2).await
    }

    async fn with_workers(
        breaker: &Value,
        more: &[&str],
        wasm: &Path,
        workers: u32,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("sidetrack-breaker-").tempdir()?;
        let baseline = ModelStub::start(BASELINE).await?;
        let candidate = ModelStub::start(CANDIDATE).await?;
        let watched = dir.path().join("filter.yaml");
        let stand = |arguments: &[String]| render(dir.path(), breaker, wasm, &watched, arguments);
        let endpoints = [
            "--endpoint".to_owned(),
            format!("{BASELINE}={}", baseline.addr()),
            "--endpoint".to_owned(),
            format!("{CANDIDATE}={}", candidate.addr()),
        ];
        let more: Vec<String> = more.iter().map(|&m| m.to_owned()).chain(endpoints).collect();
        fs::write(&watched, stand(&filter_only(&more))?)?;
        let bootstrap = stand(&more)?;
        let mut options = EnvoyOptions::new(EnvoyBinary::find()?, bootstrap);
        options.concurrency = workers;
        let envoy = Envoy::start(options).await?;
        let addr = (std::net::Ipv4Addr::LOCALHOST, envoy.listener_port("predictors").await?).into();
        Ok(Self { envoy, addr, baseline, candidate, watched, options: more, dir })
    }

    /// Gives Envoy another configuration or module, and waits until it is in force.
    async fn update(&self, breaker: &Value, wasm: &Path) -> Result<()> {
        const RELOADS: &str = "extension_config_discovery.http_filter.sidetrack.config_reload";
        let before = self.stat(RELOADS).await?;
        let text =
            render(self.dir.path(), breaker, wasm, &self.watched, &filter_only(&self.options))?;
        let next = self.dir.path().join("next.yaml");
        fs::write(&next, text)?;
        fs::rename(&next, &self.watched)?;
        until("the update is in force", async || Ok(self.stat(RELOADS).await? > before)).await
    }

    async fn stat(&self, name: &str) -> Result<i64> {
        Ok(self.envoy.stats(name).await?.values().sum())
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let text = self.envoy.prometheus().await?;
        prometheus_value(&text, name, labels)
            .with_context(|| format!("no {name} {labels:?} in:\n{text}"))
    }

    async fn state(&self) -> Result<f64> {
        self.metric("ab_test_breaker_state", &[("model_name", CANDIDATE)]).await
    }

    async fn trips(&self) -> Result<f64> {
        self.metric("ab_test_breaker_trips_total", &[("model_name", CANDIDATE)]).await
    }

    /// Both workers have seen requests; what one of them does alone would be faster.
    async fn both_workers_took_part(&self) -> Result<()> {
        let connections =
            self.envoy.stats(r"^listener\..*\.worker_\d+\.downstream_cx_total$").await?;
        let enough = connections.values().filter(|&&count| count > 30).count();
        ensure!(enough == 2, "{connections:?}");
        Ok(())
    }

    /// Sends requests of a few thousand users until it is stopped, with this patience.
    fn load_of(&self, rate: f64, connections: usize, patience: Duration) -> Result<Load> {
        let make = |n: u64| {
            let user = n.wrapping_mul(2_654_435_761) % 5000;
            Request::post("/v2/models/forecast/infer", "{}").header("x-user-id", user.to_string())
        };
        let mut options = LoadOptions::new(self.addr, rate, make);
        options.connections = connections;
        options.timeout = patience;
        Load::run(options)
    }

    /// The times at which requests have reached the candidate since this moment.
    fn arrivals(&self, since: Instant) -> Vec<Instant> {
        let seen = self.candidate.requests();
        let mut arrivals: Vec<Instant> =
            seen.iter().map(|seen| seen.at).filter(|&at| at > since).collect();
        arrivals.sort();
        arrivals
    }

    /// Sends requests of a few thousand users until it is stopped.
    fn load(&self, http2: bool, answers: &Answers) -> Result<Load> {
        let make = move |n: u64| {
            let user = n.wrapping_mul(2_654_435_761) % 5000;
            let request = Request::post("/v2/models/forecast/infer", "{}")
                .header("x-user-id", user.to_string());
            if http2 { request.header("content-type", "application/grpc") } else { request }
        };
        let mut options = LoadOptions::new(self.addr, RATE, make);
        options.connections = 256;
        options.http2 = http2;
        let answers = answers.clone();
        options.on_answer = Arc::new(move |_, _, answer| answers.take(answer));
        Load::run(options)
    }
}

/// The options of the bootstrap are the filter's too.
fn filter_only(options: &[String]) -> Vec<String> {
    [options, &["--filter-only".to_owned()]].concat()
}

fn render(
    dir: &Path,
    breaker: &Value,
    wasm: &Path,
    watched: &Path,
    more: &[String],
) -> Result<String> {
    let file = dir.join("experiment.json");
    fs::write(&file, experiment(breaker).to_string())?;
    let text = |path: &Path| path.display().to_string();
    let log = text(&dir.join("access.log"));
    let mut arguments: Vec<String> =
        ["render", "envoy", &text(&file), "--wasm", &text(wasm), "--watch"]
            .map(str::to_owned)
            .into();
    arguments.push(text(watched));
    arguments.extend(
        ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", &log]
            .map(str::to_owned),
    );
    arguments.extend(more.iter().cloned());
    sidetrack_command(&arguments)
}

/// Waits until something holds; ten seconds at most.
async fn until(what: &str, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !holds().await? {
        ensure!(begun.elapsed() < Duration::from_secs(10), "after 10 s still not: {what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What callers saw.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Vec<Seen>>>);

#[derive(Clone, Debug)]
struct Seen {
    sent: Instant,
    answered: Instant,
    status: u16,
    grpc: Option<String>,
    variant: String,
}

impl Seen {
    fn failed(&self, slow_over: Option<Duration>) -> bool {
        let slow = slow_over.is_some_and(|over| self.answered - self.sent > over);
        self.status >= 500
            || self.status == 0
            || slow
            || self.grpc.as_deref().is_some_and(|status| status != "0")
    }
}

impl Answers {
    fn take(&self, answer: Result<sidetrack_lab::Answer>) {
        let answered = Instant::now();
        let seen = match answer {
            Ok(answer) => Seen {
                sent: answered.checked_sub(answer.elapsed).unwrap_or(answered),
                answered,
                status: answer.status,
                grpc: answer
                    .trailer("grpc-status")
                    .map(|status| String::from_utf8_lossy(status).into_owned()),
                variant: answer.header_text("x-ab-variant").unwrap_or_default(),
            },
            Err(_) => {
                Seen { sent: answered, answered, status: 0, grpc: None, variant: String::new() }
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Status503,
    Refused,
    Reset,
    Slow,
    GrpcTrailers,
}

const SLOW_OVER: Duration = Duration::from_millis(150);

impl Fault {
    async fn begin(self, model: &ModelStub) {
        match self {
            Self::Status503 => model.set(Behavior::Status(503)),
            Self::Refused => model.refuse().await,
            Self::Reset => model.set(Behavior::Reset),
            Self::Slow => model.set(Behavior::Delay(Duration::from_millis(250))),
            Self::GrpcTrailers => model.set(Behavior::GrpcStatus(14)),
        }
    }

    fn breaker(self) -> Value {
        match self {
            Self::Slow => json!({"slow": {"over": "150ms", "rate": 5}}),
            _ => json!({}),
        }
    }
}

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

const PATIENT: Duration = Duration::from_secs(10);
const IMPATIENT: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_failover_callers_see_no_failure() -> Result<()> {
    let _alone = ALONE.lock().await;
    for fault in [Fault::Status503, Fault::Refused, Fault::Reset] {
        let stand = Stand::start(&json!({}), &["--failover"]).await?;
        let answers = Answers::default();
        let load = stand.load(false, &answers)?;
        sleep(Duration::from_secs(1)).await;
        let before = stand.candidate.count();
        ensure!(before > 50, "{fault:?}: the candidate got only {before} requests while healthy");
        fault.begin(&stand.candidate).await;
        sleep(Duration::from_secs(2)).await;
        load.stop().await;
        let failed: Vec<Seen> =
            answers.all().into_iter().filter(|seen| seen.failed(None)).collect();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healed_candidate_gets_its_share_back_in_stages() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::start(&json!({"open_for": "1s", "max_open_for": "4s"}), &[]).await?;
    let answers = Answers::default();
    let load = stand.load(false, &answers)?;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_the_baseline_shares_does_not_trip() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::start(&json!({}), &[]).await?;
    let answers = Answers::default();
    let load = stand.load(false, &answers)?;
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
        Ok(stand.metric("ab_test_requests_total", &aborted).await? == hung_up as f64)
    })
    .await?;
    sleep(Duration::from_millis(500)).await;
    ensure!(stand.trips().await? == 0.0, "it tripped\n{}", stand.envoy.report().await);
    stand.envoy.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_outlives_updates_new_code_and_crashes() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stand = Stand::with_module(&json!({}), &[], artifact::crashing_wasm()).await?;
    let answers = Answers::default();
    let load = stand.load(false, &answers)?;
    sleep(Duration::from_millis(500)).await;
    stand.candidate.set(Behavior::Status(503));
    until("it is open", async || Ok(stand.state().await? == 2.0)).await?;
    load.stop().await;
    stand.candidate.set(Behavior::Healthy);
    // A connection each, so that both workers are asked.
    let clients: Vec<Client> = (0..16).map(|_| Client::new(stand.addr)).collect();
    let reaches_candidate = async || -> Result<bool> {
        let before = stand.candidate.count();
        for (user, client) in clients.iter().cycle().take(100).enumerate() {
            client
                .send(Request::post("/infer", "{}").header("x-user-id", user.to_string()))
                .await?;
        }
        Ok(stand.candidate.count() > before)
    };
    // The other worker learns of it on its next tick.
    until("no worker asks the candidate", async || Ok(!reaches_candidate().await?)).await?;

    stand.update(&json!({"error_rate": 6}), artifact::crashing_wasm()).await?;
    ensure!(!reaches_candidate().await?, "forgotten by an update\n{}", stand.envoy.report().await);

    // On each worker a request that crashes the filter; a new one is loaded for the next.
    for _ in 0..8 {
        let crash =
            Request::post("/infer", "{}").header("x-user-id", "1").header("x-test-crash", "1");
        Client::new(stand.addr).send(crash).await.ok();
    }
    let crashes = stand.stat("wasm.*vm_reload").await?;
    sleep(Duration::from_millis(1500)).await;
    ensure!(!reaches_candidate().await?, "forgotten by a crash\n{}", stand.envoy.report().await);
    let reloads = stand.stat("wasm.*vm_reload_success").await?;
    ensure!(
        reloads > 0,
        "nothing crashed: {crashes} reloads tried\n{}",
        stand.envoy.report().await
    );

    // The same module with another byte in a custom section is other code to Envoy.
    let mut other = fs::read(artifact::wasm())?;
    other.extend([0, 2, 1, b'x']);
    let path = stand.dir.path().join("other.wasm");
    fs::write(&path, other)?;
    stand.update(&json!({"error_rate": 6}), &path).await?;
    ensure!(!reaches_candidate().await?, "forgotten by new code\n{}", stand.envoy.report().await);
    // The last instance of the old code sets the gauges to zero, until one of the new code comes
    // into force.
    until("the state is published", async || Ok(stand.state().await? == 2.0)).await?;
    stand.envoy.stop().await
}
