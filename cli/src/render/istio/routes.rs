//! The routes of the VirtualService, first to last:
//!
//! 1. at a waypoint, all requests of sidecars, which go past it;
//! 2. a route for each variant, which the filter's headers select;
//! 3. a route for each experiment's requests that the filter has not seen: to the baseline, and counted;
//! 4. what remains: to the baseline's service, whatever its subset, so that no other manifest can take it down.
//!
//! All routes remove the headers that must not reach the model.

mod matches;

use anyhow::ensure;
use serde::Serialize;
use serde_json::{Value, json};
use sidetrack::plan::{Experiment, Plan, VariantId};

use super::destination::{self, Destination};
use super::place::Place;
use super::{Options, Routing, Topology};
use crate::render::envoy::{cluster, has_fallback, mirrors};
use matches::Matches;

/// The label that Istio's injection gives to each pod with a sidecar.
const SIDECAR: (&str, &str) = ("security.istio.io/tlsMode", "istio");

/// One entry of `http`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Route {
    pub(super) name: String,
    /// The purpose of the route.
    note: String,
    /// The alternatives of `match`; empty: all requests.
    #[serde(rename = "match")]
    pub(super) matches: Vec<Value>,
    pub(super) destination: Destination,
    pub(super) mirror: Option<Destination>,
    /// The host that the model gets, if it is not the client's.
    pub(super) authority: Option<String>,
    /// Destinations with weight 0, so that the proxy knows their clusters.
    also: Vec<Destination>,
    /// Whether an EnvoyFilter lets a header choose the cluster instead.
    pub(super) by_header: bool,
    /// Whether it leads to candidates, whose time to respond is limited.
    pub(super) is_limited: bool,
    /// The experiment, if it is for the requests of one.
    pub(super) experiment: String,
    /// The destination of its baseline.
    pub(super) baseline: Destination,
    /// Whether it is for requests that the filter has not seen.
    pub(super) is_bypass: bool,
}

impl Route {
    fn new(name: String, note: &str, matches: Vec<Value>, destination: Destination) -> Self {
        Self {
            name,
            experiment: String::new(),
            baseline: destination.clone(),
            is_bypass: false,
            note: note.to_owned(),
            matches,
            destination,
            mirror: None,
            authority: None,
            also: Vec::new(),
            by_header: false,
            is_limited: false,
        }
    }
}

/// A variant and its destination.
struct Arm<'a> {
    experiment: &'a Experiment,
    variant: VariantId,
    name: &'a str,
    destination: Destination,
}

impl Arm<'_> {
    fn is_baseline(&self) -> bool {
        self.variant == self.experiment.baseline
    }
}

/// All routes, and their destinations without duplicates.
pub(super) struct Routes {
    /// Those of sidecars that go past the waypoint with the filter.
    pub(super) sidecars: Vec<Route>,
    pub(super) tagged: Vec<Route>,
    pub(super) bypass: Vec<Route>,
    pub(super) rest: Vec<Route>,
    /// What remains when the filter is removed: the baselines without conditions on the filter.
    pub(super) left: Vec<Route>,
    pub(super) destinations: Vec<Destination>,
}

impl Routes {
    /// Each model gets its service's host, by way of `through` if there is one.
    fn rewrite_hosts(&mut self, through: Option<&Destination>) {
        let own = [&mut self.sidecars, &mut self.tagged, &mut self.bypass];
        for route in own.into_iter().chain([&mut self.rest, &mut self.left]).flatten() {
            route.authority = Some(route.destination.host.clone());
            if let Some(through) = through {
                route.destination.clone_from(through);
            }
        }
        self.destinations.extend(through.cloned());
    }

    pub(super) fn all(&self) -> Vec<&Route> {
        self.added().chain(&self.rest).collect()
    }

    /// The routes that others do not have.
    pub(super) fn added(&self) -> impl Iterator<Item = &Route> {
        self.sidecars.iter().chain(&self.tagged).chain(&self.bypass)
    }
}

