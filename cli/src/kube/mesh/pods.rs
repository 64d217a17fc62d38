//! The pods of the candidates. Without one, a proxy answers 503.

use serde_json::{Map, Value};

use super::routes::{Destination, Route, list, service_of, text};
use super::{Finding, Mesh, problem};
use crate::kube::connection::{Connection, Listed, Scope};

/// Reports a destination whose service and subset exist, but select no pod.
pub(super) fn missing(
    name: &str,
    to: &Destination,
    route: &Route,
    mesh: &Mesh,
    connection: &Connection,
) -> anyhow::Result<Option<Finding>> {
    let Some((service, namespace)) = to.service() else { return Ok(None) };
    let is_it = |object: &&Value| {
        (text(object, "/metadata/namespace"), text(object, "/metadata/name"))
            == (Some(namespace), Some(service))
    };
    let object = mesh.services.iter().flatten().find(is_it);
    let selector = object.and_then(|object| object.pointer("/spec/selector")?.as_object());
    // Someone else lists the addresses of a service without a selector.
    let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { return Ok(None) };
    let mut labels = selector.clone();
    if let Some(subset) = &to.subset {
        labels.extend(subset_labels(subset, (service, namespace), mesh));
    }
    let labels = labels
        .iter()
        .map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(",");
    let is_none = |resource: &str, labels: Option<&str>| -> anyhow::Result<bool> {
        let listed = connection.list(resource, Scope::Of(namespace), labels)?;
        Ok(match listed {
            Listed::Items(items) => items.is_empty(),
            Listed::Unknown => true,
            Listed::Forbidden(_) => false,
        })
    };
    // A machine that is not a pod may have the labels from another source.
    if !is_none("pods", Some(&labels))? || !is_none("workloadentries.networking.istio.io", None)? {
        return Ok(None);
    }
    Ok(Some(problem(
        format!("{name}: {route} leads to pods with {labels}, and {namespace} has none"),
        "its requests fail with 503; `subset` is a set of labels in the DestinationRule",
    )))
}

/// The labels that a subset adds to those of the service.
fn subset_labels(subset: &str, service: (&str, &str), mesh: &Mesh) -> Map<String, Value> {
    let rules = mesh.rules.iter().flatten().filter(|rule| {
        let namespace = text(rule, "/metadata/namespace").unwrap_or_default();
        text(rule, "/spec/host").and_then(|host| service_of(host, namespace)) == Some(service)
    });
    let mut subsets = rules.flat_map(|rule| list(rule, "/spec/subsets"));
    let found = subsets.find(|it| text(it, "/name") == Some(subset));
    found.and_then(|it| it.get("labels")?.as_object().cloned()).unwrap_or_default()
}
