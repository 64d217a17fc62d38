//! Routes that another route hides: Istio takes the first one that matches a request.

use serde_json::{Map, Value};
use sidetrack::plan::Plan;

use super::routes::{Route, text, texts};
use super::{Finding, Mesh, notice, problem};
use crate::words::variant;

/// What hides the routes of the candidates: earlier routes of the same VirtualService, and VirtualServices for the same
/// hosts.
pub(super) fn findings(plan: &Plan, services: &[&Value], mesh: &Mesh) -> Vec<Finding> {
    let header = &plan.settings.headers.variant;
    let candidates: Vec<&str> = plan
        .experiments
        .iter()
        .flat_map(|experiment| experiment.candidates().map(|id| variant(experiment, id)))
        .collect();
    let mut findings = Vec::new();
    for service in services {
        let routes = super::routes::of_service(service);
        let mut hidden: Vec<&str> = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let of = |name: &&&str| route.requires(header, name);
            let Some(name) = candidates.iter().find(of).filter(|name| !hidden.contains(name))
            else {
                continue;
            };
            let covered = |first: &&Route| covers(&first.condition, &route.condition);
            let first = routes.iter().take(index).find(covered);
            // A copy of the candidate's route for other requests.
            if let Some(first) = first.filter(|first| !first.requires(header, name)) {
                hidden.push(name);
                findings.push(problem(
                    format!("{name}: {first} takes the requests of {route}, which comes after it"),
                    "Istio uses the first route that matches; put the route of the candidate in front",
                ));
            }
        }
        let is_tagged = |name: &&str| routes.iter().any(|route| route.requires(header, name));
        if candidates.iter().any(is_tagged) {
            findings.extend(rivals(service, &routes, header, mesh));
        }
    }
    findings
}

/// Other VirtualServices for the same hosts. At a gateway, Istio joins them, the oldest first. In sidecars and waypoints, it
/// uses only the oldest.
fn rivals(service: &Value, routes: &[Route], header: &str, mesh: &Mesh) -> Vec<Finding> {
    let own = Object::of(service);
    let mut findings = Vec::new();
    for other in &mesh.virtual_services {
        let rival = Object::of(other);
        let Some(host) = rival.hosts.iter().find(|host| own.hosts.contains(host)) else { continue };
        let shared = rival.gateways.iter().find(|gateway| own.gateways.contains(gateway));
        let Some(gateway) = shared.filter(|_| rival.name != own.name && rival.is_exported) else {
            continue;
        };
        let is_older = (&rival.created, &rival.name) < (&own.created, &own.name);
        if gateway == MESH {
            let (used, lost) = if is_older { (&rival, &own) } else { (&own, &rival) };
            let message = format!(
                "{} and {} have routes for {host} in sidecars; Istio uses only those of the older one, {}",
                own.name, rival.name, used.name
            );
            findings.push(if is_older {
                problem(
                    message,
                    "join them: `sidetrack render istio --merge-into` writes one VirtualService",
                )
            } else {
                notice(message, &format!("the routes of {} have no effect", lost.name))
            });
            continue;
        }
        // Istio moves routes that take everything to the end.
        let takes = |first: &Route| {
            let later = |route: &&Route| covers(&first.condition, &route.condition);
            let ours = routes.iter().filter(|route| route.names(header)).find(later)?;
            (!covers(&first.condition, &Value::Null)).then(|| ours.to_string())
        };
        let rivals = super::routes::of_service(other);
        let taken = rivals.iter().find_map(|first| Some((first, takes(first)?)));
        if let Some((first, ours)) = taken.filter(|_| is_older) {
            findings.push(problem(
                format!("{first} takes requests for {host} of {ours}: it is the older one"),
                "join them: `sidetrack render istio --merge-into` writes one VirtualService",
            ));
        }
    }
    findings
}

/// The name under which a VirtualService lists the sidecars.
const MESH: &str = "mesh";

/// What decides about conflicts of a VirtualService.
struct Object {
    name: String,
    hosts: Vec<String>,
    gateways: Vec<String>,
    created: String,
    /// Whether other namespaces see it.
    is_exported: bool,
}

