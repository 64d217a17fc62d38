//! What an experiment needs of the mesh: proxies that run the filter, a route for each candidate and one for all other
//! requests, services, subsets, and the removal of clients' own headers.

mod gateways;
mod order;
mod pods;
mod routes;
mod services;
mod subsets;

use serde::Serialize;
use serde_json::Value;
use sidetrack::matching::Host;
use sidetrack::plan::{Experiment, Plan};

use super::connection::{Connection, Listed, Scope};
use super::live::Live;
use super::proxies;
use crate::words::{host, variant};
use routes::{Destination, Route};
use subsets::{Lack, Service};

/// Something that was examined.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) message: String,
    pub(super) hint: String,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Good,
    /// It works, with a limit.
    Notice,
    /// The experiment does not work as the file says.
    Problem,
}

fn good(message: String) -> Finding {
    Finding { verdict: Verdict::Good, message, hint: String::new() }
}

fn notice(message: String, hint: &str) -> Finding {
    Finding { verdict: Verdict::Notice, message, hint: hint.to_owned() }
}

fn problem(message: String, hint: &str) -> Finding {
    Finding { verdict: Verdict::Problem, message, hint: hint.to_owned() }
}

/// The objects around a plugin.
struct Mesh {
    virtual_services: Vec<Value>,
    http_routes: Vec<Value>,
    routes: Vec<Route>,
    gateways: Option<Vec<Value>>,
    services: Option<Vec<Value>>,
    rules: Option<Vec<Value>>,
    filters: Option<Vec<Value>>,
    /// The namespaces of the proxies.
    proxies: Vec<String>,
    /// What could not be read.
    unread: Vec<Finding>,
}

/// Everything that was examined, in the order of a request.
pub(super) fn findings(
    live: &Live,
    plan: &Plan,
    connection: &Connection,
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let found = proxies::of(live, connection)?;
    findings.push(match (found.pods.len(), &found.unknown) {
        (_, Some(why)) => notice(format!("the proxies that run the filter are not known: {why}"), ""),
        (0, None) => problem(
            format!("no proxy runs the filter: there are no {}", found.place),
            "Istio does not report a selector that matches nothing; compare it with the labels of the pods",
        ),
        (number, None) => good(format!("{number} × {}", found.place)),
    });
    let header = &plan.settings.headers.variant;
    findings.extend(gateways::reported(&live.object, &live.to_string()));
    let mut namespaces: Vec<String> = found
        .pods
        .iter()
        .filter_map(|pod| pod.pointer("/metadata/namespace")?.as_str().map(ToOwned::to_owned))
        .collect();
    namespaces.sort();
    namespaces.dedup();
    let mut mesh = Mesh::read(connection, namespaces)?;
    // Other teams may have variants of the same name.
    let owners: Vec<String> = services::of(live, plan, &found, &mesh)
        .into_iter()
        .map(|service| routes::owner("VirtualService", service).0)
        .collect();
    mesh.routes.retain(|route| {
        !route.owner.starts_with("VirtualService ") || owners.contains(&route.owner)
    });
    findings.extend(guard(live, plan, &mesh));
    let services = services::of(live, plan, &found, &mesh);
    findings.extend(gateways::findings(&services, &found, &mesh));
    findings.extend(gateways::of_routes(live, header, &mesh.http_routes));
    for experiment in &plan.experiments {
        for id in experiment.candidates() {
            let name = variant(experiment, id);
            findings.extend(candidate(plan, experiment, name, &mesh, connection)?);
        }
    }
    findings.extend(order::findings(plan, &services, &mesh));
    findings.extend(baselines(plan, &mesh));
    findings.extend(untagged(plan, &mesh));
    findings.extend(hosts(plan, &mesh));
    findings.extend(mesh.unread);
    Ok(findings)
}

impl Mesh {
    fn read(connection: &Connection, proxies: Vec<String>) -> anyhow::Result<Self> {
        let mut unread = Vec::new();
        let mut list = |resource: &str| -> anyhow::Result<Option<Vec<Value>>> {
            let mut listed = connection.list(resource, Scope::All, None)?;
            if let Listed::Forbidden(said) = &listed {
                let limit = format!("objects of other namespaces were not read: {said}");
                unread.push(notice(limit, ""));
                listed = connection.list(resource, Scope::Current, None)?;
            }
            Ok(match listed {
                Listed::Items(items) => Some(items),
                Listed::Unknown | Listed::Forbidden(_) => None,
            })
        };
        let virtual_services = list("virtualservices.networking.istio.io")?.unwrap_or_default();
        let http_routes = list("httproutes.gateway.networking.k8s.io")?.unwrap_or_default();
        let rules = list("destinationrules.networking.istio.io")?;
        let filters = list("envoyfilters.networking.istio.io")?;
        let gateways = list("gateways.networking.istio.io")?;
        let services = list("services")?;
        let mut routes: Vec<Route> = virtual_services.iter().flat_map(routes::of_service).collect();
        routes.extend(http_routes.iter().flat_map(routes::of_gateway_api));
        Ok(Self {
            virtual_services,
            http_routes,
            routes,
            gateways,
            services,
            rules,
            filters,
            proxies,
            unread,
        })
    }

