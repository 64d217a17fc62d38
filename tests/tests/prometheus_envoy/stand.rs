//! The real parts: Envoy with the filter, three models, a load whose answers are remembered,
//! Prometheus with the rendered rules, and a page with what the models' owners publish.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sidetrack::quantity::Timestamp;
use sidetrack_lab::{
    Envoy, EnvoyBinary, EnvoyOptions, Load, LoadOptions, ModelStub, Request, prometheus_value,
};
use sidetrack_tests::artifact;
use sidetrack_tests::prometheus::Prometheus;
use sidetrack_tests::world::sidetrack_command;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::sleep;

pub(crate) const BASELINE: &str = "baseline-predictor";
pub(crate) const CANDIDATE: &str = "enhanced-predictor";
pub(crate) const JOB: &str = "mesh";
/// How often Prometheus scrapes and evaluates, in seconds.
pub(crate) const INTERVAL: u32 = 1;
const RATE: f64 = 100.0;
const DEADLINE: Duration = Duration::from_secs(60);

/// What models' owners publish, as a textfile collector would serve it.
const OF_OWNERS: &str = r#"# TYPE ab_test_model_accuracy gauge
ab_test_model_accuracy{experiment="forecast",model_name="baseline-predictor"} 0.874
ab_test_model_accuracy{experiment="forecast",model_name="enhanced-predictor"} 0.913
# TYPE ab_test_business_impact gauge
ab_test_business_impact{experiment="forecast",model_name="baseline-predictor",metric_type="revenue_per_user"} 3.12
ab_test_business_impact{experiment="forecast",model_name="enhanced-predictor",metric_type="revenue_per_user"} 3.31
"#;

/// An answer as the generator saw it; texts are empty where a header was missing.
pub(crate) struct Answered {
    pub(crate) experiment: &'static str,
    pub(crate) status: u16,
    pub(crate) variant: String,
    pub(crate) assigned: String,
    pub(crate) phase: String,
    pub(crate) reason: String,
    pub(crate) has_unit: bool,
    pub(crate) seconds: f64,
}

pub(crate) struct Stand {
    pub(crate) envoy: Envoy,
    pub(crate) prometheus: Prometheus,
    pub(crate) baseline: ModelStub,
    pub(crate) candidate: ModelStub,
    pub(crate) mirror: ModelStub,
    /// What `render grafana` wrote.
    pub(crate) dashboard: Value,
    /// Seconds since 1970 when the load began.
    pub(crate) began: f64,
    answers: Arc<Mutex<Vec<Answered>>>,
    load: Mutex<Option<Load>>,
    dir: TempDir,
}

fn experiments(start: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of today")]
    let start = Timestamp::new((start * 1000.0) as u64).to_string();
    let variants = |weight: Option<u32>| {
        let mut candidate = json!({"name": CANDIDATE, "cluster": CANDIDATE});
        if let Some(weight) = weight {
            candidate["weight"] = json!(weight);
        }
        json!([{"name": BASELINE, "cluster": BASELINE}, candidate])
    };
    let phase = |name: &str, share: u32| json!({"name": name, "weights": {CANDIDATE: share}});
    let mut phases = [phase("canary", 20), phase("early", 35), phase("production", 50)];
    for phase in phases.iter_mut().take(2) {
        phase["for"] = json!("12s");
    }
    json!({"experiments": [
        {
            "name": "forecast", "match": {"path": {"prefix": "/v2/models/forecast"}},
            "unit": [{"header": "x-user-id"}], "baseline": BASELINE, "variants": variants(None),
            "rollout": {"start": start, "phases": phases},
            "breaker": {"slow": {"over": "200ms", "rate": 5}, "open_for": "5s"},
            "mirror": {"cluster": "traffic-mirror", "percent": 25},
            "overrides": {"header": "x-ab-force"},
        },
        {
            "name": "ranking", "match": {"path": {"prefix": "/v2/models/ranking"}},
            "unit": [{"header": "x-user-id"}], "missing_unit": "skip", "baseline": BASELINE, "variants": variants(Some(40)),
            "breaker": {"mode": "dry_run"},
        },
    ], "settings": {"debug": "allowed"}})
}

