//! `render istio`: the manifests that put an experiment into an Istio mesh.
//!
//! The filter tags requests, a VirtualService routes by the tag, and its last route is the baseline,
//! so the mesh works without the filter. Every value that has to be guessed has a default, so the
//! output is complete and valid; a comment at its top lists the guesses for review. The mesh's
//! settings are not a resource of their own in a cluster, so they are not among the manifests:
//! `--mesh-config` writes them for Istio's Helm chart.

mod args;
mod bodies;
mod checks;
pub(super) mod destination;
mod experiments;
mod hosts;
pub(super) mod identity;
mod merge;
mod page;
mod place;
mod release;
mod routes;
mod subsets;
mod values;

use std::path::Path;

use anyhow::{bail, ensure};
use serde::Serialize;

use sidetrack::quantity::Millis;

use crate::load::Loaded;
use crate::package::Module;
use crate::render::otlp::Receiver;
pub(super) use args::{Args, Flags, run};
use release::Release;

/// What the manifests depend on besides the experiments.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) topology: Topology,
    pub(crate) kind: Kind,
    pub(crate) body_unit: BodyUnit,
    pub(crate) route: Routing,
    /// The name of the resources.
    pub(crate) name: String,
    /// The namespace of the services and of the routes.
    pub(crate) namespace: String,
    /// The namespace of the proxies; `None`: the gateway's, else `namespace`.
    pub(crate) filter_namespace: Option<String>,
    /// Labels of the proxies' pods; empty: the default of the topology.
    pub(crate) selector: Vec<(String, String)>,
    /// The Gateway that receives the requests, as `NAMESPACE/NAME`.
    pub(crate) gateway: Option<String>,
    /// The hosts of the routes; empty: those of the experiments, else the baseline's service.
    pub(crate) host: Vec<String>,
    /// Whether a gateway routes all other requests of the hosts to the baseline too.
    pub(crate) catch_all: bool,
    /// Namespace and name of the waypoint.
    pub(crate) waypoint: Option<(String, String)>,
    /// The one service of all variants, which are subsets of its pods; `None`: a service for each.
    pub(crate) service: Option<String>,
    /// The label of the pods whose value is the subset's name.
    pub(crate) subset_label: String,
    /// The namespace of the DestinationRule; `None`: the service's.
    pub(crate) subset_namespace: Option<String>,
    /// The port of the services.
    pub(crate) port: Option<u16>,
    /// Destinations that differ from the rules above.
    pub(crate) destination: Vec<destination::Mapping>,
    /// Whether each variant's requests get its service as their host.
    pub(crate) rewrite_host: bool,
    /// The service through which all variants are reached.
    pub(crate) through: Option<destination::Destination>,
    /// The filter's image; `None`: a placeholder.
    pub(crate) url: Option<String>,
    /// The digest of the image's manifest, in hexadecimal.
    pub(crate) sha256: Option<String>,
    /// Whether the module is also the access logger that reports failures to the filter.
    pub(crate) failure_logger: bool,
    /// The Secret to pull the image with.
    pub(crate) pull_secret: Option<String>,
    pub(crate) fail_strategy: FailStrategy,
    /// The time that a candidate has to begin its response; zero: no limit.
    pub(crate) timeout: Millis,
    /// Whether to write the EnvoyFilter that removes the filter's headers from clients' requests.
    pub(crate) guard: bool,
    /// The providers of access logs that these proxies keep.
    pub(crate) access_log_provider: Vec<String>,
    /// Where exposures are sent besides the access log.
    pub(crate) otlp: Option<Receiver>,
    /// Labels of the resources.
    pub(crate) label: Vec<(String, String)>,
    /// The revision of Istio that reads the resources; `None`: all of them.
    pub(crate) revision: Option<String>,
    /// The oldest release of Istio in the mesh; `None`: unknown.
    pub(crate) istio: Option<Release>,
    /// The tokens whose claim is the unit; `None`: clients send the unit.
    pub(crate) tokens: Option<identity::Tokens>,
    pub(crate) testers: identity::Testers,
    /// Whether spans have the experiment and the variant as tags.
    pub(crate) trace_tags: bool,
    /// The VirtualService that takes our routes; `None`: one of our own.
    pub(crate) merge_into: Option<merge::Existing>,
}

/// The proxies that run the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Topology {
    /// An ingress gateway.
    Gateway,
    /// The sidecars of clients, for outbound requests.
    Sidecar,
    /// A waypoint of ambient mode.
    Waypoint,
}

/// The resource that installs the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Kind {
    WasmPlugin,
    TrafficExtension,
    /// The only one that lets the filter wait for bodies.
    EnvoyFilter,
}

