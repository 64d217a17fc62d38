//! The destination of a variant in Istio: a service, with an optional port and an optional subset of
//! its pods.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use sidetrack::plan::Plan;

use super::Options;
pub(super) use crate::render::labels::{LABEL, is_label};

/// A service, by its host in the service registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Destination {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// A subset that a DestinationRule defines.
    pub(super) subset: Option<String>,
}

/// `VARIANT=HOST[:PORT][/SUBSET]`.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// A variant, its cluster, or the cluster of a mirror, as in the experiment file.
    pub(super) of: String,
    destination: Destination,
}

impl FromStr for Mapping {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (of, rest) = text.split_once('=').context("expected VARIANT=HOST[:PORT][/SUBSET]")?;
        Ok(Self { of: of.to_owned(), destination: rest.parse()? })
    }
}

impl FromStr for Destination {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (rest, subset) = match text.split_once('/') {
            Some((rest, subset)) => (rest, Some(subset)),
            None => (text, None),
        };
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (
                host,
                Some(port.parse().ok().context("the port must be a number from 0 to 65535")?),
            ),
            None => (rest, None),
        };
        let label = |label: &str| is_label(label);
        ensure!(
            host.split('.').all(label),
            "\"{host}\" must be the host of a service: labels of {LABEL}"
        );
        if let Some(subset) = subset {
            ensure!(is_label(subset), "the subset \"{subset}\" must consist of {LABEL}");
        }
        Ok(Self { host: host.to_owned(), port, subset: subset.map(ToOwned::to_owned) })
    }
}

/// The full host of a service. A short name belongs to the routes' namespace.
pub(super) fn qualified(host: &str, namespace: &str) -> String {
    if host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

/// Rejects a `--destination` for a variant or cluster that the file does not have.
pub(in crate::render) fn known<'a>(
    plan: &Plan,
    mut given: impl Iterator<Item = &'a str>,
) -> anyhow::Result<()> {
    let mut names: Vec<&str> = Vec::new();
    for experiment in &plan.experiments {
        for variant in &experiment.variants {
            names.push(&variant.name);
            names.extend(variant.cluster.as_deref());
        }
        names.extend(experiment.mirror.iter().map(|mirror| mirror.cluster.as_str()));
    }
    names.sort_unstable();
    names.dedup();
    given.find(|name| !names.contains(name)).map_or(Ok(()), |stray| {
        bail!(
            "--destination: unknown variant or cluster \"{stray}\"; expected one of: {}",
            names.join(", ")
        )
    })
}

/// The destination of a variant's or a mirror's cluster. `variant` is the variant's name, `None` for a
/// mirror.
pub(super) fn of(
    cluster: &str,
    variant: Option<&str>,
    options: &Options,
) -> anyhow::Result<Destination> {
    let namespace = &options.namespace;
    let given =
        options.destination.iter().find(|m| m.of == cluster || Some(m.of.as_str()) == variant);
    if let Some(Mapping { destination, .. }) = given {
        let mut destination = destination.clone();
        destination.host = qualified(&destination.host, namespace);
        destination.port = destination.port.or(options.port);
        return Ok(destination);
    }
    if let Some(destination) = outbound(cluster) {
        return Ok(destination);
    }
    let flag = format!("--destination {}=HOST[:PORT][/SUBSET]", variant.unwrap_or(cluster));
    if let (Some(service), Some(_)) = (&options.service, variant) {
        ensure!(
            is_label(cluster),
            "--service {service}: the variant {cluster} cannot name a subset, which must be {LABEL}\n  \
             hint: name its subset with {flag}"
        );
        let host = qualified(service, namespace);
        return Ok(Destination { host, port: options.port, subset: Some(cluster.to_owned()) });
    }
    ensure!(
        cluster.split('.').all(is_label),
        "the cluster {cluster} cannot name a service, which must be {LABEL}\n  \
         hint: name its service with {flag}"
    );
    Ok(Destination { host: qualified(cluster, namespace), port: options.port, subset: None })
}

/// A cluster with the name that Istio gives it: `outbound|80|v2|models.prod.svc.cluster.local`.
fn outbound(cluster: &str) -> Option<Destination> {
    let mut parts = cluster.strip_prefix("outbound|")?.split('|');
    let (port, subset, host) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let subset = (!subset.is_empty()).then(|| subset.to_owned());
    Some(Destination { host: host.to_owned(), port: Some(port), subset })
}

impl Destination {
    /// With the full host of its service.
    pub(super) fn qualified(self, namespace: &str) -> Self {
        Self { host: qualified(&self.host, namespace), ..self }
    }

    /// The name that istiod gives the cluster in a sidecar or gateway; `None` without a port.
    pub(super) fn cluster(&self) -> Option<String> {
        let subset = self.subset.as_deref().unwrap_or_default();
        self.port.map(|port| format!("outbound|{port}|{subset}|{}", self.host))
    }
}

/// `predictor.models.svc.cluster.local:8080/enhanced`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.subset.as_ref().map_or(Ok(()), |subset| write!(f, "/{subset}"))
    }
}
