//! The command line of `render istio`, which `render argocd` shares.

use std::io::Write;
use std::path::PathBuf;

use anyhow::ensure;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use sidetrack::plan::Plan;
use sidetrack::quantity::Millis;

use super::destination::{Destination, Mapping};
use super::identity::{Keys, Testers, Tokens};
use super::merge::Existing;
use super::page::{self, Page};
use super::release::Release;
use super::values::{claim, host, key_set, module, principal};
use super::{BodyUnit, FailStrategy, Kind, Options, Routing, Topology, carried};
use crate::exit::ExitStatus;
use crate::load;
use crate::out::{Ink, Out};
use crate::render::envoy::duration;
use crate::render::labels::{label, label_key, name, name_of, namespaced, sha256};
use crate::render::otlp::Receiver;
use crate::wrap;

/// Write the Istio manifests of an experiment: the filter, the routes and the access log
///
/// The filter tags requests with x-ab-variant, a route per candidate matches the tag, and the last
/// route is the baseline. Values that no option sets are guessed. A comment at the top of the output
/// lists the guesses.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render istio experiment.yaml --namespace models \\\n    \
    --gateway istio-ingress/predictor-gateway \\\n    \
    --host predictor.example.com > ab.yaml\n  \
    sidetrack render istio experiment.yaml --namespace models \\\n    \
    --topology sidecar --selector app=frontend --port 8080\n  \
    sidetrack render istio experiment.yaml --namespace models \\\n    \
    --topology waypoint --service predictor\n\n\
    With a VirtualService that exists, and the way back:\n  \
    kubectl -n models get virtualservice predictor -o yaml > now.yaml\n  \
    sidetrack render istio experiment.yaml --merge-into now.yaml > ab.yaml\n  \
    sidetrack render istio experiment.yaml --merge-into now.yaml \\\n    \
    --rollback > rollback.sh\n\n\
    Once for the mesh, its metric labels and log format:\n  \
    sidetrack render istio experiment.yaml --mesh-config > mesh.yaml")]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin
    file: PathBuf,
    #[command(flatten)]
    flags: Flags,
    /// Write the routes into this VirtualService, which stays in force: in front of each of its routes
    /// that leads to a baseline
    #[arg(long, value_name = "FILE", conflicts_with = "mesh_config")]
    merge_into: Option<PathBuf>,
    /// Write a shell script instead, which stops the experiment, leaves the routes to the baseline (or
    /// the VirtualService of --merge-into), and removes the rest
    #[arg(long, conflicts_with = "mesh_config")]
    rollback: bool,
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
    /// The resource that installs the filter: WasmPlugin, its successor in Istio 1.30 (alpha), or
    /// EnvoyFilter, which experiments that read bodies require
    #[arg(long, value_enum, default_value = "wasmplugin")]
    kind: Kind,
    /// What reads units in request bodies
    #[arg(long, value_enum, default_value = "filter")]
    body_unit: BodyUnit,
    /// A route for each candidate, or one route whose cluster the filter's header names
    #[arg(long, value_enum, default_value = "virtualservice")]
    route: Routing,
    /// The name of the resources [default: sidetrack- and the first experiment]
    #[arg(long, value_parser = name)]
    name: Option<String>,
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
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    gateway: Option<(String, String)>,
    /// The waypoint of the service, for its guard [default: waypoint, in the service's namespace]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    waypoint: Option<(String, String)>,
    /// A host of the routes; may be repeated. '*' takes all hosts of a Gateway [default: the hosts of
    /// the experiments; in sidecars and waypoints, else the baseline's service]
    #[arg(long, value_name = "HOST", value_parser = host)]
    host: Vec<String>,
    /// At a gateway, route all other requests of the hosts to the baseline too [default: those to the
    /// experiments' paths]
    #[arg(long)]
    catch_all: bool,
    /// One service for all variants, each of which is a subset of its pods [default: a service for
    /// each variant, with the name of its cluster]
    #[arg(long, value_name = "HOST", value_parser = host)]
    service: Option<String>,
    /// The label of the pods whose value is the name of the subset
    #[arg(long, value_name = "LABEL", default_value = "version", value_parser = label_key)]
    subset_label: String,
    /// The namespace of the DestinationRule. In the proxies' namespace, no other rule can hide it, but it
    /// hides the policies of other rules for the service [default: the service's]
    #[arg(long, value_name = "NAMESPACE", value_parser = name)]
    subset_namespace: Option<String>,
    /// The port of the services; required for services with several ports, for --route envoyfilter,
    /// and in sidecars
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The destination of a variant or mirror, if the options above do not fit; may be repeated
    #[arg(long, value_name = "VARIANT=HOST[:PORT][/SUBSET]")]
    destination: Vec<Mapping>,
    /// Send each variant's requests with its service as their host, as Knative needs it
    #[arg(long)]
    rewrite_host: bool,
    /// The service through which all variants are reached, such as
    /// knative-local-gateway.istio-system.svc.cluster.local:80
    #[arg(long, value_name = "HOST[:PORT]", requires = "rewrite_host")]
    through: Option<Destination>,
    /// The URL of the filter's image
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The digest of the image's manifest
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// The path of the module in the proxies' image or in a volume of theirs, instead of --url
    #[arg(long, value_name = "PATH", value_parser = module, conflicts_with_all = ["url", "sha256", "pull_secret"])]
    module_path: Option<String>,
    /// Register the module also as the access logger that reports failures to the filter, which then
    /// does not check each request. A proxy without the module refuses the listeners
    #[arg(long, requires = "module_path")]
    failure_logger: bool,
    /// The Secret to pull the image with, in the filter's namespace
    #[arg(long, value_name = "NAME")]
    pull_secret: Option<String>,
    /// What a proxy does if it cannot fetch the filter, or if the filter crashes
    #[arg(long, value_enum, default_value = "open")]
    fail_strategy: FailStrategy,
    /// The time that a candidate has to begin its response; a response that has begun may take longer.
    /// 0s: none
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Millis,
    /// Omit the EnvoyFilter that removes the filter's headers from clients' requests. Then, while the
    /// filter is absent, a client's header can choose the variant
    #[arg(long)]
    no_guard: bool,
    /// A provider of access logs that these proxies keep beside Sidetrack's, such as envoy; may be
    /// repeated
    #[arg(long, value_name = "NAME", value_parser = name)]
    access_log_provider: Vec<String>,
    /// Send exposures to this service of the mesh as well: an experiment store (`sidetrack serve`) or an
    /// OpenTelemetry Collector (OTLP over gRPC). --mesh-config with this option defines the provider
    #[arg(long, value_name = "HOST:PORT", value_parser = Receiver::in_the_mesh)]
    otlp: Option<Receiver>,
    /// Take the unit from tokens of this issuer: a claim sets the header that the experiments name.
    /// A request without a token has no unit
    #[arg(long, value_name = "ISSUER")]
    jwt_issuer: Option<String>,
    /// Where the issuer's keys are [default: where its OpenID configuration says]
    #[arg(long, value_name = "URL", requires = "jwt_issuer")]
    jwks_uri: Option<String>,
    /// The issuer's keys, a file with a JSON Web Key Set
    #[arg(long, value_name = "FILE", value_parser = key_set, requires = "jwt_issuer", conflicts_with = "jwks_uri")]
    jwks: Option<String>,
    /// The claim with the unit
    #[arg(long, value_name = "CLAIM", default_value = "sub", requires = "jwt_issuer")]
    jwt_claim: String,
    /// An audience that the token must name; may be repeated
    #[arg(long, value_name = "AUDIENCE", requires = "jwt_issuer")]
    jwt_audience: Vec<String>,
    /// Reject requests without a token
    #[arg(long, requires = "jwt_issuer")]
    jwt_required: bool,
    /// A claim of the tokens that may override assignments and ask for explanations; may be repeated
    #[arg(long, value_name = "CLAIM=VALUE", value_parser = claim)]
    override_claim: Vec<(String, String)>,
    /// An identity of mutual TLS that may do so, such as cluster.local/ns/qa/sa/tester; may be
    /// repeated
    #[arg(long, value_name = "PRINCIPAL", value_parser = principal)]
    override_principal: Vec<String>,
    /// Add the experiment, the variant and the trial to the spans of these proxies. These tags replace
    /// those of the mesh
    #[arg(long)]
    trace_tags: bool,
    /// A label of all resources; may be repeated
    #[arg(long, value_name = "LABEL=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// The revision of Istio that reads the resources, as their label istio.io/rev [default: all]
    #[arg(long, value_name = "REVISION", value_parser = name)]
    istio_revision: Option<String>,
    /// The oldest release of Istio in the mesh: 1.28 or newer. What it cannot do is refused
    #[arg(long, value_name = "RELEASE")]
    istio: Option<Release>,
}

