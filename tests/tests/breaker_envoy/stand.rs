//! An Envoy that the command configured, with a breaker and two models.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack_lab::{
    Envoy, EnvoyBinary, EnvoyOptions, Load, LoadOptions, ModelStub, Request, prometheus_value,
};
use sidetrack_tests::artifact;
use sidetrack_tests::world::sidetrack_command;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::answers::Answers;
use crate::fault::{Callers, Fault, Protocol};

pub(crate) const RATE: f64 = 600.0;
pub(crate) const BASELINE: &str = "baseline-predictor";
pub(crate) const CANDIDATE: &str = "enhanced-predictor";

/// The filter that translates grpc-web.
const GRPC_WEB: &str = r#"          - name: envoy.filters.http.grpc_web
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb
"#;

/// An Envoy with the breaker, and the two models behind it.
pub(crate) struct Stand {
    pub(crate) envoy: Envoy,
    pub(crate) addr: SocketAddr,
    pub(crate) baseline: ModelStub,
    pub(crate) candidate: ModelStub,
    pub(crate) watched: PathBuf,
    /// What the bootstrap was rendered with.
    pub(crate) options: Vec<String>,
    pub(crate) dir: TempDir,
}

pub(crate) fn experiment(breaker: &Value) -> Value {
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
    pub(crate) async fn start(breaker: &Value, more: &[&str]) -> Result<Self> {
        Self::with_module(breaker, more, artifact::wasm()).await
    }

    pub(crate) async fn with_module(breaker: &Value, more: &[&str], wasm: &Path) -> Result<Self> {
        Self::with_bootstrap(breaker, more, wasm, 2, |text| text).await
    }

    /// What measures a fault: with translation of grpc-web, and without Envoy's limits on requests
    /// in flight, which long streams reach.
    pub(crate) async fn for_fault(fault: Fault, workers: u32) -> Result<Self> {
        let options: &[&str] = match fault.protocol() {
            Protocol::Http1 => &[],
            Protocol::Grpc | Protocol::GrpcWeb => &["--upstream-protocol", "http2"],
        };
        let with_grpc_web = |text: String| {
            text.replacen("http_filters:\n", &format!("http_filters:\n{GRPC_WEB}"), 1)
        };
        let (breaker, wasm) = (fault.breaker(), artifact::wasm());
        let stand = Self::with_bootstrap(&breaker, options, wasm, workers, with_grpc_web).await?;
        stand.baseline.set(fault.health());
        stand.candidate.set(fault.health());
        Ok(stand)
    }

    async fn with_bootstrap(
        breaker: &Value,
        more: &[&str],
        wasm: &Path,
        workers: u32,
        change: impl FnOnce(String) -> String,
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
        let bootstrap = change(stand(&more)?);
        let mut options = EnvoyOptions::new(EnvoyBinary::find()?, bootstrap);
        options.concurrency = workers;
        let envoy = Envoy::start(options).await?;
        let addr = (Ipv4Addr::LOCALHOST, envoy.listener_port("predictors").await?).into();
        Ok(Self { envoy, addr, baseline, candidate, watched, options: more, dir })
    }

    /// Gives Envoy another configuration or module, and waits until it is in force.
    pub(crate) async fn update(&self, breaker: &Value, wasm: &Path) -> Result<()> {
        const RELOADS: &str = "extension_config_discovery.http_filter.sidetrack.config_reload";
        let before = self.stat(RELOADS).await?;
        let text =
            render(self.dir.path(), breaker, wasm, &self.watched, &filter_only(&self.options))?;
        let next = self.dir.path().join("next.yaml");
        fs::write(&next, text)?;
        fs::rename(&next, &self.watched)?;
        until("the update is in force", async || Ok(self.stat(RELOADS).await? > before)).await
    }

    pub(crate) async fn stat(&self, name: &str) -> Result<i64> {
        Ok(self.envoy.stats(name).await?.values().sum())
    }

    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let text = self.envoy.prometheus().await?;
        prometheus_value(&text, name, labels)
            .with_context(|| format!("no {name} {labels:?} in:\n{text}"))
    }

    pub(crate) async fn state(&self) -> Result<f64> {
        self.metric("ab_test_breaker_state", &[("model_name", CANDIDATE)]).await
    }

    pub(crate) async fn trips(&self) -> Result<f64> {
        self.metric("ab_test_breaker_trips_total", &[("model_name", CANDIDATE)]).await
    }

    /// All workers have seen requests; what one of them does alone would be faster.
    pub(crate) async fn all_workers_took_part(&self, workers: u32) -> Result<()> {
        self.each_worker_has(workers, i64::from(64 / workers)).await
    }

    /// So many workers have had at least so many connections each.
    pub(crate) async fn each_worker_has(&self, workers: u32, least: i64) -> Result<()> {
        let connections =
            self.envoy.stats(r"^listener\..*\.worker_\d+\.downstream_cx_total$").await?;
        let enough = connections.values().filter(|&&count| count >= least).count();
        ensure!(u32::try_from(enough)? == workers, "{connections:?}");
        Ok(())
    }

    /// The breaker is open after one trip, which the log reports once.
    pub(crate) async fn has_tripped_once(&self) -> Result<()> {
        let log = self.envoy.log();
        let lines = log.matches("the breaker opens").count();
        let (state, trips) = (self.state().await?, self.trips().await?);
        ensure!(
            state == 2.0 && trips == 1.0 && lines == 1,
            "state {state}, {trips} trips, {lines} lines\n{}",
            self.envoy.report().await
        );
        Ok(())
    }

    /// The times at which requests have reached the candidate since this moment.
    pub(crate) fn arrivals(&self, since: Instant) -> Vec<Instant> {
        let seen = self.candidate.requests();
        let mut arrivals: Vec<Instant> =
            seen.iter().map(|seen| seen.at).filter(|&at| at > since).collect();
        arrivals.sort();
        arrivals
    }

    /// Sends requests of a few thousand users until it is stopped.
    pub(crate) fn load(&self, answers: &Answers) -> Result<Load> {
        Load::run(self.requests(Protocol::Http1, answers))
    }

    /// Sends these requests at this rate until it is stopped.
    pub(crate) fn load_of(
        &self,
        rate: f64,
        answers: &Answers,
        make: impl Fn(u64) -> Request + Send + Sync + 'static,
    ) -> Result<Load> {
        let mut options = LoadOptions::new(self.addr, rate, make);
        options.connections = 64;
        let answers = answers.clone();
        options.on_answer = Arc::new(move |_, _, answer| answers.take(answer));
        Load::run(options)
    }

    /// As [`Self::load`], but as the callers of a fault do it.
    pub(crate) fn load_for(
        &self,
        fault: Fault,
        callers: Callers,
        answers: &Answers,
    ) -> Result<Load> {
        let mut options = self.requests(fault.protocol(), answers);
        options.connections = fault.connections(callers);
        options.rate_per_second = fault.rate(callers);
        options.timeout = fault.patience(callers);
        Load::run(options)
    }

    fn requests(&self, protocol: Protocol, answers: &Answers) -> LoadOptions {
        let content_type = match protocol {
            Protocol::Http1 => "application/json",
            Protocol::Grpc => "application/grpc",
            Protocol::GrpcWeb => "application/grpc-web+proto",
        };
        let make = move |n: u64| {
            let user = n.wrapping_mul(2_654_435_761) % 5000;
            Request::post("/v2/models/forecast/infer", "{}")
                .header("x-user-id", user.to_string())
                .header("content-type", content_type)
        };
        let mut options = LoadOptions::new(self.addr, RATE, make);
        options.connections = 256;
        options.http2 = protocol == Protocol::Grpc;
        let answers = answers.clone();
        options.on_answer = Arc::new(move |_, _, answer| answers.take(answer));
        options
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
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
    until_within(Duration::from_secs(10), what, holds).await
}

/// Waits until something holds, for this time at most.
pub(crate) async fn until_within(
    limit: Duration,
    what: &str,
    holds: impl AsyncFn() -> Result<bool>,
) -> Result<()> {
    let begun = Instant::now();
    while !holds().await? {
        ensure!(begun.elapsed() < limit, "after {limit:?} still not: {what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
