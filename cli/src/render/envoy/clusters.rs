//! Clusters of the bootstrap: their names, and the addresses of each.

use serde_json::{Value, json};
use sidetrack::plan::{Experiment, Plan, VariantId};

use super::failover::Aggregate;
use super::{Address, Endpoint};

/// The cluster of a variant: the one that it names, or a cluster with the variant's name.
pub(in crate::render) fn cluster(experiment: &Experiment, variant: VariantId) -> &str {
    let variant = &experiment.variants[variant];
    variant.cluster.as_deref().unwrap_or(&variant.name)
}

/// The cluster of the baseline.
pub(super) fn baseline(experiment: &Experiment) -> &str {
    cluster(experiment, experiment.baseline)
}

/// All clusters that a request may be sent to.
pub(super) fn clusters(
    plan: &Plan,
    default: &str,
    endpoints: &[Endpoint],
    failovers: &[Aggregate],
) -> anyhow::Result<Vec<Value>> {
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
    if let Some(stray) =
        endpoints.iter().find(|endpoint| !names.contains(&endpoint.cluster.as_str()))
    {
        anyhow::bail!(
            "--endpoint: unknown cluster \"{}\"; expected one of: {}",
            stray.cluster,
            names.join(", ")
        );
    }
    let describe = |name: &&str| {
        let addresses: Vec<&Address> =
            endpoints.iter().filter(|e| e.cluster == *name).map(|e| &e.address).collect();
        let by_name = Address { host: (*name).to_owned(), port: 8080 };
        let addresses = if addresses.is_empty() { vec![&by_name] } else { addresses };
        let is_literal = |address: &&Address| address.host.parse::<std::net::IpAddr>().is_ok();
        let discovery = if addresses.iter().all(is_literal) { "STATIC" } else { "STRICT_DNS" };
        let name =
            failovers.iter().find(|f| f.cluster == *name).map_or(*name, |failover| &failover.alone);
        json!({"name": name, "discovery": discovery, "addresses": addresses})
    };
    Ok(names.iter().map(describe).collect())
}