    /// Whether a text stands anywhere in an EnvoyFilter of this namespace; of all without one.
    fn filter_says(&self, namespace: Option<&str>, words: &[&str]) -> bool {
        self.filters.iter().flatten().any(|filter| {
            let own = filter.pointer("/metadata/namespace").and_then(Value::as_str);
            let text = filter.pointer("/spec").map(ToString::to_string).unwrap_or_default();
            namespace.is_none_or(|wanted| own == Some(wanted))
                && words.iter().all(|word| text.contains(word))
        })
    }
}

/// Clients' own headers must be removed before the filter, or they choose the variant while it is absent.
fn guard(live: &Live, plan: &Plan, mesh: &Mesh) -> Option<Finding> {
    mesh.filters.as_ref()?;
    // What is attached to a Gateway or Service has other means.
    if live.object.pointer("/spec/targetRefs").is_some() || live.kind.name == "EnvoyExtensionPolicy"
    {
        return None;
    }
    let header = &plan.settings.headers.variant;
    let quoted = format!("\"{header}\"");
    Some(if mesh.filter_says(Some(&live.namespace), &["early_header_mutation", &quoted]) {
        good(format!("an EnvoyFilter removes a client's own {header}"))
    } else {
        notice(
            format!("no EnvoyFilter in {} removes a client's own {header}", live.namespace),
            "while the filter is absent, clients can choose the variant; `sidetrack render istio` writes one",
        )
    })
}

fn candidate(
    plan: &Plan,
    experiment: &Experiment,
    name: &str,
    mesh: &Mesh,
    connection: &Connection,
) -> anyhow::Result<Vec<Finding>> {
    let headers = &plan.settings.headers;
    let by_cluster =
        experiment.variants.iter().any(|variant| variant.name == name && variant.cluster.is_some());
    if by_cluster && mesh.filter_says(None, &["cluster_header", &headers.cluster]) {
        return Ok(vec![good(format!("{name}: an EnvoyFilter routes by {}", headers.cluster))]);
    }
    let tagged: Vec<&Route> = mesh
        .routes
        .iter()
        .filter(|route| route.requires(&headers.variant, name))
        .filter(|route| route.allows(&headers.experiment, &experiment.name))
        .collect();
    if tagged.is_empty() {
        return Ok(vec![problem(
            format!(
                "{name}: no route matches {}: {name}, so requests that the filter counts for {name} get another route",
                headers.variant
            ),
            "compare the names letter by letter, and apply the routes of `sidetrack render` before the filter",
        )]);
    }
    let mut findings = Vec::new();
    for route in tagged {
        let to: Vec<String> = route.destinations.iter().map(ToString::to_string).collect();
        let mut missing = Vec::new();
        for to in &route.destinations {
            missing.extend(match exists(name, to, route, mesh) {
                None => pods::missing(name, to, route, mesh, connection)?,
                lacks => lacks,
            });
        }
        if missing.is_empty() {
            findings.push(good(format!("{name}: {route} → {}", to.join(", "))));
        }
        findings.extend(missing);
    }
    Ok(findings)
}

/// What a destination lacks.
fn exists(name: &str, to: &Destination, route: &Route, mesh: &Mesh) -> Option<Finding> {
    let (service, namespace) = to.service()?;
    let is = |object: &&Value| {
        object.pointer("/metadata/name").and_then(Value::as_str) == Some(service)
            && object.pointer("/metadata/namespace").and_then(Value::as_str) == Some(namespace)
    };
    if let Some(services) = &mesh.services
        && !services.iter().any(|service| is(&service))
    {
        return Some(problem(
            format!(
                "{name}: {route} leads to the service {namespace}/{service}, which does not exist"
            ),
            "its requests fail with 503",
        ));
    }
    let (subset, rules) = (to.subset.as_ref()?, mesh.rules.as_ref()?);
    let proxies: Vec<&str> = mesh.proxies.iter().map(String::as_str).collect();
    let lack = subsets::lack(subset, Service { name: service, namespace }, &proxies, rules)?;
    Some(match lack {
        Lack::Undefined => problem(
            format!(
                "{name}: no DestinationRule defines the subset {subset} of {namespace}/{service}"
            ),
            "its requests fail with 503",
        ),
        Lack::Hidden { namespace: of, by } => problem(
            format!(
                "{name}: the {by} hides the subset {subset} of {namespace}/{service} from proxies in {of}"
            ),
            &format!(
                "its requests fail with 503; define the subsets in {of}, where the exact host comes first: sidetrack \
                 render istio --subset-namespace {of}"
            ),
        ),
        Lack::NotExported { namespace: of, rule } => problem(
            format!(
                "{name}: the {rule} defines the subset {subset} of {namespace}/{service}, but proxies in {of} do not \
                 read it"
            ),
            "its requests fail with 503; correct exportTo, or move the rule to the namespace of the service",
        ),
    })
}

