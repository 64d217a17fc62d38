//! `render envoy`: a complete Envoy bootstrap, ready to run, or pieces of it for an existing one.
//!
//! The templates hold what people read and copy. This module adds what depends on the experiments:
//! clusters, and the routes that lead to them. A request without the filter's headers always takes
//! the route to the baseline of its experiment.

mod address;
mod args;
mod assumptions;
mod clusters;
mod failover;
mod fragment;
mod protocol;
mod routes;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Value, json};
use sidetrack::config::Node;
use sidetrack::names::{plugin, variable};
use sidetrack::plan::{Experiment, Plan};
use sidetrack::quantity::Millis;

use super::{headers, hosts, vocabulary};
use crate::template;
pub(crate) use address::{Address, Endpoint};
pub(crate) use args::Upstreams;
pub(super) use args::{Args, duration, run};
pub(super) use clusters::cluster;
use clusters::{Cluster, baseline, clusters};
use fragment::Fragment;
pub(super) use routes::mirrors;
pub(crate) use routes::{bypass_stat, has_fallback};

const TEMPLATES: [(&str, &str); 14] = [
    ("bootstrap", include_str!("../../templates/envoy/bootstrap.yaml")),
    ("fragment", include_str!("../../templates/envoy/fragment.yaml")),
    ("ecds", include_str!("../../templates/envoy/ecds.yaml")),
    ("vm", include_str!("../../templates/envoy/vm.yaml")),
    ("filter", include_str!("../../templates/envoy/filter.yaml")),
    ("http_filter", include_str!("../../templates/envoy/http_filter.yaml")),
    ("guard", include_str!("../../templates/envoy/guard.yaml")),
    ("otlp", include_str!("../../templates/envoy/otlp.yaml")),
    ("access_log", include_str!("../../templates/envoy/access_log.yaml")),
    ("traces", include_str!("../../templates/envoy/traces.yaml")),
    ("stats_tags", include_str!("../../templates/envoy/stats_tags.yaml")),
    ("limits", include_str!("../../templates/envoy/limits.yaml")),
    ("routes", include_str!("../../templates/envoy/routes.yaml")),
    ("clusters", include_str!("../../templates/envoy/clusters.yaml")),
];

/// The parts that other templates include, each after those that it includes itself.
const PARTS: [&str; 10] = [
    "vm",
    "filter",
    "http_filter",
    "guard",
    "otlp",
    "access_log",
    "traces",
    "stats_tags",
    "routes",
    "clusters",
];

/// The certificate authorities of Debian, which Envoy's images contain.
pub(crate) const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How long a request may be without any activity by default. Envoy's own default.
pub(crate) const IDLE_TIMEOUT: Millis = Millis::new(300_000);

/// What the bootstrap depends on besides the experiments.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The path of the filter's module, as Envoy opens it.
    pub(crate) wasm: String,
    /// Addresses of clusters. A cluster without one is resolved by its name.
    pub(crate) endpoint: Vec<Endpoint>,
    /// Protocols of clusters, where they differ from the default.
    pub(crate) protocol: Vec<protocol::Choice>,
    /// The file with the certificate authorities of TLS endpoints.
    pub(crate) ca_file: PathBuf,
    /// The limit for a whole request and its response; zero: none.
    pub(crate) timeout: Millis,
    /// The limit for the time without any activity of a request; zero: none.
    pub(crate) idle_timeout: Millis,
    /// Protocols that a request may upgrade to, such as `websocket`.
    pub(crate) upgrade: Vec<String>,
    /// The cluster for requests that match no experiment; `None`: the first experiment's baseline.
    pub(crate) default_cluster: Option<String>,
    /// The address of the listener.
    pub(crate) listen: Address,
    /// The address of the admin interface.
    pub(crate) admin: Address,
    /// The file that Envoy reads the filter's configuration from; `None`: an inline configuration.
    pub(crate) watch: Option<PathBuf>,
    /// Whether and how failed requests are retried on the baseline.
    pub(crate) failover: Option<Failover>,
    /// Whether routes, and not the filter, add the experiment and variant headers.
    pub(crate) lean: bool,
    /// The path of the access log.
    pub(crate) access_log: String,
    /// The plugin's name; `None`: after the first experiment.
    pub(crate) plugin: Option<String>,
    /// The OpenTelemetry Collector that receives spans; `None`: no spans.
    pub(crate) traces: Option<Address>,
    /// The experiment store or OpenTelemetry Collector that receives exposures; `None`: the access log only.
    pub(crate) otlp: Option<Address>,
    /// Whether it is reached by TLS.
    pub(crate) otlp_tls: bool,
    /// The path of the file with its bearer token, as Envoy opens it.
    pub(crate) otlp_token_file: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wasm: "dist/sidetrack.wasm".to_owned(),
            endpoint: Vec::new(),
            protocol: Vec::new(),
            ca_file: PathBuf::from(CA_FILE),
            timeout: Millis::ZERO,
            idle_timeout: IDLE_TIMEOUT,
            upgrade: Vec::new(),
            default_cluster: None,
            listen: Address::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 10_000))),
            admin: Address::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 9901))),
            watch: None,
            failover: None,
            lean: false,
            access_log: "/dev/stdout".to_owned(),
            plugin: None,
            traces: None,
            otlp: None,
            otlp_tls: false,
            otlp_token_file: None,
        }
    }
}

