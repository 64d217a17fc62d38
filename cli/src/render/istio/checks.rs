//! The assumptions of the manifests, each with a way to check it: comments at the top of the output.

use sidetrack::plan::Plan;

use super::destination::Destination;
use super::place::Place;
use super::release::Release;
use super::{BodyUnit, Kind, Options, Topology, identity};
use crate::render::image;
use crate::render::otlp::Receiver;

/// What no option sets, as sentences.
pub(super) fn guesses(place: &Place, options: &Options) -> Vec<String> {
    let mut guesses = place.guesses.clone();
    guesses.extend(image::guess(options.url.as_ref()));
    guesses
}

/// The assumptions, as sentences.
pub(super) fn checks(
    plan: &Plan,
    place: &Place,
    options: &Options,
    destinations: &[Destination],
) -> Vec<String> {
    let mut checks = vec![
        "The mesh has the log format and the metric labels, which `sidetrack render istio FILE --mesh-config` writes. \
         Apply them first: a Telemetry with an unknown provider switches the access log off."
            .to_owned(),
    ];
    checks.extend(of_proxies(plan, place, options));
    checks.extend(of_routes(place, options.merge_into.is_some()));
    checks.extend(of_destinations(place, options, destinations));
    checks.extend(of_telemetry(place, options));
    checks.extend(identity::checks(plan, options));
    checks.extend(options.otlp.as_ref().map(Receiver::check));
    if options.trace_tags {
        checks.push(
            "The mesh has a provider of traces, and needs no other custom tags on the spans of these proxies."
                .to_owned(),
        );
    }
    if options.body_unit == BodyUnit::Lua {
        checks.push(format!(
            "Istio is {} or newer. Clients send bodies with content-length; for a body without it, the script does not \
             wait.",
            Release::TRAFFIC_EXTENSION
        ));
    }
    checks.extend(of_names(plan));
    checks
}

fn of_proxies(plan: &Plan, place: &Place, options: &Options) -> Vec<String> {
    let namespace = &place.filter_namespace;
    let mut checks = Vec::new();
    let labels: Vec<String> =
        place.selector.iter().map(|(label, value)| format!("{label}={value}")).collect();
    match &place.target {
        Some(service) => checks.push(format!(
            "The service {service} has this waypoint: kubectl -n {namespace} get service {service} --show-labels \
             (istio.io/use-waypoint). Its port is named http or grpc, or has no name."
        )),
        None if labels.is_empty() => {}
        None => checks.push(format!(
            "These pods run the filter: kubectl -n {namespace} get pods -l {}",
            labels.join(",")
        )),
    }
    let prefix = &plan.settings.headers.prefix;
    checks.push(format!(
        "No other Sidetrack filter with the header prefix {prefix} runs in these proxies: kubectl -n {namespace} get \
         wasmplugins. Two of them need different settings.header_prefix."
    ));
    if options.kind == Kind::TrafficExtension {
        checks.push(format!(
            "Istio is {} or newer. Older releases have no TrafficExtension.",
            Release::TRAFFIC_EXTENSION
        ));
    }
    if let Some(path) = options.url.as_deref().and_then(|url| url.strip_prefix("file://")) {
        let without = if options.failure_logger {
            "refuses the listeners with the filter: a new one does not become ready, and a running one keeps its old \
             listeners"
        } else if options.kind == Kind::EnvoyFilter {
            "serves the baseline if it is new, and keeps its old configuration if it runs"
        } else {
            "answers 500 to all requests, whatever failStrategy says"
        };
        checks.push(format!(
            "All these proxies have the module {path} before you apply this, and new ones when they start. A proxy that \
             cannot load the module {without}."
        ));
    }
    checks
}

