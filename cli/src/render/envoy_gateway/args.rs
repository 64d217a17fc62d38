//! The command line of `render envoy-gateway`.

use std::io::Write;
use std::path::PathBuf;

use sidetrack::plan::Plan;

use super::{Jwt, Options, envoy_proxy, manifests};
use crate::exit::ExitStatus;
use crate::load;
use crate::out::Out;
use crate::render::httproute::{self, Parent};
use crate::render::labels::{namespaced, sha256};
use crate::render::otlp::Receiver;

/// Write HTTPRoutes for an experiment, and the filter for Envoy Gateway
///
/// The filter tags requests with x-ab-variant, a rule per variant matches the tag, and requests
/// without a tag go to the baseline. HTTPRoutes that exist are not changed: rules for tagged requests
/// take precedence by their headers.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render envoy-gateway experiment.yaml --namespace models \\\n    \
    --gateway models/gateway --port 8080 > ab.yaml\n\n\
    The unit from a token:\n  \
    sidetrack render envoy-gateway experiment.yaml --namespace models \\\n    \
    --gateway models/gateway --port 8080 \\\n    \
    --jwt-issuer https://login.example.com --jwt-claim sub \\\n    \
    --jwks-uri https://login.example.com/keys\n\n\
    Once for the proxies, their metric labels and log format:\n  \
    sidetrack render envoy-gateway experiment.yaml \\\n    \
    --gateway models/gateway --envoy-proxy > proxy.yaml")]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin
    file: PathBuf,
    /// The Gateway that receives the requests
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    gateway: (String, String),
    #[command(flatten)]
    routes: httproute::Flags,
    /// The URL of the filter: oci:// for an image, http:// or https:// for the module
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The digest of the image's manifest, or of the module
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// The Secret to pull the image with, in the routes' namespace
    #[arg(long, value_name = "NAME")]
    pull_secret: Option<String>,
    /// Take the unit from a token of this issuer: its claim sets the header that the experiments name
    #[arg(long, value_name = "ISSUER", requires = "jwks_uri")]
    jwt_issuer: Option<String>,
    /// Where the issuer's keys are
    #[arg(long, value_name = "URL", requires = "jwt_issuer")]
    jwks_uri: Option<String>,
    /// The claim with the unit
    #[arg(long, value_name = "CLAIM", default_value = "sub", requires = "jwt_issuer")]
    jwt_claim: String,
    /// An audience that the token must name; may be repeated
    #[arg(long, value_name = "AUDIENCE", requires = "jwt_issuer")]
    jwt_audience: Vec<String>,
    /// Omit the ClientTrafficPolicy, which removes the filter's headers from clients' requests
    #[arg(long)]
    no_guard: bool,
    /// Write only the settings of the proxies (metric labels and the format of the access log), as an
    /// EnvoyProxy
    #[arg(long)]
    envoy_proxy: bool,
    /// With --envoy-proxy, send exposures to an experiment store (`sidetrack serve`) or OpenTelemetry
    /// Collector as well (OTLP over gRPC)
    #[arg(long, value_name = "HOST:PORT", requires = "envoy_proxy")]
    otlp: Option<Receiver>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let options = options(&loaded.plan, args)?;
    let text = if args.envoy_proxy {
        envoy_proxy(&loaded, &options)?
    } else {
        manifests(&loaded, &options)?
    };
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

fn options(plan: &Plan, args: &Args) -> anyhow::Result<Options> {
    let (namespace, name) = args.gateway.clone();
    let mut listener = None;
    let routes = args.routes.options(plan, |given| {
        listener.clone_from(&given);
        Parent::Gateway { namespace, name, listener: given }
    })?;
    let jwt = args.jwt_issuer.clone().zip(args.jwks_uri.clone());
    let jwt = jwt.map(|(issuer, jwks_uri)| Jwt {
        issuer,
        jwks_uri,
        claim: args.jwt_claim.clone(),
        audiences: args.jwt_audience.clone(),
    });
    Ok(Options {
        routes,
        gateway: args.gateway.clone(),
        listener,
        url: args.url.clone(),
        sha256: args.sha256.clone(),
        pull_secret: args.pull_secret.clone(),
        guard: !args.no_guard,
        jwt,
        otlp: args.otlp.clone(),
    })
}
