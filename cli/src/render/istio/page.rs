//! The manifests: the values for the templates, and the guesses to review.

use serde_json::{Value, json};
use sidetrack::plan::Plan;

use super::destination::{Destination, qualified};
use super::routes::{Route, routes};
use super::{FailStrategy, Kind, Options, Topology};
use crate::load::Loaded;
use crate::render::{headers, vocabulary};
use crate::words::host;
use crate::{template, yaml};

const TEMPLATES: [(&str, &str); 2] = [
    ("istio.yaml", include_str!("../../../templates/istio/istio.yaml")),
    ("mesh.yaml", include_str!("../../../templates/istio/mesh.yaml")),
];

/// The default Gateway.
const GATEWAY: &str = "istio-ingress/gateway";

/// All manifests. `plan` is the plan of the original file; `carried` is the file for the filter.
pub(super) fn manifests(
    plan: &Plan,
    carried: &Loaded,
    options: &Options,
    waves: bool,
) -> anyhow::Result<String> {
    let (routes, destinations) = routes(plan, options)?;
    let place = Place::of(plan, options, &routes)?;
    let names = &plan.settings.headers;
    let mut hidden = vec![names.cluster.as_str(), names.mirror.as_str()];
    hidden.extend(headers::testers(plan));
    let mut context = json!({
        "topology": options.topology,
        "kind": options.kind,
        "extension": options.kind == Kind::TrafficExtension,
        "waves": waves,
        "name": options.name,
        "namespace": options.namespace,
        "filter_namespace": place.filter_namespace,
        "selector": place.selector,
        "target": place.target,
        "gateway": place.gateway,
        "hosts": place.hosts,
        "url": url(options),
        "sha256": options.sha256,
        "pull_secret": options.pull_secret,
        "reload": options.fail_strategy == FailStrategy::Reload,
        "plugin_config": yaml::write(&carried.node)?,
        "hash": carried.plan.hash.to_string(),
        "experiments": plan.experiments.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", "),
        "by_header": routes.iter().any(|route| route.by_header),
        "rules": rules(&destinations, options),
        "hidden": hidden,
        "guarded": options.guard && options.topology != Topology::Waypoint,
        "own": headers::own(plan),
        "cluster_header": names.cluster,
        "checks": checks(&place, options, &destinations),
        "routes": routes,
    });
    vocabulary::add(&mut context, &names.prefix);
    template::render(&TEMPLATES, "istio.yaml", &context)
}

/// The mesh's settings.
pub(super) fn mesh(plan: &Plan) -> anyhow::Result<String> {
    let names = &plan.settings.headers;
    let mut context = json!({
        "names": {
            "experiment": names.experiment, "variant": names.variant, "assigned": names.assigned,
            "phase": names.phase,
        },
    });
    vocabulary::add(&mut context, &names.prefix);
    template::render(&TEMPLATES, "mesh.yaml", &context)
}

/// The proxies that run the filter, and their requests.
struct Place {
    filter_namespace: String,
    selector: Vec<(String, String)>,
    /// The service that a waypoint's filter is bound to.
    target: Option<String>,
    gateway: Option<String>,
    hosts: Vec<String>,
}

impl Place {
    fn of(plan: &Plan, options: &Options, routes: &[Route]) -> anyhow::Result<Self> {
        let in_gateway = options.topology == Topology::Gateway;
        let gateway =
            in_gateway.then(|| options.gateway.clone().unwrap_or_else(|| GATEWAY.to_owned()));
        let hosts = hosts(plan, options, routes);
        let mut selector = options.selector.clone();
        if selector.is_empty() && in_gateway {
            selector.push(("istio".to_owned(), "ingressgateway".to_owned()));
        }
        let mut filter_namespace = options.filter_namespace.clone();
        let mut target = None;
        if options.topology == Topology::Waypoint {
            let (service, namespace) = service(&hosts, &options.namespace)?;
            anyhow::ensure!(
                filter_namespace.as_ref().is_none_or(|given| *given == namespace),
                "--filter-namespace is {}, but must be {namespace}, the namespace of the service {service}\n  \
                 hint: remove --filter-namespace",
                filter_namespace.unwrap_or_default()
            );
            (target, filter_namespace) = (Some(service), Some(namespace));
        }
        let of_gateway =
            gateway.as_ref().and_then(|gateway| Some(gateway.split_once('/')?.0.to_owned()));
        let filter_namespace =
            filter_namespace.or(of_gateway).unwrap_or_else(|| options.namespace.clone());
        Ok(Self { filter_namespace, selector, target, gateway, hosts })
    }
}

