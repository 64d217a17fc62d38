//! Clusters of the bootstrap: their names, and the addresses, protocol and encryption of each.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use sidetrack::plan::{Experiment, Plan, VariantId};

use super::failover::Aggregate;
use super::{Endpoint, Options, protocol};

/// The port of a cluster without an endpoint.
const DEFAULT_PORT: u16 = 8080;

/// The cluster of a variant: the one that it names, or a cluster with the variant's name.
pub(in crate::render) fn cluster(experiment: &Experiment, variant: VariantId) -> &str {
    let variant = &experiment.variants[variant];
    variant.cluster.as_deref().unwrap_or(&variant.name)
}

/// The cluster of the baseline.
pub(super) fn baseline(experiment: &Experiment) -> &str {
    cluster(experiment, experiment.baseline)
}

/// A cluster that a request may be sent to.
#[derive(Serialize)]
pub(super) struct Cluster {
    /// The name by which the filter and the routes select it.
    #[serde(skip)]
    pub(super) selected: String,
    /// The name in Envoy; with failover, the selected name is that of an aggregate.
    name: String,
    discovery: &'static str,
    addresses: Vec<Value>,
    protocol: protocol::Protocol,
    tls: Option<Value>,
    /// Whether requests get the host of the endpoint's URL.
    #[serde(skip)]
    pub(super) rewrites_host: bool,
    /// Whether an endpoint was given.
    #[serde(skip)]
    pub(super) is_given: bool,
}

impl Cluster {
    pub(super) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn is_http1(&self) -> bool {
        self.protocol == protocol::Protocol::Http1
    }
}

/// All clusters that a request may be sent to.
pub(super) fn clusters(
    plan: &Plan,
    default: &str,
    options: &Options,
    failovers: &[Aggregate],
) -> anyhow::Result<Vec<Cluster>> {
    let names = names(plan, default);
    let endpoints = options.endpoint.iter().map(|e| ("--endpoint", Some(&e.cluster)));
    let choices = options.protocol.iter().map(|c| ("--upstream-protocol", c.cluster.as_ref()));
    for (option, name) in endpoints.chain(choices) {
        if let Some(stray) = name.filter(|name| !names.contains(&name.as_str())) {
            anyhow::bail!(
                "{option}: unknown cluster \"{stray}\"; expected one of: {}",
                names.join(", ")
            );
        }
    }
    names.iter().map(|name| one(name, options, failovers)).collect()
}

/// The names of all clusters, each once.
pub(super) fn names<'a>(plan: &'a Plan, default: &'a str) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for experiment in &plan.experiments {
        names.extend(experiment.variants.ids().map(|variant| cluster(experiment, variant)));
        names.extend(experiment.mirror.iter().map(|mirror| mirror.cluster.as_str()));
    }
    names.push(default);
    let mut seen: Vec<&str> = Vec::new();
    names.retain(|name| {
        let new = !seen.contains(name);
        seen.push(name);
        new
    });
    names
}

fn one(name: &str, options: &Options, failovers: &[Aggregate]) -> anyhow::Result<Cluster> {
    let endpoints: Vec<&Endpoint> = options.endpoint.iter().filter(|e| e.cluster == name).collect();
    let is_literal = !endpoints.is_empty() && endpoints.iter().all(|e| e.address.is_literal());
    let address = |e: &&Endpoint| json!({"host": e.address.host, "port": e.address.port, "hostname": e.host()});
    let mut addresses: Vec<Value> = endpoints.iter().map(address).collect();
    if addresses.is_empty() {
        addresses.push(json!({"host": name, "port": DEFAULT_PORT, "hostname": null}));
    }
    let alone = failovers.iter().find(|failover| failover.cluster == name);
    Ok(Cluster {
        selected: name.to_owned(),
        name: alone.map_or(name, |failover| &failover.alone).to_owned(),
        discovery: if is_literal { "STATIC" } else { "STRICT_DNS" },
        addresses,
        protocol: protocol::of(name, &endpoints, &options.protocol, !options.upgrade.is_empty())?,
        tls: tls(name, &endpoints, &options.ca_file)?,
        rewrites_host: endpoints.iter().any(|endpoint| endpoint.host().is_some()),
        is_given: !endpoints.is_empty(),
    })
}

/// How connections to the receiver of exposures are encrypted.
pub(super) fn receiver_tls(options: &Options) -> Option<Value> {
    let address = options.otlp.as_ref().filter(|_| options.otlp_tls)?;
    let host = address.host.as_str();
    let (kind, sni) = if address.is_literal() { ("IP_ADDRESS", None) } else { ("DNS", Some(host)) };
    Some(json!({"sni": sni, "names": [(kind, host)], "ca": options.ca_file}))
}

/// How connections to these endpoints are encrypted: the name that the server is asked for (SNI),
/// and the names of which its certificate must have one.
fn tls(cluster: &str, endpoints: &[&Endpoint], ca_file: &Path) -> anyhow::Result<Option<Value>> {
    let encrypted = endpoints.iter().filter(|endpoint| endpoint.is_tls()).count();
    if encrypted == 0 {
        return Ok(None);
    }
    anyhow::ensure!(
        encrypted == endpoints.len(),
        "--endpoint: {cluster} has endpoints with and without TLS; use https:// or grpcs:// for all \
         of them, or for none"
    );
    let mut names: Vec<(&str, &str)> = Vec::new();
    for endpoint in endpoints {
        let kind = if endpoint.address.is_literal() { "IP_ADDRESS" } else { "DNS" };
        let name = (kind, endpoint.address.host.as_str());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let hosts: Vec<&str> =
        names.iter().filter(|(kind, _)| *kind == "DNS").map(|(_, name)| *name).collect();
    anyhow::ensure!(
        hosts.len() < 2,
        "--endpoint: the TLS endpoints of {cluster} have different host names: {}\n  hint: a cluster \
         asks its servers for one name; use a name that resolves to all of them",
        hosts.join(", ")
    );
    Ok(Some(json!({"sni": hosts.first(), "names": names, "ca": ca_file})))
}