/// What reads units in request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyUnit {
    /// The filter, if its resource lets it wait.
    Filter,
    /// A script in front of the filter.
    Lua,
}

/// How a request reaches its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    /// A route for each candidate, which matches x-ab-variant.
    Virtualservice,
    /// One route, with the cluster from x-ab-cluster.
    Envoyfilter,
}

/// What a proxy does without a working filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailStrategy {
    /// Continue without it.
    Open,
    /// Load it again after a crash.
    Reload,
}

/// All manifests as one text. `waves` adds the order in which Argo CD applies them.
pub(crate) fn manifests(loaded: &Loaded, options: &Options, waves: bool) -> anyhow::Result<String> {
    let carried = carried(loaded, options)?;
    page::Page::new(&loaded.plan, &carried, options, waves)?.manifests()
}

/// The file for the filter, if these options can carry it.
fn carried(loaded: &Loaded, options: &Options) -> anyhow::Result<Loaded> {
    possible(options)?;
    loadable(options)?;
    destination::known(&loaded.plan, options.destination.iter().map(|it| it.of.as_str()))?;
    experiments::possible(&loaded.plan, options)?;
    bodies::possible(&loaded.plan, options)?;
    routes::possible(&loaded.plan, options)?;
    identity::possible(&loaded.plan, options)?;
    experiments::rewritten(loaded, options)
}

/// Refuses a module on this machine that Envoy cannot load: with it, a proxy answers 500 to all requests.
fn loadable(options: &Options) -> anyhow::Result<()> {
    let path = options.url.as_deref().and_then(|url| url.strip_prefix("file://")).map(Path::new);
    // The path is the proxies'; this machine may have another file there, or none.
    match path.filter(|path| path.is_file()) {
        Some(path) => Module::read(path).map(|_| ()),
        None => Ok(()),
    }
}

/// Refuses options that cannot work together.
fn possible(options: &Options) -> anyhow::Result<()> {
    let topology = options.topology;
    if options.route == Routing::Envoyfilter {
        if topology == Topology::Waypoint {
            bail!(
                "--route envoyfilter does not work with --topology waypoint\n  hint: istiod does not patch \
                 the routes of a waypoint; use --route virtualservice"
            );
        }
        if !options.guard {
            bail!(
                "--route envoyfilter does not work with --no-guard\n  hint: while the filter is absent, \
                 a client's header could select any cluster of the mesh; use --route virtualservice"
            );
        }
    }
    if topology == Topology::Waypoint && !options.selector.is_empty() {
        bail!(
            "--selector does not work with --topology waypoint\n  hint: a waypoint ignores selectors; \
             the filter is attached to a service, which --host names"
        );
    }
    if topology != Topology::Gateway {
        for (is_given, name) in
            [(options.gateway.is_some(), "--gateway"), (options.catch_all, "--catch-all")]
        {
            ensure!(!is_given, "{name} works only with --topology gateway\n  hint: remove {name}");
        }
    }
    if topology != Topology::Waypoint && options.waypoint.is_some() {
        bail!("--waypoint works only with --topology waypoint\n  hint: remove --waypoint");
    }
    if options.merge_into.is_some() && options.route == Routing::Envoyfilter {
        bail!(
            "--merge-into does not work with --route envoyfilter\n  hint: use --route virtualservice"
        );
    }
    if options.kind == Kind::EnvoyFilter {
        ensure!(
            topology != Topology::Waypoint,
            "--kind envoyfilter does not work with --topology waypoint\n  hint: an EnvoyFilter would run the filter for \
             all services of the waypoint; use --kind wasmplugin"
        );
        ensure!(
            options.pull_secret.is_none(),
            "--pull-secret does not work with --kind envoyfilter\n  hint: istiod reads secrets for WasmPlugins only; use \
             a registry that the proxies may read"
        );
    }
    if options.failure_logger {
        ensure!(
            options.kind == Kind::EnvoyFilter,
            "--failure-logger requires --kind envoyfilter, but --kind is {}\n  hint: istiod gives the filter of a {} \
             variables of its own, so an access logger cannot share its virtual machine",
            options.kind.name(),
            if options.kind == Kind::WasmPlugin { "WasmPlugin" } else { "TrafficExtension" }
        );
    }
    let needed = Release::TRAFFIC_EXTENSION;
    if let Some(release) = options.istio.filter(|release| *release < needed) {
        ensure!(
            options.kind != Kind::TrafficExtension,
            "--kind trafficextension requires Istio {needed}, but --istio is {release}\n  hint: use --kind wasmplugin, \
             which all releases accept"
        );
    }
    Ok(())
}
