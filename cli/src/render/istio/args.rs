//! The command line of `render istio`, which `render argocd` shares.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::destination::{self, Mapping};
use super::{FailStrategy, Kind, Options, Routing, Topology, manifests, page};
use crate::exit::ExitStatus;
use crate::load;
use crate::out::Out;

/// Write the Istio manifests of an experiment: the filter, the routes and the access log
///
/// The filter tags requests with x-ab-variant, a route per candidate matches the tag, and the last
/// route is the baseline. Values that no option sets are guessed. A comment at the top of the output
/// lists the guesses.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render istio experiment.yaml --namespace models \\\n    \
    --gateway istio-ingress/predictor-gateway > ab.yaml\n  \
    sidetrack render istio experiment.yaml --namespace models \\\n    \
    --topology sidecar --selector app=frontend\n  \
    sidetrack render istio experiment.yaml --namespace models \\\n    \
    --topology waypoint --service predictor\n\n\
    Once for the mesh, its metric labels and log format:\n  \
    sidetrack render istio experiment.yaml --mesh-config > mesh.yaml")]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin
    file: PathBuf,
    #[command(flatten)]
    flags: Flags,
    /// Write only the mesh's settings (metric labels and the format of the access log), as values
    /// for Istio's Helm chart istiod
    #[arg(long)]
    mesh_config: bool,
}

/// The flags for [`Options`].
#[derive(clap::Args)]
pub(in crate::render) struct Flags {
    /// The proxies that run the filter
    #[arg(long, value_enum, default_value = "gateway")]
    topology: Topology,
    /// The resource that installs the filter: WasmPlugin, or its successor in Istio 1.30 (alpha)
    #[arg(long, value_enum, default_value = "wasmplugin")]
    kind: Kind,
    /// A route for each candidate, or one route whose cluster the filter's header names
    #[arg(long, value_enum, default_value = "virtualservice")]
    route: Routing,
    /// The name of the resources
    #[arg(long, default_value = "sidetrack", value_parser = name)]
    name: String,
    /// The namespace of the services and of the routes
    #[arg(long, default_value = "default", value_parser = name)]
    namespace: String,
    /// The namespace of the proxies [default: the gateway's, else --namespace]
    #[arg(long, value_name = "NAMESPACE", value_parser = name)]
    filter_namespace: Option<String>,
    /// A label of the proxies' pods; may be repeated [default: istio=ingressgateway for a gateway, all
    /// sidecars of the namespace for sidecars]
    #[arg(long, value_name = "LABEL=VALUE", value_parser = label)]
    selector: Vec<(String, String)>,
    /// The Gateway that receives the requests, as VirtualServices refer to it
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = gateway)]
    gateway: Option<String>,
    /// A host of the routes; may be repeated [default: the hosts of the experiments, else the
    /// baseline's service]
    #[arg(long, value_name = "HOST", value_parser = host)]
    host: Vec<String>,
    /// One service for all variants, each of which is a subset of its pods [default: a service for
    /// each variant, with the name of its cluster]
    #[arg(long, value_name = "HOST", value_parser = host)]
    service: Option<String>,
    /// The label of the pods whose value is the name of the subset
    #[arg(long, value_name = "LABEL", default_value = "version", value_parser = label_key)]
    subset_label: String,
    /// The port of the services; required for services with several ports and for --route
    /// envoyfilter
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The destination of a variant or mirror, if the options above do not fit; may be repeated
    #[arg(long, value_name = "VARIANT=HOST[:PORT][/SUBSET]")]
    destination: Vec<Mapping>,
    /// The URL of the filter's image
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The digest of the image's manifest
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// The Secret to pull the image with, in the filter's namespace
    #[arg(long, value_name = "NAME")]
    pull_secret: Option<String>,
    /// What a proxy does if it cannot fetch the filter, or if the filter crashes
    #[arg(long, value_enum, default_value = "open")]
    fail_strategy: FailStrategy,
    /// Omit the EnvoyFilter that removes the filter's headers from clients' requests; it requires
    /// Istio 1.29
    #[arg(long)]
    no_guard: bool,
}

impl Flags {
    pub(in crate::render) fn options(&self) -> Options {
        Options {
            topology: self.topology,
            kind: self.kind,
            route: self.route,
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            filter_namespace: self.filter_namespace.clone(),
            selector: self.selector.clone(),
            gateway: self.gateway.clone(),
            host: self.host.clone(),
            service: self.service.clone(),
            subset_label: self.subset_label.clone(),
            port: self.port,
            destination: self.destination.clone(),
            url: self.url.clone(),
            sha256: self.sha256.clone(),
            pull_secret: self.pull_secret.clone(),
            fail_strategy: self.fail_strategy,
            guard: !self.no_guard,
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let text = if args.mesh_config {
        page::mesh(&loaded.plan)?
    } else {
        manifests(&loaded, &args.flags.options(), false)?
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

impl ValueEnum for Topology {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Gateway, Self::Sidecar, Self::Waypoint]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Gateway => PossibleValue::new("gateway").help("An ingress gateway"),
            Self::Sidecar => {
                PossibleValue::new("sidecar").help("The sidecars of clients, for outbound requests")
            }
            Self::Waypoint => PossibleValue::new("waypoint")
                .help("A waypoint of ambient mode, for the services behind it"),
        })
    }
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::WasmPlugin, Self::TrafficExtension]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::WasmPlugin => "wasmplugin",
            Self::TrafficExtension => "trafficextension",
        }))
    }
}

impl ValueEnum for Routing {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Virtualservice, Self::Envoyfilter]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Virtualservice => PossibleValue::new("virtualservice")
                .help("A route for each candidate, which matches x-ab-variant"),
            Self::Envoyfilter => PossibleValue::new("envoyfilter")
                .help("One route, with the cluster from x-ab-cluster"),
        })
    }
}

impl ValueEnum for FailStrategy {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Open, Self::Reload]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Open => PossibleValue::new("open")
                .help("Continue without the filter: all requests take the baseline's route"),
            Self::Reload => PossibleValue::new("reload").help(
                "Load the filter again after a crash, but answer 403 while it cannot be fetched; \
                 requires Istio 1.27",
            ),
        })
    }
}

pub(in crate::render) fn name(text: &str) -> anyhow::Result<String> {
    anyhow::ensure!(destination::is_label(text), "must be {}", destination::LABEL);
    Ok(text.to_owned())
}

fn host(text: &str) -> anyhow::Result<String> {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let good = text == "*" || rest.split('.').all(destination::is_label);
    anyhow::ensure!(
        good,
        "must be a lower-case host name, optionally with \"*.\" in front, or \"*\""
    );
    Ok(text.to_owned())
}

fn label_key(text: &str) -> anyhow::Result<String> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    anyhow::ensure!(
        !text.is_empty() && text.bytes().all(inside),
        "must consist of letters, digits, '-', '_', '.' and '/'"
    );
    Ok(text.to_owned())
}

fn label(text: &str) -> anyhow::Result<(String, String)> {
    let (label, value) = text.split_once('=').context("expected LABEL=VALUE")?;
    Ok((label_key(label)?, label_key(value)?))
}

fn gateway(text: &str) -> anyhow::Result<String> {
    let parts = text.split('/').map(destination::is_label).collect::<Vec<_>>();
    anyhow::ensure!(parts == [true, true], "expected NAMESPACE/NAME");
    Ok(text.to_owned())
}

fn sha256(text: &str) -> anyhow::Result<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    anyhow::ensure!(hex, "must have 64 hexadecimal digits");
    Ok(text)
}
