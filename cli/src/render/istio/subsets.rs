//! The DestinationRules that define the subsets of a service.

use serde_json::{Value, json};

use super::Options;
use super::destination::Destination;

/// A DestinationRule for each service that is split into subsets.
pub(super) fn rules(destinations: &[Destination], options: &Options) -> Vec<Value> {
    let mut hosts: Vec<&str> = Vec::new();
    for destination in destinations.iter().filter(|destination| destination.subset.is_some()) {
        if !hosts.contains(&destination.host.as_str()) {
            hosts.push(&destination.host);
        }
    }
    let rule = |host: &&str| {
        let mut subsets: Vec<&String> = destinations
            .iter()
            .filter(|d| d.host == **host)
            .filter_map(|d| d.subset.as_ref())
            .collect();
        subsets.dedup();
        let name = if hosts.len() == 1 {
            options.name.clone()
        } else {
            format!("{}-{}", options.name, host.split('.').next().unwrap_or_default())
        };
        // Proxies in other namespaces read the DestinationRule from the service's namespace.
        let namespace =
            host.strip_suffix(".svc.cluster.local").and_then(|host| Some(host.split_once('.')?.1));
        let namespace = namespace.unwrap_or(&options.namespace);
        let given = options.subset_namespace.as_deref();
        json!({
            "name": name, "namespace": given.unwrap_or(namespace), "host": host,
            "is_private": given.is_some_and(|given| given != namespace),
            "label": options.subset_label, "subsets": subsets,
        })
    };
    hosts.iter().map(rule).collect()
}
