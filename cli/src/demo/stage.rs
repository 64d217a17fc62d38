//! The stage: an Envoy with the filter, and a model server for each variant. All of it is real but the models.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::Value;
use sidetrack::config::{self, Node};
use sidetrack::names::metric;
use sidetrack::plan::{Experiment, Plan, VariantId};
use sidetrack_lab::{Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub};
use tempfile::TempDir;

use super::Args;
use super::readings::Readings;
use crate::render::{Options, bootstrap};
use crate::yaml;

/// The quick start's experiment.
const EXPERIMENT: &str = include_str!("../../../envoy/experiment.yaml");

/// Everything that runs while the demo does. Dropping it ends it all; [`Stage::stop`] does so in good order.
pub(super) struct Stage {
    pub(super) set: Set,
    pub(super) plan: Plan,
    /// In the order of the variants.
    pub(super) models: Vec<ModelStub>,
    pub(super) envoy: Envoy,
    /// Envoy's worker threads and version.
    pub(super) workers: u32,
    pub(super) version: String,
    /// Where Envoy takes requests.
    pub(super) addr: SocketAddr,
    pub(super) client: Client,
    dir: TempDir,
}

/// The options of `sidetrack render envoy`, which writes the demo's bootstrap.
#[derive(Parser)]
struct Rendering {
    #[command(flatten)]
    options: Options,
}

/// How a stage differs from the quick start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Set {
    /// How long a breaker stays open.
    pub(super) open_for: Option<&'static str>,
    /// A request that fails at a candidate goes to the baseline as well.
    pub(super) failover: bool,
}

/// The demo's experiments, as written and as meant.
pub(super) fn experiments(set: Set) -> anyhow::Result<(Node, Plan)> {
    let mut node: Node = yaml::parse(EXPERIMENT).map_err(anyhow::Error::msg)?;
    if let Some(time) = set.open_for {
        let breaker = Node::Map(vec![("open_for".to_owned(), Node::Text(time.to_owned()))]);
        first_experiment(&mut node)
            .context("the quick start has no experiment")?
            .push(("breaker".to_owned(), breaker));
    }
    let plan = config::parse(&node).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    Ok((node, plan))
}

fn first_experiment(node: &mut Node) -> Option<&mut Vec<(String, Node)>> {
    let Node::Map(keys) = node else { return None };
    let (_, experiments) = keys.iter_mut().find(|(key, _)| key == "experiments")?;
    let Node::List(experiments) = experiments else { return None };
    let Node::Map(keys) = experiments.first_mut()? else { return None };
    Some(keys)
}

impl Stage {
    /// Starts everything and returns when Envoy is ready.
    pub(super) async fn start(args: &Args, set: Set) -> anyhow::Result<Self> {
        let binary = envoy(args.envoy.as_deref())?;
        let wasm = wasm(&args.wasm)?;
        let (node, plan) = experiments(set)?;
        let dir = tempfile::Builder::new().prefix("sidetrack-demo-").tempdir()?;
        let experiment = plan.experiments.first().context("the demo's file has no experiment")?;
        let mut rendering = vec!["render".to_owned()];
        let mut render = |option: &str, value: String| rendering.extend([option.to_owned(), value]);
        let mut models = Vec::new();
        for (index, variant) in experiment.variants.iter().enumerate() {
            // The models answer with their version: 1.0.0, 2.0.0.
            let model = ModelStub::start(&format!("{}.0.0", index + 1)).await?;
            model.record(false);
            let cluster = variant.cluster.as_ref().unwrap_or(&variant.name);
            render("--endpoint", format!("{cluster}={}", model.addr()));
            models.push(model);
        }
        render("--wasm", wasm.to_string_lossy().into_owned());
        render("--listen", args.listen.to_string());
        render("--admin", args.admin.to_string());
        render("--access-log", log_in(&dir).to_string_lossy().into_owned());
        if set.failover {
            rendering.push("--failover".to_owned());
        }
        let bootstrap = bootstrap(&plan, &node, &Rendering::try_parse_from(rendering)?.options)?;
        let mut options =
            EnvoyOptions { concurrency: args.workers, ..EnvoyOptions::new(binary, bootstrap) };
        // Envoy keeps lines of the access log for 10 s otherwise.
        options.extra_args = ["--file-flush-interval-msec", "500"].map(String::from).to_vec();
        let envoy = Envoy::start(options).await?;
        let addr = reachable(args.listen.ip(), envoy.listener_port("predictors").await?);
        let version = version(&envoy.admin_get("/server_info").await?).unwrap_or_default();
        let (workers, client) = (args.workers, Client::new(addr));
        Ok(Self { set, plan, models, envoy, workers, version, addr, client, dir })
    }

    /// The experiment that is shown.
    #[expect(clippy::expect_used, reason = "the start made sure that there is one")]
    pub(super) fn experiment(&self) -> &Experiment {
        self.plan.experiments.first().expect("an experiment")
    }

    /// The file with a line for each request: who got what.
    pub(super) fn exposures(&self) -> PathBuf {
        log_in(&self.dir)
    }

    /// The first candidate.
    pub(super) fn candidate(&self) -> VariantId {
        let experiment = self.experiment();
        experiment.candidates().next().unwrap_or(experiment.baseline)
    }

    /// What Envoy's own metrics and the models say so far.
    pub(super) async fn readings(&self) -> anyhow::Result<Readings> {
        let page =
            self.envoy.admin_get(&format!("/stats/prometheus?filter={}", metric::PREFIX)).await?;
        Ok(Readings::of(self, &page))
    }

    /// Ends Envoy, then the models, and removes the files.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.envoy.stop().await?;
        Ok(self.dir.close()?)
    }
}

fn envoy(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(path) = given else { return EnvoyBinary::find() };
    ensure!(path.is_file(), "--envoy is {}, which is not a file", path.display());
    Ok(path.to_owned())
}

fn wasm(path: &Path) -> anyhow::Result<PathBuf> {
    let hint = "hint: `make wasm` builds it, or name it with --wasm";
    ensure!(path.is_file(), "no filter module at {}\n{hint}", path.display());
    path.canonicalize().with_context(|| format!("finding {}", path.display()))
}

fn log_in(dir: &TempDir) -> PathBuf {
    dir.path().join("exposures.jsonl")
}

/// Where a listener on all addresses is reached from here.
const fn reachable(ip: IpAddr, port: u16) -> SocketAddr {
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, port)
}

/// The release in Envoy's `commit/1.40.0/Clean/RELEASE/BoringSSL`.
fn version(server_info: &str) -> Option<String> {
    let info: Value = serde_json::from_str(server_info).ok()?;
    Some(info.get("version")?.as_str()?.split('/').nth(1)?.to_owned())
}
