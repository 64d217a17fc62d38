//! The testbed: a real Envoy with the filter, and a model stub for each variant.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use sidetrack::config::{self, Node};
use sidetrack::plan::{Experiment, Plan, VariantId};
use sidetrack_lab::{Client, Envoy, ModelStub};
use tempfile::TempDir;

use crate::filter::Filter;
use crate::local::{self, Local};
use crate::render;
use crate::yaml;

/// The quick start's experiment.
const EXPERIMENT: &str = include_str!("../../../envoy/experiment.yaml");

/// The largest request body, in bytes, that failover keeps for the second attempt.
const FAILOVER_BUFFER: u32 = 1 << 20;

/// The inputs of a start.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) filter: Filter,
    pub(crate) proxy: local::Options,
    pub(crate) variation: Variation,
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
        let (node, plan) = experiments(options.variation)?;
        let dir = tempfile::Builder::new().prefix("sidetrack-demo-").tempdir()?;
        let wasm = options.filter.find(dir.path())?;
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
        let Local { envoy, version, addr } = Local::start(&options.proxy, bootstrap).await?;
        let (workers, client) = (options.proxy.workers, Client::new(addr));
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

fn exposures_in(dir: &TempDir) -> PathBuf {
    dir.path().join("exposures.jsonl")
}