/// Of a hundred requests twenty ask the ranking, three have no unit and two come from a tester.
fn request(n: u64) -> (Request, &'static str, bool) {
    let experiment = if n % 5 == 4 { "ranking" } else { "forecast" };
    let user = n.wrapping_mul(2_654_435_761) % 5000;
    let request =
        Request::post(format!("/v2/models/{experiment}/infer"), "{}").header("x-ab-debug", "1");
    match n % 100 {
        7 | 42 | 64 => (request, experiment, false),
        11 | 83 => (
            request.header("x-user-id", user.to_string()).header("x-ab-force", CANDIDATE),
            experiment,
            true,
        ),
        _ => (request.header("x-user-id", user.to_string()), experiment, true),
    }
}

pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !holds().await? {
        ensure!(begun.elapsed() < DEADLINE, "after {DEADLINE:?} still not: {what}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

impl Stand {
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("sidetrack-observed-").tempdir()?;
        let baseline = ModelStub::start(BASELINE).await?;
        let candidate = ModelStub::start(CANDIDATE).await?;
        let mirror = ModelStub::start("traffic-mirror").await?;
        let file = dir.path().join("experiment.json").display().to_string();
        let log = dir.path().join("access.log").display().to_string();
        let wasm = artifact::wasm().display().to_string();
        let _built = artifact::cli();
        // All is built; Envoy and Prometheus should be there before the first phase ends.
        fs::write(&file, experiments(now() + 10.0).to_string())?;
        let mut arguments =
            vec!["render".to_owned(), "envoy".to_owned(), file.clone(), "--wasm".to_owned(), wasm];
        for pair in
            [["--listen", "127.0.0.1:0"], ["--admin", "127.0.0.1:0"], ["--access-log", &log]]
        {
            arguments.extend(pair.map(ToOwned::to_owned));
        }
        for stub in [&baseline, &candidate, &mirror] {
            arguments.extend(["--endpoint".to_owned(), format!("{}={}", stub.name(), stub.addr())]);
        }
        let mut options = EnvoyOptions::new(EnvoyBinary::find()?, sidetrack_command(&arguments)?);
        options.concurrency = 2;
        let envoy = Envoy::start(options).await?;
        let rules = sidetrack_command(&["render", "prometheus", &file, "--job", JOB])?;
        let prometheus =
            Prometheus::start(&configuration(envoy.admin_addr(), owners().await?), &rules).await?;
        let dashboard = sidetrack_command(&["render", "grafana", &file, "--job", JOB])?;
        // A counter's rise is seen from its first scrape on.
        until("Prometheus has scraped", async || {
            Ok(!prometheus.query("ab_test_requests_total").await?.is_empty())
        })
        .await?;
        let addr = (std::net::Ipv4Addr::LOCALHOST, envoy.listener_port("predictors").await?).into();
        let answers = Arc::default();
        let load = Mutex::new(Some(load(addr, &answers)?));
        let dashboard = serde_json::from_str(&dashboard)?;
        Ok(Self {
            envoy,
            prometheus,
            baseline,
            candidate,
            mirror,
            dashboard,
            began: now(),
            answers,
            load,
            dir,
        })
    }

    /// The experiment file.
    pub(crate) fn file(&self) -> String {
        self.dir.path().join("experiment.json").display().to_string()
    }

    /// Waits until requests are answered in a phase.
    pub(crate) async fn phase_begins(&self, phase: &str) -> Result<()> {
        until(phase, async || {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(answers.iter().any(|answer| answer.phase == phase))
        })
        .await
    }

    /// The state of the candidate's breaker in Envoy's metrics.
    pub(crate) async fn breaker(&self) -> Result<f64> {
        let labels = [("experiment", "forecast"), ("model_name", CANDIDATE)];
        let text = self.envoy.prometheus().await?;
        prometheus_value(&text, "ab_test_breaker_state", &labels).context("no breaker state")
    }

    /// Ends the load, and waits until Prometheus has seen all of it and the rules have been
    /// evaluated since.
    pub(crate) async fn finish(&self) -> Result<Vec<Answered>> {
        let load =
            self.load.lock().unwrap_or_else(PoisonError::into_inner).take().context("a load")?;
        let totals = load.stop().await;
        ensure!(totals.errors == 0, "requests without an answer: {totals:?}");
        let answers =
            std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        let expected =
            answers.iter().filter(|a| !a.variant.is_empty() && a.reason != "override").count();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let expected = expected as f64;
        for counter in ["ab_test_requests_total", "ab_test_response_time_seconds_count"] {
            until(&format!("{counter} has {expected} requests"), async || {
                Ok(self.prometheus.value(&format!("sum({counter}{{job=\"{JOB}\"}})")).await?
                    == Some(expected))
            })
            .await?;
        }
        let seen = now();
        until("the rules have been evaluated", async || {
            let newest = "min(timestamp(ab_test:sample_ratio:drift30m))";
            Ok(self
                .prometheus
                .value(newest)
                .await?
                .is_some_and(|time| time > seen + f64::from(INTERVAL)))
        })
        .await?;
        Ok(answers)
    }

    /// The series that a query has during the run, second by second.
    pub(crate) async fn over_time(&self, expr: &str) -> Result<Vec<Value>> {
        self.prometheus.query_range(expr, self.began, now(), INTERVAL.into()).await
    }

    /// Whether there is a number in any of these series; NaN is none.
    pub(crate) fn has_numbers(&self, series: &[Value]) -> bool {
        let is_number = |sample: &Value| sample[1].as_str().is_some_and(|value| value != "NaN");
        series.iter().any(|series| match series["values"].as_array() {
            Some(samples) => samples.iter().any(is_number),
            None => is_number(&series["value"]),
        })
    }
}

fn configuration(envoy: SocketAddr, owners: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: {INTERVAL}s, evaluation_interval: {INTERVAL}s}}\n\
         rule_files: [rules.yaml]\n\
         scrape_configs:\n\
         - {{job_name: {JOB}, metrics_path: /stats/prometheus, static_configs: [{{targets: [\"{envoy}\"]}}]}}\n\
         - {{job_name: models, static_configs: [{{targets: [\"{owners}\"]}}]}}\n"
    )
}

fn load(addr: SocketAddr, answers: &Arc<Mutex<Vec<Answered>>>) -> Result<Load> {
    let mut options = LoadOptions::new(addr, RATE, |n| request(n).0);
    options.connections = 64;
    let answers = Arc::clone(answers);
    options.on_answer = Arc::new(move |n, _, answer| {
        let Ok(answer) = answer else { return };
        let (_, experiment, has_unit) = request(n);
        let header = |name: &str| answer.header_text(name).unwrap_or_default();
        let variant = header("x-ab-variant");
        let assigned = Some(header("x-ab-assigned")).filter(|assigned| !assigned.is_empty());
        let answered = Answered {
            experiment,
            status: answer.status,
            assigned: assigned.unwrap_or_else(|| variant.clone()),
            variant,
            phase: header("x-ab-phase"),
            reason: header("x-ab-reason"),
            has_unit,
            seconds: answer.elapsed.as_secs_f64(),
        };
        answers.lock().unwrap_or_else(PoisonError::into_inner).push(answered);
    });
    Load::run(options)
}

/// Serves [`OF_OWNERS`] to whoever asks.
async fn owners() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // One read is the whole question, and a connection carries one.
            if stream.read(&mut [0; 4096]).await.is_ok() {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n";
                let answer =
                    format!("{head}content-length: {}\r\n\r\n{OF_OWNERS}", OF_OWNERS.len());
                stream.write_all(answer.as_bytes()).await.ok();
            }
        }
    });
    Ok(addr)
}