/// The most that Envoy reads from a client at once, as long as the listener sets no other limit.
const LARGEST_READ: u64 = 1 << 20;

/// What the edits of a variant may add to a body, and what a read may exceed its limit by.
const HELD_MARGIN: u64 = 512 << 10;

/// How failed requests are retried on the baseline.
#[derive(Clone, Debug)]
pub(crate) struct Failover {
    /// Retry only requests with these methods; empty: with any method.
    pub(crate) methods: Vec<String>,
    /// The largest request body that is buffered for the retry, in bytes.
    pub(crate) buffer: u32,
}

/// The whole bootstrap.
pub(crate) fn bootstrap(plan: &Plan, node: &Node, options: &Options) -> anyhow::Result<String> {
    render("bootstrap", None, plan, node, options)
}

/// The names of all clusters that the file needs, each once.
pub(crate) fn cluster_names<'a>(plan: &'a Plan, options: &'a Options) -> Vec<&'a str> {
    let first = plan.experiments.first().map(baseline);
    clusters::names(plan, options.default_cluster.as_deref().or(first).unwrap_or_default())
}

/// The filter alone, as the discovery resource that `--watch` reads.
pub(crate) fn filter(plan: &Plan, node: &Node, options: &Options) -> anyhow::Result<String> {
    render("ecds", None, plan, node, options)
}

fn render(
    template: &str,
    piece: Option<Fragment>,
    plan: &Plan,
    node: &Node,
    options: &Options,
) -> anyhow::Result<String> {
    let names = &plan.settings.headers;
    let mut hidden = vec![names.cluster.as_str(), names.mirror.as_str()];
    hidden.extend(headers::testers(plan));
    let first = plan
        .experiments
        .first()
        .context("the file has no experiments, so there is nothing to route")?;
    // Envoy, and the filter's last good configuration, tell plugins apart by their names.
    let plugin =
        options.plugin.clone().unwrap_or_else(|| format!("{}-{}", plugin::NAME, first.name));
    let default = options.default_cluster.clone().unwrap_or_else(|| baseline(first).to_owned());
    let failovers = match &options.failover {
        Some(_) => failover::clusters(plan)?,
        None => Vec::new(),
    };
    let bodies = plan.reads_bodies();
    if options.lean {
        routes::check_lean(plan)?;
    }
    let announcements: Vec<&str> = [
        Some(variable::EXPOSURES),
        bodies.then_some(variable::WAIT_FOR_BODIES),
        options.failover.as_ref().map(|_| variable::FAILOVER),
        options.lean.then_some(variable::ROUTES_TELL),
        Some(variable::ROUTES_CLEAN),
    ]
    .into_iter()
    .flatten()
    .collect();
    let retried = options.failover.as_ref().map(|failover| u64::from(failover.buffer));
    // Envoy 1.36 has the limit of the listener only.
    let large = Some(plan.settings.body_limit + HELD_MARGIN)
        .filter(|&limit| bodies && limit > LARGEST_READ);
    let buffer = retried.max(large);
    let held = bodies.then(|| {
        plan.settings.body_limit + buffer.unwrap_or(LARGEST_READ).max(LARGEST_READ) + HELD_MARGIN
    });
    let clusters = clusters(plan, &default, options, &failovers)?;
    let facts = assumptions::Facts {
        default: &default,
        clusters: &clusters,
        buffer,
        held,
        without_fallback: (plan.experiments.iter())
            .filter(|experiment| !has_fallback(experiment))
            .map(|experiment| (experiment.name.as_str(), baseline(experiment)))
            .collect(),
    };
    let mut context = json!({
        "options": {
            "wasm": options.wasm, "listen": options.listen, "admin": options.admin,
            "watch": options.watch, "access_log": options.access_log,
            "traces": options.traces, "otlp": options.otlp, "otlp_token_file": options.otlp_token_file,
            "timeout": seconds(options.timeout), "idle_timeout": seconds(options.idle_timeout),
        },
        "is_fragment": piece.is_some(),
        "gen_ai": vocabulary::gen_ai(node),
        "assumptions": assumptions::all(options, &facts, piece),
        "watched_directory": options.watch.as_ref().map(|path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        }),
        "configuration": serde_json::to_string_pretty(node)?,
        "hash": plan.hash.to_string(),
        "names": {
            "experiment": names.experiment, "variant": names.variant, "assigned": names.assigned,
            "phase": names.phase, "cluster": names.cluster, "mirror": names.mirror,
        },
        "plugin_name": plugin,
        "otlp_tls": clusters::receiver_tls(options),
        "own": headers::own(plan),
        "owned": names.owned,
        "hidden": hidden,
        "bodies": bodies,
        "announcements": announcements,
        "by_cluster": plan.experiments.iter().any(selects_cluster),
        "rewritten": rewritten(plan, &clusters),
        "upgrades": options.upgrade,
        // Extended CONNECT carries WebSockets over HTTP/2.
        "http2": if options.upgrade.is_empty() { "{}" } else { "{ allow_connect: true }" },
        "failovers": failovers,
        "failover_methods": options.failover.as_ref().and_then(Failover::method_regex),
        "buffer": buffer,
        "held": held,
        "lean": options.lean,
        "tagged": routes::tagged(plan),
        "fallbacks": plan.experiments.iter().filter(|e| routes::has_fallback(e))
            .map(routes::fallback).collect::<Vec<_>>(),
        "mirrors": mirrors(plan),
        "default": default,
        "upstreams": clusters,
    });
    vocabulary::add(&mut context, &names.prefix);
    let limits = limits(&clusters, &failovers, &mut context)?;
    insert(&mut context, "limits", json!(limits));
    for part in PARTS {
        let text = template::render(&TEMPLATES, part, &context)?;
        insert(&mut context, part, text.trim_end().into());
    }
    if let Some((part, place)) = piece.map(Fragment::part) {
        let text = context.get(part).cloned().unwrap_or_default();
        insert(&mut context, "piece", text);
        insert(&mut context, "place", place.into());
    }
    template::render(&TEMPLATES, template, &context)
}

