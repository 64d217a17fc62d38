//! `render istio`: the manifests that put an experiment into an Istio mesh.
//!
//! The filter tags, a VirtualService routes by the tag, and the baseline is the last route, so that the mesh works
//! without the filter. Everything that has to be guessed has a default, so that the output is complete and valid, and
//! stands in the comment at its top, so that nobody applies a guess unseen. Not here: what is no resource of its own in
//! a cluster, the mesh's settings, which `--mesh-config` writes for Istio's Helm chart.

mod destination;
mod experiments;
pub(crate) mod page;
mod routes;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::exit::ExitStatus;
use crate::load::{self, Loaded};
use crate::out::Out;

/// Write the manifests of an experiment for Istio: the filter, the routes and the access log.
///
/// The filter tags requests with x-ab-variant, routes per variant do the rest, and the last route is the baseline. What
/// is not said by an option is guessed, and the comment at the top of the output lists the guesses.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render istio experiment.yaml --gateway istio-ingress/predictor-gateway --namespace models > ab.yaml\n  \
    sidetrack render istio experiment.yaml --topology sidecar --namespace models --selector app=frontend\n  \
    sidetrack render istio experiment.yaml --topology waypoint --namespace models --service predictor\n  \
    sidetrack render istio experiment.yaml --mesh-config > mesh.yaml    # once for the mesh: labels, log format")]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin.
    file: PathBuf,
    #[command(flatten)]
    options: Options,
    /// Write only the mesh's settings, as values for Istio's Helm chart istiod: metric labels and the access log's
    /// format.
    #[arg(long)]
    mesh_config: bool,
}

/// What the manifests need to know beside the experiments.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The proxies that run the filter.
    #[arg(long, value_enum, default_value = "gateway")]
    pub(crate) topology: Topology,
    /// The resource that brings the filter: WasmPlugin, or its successor in Istio 1.30 (alpha).
    #[arg(long, value_enum, default_value = "wasmplugin")]
    pub(crate) kind: Kind,
    /// Routes per variant, or one route whose cluster the filter's header names.
    #[arg(long, value_enum, default_value = "virtualservice")]
    pub(crate) route: Routing,
    /// The name of the resources.
    #[arg(long, default_value = "sidetrack", value_parser = name)]
    pub(crate) name: String,
    /// The namespace of the services and of the routes.
    #[arg(long, default_value = "default", value_parser = name)]
    pub(crate) namespace: String,
    /// The namespace of the proxies; the gateway's, else that of the routes, when left out.
    #[arg(long, value_name = "NAMESPACE", value_parser = name)]
    pub(crate) filter_namespace: Option<String>,
    /// A label of the proxies' pods; istio=ingressgateway for a gateway, every sidecar of the namespace for sidecars,
    /// when left out. May be repeated.
    #[arg(long, value_name = "LABEL=VALUE", value_parser = label)]
    pub(crate) selector: Vec<(String, String)>,
    /// The Gateway that takes the requests, as its VirtualServices name it.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = gateway)]
    pub(crate) gateway: Option<String>,
    /// A host that the routes are for; the hosts of the experiments, else the baseline's service, when left out. May be
    /// repeated.
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub(crate) host: Vec<String>,
    /// One service for all variants, told apart by subsets of its pods. Else each has a service of its cluster's name.
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub(crate) service: Option<String>,
    /// The label of the pods whose value is the subset's name.
    #[arg(long, value_name = "LABEL", default_value = "version", value_parser = label_key)]
    pub(crate) subset_label: String,
    /// The port of the services. Needed for services with several, and for --route envoyfilter.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Where a variant is, or what a mirror copies to, when the rules above do not fit. May be repeated.
    #[arg(long, value_name = "VARIANT=HOST[:PORT][/SUBSET]")]
    pub(crate) destination: Vec<destination::Mapping>,
    /// Where the proxies fetch the filter's image.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The digest of the image's manifest.
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub(crate) sha256: Option<String>,
    /// A Secret in the filter's namespace to fetch the image with.
    #[arg(long, value_name = "NAME")]
    pub(crate) pull_secret: Option<String>,
    /// What a proxy does that cannot fetch the filter, or in which it crashed.
    #[arg(long, value_enum, default_value = "open")]
    pub(crate) fail_strategy: FailStrategy,
    /// Leave out the EnvoyFilter that removes the filter's headers from what clients send. It needs Istio 1.29.
    #[arg(long)]
    pub(crate) no_guard: bool,
}