impl Object {
    fn of(object: &Value) -> Self {
        let namespace = text(object, "/metadata/namespace").unwrap_or_default();
        let name = text(object, "/metadata/name").unwrap_or_default();
        let mut gateways: Vec<String> = texts(object, "/spec/gateways")
            .into_iter()
            .map(|it| qualified(it, namespace))
            .collect();
        if gateways.is_empty() {
            gateways.push(MESH.to_owned());
        }
        let is_inside = gateways.iter().any(|gateway| gateway == MESH);
        let host = |host: String| match host.contains('.') || host == "*" || !is_inside {
            true => host,
            false => format!("{host}.{namespace}.svc.cluster.local"),
        };
        let export = texts(object, "/spec/exportTo");
        Self {
            name: format!("VirtualService {namespace}/{name}"),
            hosts: texts(object, "/spec/hosts").into_iter().map(host).collect(),
            gateways,
            created: text(object, "/metadata/creationTimestamp").unwrap_or_default().to_owned(),
            is_exported: export.is_empty() || export.iter().any(|to| to == "*"),
        }
    }
}

/// A gateway with its namespace.
pub(super) fn qualified(gateway: String, namespace: &str) -> String {
    if gateway == MESH || gateway.contains('/') {
        gateway
    } else {
        format!("{namespace}/{gateway}")
    }
}

/// Whether a condition holds for all requests of another one. If that is not certain, it does not.
fn covers(first: &Value, second: &Value) -> bool {
    let Some(first) = first.as_object() else { return true };
    let none = Map::new();
    let second = second.as_object().unwrap_or(&none);
    first.iter().all(|(key, rule)| {
        let other = second.get(key);
        match key.as_str() {
            "name" | "statPrefix" | "ignoreUriCase" => true,
            "uri" => {
                let exactly = second.get("ignoreUriCase").and_then(Value::as_bool) != Some(true);
                is_every_path(rule) || other.is_some_and(|other| exactly && is_within(rule, other))
            }
            "headers" | "queryParams" => each(rule, |name, rule| {
                other.and_then(|it| it.get(name)).is_some_and(|it| is_within(rule, it))
            }),
            "sourceLabels" | "withoutHeaders" => {
                each(rule, |name, rule| other.and_then(|it| it.get(name)) == Some(rule))
            }
            "gateways" => {
                let of = |value: &Value| texts(value, "");
                other.is_some_and(|other| of(other).iter().all(|it| of(rule).contains(it)))
            }
            "method" | "scheme" | "authority" => other.is_some_and(|other| is_within(rule, other)),
            _ => other == Some(rule),
        }
    })
}

fn each(map: &Value, holds: impl Fn(&str, &Value) -> bool) -> bool {
    map.as_object().is_some_and(|map| map.iter().all(|(name, rule)| holds(name, rule)))
}

fn is_every_path(rule: &Value) -> bool {
    text(rule, "/prefix") == Some("/")
}

/// Whether a rule for a text takes all texts of another rule. An empty one takes each text.
fn is_within(outer: &Value, inner: &Value) -> bool {
    if outer == inner || outer.as_object().is_some_and(Map::is_empty) {
        return true;
    }
    let Some(prefix) = text(outer, "/prefix") else { return false };
    let given = text(inner, "/exact").or_else(|| text(inner, "/prefix"));
    given.is_some_and(|given| given.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_covers_another_only_if_it_is_certain() {
        let tagged = json!({
            "uri": {"prefix": "/v2/models"}, "headers": {"x-ab-variant": {"exact": "new"}, "x-a": {"exact": "1"}},
            "port": 80, "sourceLabels": {"app": "a", "b": "c"},
        });
        for (first, expected) in [
            (Value::Null, true),
            (json!({}), true),
            (json!({"name": "x", "uri": {"prefix": "/"}}), true),
            (json!({"uri": {"prefix": "/v2"}}), true),
            (json!({"uri": {"prefix": "/v2/models/a"}}), false),
            (json!({"uri": {"exact": "/v2/models"}}), false),
            (json!({"uri": {"regex": ".*"}}), false),
            (json!({"headers": {"x-ab-variant": {}}}), true),
            (json!({"headers": {"x-ab-variant": {"prefix": "n"}, "x-a": {"exact": "1"}}}), true),
            (json!({"headers": {"x-ab-variant": {"exact": "old"}}}), false),
            (json!({"headers": {"x-b": {}}}), false),
            (json!({"withoutHeaders": {"x-ab-variant": {}}}), false),
            (json!({"port": 80, "sourceLabels": {"app": "a"}}), true),
            (json!({"port": 81}), false),
            (json!({"sourceLabels": {"app": "b"}}), false),
            (json!({"sourceNamespace": "a"}), false),
            (json!({"later": 1}), false),
        ] {
            assert_eq!(covers(&first, &tagged), expected, "{first}");
        }
        assert!(!covers(&tagged, &Value::Null));
    }
}