fn insert(context: &mut Value, name: &str, value: Value) {
    if let Some(context) = context.as_object_mut() {
        context.insert(name.to_owned(), value);
    }
}

/// What a route to each cluster says about timeouts, upgrades and the host; under an empty name, for
/// a route that leads to any cluster.
fn limits(
    clusters: &[Cluster],
    failovers: &[failover::Aggregate],
    context: &mut Value,
) -> anyhow::Result<BTreeMap<String, String>> {
    let rewrites = |name: &str| clusters.iter().any(|c| c.selected == name && c.rewrites_host);
    let of = |name: &str| {
        let baseline = failovers.iter().find(|failover| failover.cluster == name);
        rewrites(name) || baseline.is_some_and(|failover| rewrites(&failover.baseline))
    };
    let names = clusters.iter().map(|cluster| cluster.selected.as_str()).chain([""]);
    let mut limits = BTreeMap::new();
    for name in names {
        insert(context, "rewrites_host", of(name).into());
        let text = template::render(&TEMPLATES, "limits", context)?;
        limits.insert(name.to_owned(), text.trim_end().to_owned());
    }
    Ok(limits)
}

/// Whether the filter selects a cluster for this experiment's requests.
fn selects_cluster(experiment: &Experiment) -> bool {
    experiment.variants.iter().any(|variant| variant.cluster.is_some())
}

/// The clusters that the filter selects and whose servers expect their own host: they need a route
/// of their own, because a route rewrites the host for all clusters that it leads to.
fn rewritten<'a>(plan: &Plan, clusters: &'a [Cluster]) -> Vec<&'a str> {
    let selected = |name: &str| {
        let variants = plan.experiments.iter().flat_map(|experiment| experiment.variants.iter());
        variants.filter_map(|variant| variant.cluster.as_deref()).any(|cluster| cluster == name)
    };
    let rewritten = clusters.iter().filter(|c| c.rewrites_host && selected(&c.selected));
    rewritten.map(|cluster| cluster.selected.as_str()).collect()
}

/// Seconds as Envoy writes a length of time: `0s`, `1.500s`.
pub(super) fn seconds(time: Millis) -> String {
    let (whole, rest) = (time.seconds(), time.get() % 1000);
    if rest == 0 { format!("{whole}s") } else { format!("{whole}.{rest:03}s") }
}

impl Failover {
    /// The methods as a regular expression; `None` for any method.
    fn method_regex(&self) -> Option<String> {
        (!self.methods.is_empty()).then(|| self.methods.join("|"))
    }
}
