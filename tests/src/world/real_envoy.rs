//! A real Envoy as a world: the bootstrap that `sidetrack render envoy --watch` writes, and a stub
//! for each cluster.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sidetrack::names::metric;
use sidetrack::plan::Plan;
use sidetrack_lab::{
    self as lab, Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request, prometheus_value,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{Behavior, Exchange, Lines, Received, Response};
use crate::artifact;

/// Names each request, so that it is found again at the model.
const ID: &str = "x-test-id";
/// How the statistics of the filter's discovery begin.
const DISCOVERY: &str = "extension_config_discovery.http_filter.sidetrack.";
/// How long requests may stay active after a test has had their answers.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);
/// How long Envoy may take to see a changed file.
const UPDATE_DEADLINE: Duration = Duration::from_secs(5);

/// An Envoy and the models behind it.
pub struct RealEnvoy {
    /// The process.
    pub envoy: Envoy,
    /// Where it listens.
    pub addr: SocketAddr,
    /// A stub for each cluster.
    pub stubs: BTreeMap<String, ModelStub>,
    mirrors: Vec<String>,
    clients: Vec<Client>,
    next: AtomicUsize,
    /// Requests that reached a model and that the filter had decided, so that it counts them.
    decided: AtomicUsize,
    watched: PathBuf,
    /// A discovery file up to its configuration.
    head: String,
    dir: TempDir,
}

impl RealEnvoy {
    pub(super) async fn start(
        file: &Value,
        routes: &Plan,
        configuration: &str,
        change: fn(String) -> String,
        options: &[&str],
        workers: u32,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("sidetrack-world-").tempdir()?;
        let mut stubs = BTreeMap::new();
        for cluster in clusters(routes) {
            stubs.insert(cluster.clone(), ModelStub::start(&cluster).await?);
        }
        let experiments = dir.path().join("experiments.json");
        fs::write(&experiments, file.to_string())?;
        let watched = dir.path().join("filter.yaml");
        let mut arguments: Vec<String> = [
            "render",
            "envoy",
            &text(&experiments),
            "--wasm",
            &text(artifact::wasm()),
            "--watch",
            &text(&watched),
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--access-log",
            &text(&dir.path().join("access.log")),
        ]
        .map(ToOwned::to_owned)
        .to_vec();
        arguments.extend(options.iter().map(ToString::to_string));
        for (cluster, stub) in &stubs {
            arguments.extend(["--endpoint".to_owned(), format!("{cluster}={}", stub.addr())]);
        }
        let bootstrap = change(sidetrack_command(&arguments)?);
        arguments.push("--filter-only".to_owned());
        let discovery = sidetrack_command(&arguments)?;
        let head = discovery
            .rsplit_once("value: |")
            .context("no configuration in the discovery file")?
            .0
            .to_owned();
        // A good file goes in as it was written, another one in place of it.
        let written = file.to_string();
        let as_written = configuration == written;
        fs::write(&watched, if as_written { discovery } else { with(&head, configuration) })?;
        let mut options = EnvoyOptions::new(EnvoyBinary::find()?, bootstrap);
        options.concurrency = workers;
        let envoy = Envoy::start(options).await?;
        let addr = SocketAddr::from(([127, 0, 0, 1], envoy.listener_port("predictors").await?));
        // Several connections, so that both workers get some.
        let clients =
            (0..6).map(|_| Client::new(addr).with_timeout(Duration::from_secs(10))).collect();
        let mirrors = routes
            .experiments
            .iter()
            .filter_map(|e| Some(e.mirror.as_ref()?.cluster.clone()))
            .collect();
        Ok(Self {
            envoy,
            addr,
            stubs,
            mirrors,
            clients,
            next: AtomicUsize::new(0),
            decided: AtomicUsize::new(0),
            watched,
            head,
            dir,
        })
    }

    #[expect(clippy::expect_used, reason = "a harness fails loudly")]
    pub(super) async fn send(&self, request: Request) -> Exchange {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let client = self.clients.get(number % self.clients.len()).expect("a client");
        let id = format!("send-{number}");
        let answer = client.send(request.clone().header(ID, &id)).await.expect("an answer");
        let received = self.arrived(&request, &id);
        let response = Response { status: answer.status, headers: answer.headers };
        Exchange { sent: request, response, model: received }
    }

    /// What a model received of the request with this identifier. Notes whether the filter counts it.
    fn arrived(&self, sent: &Request, id: &str) -> Option<Received> {
        let models =
            self.stubs.values().filter(|stub| !self.mirrors.contains(&stub.name().to_owned()));
        let mut arrivals = models.filter_map(|stub| {
            let seen = stub
                .requests()
                .into_iter()
                .rev()
                .find(|seen| seen.header(ID) == Some(id.as_bytes()))?;
            let headers = seen.headers.into_iter().filter(|(name, _)| name != ID).collect();
            Some(Received { cluster: stub.name().to_owned(), path: seen.path, headers })
        });
        let received = arrivals.next();
        let another = arrivals.next();
        assert!(another.is_none(), "the request reached two models: {received:?}, {another:?}");
        // Whatever the prefix is.
        let names_experiment =
            |headers: &Lines| headers.iter().any(|(name, _)| name.ends_with("-experiment"));
        if !names_experiment(&sent.headers)
            && received.as_ref().is_some_and(|model| names_experiment(&model.headers))
        {
            self.decided.fetch_add(1, Ordering::Relaxed);
        }
        received
    }

    #[expect(clippy::expect_used, reason = "a harness fails loudly")]
    pub(super) async fn hang_up(&self, request: Request) {
        let before: u64 = self.stubs.values().map(ModelStub::count).sum();
        for stub in self.stubs.values() {
            stub.set(lab::Behavior::Delay(Duration::from_secs(20)));
        }
        let client = Client::new(self.addr);
        let id = format!("hang-up-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let arrival = async {
            while self.stubs.values().map(ModelStub::count).sum::<u64>() == before {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = client.send(request.clone().header(ID, &id)) => {}
            arrived = timeout(Duration::from_secs(5), arrival) => arrived.expect("the request at a model"),
        }
        drop(client);
        for stub in self.stubs.values() {
            stub.set(lab::Behavior::Healthy);
        }
        self.arrived(&request, &id);
    }

    #[expect(clippy::expect_used, reason = "a harness fails loudly")]
    pub(super) fn model(&self, cluster: &str, behaviour: Behavior) {
        self.stubs.get(cluster).expect("a cluster of the file").set(match behaviour {
            Behavior::Healthy => lab::Behavior::Healthy,
            Behavior::Status(status) => lab::Behavior::Status(status),
            Behavior::Grpc(code) => lab::Behavior::GrpcTrailersOnly(code),
            Behavior::Reset => lab::Behavior::Reset,
        });
    }

    #[expect(clippy::expect_used, reason = "a harness fails loudly")]
    pub(super) fn model_responds_with(
        &self,
        cluster: &str,
        headers: &[(&'static str, &'static str)],
    ) {
        self.stubs.get(cluster).expect("a cluster of the file").respond_with(headers);
    }

    pub(super) fn received(&self, cluster: &str) -> u64 {
        self.stubs.get(cluster).map_or(0, ModelStub::count)
    }

    pub(super) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        self.settle().await;
        self.published(name, labels).await
    }

    /// What Envoy's statistics contain now.
    #[expect(clippy::expect_used, reason = "a harness fails loudly")]
    async fn published(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let text = self.envoy.prometheus().await.expect("Envoy's statistics");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are whole and small"
        )]
        prometheus_value(&text, name, labels).map(|value| value.round() as u64)
    }

    /// Waits until no request is under way, and the filter has published those that it decided: the
    /// gauge falls a moment before the filter's last callback, and counts are published on ticks.
    ///
    /// # Panics
    ///
    /// If requests are still active, or not counted, after [`SETTLE_DEADLINE`].
    #[expect(clippy::expect_used, reason = "a harness fails loudly")]
    async fn settle(&self) {
        let begun = Instant::now();
        let decided = self.decided.load(Ordering::Relaxed) as u64;
        loop {
            let active = self.envoy.stats(r"^http\.predictors\.downstream_rq_active$").await;
            let active = active.expect("Envoy's statistics");
            // Requests with an override are counted apart.
            let requests = self.published(metric::REQUESTS, &[]).await.unwrap_or(0);
            let counted = requests + self.published(metric::OVERRIDES, &[]).await.unwrap_or(0);
            let is_idle = !active.is_empty() && active.values().all(|active| *active == 0);
            if is_idle && counted >= decided {
                break;
            }
            assert!(
                begun.elapsed() < SETTLE_DEADLINE,
                "requests are still active ({active:?}), or not counted: {counted} of {decided}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Gives the filter a configuration, good or bad, and does not wait for what comes of it.
    ///
    /// # Panics
    ///
    /// If the files cannot be written.
    #[expect(clippy::expect_used, reason = "a harness fails loudly")]
    pub fn push(&self, configuration: &str) {
        let next = self.dir.path().join("next.yaml");
        fs::write(&next, with(&self.head, configuration)).expect("a file");
        fs::rename(&next, &self.watched).expect("a file");
    }

    #[expect(clippy::panic, reason = "a harness fails loudly")]
    pub(super) async fn configure(&self, configuration: &str) -> bool {
        let before = self.discovery().await;
        self.push(configuration);
        let begun = Instant::now();
        while begun.elapsed() < UPDATE_DEADLINE {
            sleep(Duration::from_millis(10)).await;
            let now = self.discovery().await;
            let rose = |name: &str| now.get(name) > before.get(name);
            match (rose("config_reload"), rose("config_fail") || rose("update_rejected")) {
                (_, true) => return false,
                (true, _) => {
                    // The workers have it when the count has risen; this is for the rounding.
                    sleep(Duration::from_millis(20)).await;
                    return true;
                }
                _ => {}
            }
        }
        panic!("Envoy did not look at the changed file: {before:?}, {:?}", self.discovery().await)
    }

    async fn discovery(&self) -> BTreeMap<String, i64> {
        let stats = self
            .envoy
            .stats(&format!("^{}", DISCOVERY.replace('.', r"\.")))
            .await
            .unwrap_or_default();
        stats.into_iter().map(|(name, value)| (name.replacen(DISCOVERY, "", 1), value)).collect()
    }

    /// Where Envoy writes its access log.
    #[must_use]
    pub fn access_log_path(&self) -> PathBuf {
        self.dir.path().join("access.log")
    }

    /// The access log's lines so far.
    #[must_use]
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.access_log_path()).unwrap_or_default()
    }
}

/// Runs the command and returns what it prints.
///
/// # Errors
///
/// If it fails, with what it says.
pub fn sidetrack_command<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Result<String> {
    let output =
        Command::new(artifact::cli()).args(arguments).output().context("starting sidetrack")?;
    if !output.status.success() {
        bail!("sidetrack {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("sidetrack wrote no text")
}

/// Every cluster of a plan.
fn clusters(plan: &Plan) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for experiment in &plan.experiments {
        names.extend(
            experiment.variants.iter().map(|v| v.cluster.clone().unwrap_or_else(|| v.name.clone())),
        );
        names.extend(experiment.mirror.iter().map(|mirror| mirror.cluster.clone()));
    }
    names.sort();
    names.dedup();
    names
}

/// A discovery file with this configuration.
fn with(head: &str, configuration: &str) -> String {
    format!("{head}value: {}\n", Value::from(configuration))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