impl Flags {
    /// The options for the experiments of `plan`.
    pub(in crate::render) fn options(&self, plan: &Plan) -> Options {
        Options {
            tokens: self.tokens(),
            testers: Testers {
                claims: self.override_claim.clone(),
                principals: self.override_principal.clone(),
            },
            trace_tags: self.trace_tags,
            topology: self.topology,
            kind: self.kind,
            body_unit: self.body_unit,
            route: self.route,
            name: self.name.clone().unwrap_or_else(|| name_of(plan)),
            namespace: self.namespace.clone(),
            filter_namespace: self.filter_namespace.clone(),
            selector: self.selector.clone(),
            gateway: self.gateway.as_ref().map(|(namespace, name)| format!("{namespace}/{name}")),
            waypoint: self.waypoint.clone(),
            host: self.host.clone(),
            catch_all: self.catch_all,
            service: self.service.clone(),
            subset_label: self.subset_label.clone(),
            subset_namespace: self.subset_namespace.clone(),
            port: self.port,
            destination: self.destination.clone(),
            rewrite_host: self.rewrite_host,
            through: self.through.clone().map(|through| through.qualified(&self.namespace)),
            url: self
                .url
                .clone()
                .or_else(|| self.module_path.as_ref().map(|path| format!("file://{path}"))),
            failure_logger: self.failure_logger,
            sha256: self.sha256.clone(),
            pull_secret: self.pull_secret.clone(),
            fail_strategy: self.fail_strategy,
            timeout: self.timeout,
            guard: !self.no_guard,
            access_log_provider: self.access_log_provider.clone(),
            otlp: self.otlp.clone(),
            label: self.label.clone(),
            revision: self.istio_revision.clone(),
            istio: self.istio,
            merge_into: None,
        }
    }

