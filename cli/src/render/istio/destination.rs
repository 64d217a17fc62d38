//! Where a variant's pods are, in Istio's words: a service, perhaps a port, perhaps a subset of its pods.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use sidetrack::plan::Plan;

use super::Options;

/// The host of a service, as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// A subset that a DestinationRule defines.
    pub(super) subset: Option<String>,
}

/// `VARIANT=HOST[:PORT][/SUBSET]`.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// A variant, or what the experiment file calls its cluster or its mirror's.
    of: String,
    destination: Destination,
}

impl FromStr for Mapping {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (of, rest) = text.split_once('=').context("write VARIANT=HOST[:PORT][/SUBSET]")?;
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
            Some((host, port)) => {
                (host, Some(port.parse().with_context(|| format!("\"{port}\" is no port"))?))
            }
            None => (rest, None),
        };
        let label = |label: &str| is_label(label);
        ensure!(host.split('.').all(label), "\"{host}\" is no service's host: found in {text}");
        if let Some(subset) = subset {
            ensure!(is_label(subset), "\"{subset}\" is no subset: {LABEL}");
        }
        Ok(Self { host: host.to_owned(), port, subset: subset.map(ToOwned::to_owned) })
    }
}

pub(super) const LABEL: &str = "lower-case letters, digits and '-' inside, at most 63";

/// Whether Kubernetes and Istio take this as the name of a service or of a subset.
pub(super) fn is_label(text: &str) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// A service's whole host: a short name lies in the routes' namespace.
pub(super) fn qualified(host: &str, namespace: &str) -> String {
    if host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

/// Refuses a mapping of something that the file does not have.
pub(super) fn known(plan: &Plan, options: &Options) -> anyhow::Result<()> {
    let mut names: Vec<&str> = Vec::new();
    for experiment in &plan.experiments {
        names.extend(
            experiment
                .variants
                .iter()
                .flat_map(|v| [Some(v.name.as_str()), v.cluster.as_deref()])
                .flatten(),
        );
        names.extend(experiment.mirror.iter().map(|mirror| mirror.cluster.as_str()));
    }
    names.sort_unstable();
    names.dedup();
    let stray = options.destination.iter().find(|mapping| !names.contains(&mapping.of.as_str()));
    stray.map_or(Ok(()), |stray| {
        bail!("--destination — found {}; allowed: {}", stray.of, names.join(", "))
    })
}

/// Where `cluster` is, which is a variant's cluster, a variant that names none, or a mirror's cluster. `variant` is the
/// variant's name; a mirror has none.
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
            "--service {service}: found the variant {cluster}, which cannot name a subset; allowed: {LABEL}\n  \
             hint: say which subset it is with {flag}"
        );
        let host = qualified(service, namespace);
        return Ok(Destination { host, port: options.port, subset: Some(cluster.to_owned()) });
    }
    ensure!(
        cluster.split('.').all(is_label),
        "found the cluster {cluster}, which cannot name a service; allowed: {LABEL}\n  hint: say where it is with {flag}"
    );
    Ok(Destination { host: qualified(cluster, namespace), port: options.port, subset: None })
}

/// A cluster that is already written as Istio names it: `outbound|80|v2|models.prod.svc.cluster.local`.
fn outbound(cluster: &str) -> Option<Destination> {
    let mut parts = cluster.strip_prefix("outbound|")?.split('|');
    let (port, subset, host) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let subset = (!subset.is_empty()).then(|| subset.to_owned());
    Some(Destination { host: host.to_owned(), port: Some(port), subset })
}

impl Destination {
    /// What istiod calls the cluster in a sidecar or gateway; `None` without a port.
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