/// The hosts of the routes: behind a gateway the hosts that clients call, otherwise hosts of services.
fn hosts(plan: &Plan, options: &Options, routes: &[Route]) -> Vec<String> {
    let namespace = &options.namespace;
    let in_gateway = options.topology == Topology::Gateway;
    let given = options.host.iter();
    let mut hosts: Vec<String> = if in_gateway {
        given.cloned().collect()
    } else {
        given.map(|host| qualified(host, namespace)).collect()
    };
    if hosts.is_empty() && options.topology != Topology::Waypoint {
        let all = plan.experiments.iter().flat_map(|experiment| &experiment.conditions.hosts);
        hosts.extend(all.map(host));
        // An experiment without hosts matches all hosts.
        if plan.experiments.iter().any(|experiment| experiment.conditions.hosts.is_empty()) {
            hosts.clear();
        }
    }
    if hosts.is_empty() {
        let baseline = routes.last().map(|route| route.destination.host.clone());
        hosts.extend(if in_gateway { Some("*".to_owned()) } else { baseline });
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Name and namespace of the service that a waypoint's filter is attached to.
fn service(hosts: &[String], namespace: &str) -> anyhow::Result<(String, String)> {
    let [host] = hosts else {
        anyhow::bail!(
            "--topology waypoint requires a single host, but there are several: {}\n  \
             hint: render the manifests once for each service, with --host",
            hosts.join(", ")
        );
    };
    let mut parts = host.split('.');
    let name = parts.next().unwrap_or_default().to_owned();
    Ok((name, parts.next().unwrap_or(namespace).to_owned()))
}

fn url(options: &Options) -> String {
    let version = env!("CARGO_PKG_VERSION");
    options.url.clone().unwrap_or_else(|| format!("oci://registry.example.com/sidetrack:{version}"))
}

/// A DestinationRule for each service that is split into subsets.
fn rules(destinations: &[Destination], options: &Options) -> Vec<Value> {
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
        json!({
            "name": name, "namespace": namespace.unwrap_or(&options.namespace), "host": host,
            "label": options.subset_label, "subsets": subsets,
        })
    };
    hosts.iter().map(rule).collect()
}

/// The assumptions of the manifests, each with a way to check it.
fn checks(place: &Place, options: &Options, destinations: &[Destination]) -> Vec<String> {
    let namespace = &place.filter_namespace;
    let mut checks = Vec::new();
    if options.url.is_none() {
        checks.push(format!("{} is a placeholder: set your image with --url.", url(options)));
    }
    let labels: Vec<String> =
        place.selector.iter().map(|(label, value)| format!("{label}={value}")).collect();
    match &place.target {
        Some(service) => checks.push(format!(
            "The service {service} has a waypoint: kubectl -n {namespace} get service {service} --show-labels (istio.io/use-waypoint)"
        )),
        None if labels.is_empty() => {
            checks.push(format!("All sidecars in {namespace} run the filter; select some of them with --selector."));
        }
        None => checks.push(format!("These pods run the filter: kubectl -n {namespace} get pods -l {}", labels.join(","))),
    }
    if let Some(gateway) = &place.gateway {
        checks.push(format!(
            "The Gateway {gateway} accepts {}, and no other VirtualService has routes for it.",
            place.hosts.join(", ")
        ));
    } else {
        checks.push(format!(
            "Clients address {}, and no other VirtualService has routes for it.",
            place.hosts.join(", ")
        ));
    }
    let mut hosts: Vec<&str> =
        destinations.iter().map(|destination| destination.host.as_str()).collect();
    hosts.dedup();
    checks.push(format!("The services exist: {}", hosts.join(", ")));
    if destinations.iter().any(|destination| destination.subset.is_some()) {
        let label = &options.subset_label;
        checks.push(format!(
            "Their pods have the label {label}: kubectl -n {} get pods -L {label}",
            options.namespace
        ));
    }
    checks.push(
        "The mesh has the log format and the metric labels: sidetrack render istio FILE --mesh-config"
            .to_owned(),
    );
    checks
}
