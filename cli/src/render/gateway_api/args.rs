//! The command line of `render gateway-api`.

use std::io::Write;
use std::path::PathBuf;

use sidetrack::plan::Plan;

use super::{Options, manifests};
use crate::exit::ExitStatus;
use crate::load;
use crate::out::Out;
use crate::render::httproute::{self, Parent};
use crate::render::istio::{FailStrategy, Kind};
use crate::render::labels::{name, namespaced, sha256};
use crate::render::otlp::Receiver;

/// Write HTTPRoutes for an experiment, and the filter for an Istio gateway or waypoint
///
/// For gateways and waypoints that the Gateway API defines. The filter tags requests with
/// x-ab-variant, a rule per variant matches the tag, and requests without a tag go to the baseline.
/// HTTPRoutes that exist are not changed: rules for tagged requests take precedence by their headers.
#[derive(clap::Args)]
#[command(
    group(clap::ArgGroup::new("parent").required(true).args(["gateway", "waypoint"])),
    after_help = "Examples:\n  \
    sidetrack render gateway-api experiment.yaml --namespace models \\\n    \
    --gateway istio-ingress/gateway --port 8080 > ab.yaml\n  \
    sidetrack render gateway-api experiment.yaml --namespace models \\\n    \
    --waypoint models/waypoint --service predictor --port 8080\n\n\
    Beside an HTTPRoute that exists:\n  \
    kubectl -n models get httproute predictor -o yaml > route.yaml\n  \
    sidetrack render gateway-api experiment.yaml \\\n    \
    --gateway istio-ingress/gateway --beside route.yaml\n\n\
    Models behind the Inference Gateway:\n  \
    sidetrack render gateway-api experiment.yaml --namespace models \\\n    \
    --gateway istio-ingress/gateway --backend-kind inferencepool"
)]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin
    file: PathBuf,
    /// The Gateway that receives the requests
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    gateway: Option<(String, String)>,
    /// The waypoint of the service that clients call
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced, requires = "service")]
    waypoint: Option<(String, String)>,
    /// The service that clients call, in the routes' namespace
    #[arg(long, value_name = "NAME", value_parser = name, requires = "waypoint")]
    service: Option<String>,
    #[command(flatten)]
    routes: httproute::Flags,
    /// The resource that installs the filter: WasmPlugin, or its successor in Istio 1.30 (alpha)
    #[arg(long, value_enum, default_value = "wasmplugin")]
    kind: Kind,
    /// The URL of the filter's image
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The digest of the image's manifest
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// The Secret to pull the image with, in the gateway's namespace
    #[arg(long, value_name = "NAME")]
    pull_secret: Option<String>,
    /// What a proxy does if it cannot fetch the filter, or if the filter crashes
    #[arg(long, value_enum, default_value = "open")]
    fail_strategy: FailStrategy,
    /// A provider of access logs that the proxy keeps beside Sidetrack's, such as envoy; may be
    /// repeated
    #[arg(long, value_name = "NAME", value_parser = name)]
    access_log_provider: Vec<String>,
    /// Send exposures to this service of the mesh as well: an experiment store (`sidetrack serve`) or an
    /// OpenTelemetry Collector (OTLP over gRPC). `sidetrack render istio --mesh-config` with this option
    /// defines the provider
    #[arg(long, value_name = "HOST:PORT", value_parser = Receiver::in_the_mesh)]
    otlp: Option<Receiver>,
    /// Omit the EnvoyFilter, which removes the filter's headers from clients' requests and counts
    /// requests that pass without the filter
    #[arg(long)]
    no_guard: bool,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let text = manifests(&loaded, &options(&loaded.plan, args)?)?;
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

fn options(plan: &Plan, args: &Args) -> anyhow::Result<Options> {
    let gateway = args.gateway.clone().or_else(|| args.waypoint.clone()).unwrap_or_default();
    let parent = |listener| match &args.service {
        Some(name) => Parent::Service { name: name.clone() },
        None => {
            let (namespace, name) = gateway.clone();
            Parent::Gateway { namespace, name, listener }
        }
    };
    let routes = args.routes.options(plan, parent)?;
    Ok(Options {
        routes,
        gateway,
        kind: args.kind,
        url: args.url.clone(),
        sha256: args.sha256.clone(),
        pull_secret: args.pull_secret.clone(),
        fail_strategy: args.fail_strategy,
        guard: !args.no_guard,
        providers: args.access_log_provider.clone(),
        otlp: args.otlp.clone(),
    })
}