    fn tokens(&self) -> Option<Tokens> {
        let keys = match (&self.jwks_uri, &self.jwks) {
            (Some(uri), _) => Keys::At(uri.clone()),
            (None, Some(keys)) => Keys::Inline(keys.clone()),
            (None, None) => Keys::Discovered,
        };
        Some(Tokens {
            issuer: self.jwt_issuer.clone()?,
            keys,
            claim: self.jwt_claim.clone(),
            audiences: self.jwt_audience.clone(),
            required: self.jwt_required,
        })
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    if args.mesh_config {
        let mesh = page::mesh(&loaded, args.flags.otlp.as_ref())?;
        out.write_all(mesh.as_bytes())?;
        return Ok(ExitStatus::Success);
    }
    let options = args.options(&loaded.plan)?;
    let carried = carried(&loaded, &options)?;
    let page = Page::new(&loaded.plan, &carried, &options, false)?;
    let text = if args.rollback {
        page.rollback(loaded.plan.experiments.len())?
    } else {
        page.manifests()?
    };
    out.write_all(text.as_bytes())?;
    for guess in page.guesses() {
        // If stderr is closed, the manifests are still complete.
        writeln!(std::io::stderr().lock(), "{}", wrap::note("", &guess, Ink::stderr())).ok();
    }
    Ok(ExitStatus::Success)
}

impl Args {
    /// The options, with what the VirtualService of `--merge-into` has.
    fn options(&self, plan: &Plan) -> anyhow::Result<Options> {
        let mut options = self.flags.options(plan);
        let Some(file) = &self.merge_into else { return Ok(options) };
        let existing = Existing::read(file)?;
        if options.host.is_empty() {
            options.host = existing.list("hosts");
        }
        let gateways = existing.list("gateways");
        match options.topology {
            Topology::Gateway if options.gateway.is_none() => {
                let first = gateways.into_iter().find(|name| name != MESH_GATEWAY);
                let namespace = existing.namespace().unwrap_or(&options.namespace);
                options.gateway = first.map(|name| match name.contains('/') {
                    true => name,
                    false => format!("{namespace}/{name}"),
                });
            }
            Topology::Sidecar | Topology::Waypoint => ensure!(
                gateways.is_empty() || gateways.iter().any(|name| name == MESH_GATEWAY),
                "the VirtualService {} is for gateways, but --topology is not gateway",
                existing.name()
            ),
            Topology::Gateway => {}
        }
        options.merge_into = Some(existing);
        Ok(options)
    }
}

/// The sidecars of the mesh, in a list of gateways.
const MESH_GATEWAY: &str = "mesh";

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
        &[Self::WasmPlugin, Self::TrafficExtension, Self::EnvoyFilter]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl ValueEnum for BodyUnit {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Filter, Self::Lua]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Filter => PossibleValue::new("filter")
                .help("The filter, which can wait for them only with --kind envoyfilter"),
            Self::Lua => PossibleValue::new("lua").help(
                "A Lua script in front of the filter, where no EnvoyFilter is allowed; requires Istio 1.30",
            ),
        })
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

impl Kind {
    /// The word for `--kind`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WasmPlugin => "wasmplugin",
            Self::TrafficExtension => "trafficextension",
            Self::EnvoyFilter => "envoyfilter",
        }
    }
}
