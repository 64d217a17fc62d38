//! The testbed: a real Envoy with the filter, and a model stub for each variant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use sidetrack::config::{self, Node};
use sidetrack::plan::{Experiment, Plan, VariantId};
use sidetrack_lab::{Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, first_free_port};
use tempfile::TempDir;

use crate::render;
use crate::yaml;

/// The quick start's experiment.
const EXPERIMENT: &str = include_str!("../../../envoy/experiment.yaml");

/// The largest request body, in bytes, that failover keeps for the second attempt.
const FAILOVER_BUFFER: u32 = 1 << 20;

/// How often a start is repeated after another process took the chosen port.
const START_ATTEMPTS: u32 = 3;

/// The inputs of a start.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) wasm: PathBuf,
    pub(crate) envoy: Option<PathBuf>,
    pub(crate) workers: u32,
    pub(crate) listen: Bind,
    pub(crate) admin: Bind,
    pub(crate) variation: Variation,
}

/// An address for Envoy to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// This address; port 0 is any free one.
    Exact(SocketAddr),
    /// This address, or the next free port.
    FirstFree(SocketAddr),
}

/// How the experiment differs from the quick start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variation {
    /// How long a breaker stays open.
    pub(crate) open_for: Option<&'static str>,
    /// Failed requests of a candidate go to the baseline as well.
    pub(crate) failover: bool,
}

/// The running processes. [`Testbed::stop`] ends them in order; dropping it kills them.
pub(crate) struct Testbed {
    pub(crate) plan: Plan,
    /// In the order of the variants.
    pub(crate) models: Vec<ModelStub>,
    pub(crate) envoy: Envoy,
    /// Envoy's release and worker threads.
    pub(crate) version: String,
    pub(crate) workers: u32,
    /// The address of Envoy's listener.
    pub(crate) addr: SocketAddr,
    pub(crate) client: Client,
    dir: TempDir,
}

impl Bind {
    fn resolve(self) -> anyhow::Result<SocketAddr> {
        match self {
            // Envoy sets SO_REUSEPORT: without this test, two Envoys would share the port.
            Self::Exact(addr) => match TcpListener::bind(addr) {
                Ok(_) => Ok(addr),
                Err(error) => anyhow::bail!(
                    "cannot listen on {addr}: {error}\n  hint: choose another port, or 0 for any free one"
                ),
            },
            Self::FirstFree(addr) => {
                Ok(SocketAddr::new(addr.ip(), first_free_port(addr.ip(), addr.port())?))
            }
        }
    }
}

/// The experiment file of the demo, as text tree and as plan.
pub(crate) fn experiments(variation: Variation) -> anyhow::Result<(Node, Plan)> {
    let mut node: Node = yaml::parse(EXPERIMENT).map_err(anyhow::Error::msg)?;
    if let Some(time) = variation.open_for {
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

impl Testbed {
    /// Starts the models and Envoy, and returns when Envoy is ready.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let binary = envoy(options.envoy.as_deref())?;
        let wasm = wasm(&options.wasm)?;
        let (node, plan) = experiments(options.variation)?;
        let dir = tempfile::Builder::new().prefix("sidetrack-demo-").tempdir()?;
        let experiment = plan.experiments.first().context("the demo's file has no experiment")?;
        let mut models = Vec::new();
        let mut endpoints = Vec::new();
        for (index, variant) in experiment.variants.iter().enumerate() {
            // A model's name is its version: 1.0.0, 2.0.0.
            let model = ModelStub::start(&format!("{}.0.0", index + 1)).await?;
            model.record(false);
            let cluster = variant.cluster.as_ref().unwrap_or(&variant.name);
            let address = model.addr().into();
            endpoints.push(render::Endpoint::plain(cluster, address));
            models.push(model);
        }
        let bootstrap = |listen: SocketAddr, admin: SocketAddr| {
            let options = render::Options {
                wasm: wasm.to_string_lossy().into_owned(),
                endpoint: endpoints.clone(),
                listen: listen.into(),
                admin: admin.into(),
                failover: options
                    .variation
                    .failover
                    .then(|| render::Failover { methods: Vec::new(), buffer: FAILOVER_BUFFER }),
                access_log: exposures_in(&dir).to_string_lossy().into_owned(),
                ..render::Options::default()
            };
            render::bootstrap(&plan, &node, &options)
        };
        let mut attempt = 1;
        let envoy = loop {
            let bootstrap = bootstrap(options.listen.resolve()?, options.admin.resolve()?)?;
            let mut start = EnvoyOptions::new(binary.clone(), bootstrap);
            start.concurrency = options.workers;
            // The default flush interval of the access log is 10 s.
            start.extra_args = ["--file-flush-interval-msec", "500"].map(String::from).to_vec();
            match Envoy::start(start).await {
                Err(error)
                    if attempt < START_ATTEMPTS && format!("{error:#}").contains("cannot bind") =>
                {
                    attempt += 1;
                }
                started => break started?,
            }
        };
        let ip = match options.listen {
            Bind::Exact(addr) | Bind::FirstFree(addr) => addr.ip(),
        };
        let addr = reachable(ip, envoy.listener_port("predictors").await?);
        let version = envoy.version().await?.unwrap_or_default();
        let (workers, client) = (options.workers, Client::new(addr));
        Ok(Self { plan, models, envoy, version, workers, addr, client, dir })
    }

    /// The demo's experiment.
    #[expect(clippy::expect_used, reason = "`start` checks that it exists")]
    pub(crate) fn experiment(&self) -> &Experiment {
        self.plan.experiments.first().expect("an experiment")
    }

    /// The first candidate.
    pub(crate) fn candidate(&self) -> VariantId {
        let experiment = self.experiment();
        experiment.candidates().next().unwrap_or(experiment.baseline)
    }

    /// The path of the exposure log: one JSON line per request.
    pub(crate) fn exposures(&self) -> PathBuf {
        exposures_in(&self.dir)
    }

    /// Ends Envoy, then the models, and removes the files.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
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
    let hint = "hint: `make wasm` builds it, or pass its path with --wasm";
    ensure!(path.is_file(), "no filter module at {}\n{hint}", path.display());
    path.canonicalize().with_context(|| format!("finding {}", path.display()))
}

fn exposures_in(dir: &TempDir) -> PathBuf {
    dir.path().join("exposures.jsonl")
}

/// The address at which a listener on all addresses is reached from this machine.
const fn reachable(ip: IpAddr, port: u16) -> SocketAddr {
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, port)
}