pub(super) fn routes(plan: &Plan, options: &Options, place: &Place) -> anyhow::Result<Routes> {
    let mut arms = Vec::new();
    for experiment in &plan.experiments {
        for (variant, of) in experiment.variants.entries() {
            let name = of.name.as_str();
            let destination = destination::of(cluster(experiment, variant), Some(name), options)?;
            arms.push(Arm { experiment, variant, name, destination });
        }
    }
    let mut destinations: Vec<Destination> = Vec::new();
    let copies = mirrors(plan).into_iter().flatten();
    let copies = copies.map(|mirror| destination::of(mirror, None, options));
    for destination in arms.iter().map(|arm| Ok(arm.destination.clone())).chain(copies) {
        let destination = destination?;
        if !destinations.contains(&destination) {
            destinations.push(destination);
        }
    }
    has_ports(&destinations, place)?;
    let matches = Matches {
        names: &plan.settings.headers,
        place,
        is_alone: plan.experiments.len() == 1,
        port: addressed_port(&arms, place),
    };
    let mut tagged = Vec::new();
    for mirror in mirrors(plan) {
        let copies = mirror.map(|mirror| destination::of(mirror, None, options)).transpose()?;
        let mut routes = match options.route {
            Routing::Virtualservice => by_variant(&arms, &matches, mirror),
            Routing::Envoyfilter => by_cluster(plan, &arms, &matches, options, mirror),
        };
        for route in &mut routes {
            route.mirror.clone_from(&copies);
        }
        tagged.append(&mut routes);
    }
    let baselines: Vec<&Arm<'_>> = arms.iter().filter(|arm| arm.is_baseline()).collect();
    let rest = rest(&baselines, &matches);
    let left = left(&baselines, &matches, &rest);
    let mut routes = Routes {
        sidecars: sidecars(&left, &matches),
        tagged,
        bypass: bypass(&baselines, &matches),
        left,
        rest,
        destinations,
    };
    if options.rewrite_host {
        routes.rewrite_hosts(options.through.as_ref());
    }
    Ok(routes)
}

/// Refuses options that cannot work together.
pub(super) fn possible(plan: &Plan, options: &Options) -> anyhow::Result<()> {
    if !options.rewrite_host {
        return Ok(());
    }
    ensure!(
        options.route == Routing::Virtualservice,
        "--rewrite-host does not work with --route envoyfilter\n  hint: one route leads to all variants there, so it \
         cannot name the host of each; use --route virtualservice"
    );
    ensure!(
        mirrors(plan).into_iter().flatten().next().is_none(),
        "--rewrite-host does not work with a `mirror`\n  hint: the copies would have the host of the variant, not that \
         of the mirror; remove `mirror`"
    );
    ensure!(
        options.topology != Topology::Sidecar
            || options.through.as_ref().is_none_or(|through| through.port.is_some()),
        "--through requires a port with --topology sidecar\n  hint: --through HOST:PORT; without it, a sidecar sends the \
         requests to the port that the client called"
    );
    ensure!(
        options.through.is_none() || options.service.is_none(),
        "--through does not work with --service\n  hint: a service in between selects the variant by the host, so each \
         variant needs a service of its own"
    );
    ensure!(
        options.through.is_none() || options.merge_into.is_none(),
        "--through does not work with --merge-into\n  hint: the routes of that VirtualService do not name the baseline; \
         render the routes without it"
    );
    Ok(())
}

/// A sidecar sends requests without a port to the port that the client addressed, which another service may not have.
fn has_ports(destinations: &[Destination], place: &Place) -> anyhow::Result<()> {
    if place.topology != Topology::Sidecar {
        return Ok(());
    }
    let lost = destinations.iter().find(|d| d.port.is_none() && !place.is_addressed(&d.host));
    ensure!(
        lost.is_none(),
        "--topology sidecar requires a port, but {} has none\n  hint: add --port PORT, the port of the services; \
         without it, a sidecar sends the requests to the port that the client called, which this service may not have",
        lost.map_or_else(String::new, ToString::to_string)
    );
    Ok(())
}

