//! EnvoyFilters, merged as protobuf merges: lists grow, a member of a oneof replaces the one before.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::{Mesh, Proxy, Role, list, only};

pub(super) const CONNECTION_MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// What a route's action may name as its cluster: one of these.
const CLUSTER_SPECIFIER: &[&str] = &["cluster", "cluster_header", "weighted_clusters"];

/// Applies every patch that is for this proxy.
pub(super) fn apply(mesh: &Mesh, proxy: &Proxy<'_>, manager: &mut Value) -> Result<()> {
    let context = match proxy.role {
        Role::Gateway(_) => "GATEWAY",
        Role::Sidecar => "SIDECAR_OUTBOUND",
        Role::Waypoint(_) => return Ok(()),
    };
    for filter in mesh.of_kind(&["EnvoyFilter"]).filter(|filter| proxy.is_meant(filter)) {
        for patch in list(&filter["spec"]["configPatches"]) {
            let (place, change) = (&patch["match"], &patch["patch"]);
            ensure!(change["operation"] == "MERGE", "the operation {}", change["operation"]);
            if place["context"] != context {
                continue;
            }
            match patch["applyTo"].as_str() {
                Some("NETWORK_FILTER") => {
                    only(place, &["context", "listener"])?;
                    let name = &place["listener"]["filterChain"]["filter"]["name"];
                    ensure!(
                        *name == "envoy.filters.network.http_connection_manager",
                        "the filter {name}"
                    );
                    let value = &change["value"]["typed_config"];
                    ensure!(value["@type"] == CONNECTION_MANAGER, "the type {}", value["@type"]);
                    merge(manager, value);
                }
                Some("HTTP_ROUTE") => {
                    only(place, &["context", "routeConfiguration"])?;
                    let name = &place["routeConfiguration"]["vhost"]["route"]["name"];
                    ensure!(name.is_string(), "a patch of every route");
                    for host in items(&mut manager["route_config"]["virtual_hosts"]) {
                        for route in items(&mut host["routes"])
                            .iter_mut()
                            .filter(|route| route["name"] == *name)
                        {
                            merge(route, &change["value"]);
                        }
                    }
                }
                other => bail!("a patch of {other:?}"),
            }
        }
    }
    Ok(())
}

fn items(value: &mut Value) -> &mut [Value] {
    value.as_array_mut().map(Vec::as_mut_slice).unwrap_or_default()
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if CLUSTER_SPECIFIER.contains(&key.as_str()) {
                    into.retain(|other, _| !CLUSTER_SPECIFIER.contains(&other.as_str()));
                }
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => from.clone_into(into),
    }
}
