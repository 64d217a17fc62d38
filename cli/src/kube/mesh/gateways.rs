//! The Gateways of the routes: they exist, accept the routes' hosts, and their pods run the filter.

use serde_json::Value;

use super::order::qualified;
use super::routes::{Route, list, text, texts};
use super::{Finding, Mesh, problem, services};
use crate::kube::live::Live;
use crate::kube::proxies::Proxies;

/// What is wrong with the Gateways of these VirtualServices.
pub(super) fn findings(services: &[&Value], proxies: &Proxies, mesh: &Mesh) -> Vec<Finding> {
    let Some(gateways) = &mesh.gateways else { return Vec::new() };
    let mut findings = Vec::new();
    for service in services {
        let namespace = text(service, "/metadata/namespace").unwrap_or_default();
        let name = text(service, "/metadata/name").unwrap_or_default();
        let owner = format!("VirtualService {namespace}/{name}");
        let named = texts(service, "/spec/gateways").into_iter().filter(|name| name != "mesh");
        for gateway in named.map(|gateway| qualified(gateway, namespace)) {
            let is_it = |object: &&Value| full_name(object) == gateway;
            let Some(object) = gateways.iter().find(is_it) else {
                findings.push(problem(
                    format!("{owner} names the Gateway {gateway}, which does not exist"),
                    "its routes have no effect there; requests get 404, or routes of other objects",
                ));
                continue;
            };
            for host in texts(service, "/spec/hosts") {
                if !accepts(object, &host, namespace) {
                    findings.push(problem(
                        format!("{owner} has routes for {host}, which the Gateway {gateway} does not accept"),
                        "its requests get 404; compare with `spec.servers[].hosts` of the Gateway",
                    ));
                }
            }
            findings.extend(elsewhere(object, &gateway, proxies));
        }
    }
    findings
}

pub(super) fn full_name(object: &Value) -> String {
    let of = |pointer| text(object, pointer).unwrap_or_default();
    format!("{}/{}", of("/metadata/namespace"), of("/metadata/name"))
}

/// Whether a server of the Gateway takes requests for a host of routes in this namespace.
fn accepts(gateway: &Value, host: &str, namespace: &str) -> bool {
    let own = text(gateway, "/metadata/namespace").unwrap_or_default();
    let servers = list(gateway, "/spec/servers");
    servers.iter().flat_map(|server| texts(server, "/hosts")).any(|accepted| {
        let (from, accepted) = accepted.split_once('/').unwrap_or(("*", &accepted));
        let from = if from == "." { own } else { from };
        (from == "*" || from == namespace) && overlap(accepted, host)
    })
}

/// Whether requests exist that have both hosts, each of which may begin with `*`.
fn overlap(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(str::to_ascii_lowercase);
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (None, None) => one == other,
        (Some(end), None) => other.ends_with(end),
        (None, Some(end)) => one.ends_with(end),
        (Some(end), Some(of)) => end.ends_with(of) || of.ends_with(end),
    }
}

/// Whether a pod has the labels that a Gateway selects.
pub(super) fn selects(gateway: &Value, pod: &Value) -> bool {
    let labels = gateway.pointer("/spec/selector").and_then(Value::as_object);
    let own = pod.pointer("/metadata/labels");
    labels.is_some_and(|labels| {
        let has =
            |(label, value): (&String, &Value)| own.and_then(|own| own.get(label)) == Some(value);
        labels.iter().all(has)
    })
}

/// The pods of the Gateway must be among those that run the filter.
fn elsewhere(gateway: &Value, name: &str, proxies: &Proxies) -> Option<Finding> {
    let labels = gateway.pointer("/spec/selector")?.as_object()?;
    let is_served = proxies.pods.iter().any(|pod| selects(gateway, pod));
    if labels.is_empty() || proxies.pods.is_empty() || is_served {
        return None;
    }
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default()))
        .collect();
    Some(problem(
        format!("no pod of the Gateway {name} ({}) runs the filter", labels.join(",")),
        "its requests have no tag, so all of them take the baseline; compare the selectors",
    ))
}

/// What the controllers of the Gateway API report about the object that installs the filter, and about the routes.
pub(super) fn reported(object: &Value, owner: &str) -> Vec<Finding> {
    let places = ["/status/parents", "/status/ancestors"];
    let each = places.iter().flat_map(|place| list(object, place));
    let conditions = each
        .flat_map(|one| list(one, "/conditions"))
        .chain(list(object, "/status/conditions"))
        .filter(|condition| text(condition, "/status") == Some("False"))
        .filter(|condition| {
            let kind = text(condition, "/type").unwrap_or_default();
            kind.ends_with("Accepted") || kind == "ResolvedRefs"
        });
    conditions
        .map(|condition| {
            let of = |pointer| text(condition, pointer).unwrap_or_default();
            problem(
                format!("{owner}: its controller reports {}: {}", of("/reason"), of("/message")),
                "",
            )
        })
        .collect()
}

/// What is reported about the HTTPRoutes of the same rendering that have rules by this header.
pub(super) fn of_routes(live: &Live, header: &str, http_routes: &[Value]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for object in http_routes.iter().filter(|route| services::is_sibling(live, route)) {
        let routes: Vec<Route> = super::routes::of_gateway_api(object);
        if let Some(route) = routes.iter().find(|route| route.names(header)) {
            findings.extend(reported(object, &route.owner));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_accepts_hosts_of_namespaces() {
        let gateway = json!({
            "metadata": {"namespace": "ingress", "name": "g"},
            "spec": {"servers": [{"hosts": ["models/a.example.com", "./b.example.com"]}, {"hosts": ["*.c.com"]}]},
        });
        for (host, namespace, expected) in [
            ("a.example.com", "models", true),
            ("A.example.com", "models", true),
            ("a.example.com", "other", false),
            ("b.example.com", "ingress", true),
            ("b.example.com", "models", false),
            ("x.c.com", "other", true),
            ("*.x.c.com", "other", true),
            ("c.com", "other", false),
            ("*", "models", true),
        ] {
            assert_eq!(accepts(&gateway, host, namespace), expected, "{host} of {namespace}");
        }
    }
}
