//! Where the filter runs: the proxies, and the hosts of their requests.

use anyhow::{bail, ensure};
use sidetrack::matching::Host;
use sidetrack::plan::{Experiment, Plan};

use super::destination::{self, qualified};
use super::hosts::{covers, reduced, service_of};
use super::release::Release;
use super::{Options, Topology, values};
use crate::render::envoy::cluster;
use crate::words::host;

/// The default Gateway.
const GATEWAY: &str = "istio-ingress/gateway";
/// The name that Istio gives to a waypoint.
const WAYPOINT: &str = "waypoint";

/// The proxies that run the filter, and their requests.
pub(super) struct Place {
    pub(super) topology: Topology,
    pub(super) filter_namespace: String,
    pub(super) selector: Vec<(String, String)>,
    /// The service that a waypoint's filter is bound to.
    pub(super) target: Option<String>,
    /// Namespace and name of the waypoint.
    pub(super) waypoint: Option<(String, String)>,
    pub(super) gateway: Option<String>,
    /// The hosts of the routes.
    pub(super) hosts: Vec<String>,
    /// The hosts that another one includes, so that the routes do not name them.
    pub(super) included: Vec<String>,
    /// Whether other requests of the hosts take the baseline too.
    pub(super) takes_all: bool,
    /// What was guessed, as sentences.
    pub(super) guesses: Vec<String>,
}

impl Place {
    pub(super) fn of(plan: &Plan, options: &Options) -> anyhow::Result<Self> {
        let topology = options.topology;
        let (hosts, included) = reduced(hosts(plan, options)?);
        let mut place = Self {
            topology,
            filter_namespace: options.namespace.clone(),
            selector: options.selector.clone(),
            target: None,
            waypoint: None,
            gateway: None,
            hosts,
            included,
            takes_all: topology != Topology::Gateway || options.catch_all,
            guesses: Vec::new(),
        };
        match topology {
            Topology::Gateway => place.at_gateway(options),
            Topology::Sidecar => place.in_sidecars(options),
            Topology::Waypoint => place.at_waypoint(options)?,
        }
        Ok(place)
    }

    fn at_gateway(&mut self, options: &Options) {
        let gateway = options.gateway.clone().unwrap_or_else(|| {
            self.guesses
                .push(format!("The Gateway is {GATEWAY}. Choose another one with --gateway."));
            GATEWAY.to_owned()
        });
        if self.selector.is_empty() {
            self.selector.push(("istio".to_owned(), "ingressgateway".to_owned()));
            self.guesses.push(
                "The gateway's pods have the label istio=ingressgateway. Choose other pods with --selector.".to_owned(),
            );
        }
        let namespace = gateway.split_once('/').map(|(namespace, _)| namespace.to_owned());
        self.filter_namespace = options.filter_namespace.clone().or(namespace).unwrap_or_default();
        self.gateway = Some(gateway);
    }

    fn in_sidecars(&mut self, options: &Options) {
        if let Some(namespace) = &options.filter_namespace {
            self.filter_namespace.clone_from(namespace);
        }
        if self.selector.is_empty() {
            self.guesses.push(format!(
                "All sidecars in the namespace {} run the filter. Select pods with --selector.",
                self.filter_namespace
            ));
        }
    }

    fn at_waypoint(&mut self, options: &Options) -> anyhow::Result<()> {
        let (service, namespace) = self.only_service(&options.namespace)?;
        ensure!(
            namespace == options.namespace,
            "the service {service} is in the namespace {namespace}, but --namespace is {}\n  \
             hint: a waypoint ignores routes that are neither in the service's namespace nor in its own; \
             use --namespace {namespace}",
            options.namespace
        );
        ensure!(
            options.filter_namespace.as_ref().is_none_or(|given| *given == namespace),
            "--filter-namespace is {}, but must be {namespace}, the namespace of the service {service}\n  \
             hint: remove --filter-namespace",
            options.filter_namespace.as_deref().unwrap_or_default()
        );
        let waypoint = options.waypoint.clone().unwrap_or_else(|| {
            self.guesses.push(format!(
                "The waypoint is {namespace}/{WAYPOINT}. Choose another one with --waypoint."
            ));
            (namespace.clone(), WAYPOINT.to_owned())
        });
        let needed = Release::WAYPOINT_ELSEWHERE;
        if waypoint.0 != namespace && options.istio.is_none_or(|release| release < needed) {
            bail!(
                "the waypoint is in the namespace {}, and the service {service} in {namespace}, which requires Istio \
                 {needed}\n  hint: before {needed}, the waypoint would wait for the filter forever and serve nothing; \
                 if all of your istiods are new enough, add --istio {needed}, otherwise use a waypoint in {namespace}",
                waypoint.0
            );
        }
        self.filter_namespace = namespace;
        self.target = Some(service);
        self.waypoint = Some(waypoint);
        Ok(())
    }

