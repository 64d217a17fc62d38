//! Which experiments can take the requests of a host: a route for each set of hosts.

use anyhow::{bail, ensure};
use sidetrack::matching::Host;
use sidetrack::plan::{Experiment, Plan};

use super::{Options, Parent};
use crate::words;

/// Hosts with the same experiments.
#[derive(Debug)]
pub(super) struct Scope<'p> {
    /// Empty: all hosts.
    pub(super) hosts: Vec<String>,
    pub(super) experiments: Vec<&'p Experiment>,
}

/// The sets of hosts, in the order of their first host in the file.
pub(super) fn scopes<'p>(plan: &'p Plan, options: &Options) -> anyhow::Result<Vec<Scope<'p>>> {
    let all = || plan.experiments.iter();
    ensure!(all().next().is_some(), "the file has no experiments, so there is nothing to route");
    if let Parent::Service { .. } = options.parent {
        // The routes of a service apply to all names by which it is called.
        ensure!(
            options.host.is_empty(),
            "--host does not work with --waypoint\n  hint: --service names the service that clients call"
        );
        return Ok(vec![Scope { hosts: Vec::new(), experiments: all().collect() }]);
    }
    let is_given = !options.host.is_empty();
    let mut hosts = options.host.clone();
    if !is_given {
        hosts.extend(all().flat_map(|it| &it.conditions.hosts).map(words::host));
        let open = all().find(|it| it.conditions.hosts.is_empty());
        if let (Some(open), false) = (open, options.any_host) {
            bail!(
                "the experiment {} has no match.hosts, so the hosts of its routes are unknown\n  \
                 hint: add match.hosts to the file, or --host HOST, or --any-host for all hosts of the gateway",
                open.name
            );
        }
    }
    let mut seen = Vec::new();
    let mut scopes: Vec<Scope<'p>> = Vec::new();
    for host in hosts {
        if seen.contains(&host) {
            continue;
        }
        ensure!(
            is_hostname(&host),
            "the Gateway API does not accept the host {host}\n  \
             hint: use a DNS name, or remove it from match.hosts and add --any-host"
        );
        let takes = |it: &&Experiment| {
            let hosts = &it.conditions.hosts;
            hosts.is_empty()
                || hosts.iter().any(|own| covers(own, &host) || is_given && is_below(own, &host))
        };
        let experiments: Vec<&Experiment> = all().filter(takes).collect();
        ensure!(
            !experiments.is_empty(),
            "--host {host}: no experiment matches this host\n  hint: add it to match.hosts"
        );
        seen.push(host.clone());
        push(&mut scopes, host, experiments);
    }
    if options.any_host && !is_given {
        let experiments = all().filter(|it| it.conditions.hosts.is_empty()).collect::<Vec<_>>();
        if !experiments.is_empty() {
            scopes.push(Scope { hosts: Vec::new(), experiments });
        }
    }
    Ok(scopes)
}

fn push<'p>(scopes: &mut Vec<Scope<'p>>, host: String, experiments: Vec<&'p Experiment>) {
    let same = |scope: &&mut Scope<'_>| {
        scope.experiments.iter().map(|it| &it.name).eq(experiments.iter().map(|it| &it.name))
    };
    match scopes.iter_mut().find(same) {
        Some(scope) => scope.hosts.push(host),
        None => scopes.push(Scope { hosts: vec![host], experiments }),
    }
}

/// Whether an experiment's host covers all that a route's host covers.
fn covers(own: &Host, host: &str) -> bool {
    match own {
        Host::Exact(name) => name == host,
        Host::Below(suffix) => host.strip_prefix('*').unwrap_or(host).ends_with(suffix.as_str()),
    }
}

/// Whether a route's host with a wildcard covers an experiment's host.
fn is_below(own: &Host, host: &str) -> bool {
    let name = match own {
        Host::Exact(name) | Host::Below(name) => name,
    };
    host.strip_prefix('*').is_some_and(|suffix| name.ends_with(suffix))
}

/// Whether the Gateway API accepts this as a host: a DNS name, but no address.
fn is_hostname(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_label = crate::render::labels::is_label;
    name.split('.').all(is_label) && name.parse::<core::net::Ipv4Addr>().is_err()
}