/// What the destinations of all other routes lack, in the objects that route the candidates.
fn baselines(plan: &Plan, mesh: &Mesh) -> Vec<Finding> {
    let header = &plan.settings.headers.variant;
    let candidates: Vec<&str> = plan
        .experiments
        .iter()
        .flat_map(|experiment| experiment.candidates().map(|id| variant(experiment, id)))
        .collect();
    let is_tagged = |route: &Route| candidates.iter().any(|name| route.requires(header, name));
    // Other objects route the variants of other teams.
    let is_ours = |route: &&Route| {
        mesh.routes.iter().any(|other| other.owner == route.owner && is_tagged(other))
    };
    let is_other = |route: &&Route| !is_tagged(route);
    let mut findings: Vec<Finding> = Vec::new();
    for route in mesh.routes.iter().filter(is_ours).filter(is_other) {
        for to in &route.destinations {
            let Some(found) = exists("the baseline", to, route, mesh) else { continue };
            if findings.iter().all(|finding| finding.message != found.message) {
                findings.push(found);
            }
        }
    }
    findings
}

/// Requests without the filter's headers need a route in each object that routes by them.
fn untagged(plan: &Plan, mesh: &Mesh) -> Vec<Finding> {
    let header = &plan.settings.headers.variant;
    let mut owners: Vec<&str> = Vec::new();
    for route in mesh.routes.iter().filter(|route| route.names(header)) {
        if !owners.contains(&route.owner.as_str()) {
            owners.push(&route.owner);
        }
    }
    let lacks = |owner: &&str| {
        !mesh.routes.iter().any(|route| route.owner == **owner && !route.names(header))
    };
    owners
        .into_iter()
        .filter(lacks)
        .map(|owner| {
            problem(
                format!("{owner} has no route for requests without {header}"),
                "while the filter is absent, they get 404; add a last route to the baseline",
            )
        })
        .collect()
}

/// The hosts of the experiments must be hosts of the objects that route their candidates.
fn hosts(plan: &Plan, mesh: &Mesh) -> Vec<Finding> {
    let mut findings = Vec::new();
    for experiment in &plan.experiments {
        let candidates: Vec<&str> =
            experiment.candidates().map(|id| variant(experiment, id)).collect();
        let tagged = |route: &&Route| {
            candidates.iter().any(|name| route.requires(&plan.settings.headers.variant, name))
        };
        // Inside the mesh, a service has several names.
        let mut routes =
            mesh.routes.iter().filter(tagged).filter(|route| route.at_gateway).peekable();
        if routes.peek().is_none() {
            continue;
        }
        let routes: Vec<&Route> = routes.collect();
        for wanted in &experiment.conditions.hosts {
            let text = host(wanted);
            if !routes.iter().any(|route| route.hosts.iter().any(|host| covers(host, wanted))) {
                let owner = routes.first().map(|route| route.owner.as_str()).unwrap_or_default();
                findings.push(problem(
                    format!("{}: {owner} has no routes for the host {text}", experiment.name),
                    "requests for this host take routes that do not know the candidates",
                ));
            }
        }
    }
    findings
}

/// Whether a host of a route takes all requests of an experiment's host.
fn covers(route: &str, wanted: &Host) -> bool {
    // HTTPRoutes without hosts take those of their Gateway.
    let Some(suffix) = route.strip_prefix('*') else {
        return matches!(wanted, Host::Exact(name) if name.eq_ignore_ascii_case(route));
    };
    match wanted {
        Host::Exact(name) | Host::Below(name) => {
            name.to_ascii_lowercase().ends_with(&suffix.to_ascii_lowercase())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_routes_take_hosts_of_experiments() {
        let exact = Host::Exact("a.example.com".to_owned());
        let below = Host::Below(".example.com".to_owned());
        for (route, to_exact, to_below) in [
            ("*", true, true),
            ("*.example.com", true, true),
            ("*.com", true, true),
            ("*.b.example.com", false, false),
            ("A.example.com", true, false),
            ("b.example.com", false, false),
        ] {
            assert_eq!(
                (covers(route, &exact), covers(route, &below)),
                (to_exact, to_below),
                "{route}"
            );
        }
    }
}