/// The proxies that run the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Topology {
    /// An ingress gateway.
    Gateway,
    /// The sidecars of callers, on their way out.
    Sidecar,
    /// A waypoint of ambient mode, before the services it serves.
    Waypoint,
}

/// The resource that brings the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Kind {
    #[value(name = "wasmplugin")]
    WasmPlugin,
    #[value(name = "trafficextension")]
    TrafficExtension,
}

/// What sends a request to its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Routing {
    /// A route per candidate that matches x-ab-variant.
    Virtualservice,
    /// One route, with the cluster from x-ab-cluster.
    Envoyfilter,
}

/// What a proxy does without a working filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailStrategy {
    /// Go on without it: everyone gets the baseline.
    Open,
    /// Load it again after a crash; but answer 403 to everything while it cannot be fetched. Istio 1.27.
    Reload,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let text = if args.mesh_config {
        page::mesh(&loaded.plan)?
    } else {
        manifests(&loaded, &args.options, false)?
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

/// All manifests as one text. `waves` gives them the order in which Argo CD applies them.
pub(crate) fn manifests(loaded: &Loaded, options: &Options, waves: bool) -> anyhow::Result<String> {
    possible(options)?;
    destination::known(&loaded.plan, options)?;
    experiments::possible(&loaded.plan)?;
    let carried = experiments::rewritten(loaded, options)?;
    page::manifests(&loaded.plan, &carried, options, waves)
}

/// Refuses options that cannot work together.
fn possible(options: &Options) -> anyhow::Result<()> {
    if options.route == Routing::Envoyfilter {
        if options.topology == Topology::Waypoint {
            bail!(
                "--route envoyfilter — found --topology waypoint; allowed: gateway, sidecar\n  hint: istiod does not \
                 patch a waypoint's routes. --route virtualservice needs no patch"
            );
        }
        if options.no_guard {
            bail!(
                "--route envoyfilter — found --no-guard; allowed: only with --route virtualservice\n  hint: while the \
                 filter is absent, a client's own header would choose any cluster of the mesh"
            );
        }
    }
    if options.topology == Topology::Waypoint && !options.selector.is_empty() {
        bail!(
            "--selector — found --topology waypoint; allowed: gateway, sidecar\n  hint: a waypoint ignores selectors. \
             The filter is bound to the service that callers address: name it with --host"
        );
    }
    if options.topology != Topology::Gateway && options.gateway.is_some() {
        bail!(
            "--gateway — found --topology sidecar or waypoint; allowed: gateway\n  hint: leave it out"
        );
    }
    Ok(())
}

fn name(text: &str) -> anyhow::Result<String> {
    anyhow::ensure!(destination::is_label(text), "allowed: {}", destination::LABEL);
    Ok(text.to_owned())
}

fn host(text: &str) -> anyhow::Result<String> {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let good = text == "*" || rest.split('.').all(destination::is_label);
    anyhow::ensure!(good, "allowed: a host name in lower case, or \"*.\" and one, or \"*\"");
    Ok(text.to_owned())
}

fn label_key(text: &str) -> anyhow::Result<String> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    anyhow::ensure!(
        !text.is_empty() && text.bytes().all(inside),
        "allowed: letters, digits, '-', '_', '.', '/'"
    );
    Ok(text.to_owned())
}

fn label(text: &str) -> anyhow::Result<(String, String)> {
    let (label, value) = text.split_once('=').context("write LABEL=VALUE")?;
    Ok((label_key(label)?, label_key(value)?))
}

fn gateway(text: &str) -> anyhow::Result<String> {
    let parts = text.split('/').map(destination::is_label).collect::<Vec<_>>();
    anyhow::ensure!(parts == [true, true], "write NAMESPACE/NAME");
    Ok(text.to_owned())
}

fn sha256(text: &str) -> anyhow::Result<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    anyhow::ensure!(hex, "a SHA-256 digest has 64 hexadecimal digits");
    Ok(text)
}