/// The port that clients address, if the variants are subsets of the addressed service on one port. Requests to its
/// other ports keep their own.
fn addressed_port(arms: &[Arm<'_>], place: &Place) -> Option<u16> {
    let first = arms.first()?.destination.port?;
    let same = |arm: &Arm<'_>| {
        place.is_addressed(&arm.destination.host) && arm.destination.port == Some(first)
    };
    arms.iter().all(same).then_some(first)
}

/// A route for each variant.
fn by_variant(arms: &[Arm<'_>], matches: &Matches<'_>, mirror: Option<&str>) -> Vec<Route> {
    let mut routes = Vec::new();
    for arm in arms {
        let name = if matches.is_alone {
            arm.name.to_owned()
        } else {
            format!("{}.{}", arm.experiment.name, arm.name)
        };
        let note = match mirror {
            Some(mirror) => format!("The filter requests a copy for {mirror}."),
            None => String::new(),
        };
        let condition = matches.tagged(arm.experiment, arm.name, mirror);
        let mut route =
            Route::new(copied(name, mirror), &note, vec![condition], arm.destination.clone());
        route.is_limited = !arm.is_baseline();
        route.experiment.clone_from(&arm.experiment.name);
        if let Some(baseline) = baseline_of(arm.experiment, arms) {
            route.baseline = baseline.clone();
        }
        routes.push(route);
    }
    routes
}

fn baseline_of<'a>(experiment: &Experiment, arms: &'a [Arm<'_>]) -> Option<&'a Destination> {
    let is_it = |arm: &&Arm<'_>| arm.is_baseline() && arm.experiment.name == experiment.name;
    arms.iter().find(is_it).map(|arm| &arm.destination)
}

/// A route for each experiment, whose cluster comes from the filter's header.
fn by_cluster(
    plan: &Plan,
    arms: &[Arm<'_>],
    matches: &Matches<'_>,
    options: &Options,
    mirror: Option<&str>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for experiment in &plan.experiments {
        let Some(baseline) = baseline_of(experiment, arms) else { continue };
        let mut others: Vec<Destination> = Vec::new();
        for arm in arms.iter().filter(|arm| arm.experiment.name == experiment.name) {
            if arm.destination != *baseline && !others.contains(&arm.destination) {
                others.push(arm.destination.clone());
            }
        }
        let name = if matches.is_alone {
            format!("{}-chosen", options.name)
        } else {
            format!("{}-chosen.{}", options.name, experiment.name)
        };
        let mut route = Route::new(
            copied(name, mirror),
            "The filter has chosen a cluster: the EnvoyFilter routes by the filter's header. Without the EnvoyFilter, \
             this is the baseline.",
            vec![matches.chosen(experiment, mirror)],
            baseline.clone(),
        );
        route.also = others;
        route.by_header = true;
        route.is_limited = true;
        routes.push(route);
    }
    routes
}

fn copied(name: String, mirror: Option<&str>) -> String {
    match mirror {
        Some(mirror) => format!("{name}.{mirror}"),
        None => name,
    }
}

/// Without the filter, each experiment's requests take their baseline.
fn bypass(baselines: &[&Arm<'_>], matches: &Matches<'_>) -> Vec<Route> {
    let mut routes = Vec::new();
    for arm in baselines.iter().filter(|arm| has_fallback(arm.experiment)) {
        let name = if matches.is_alone {
            "bypass".to_owned()
        } else {
            format!("{}.bypass", arm.experiment.name)
        };
        let note = format!(
            "Requests of {} without the filter: the baseline. They are counted for an alert.",
            arm.experiment.name
        );
        let mut route =
            Route::new(name, &note, matches.bypass(arm.experiment), arm.destination.clone());
        route.is_bypass = true;
        routes.push(route);
    }
    routes
}

/// At a waypoint, the routes for sidecars. They go past the waypoint, its filter and its guard, so no header may choose
/// a variant for them. The label tells them apart: all injected pods have it, and a waypoint drops conditions on labels.
fn sidecars(left: &[Route], matches: &Matches<'_>) -> Vec<Route> {
    if matches.place.topology != Topology::Waypoint {
        return Vec::new();
    }
    let all = [json!({})];
    let of_sidecars = |route: &Route| {
        let conditions = if route.matches.is_empty() { &all[..] } else { &route.matches };
        let mut only = route.clone();
        only.name = format!("sidecars.{}", route.name);
        only.note = format!("Sidecars, which go past the waypoint. {}", route.note);
        only.is_bypass = true;
        only.matches = conditions
            .iter()
            .filter_map(Value::as_object)
            .map(|condition| {
                let mut condition = condition.clone();
                condition.insert("sourceLabels".to_owned(), json!({SIDECAR.0: SIDECAR.1}));
                if let Some(port) = matches.port.filter(|_| route.destination.port.is_some()) {
                    condition.insert("port".to_owned(), port.into());
                }
                condition.into()
            })
            .collect();
        only
    };
    left.iter().map(of_sidecars).collect()
}

/// The routes without the filter: each experiment's requests to its baseline, then the rest.
fn left(baselines: &[&Arm<'_>], matches: &Matches<'_>, rest: &[Route]) -> Vec<Route> {
    let mut left = Vec::new();
    for arm in baselines.iter().filter(|arm| has_fallback(arm.experiment)) {
        let name = if matches.is_alone {
            "baseline".to_owned()
        } else {
            format!("{}.baseline", arm.experiment.name)
        };
        let conditions = matches.untagged(arm.experiment);
        let is_all = conditions.iter().any(|one| *one == json!({}));
        let conditions = if is_all { Vec::new() } else { conditions };
        let note = format!("Requests of {}: the baseline.", arm.experiment.name);
        left.push(Route::new(name, &note, conditions, arm.destination.clone()));
        if is_all {
            return left;
        }
    }
    left.extend(rest.iter().cloned());
    left
}

/// The remaining requests take their baseline's service, without its subset: it exists whatever DestinationRules say.
fn rest(baselines: &[&Arm<'_>], matches: &Matches<'_>) -> Vec<Route> {
    let place = matches.place;
    let service = |arm: &Arm<'_>| {
        let port = arm.destination.port.filter(|_| !place.is_addressed(&arm.destination.host));
        Destination { host: arm.destination.host.clone(), port, subset: None }
    };
    let mut routes: Vec<Route> = Vec::new();
    let note = "All other requests of these hosts and paths: the baseline's service.";
    let Some(first) = baselines.first() else { return routes };
    let is_same = baselines.iter().all(|arm| service(arm) == service(first));
    if !(place.takes_all && is_same) {
        for arm in baselines {
            let conditions = matches.surroundings(arm.experiment);
            let is_all = conditions.iter().any(|one| *one == json!({}));
            match routes.last_mut().filter(|last| last.destination == service(arm) && !is_all) {
                Some(last) => last.matches.extend(conditions),
                None => {
                    let name = format!("{}.rest", arm.experiment.name);
                    let conditions = if is_all { Vec::new() } else { conditions };
                    routes.push(Route::new(name, note, conditions, service(arm)));
                }
            }
            // No request gets past a route without conditions.
            if is_all {
                break;
            }
        }
        let own_hosts = baselines.iter().filter(|arm| place.needs_authority(arm.experiment));
        for arm in own_hosts.filter(|_| place.takes_all) {
            let name = format!("{}.hosts", arm.experiment.name);
            routes.push(Route::new(name, note, matches.hosts(arm.experiment), service(arm)));
        }
    }
    if place.takes_all && routes.last().is_none_or(|last| !last.matches.is_empty()) {
        routes.push(Route::new("rest".to_owned(), "", Vec::new(), service(first)));
    }
    match routes.as_mut_slice() {
        [.., last] if last.matches.is_empty() => {
            last.name = "rest".to_owned();
            last.note = "All other requests: the baseline's service.".to_owned();
        }
        [only] => only.name = "rest".to_owned(),
        _ => {}
    }
    routes
}