    /// Name and namespace of the one service behind a waypoint.
    fn only_service(&self, namespace: &str) -> anyhow::Result<(String, String)> {
        let [host] = self.hosts.as_slice() else {
            bail!(
                "--topology waypoint requires a single host, but there are several: {}\n  \
                 hint: render the manifests once for each service, with --host",
                self.hosts.join(", ")
            );
        };
        Ok(service_of(host).unwrap_or_else(|| (host.clone(), namespace.to_owned())))
    }

    /// Whether clients address this service, so that its port is the one that they address.
    pub(super) fn is_addressed(&self, host: &str) -> bool {
        self.topology != Topology::Gateway && self.hosts == [host]
    }

    /// Whether requests of the routes' hosts can have other hosts than those of the experiment.
    pub(super) fn needs_authority(&self, experiment: &Experiment) -> bool {
        let own = &experiment.conditions.hosts;
        !own.is_empty()
            && !self.hosts.iter().all(|host| own.iter().any(|pattern| covers(pattern, host)))
    }
}

/// The hosts of the routes: behind a gateway the hosts that clients call, otherwise hosts of services.
fn hosts(plan: &Plan, options: &Options) -> anyhow::Result<Vec<String>> {
    let in_gateway = options.topology == Topology::Gateway;
    let mut hosts = Vec::new();
    for host in &options.host {
        ensure!(
            in_gateway || !host.starts_with('*'),
            "--host \"{host}\" works only with --topology gateway\n  hint: with --topology {}, the routes would \
             take the requests of all services; name the service that clients call",
            if options.topology == Topology::Sidecar { "sidecar" } else { "waypoint" }
        );
        hosts.push(if in_gateway { host.clone() } else { qualified(host, &options.namespace) });
    }
    if !hosts.is_empty() {
        return Ok(hosts);
    }
    for (index, experiment) in plan.experiments.iter().enumerate() {
        let own = &experiment.conditions.hosts;
        if !own.is_empty() && options.topology != Topology::Waypoint {
            for pattern in own {
                hosts.push(valid(index, pattern, options)?);
            }
        } else if in_gateway {
            bail!(
                "the hosts of the routes are unknown: experiments[{index}] has no `match.hosts`\n  hint: add --host \
                 HOST, the host that clients call; --host '*' takes all hosts of the Gateway"
            );
        } else {
            hosts.push(addressed(experiment, options)?);
        }
    }
    Ok(hosts)
}

/// A host of the file, as a host of the routes.
fn valid(index: usize, pattern: &Host, options: &Options) -> anyhow::Result<String> {
    let name = host(pattern);
    let text = values::host(&name).map_err(|error| {
        anyhow::anyhow!(
            "experiments[{index}].match.hosts has \"{name}\", which {error} in Istio\n  hint: name the hosts of the \
             routes with --host"
        )
    })?;
    if options.topology == Topology::Gateway {
        return Ok(text);
    }
    ensure!(
        !text.starts_with('*'),
        "experiments[{index}].match.hosts has \"{text}\", but with --topology sidecar the routes need the service that \
         clients call\n  hint: add --host SERVICE"
    );
    Ok(qualified(&text, &options.namespace))
}

/// The service of the baseline.
fn addressed(experiment: &Experiment, options: &Options) -> anyhow::Result<String> {
    let baseline = experiment.baseline;
    let name = experiment.variants[baseline].name.as_str();
    Ok(destination::of(cluster(experiment, baseline), Some(name), options)?.host)
}
