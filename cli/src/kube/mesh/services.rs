//! The VirtualServices that route an experiment. Other teams may have variants of the same name.

use serde_json::Value;
use sidetrack::plan::Plan;

use super::routes::{of_service, text, texts};
use super::{Mesh, gateways, order};
use crate::kube::live::Live;
use crate::kube::proxies::Proxies;
use crate::words::variant;

/// The label that all resources of one rendering share.
const PART_OF: &str = "/metadata/labels/app.kubernetes.io~1part-of";

/// The VirtualServices with routes for the candidates: those at Gateways of the proxies; without one, those of the same
/// rendering; without one, all.
pub(super) fn of<'m>(
    live: &Live,
    plan: &Plan,
    proxies: &Proxies,
    mesh: &'m Mesh,
) -> Vec<&'m Value> {
    let header = &plan.settings.headers.variant;
    let is_tagged = |service: &&Value| {
        let routes = of_service(service);
        let mut experiments = plan.experiments.iter();
        experiments.any(|experiment| {
            let mut names = experiment.candidates().map(|id| variant(experiment, id));
            names.any(|name| routes.iter().any(|route| route.requires(header, name)))
        })
    };
    let tagged: Vec<&Value> = mesh.virtual_services.iter().filter(is_tagged).collect();
    let is_served = |service: &&&Value| {
        let namespace = text(service, "/metadata/namespace").unwrap_or_default();
        let named = texts(service, "/spec/gateways").into_iter();
        named.map(|name| order::qualified(name, namespace)).any(|name| {
            let found = mesh.gateways.iter().flatten().find(|it| gateways::full_name(it) == name);
            found.is_some_and(|gateway| {
                proxies.pods.iter().any(|pod| gateways::selects(gateway, pod))
            })
        })
    };
    let is_sibling = |service: &&&Value| is_sibling(live, service);
    let some = |found: Vec<&'m Value>| (!found.is_empty()).then_some(found);
    some(tagged.iter().filter(is_served).copied().collect())
        .or_else(|| some(tagged.iter().filter(is_sibling).copied().collect()))
        .unwrap_or(tagged)
}

/// Whether an object was rendered together with the one that installs the filter.
pub(super) fn is_sibling(live: &Live, object: &Value) -> bool {
    live.text(PART_OF).is_some() && text(object, PART_OF) == live.text(PART_OF)
}