fn of_routes(place: &Place, is_merged: bool) -> Vec<String> {
    let hosts = place.hosts.join(", ");
    let mut checks = Vec::new();
    if is_merged {
        checks.push(
            "The VirtualService in the cluster is still that of --merge-into. Keep the file for --rollback."
                .to_owned(),
        );
        return checks;
    }
    match (&place.gateway, place.topology) {
        (Some(gateway), _) => {
            checks.push(format!(
                "The Gateway {gateway} accepts {hosts}, and no older VirtualService takes these requests: kubectl get \
                 virtualservices -A. One with a wildcard host counts too. To keep its routes, use --merge-into."
            ));
        }
        (None, Topology::Waypoint) => checks.extend([
            format!(
                "Clients address {hosts}, and no older VirtualService for it, or for a wildcard that includes it, has \
                 a route that takes these requests: kubectl get virtualservices -A"
            ),
            "Clients in the mesh reach the service through the waypoint. A client with a sidecar goes past it and gets \
             the baseline. So does an ingress gateway, unless the service has the label istio.io/ingress-use-waypoint."
                .to_owned(),
        ]),
        (None, _) => checks.push(format!(
            "Clients address {hosts}, and no other VirtualService has routes for it, also none with a wildcard host: \
             kubectl get virtualservices -A"
        )),
    }
    if !place.included.is_empty() {
        checks.push(format!(
            "No other VirtualService has the hosts {}. A host of these routes includes them.",
            place.included.join(", ")
        ));
    }
    let outside: Vec<&str> = place
        .hosts
        .iter()
        .map(String::as_str)
        .filter(|host| !host.ends_with(".svc.cluster.local"))
        .collect();
    if place.topology == Topology::Sidecar && !outside.is_empty() {
        checks.push(format!(
            "ServiceEntries define these hosts: {}. A sidecar routes a host that is not a service on port 80 only.",
            outside.join(", ")
        ));
    }
    if !place.takes_all {
        checks.push(
            "Other requests of these hosts have routes elsewhere, or none is needed. With --catch-all, they take the \
             baseline."
                .to_owned(),
        );
    }
    checks
}

fn of_destinations(place: &Place, options: &Options, destinations: &[Destination]) -> Vec<String> {
    let mut hosts: Vec<&str> =
        destinations.iter().map(|destination| destination.host.as_str()).collect();
    hosts.dedup();
    let mut checks = vec![format!("The services exist: {}", hosts.join(", "))];
    if destinations.iter().any(|d| d.port.is_none() && !place.is_addressed(&d.host)) {
        checks.push("Each of them has a single port. Otherwise, set it with --port.".to_owned());
    }
    let has_subsets = destinations.iter().any(|destination| destination.subset.is_some());
    if has_subsets {
        let label = &options.subset_label;
        checks.push(format!(
            "Their pods have the label {label}: kubectl -n {} get pods -L {label}",
            options.namespace
        ));
    }
    match &options.subset_namespace {
        Some(namespace) if has_subsets => checks.push(format!(
            "The services have no DestinationRule whose policies these proxies need: kubectl get destinationrules -A. \
             The one in {namespace} hides them."
        )),
        None if has_subsets => checks.push(format!(
            "No DestinationRule for these services or for a wildcard is in the namespace {}: kubectl -n {} get \
             destinationrules. It would hide the subsets, and requests of the experiment would get 503; kubectl sidetrack \
             check reports it. To prevent that, put the subsets there with --subset-namespace.",
            place.filter_namespace, place.filter_namespace
        )),
        _ => {}
    }
    checks
}

fn of_telemetry(place: &Place, options: &Options) -> Vec<String> {
    let mut checks = Vec::new();
    let namespace = &place.filter_namespace;
    if place.topology == Topology::Sidecar && place.selector.is_empty() {
        checks.push(format!(
            "The namespace has no other Telemetry without selector, because Istio reads only the oldest one: kubectl -n \
             {namespace} get telemetries"
        ));
    }
    if options.access_log_provider.is_empty() {
        checks.push(
            "These proxies need no other access log for these requests. To keep one, name its provider with \
             --access-log-provider."
                .to_owned(),
        );
    }
    checks
}

/// Istio takes these parts of a metric's name for labels of its own.
fn of_names(plan: &Plan) -> Option<String> {
    let names = plan.experiments.iter().flat_map(|experiment| {
        let variants = experiment.variants.iter().map(|variant| variant.name.as_str());
        [experiment.name.as_str()].into_iter().chain(variants)
    });
    let taken =
        |name: &&str| ["cache.", "component.", "tag."].iter().any(|part| name.contains(part));
    let taken: Vec<&str> = names.filter(taken).collect();
    (!taken.is_empty()).then(|| {
        format!(
            "Dashboards expect labels that Istio makes from parts of these names: {}. Names without \"cache.\", \
             \"component.\" and \"tag.\" avoid them.",
            taken.join(", ")
        )
    })
}
