//! The backend of a variant in the Gateway API: a Service, or an InferencePool of the Inference Gateway.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::Options;
use crate::render::labels::{LABEL, is_label};

/// What `backendRefs` refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Service.
    #[default]
    Service,
    /// A pool of model servers with an endpoint picker.
    InferencePool,
}

/// A backend with its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::render) struct Backend {
    pub(in crate::render) kind: Kind,
    pub(in crate::render) name: String,
    pub(in crate::render) namespace: String,
    /// Always known for a Service.
    pub(in crate::render) port: Option<u16>,
}

/// `VARIANT=[KIND/]NAME[.NAMESPACE][:PORT]`.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    /// A variant, its cluster, or the cluster of a mirror, as in the experiment file.
    pub(super) of: String,
    to: Written,
}

/// A backend as it was written: what is absent comes from other options.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    kind: Option<Kind>,
    name: String,
    namespace: Option<String>,
    port: Option<u16>,
}

impl FromStr for Mapping {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (of, to) =
            text.split_once('=').context("expected VARIANT=[KIND/]NAME[.NAMESPACE][:PORT]")?;
        Ok(Self { of: of.to_owned(), to: to.parse()? })
    }
}

impl FromStr for Written {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (kind, rest) = match text.split_once('/') {
            None => (None, text),
            Some(("service", rest)) => (Some(Kind::Service), rest),
            Some(("inferencepool", rest)) => (Some(Kind::InferencePool), rest),
            Some((kind, _)) => {
                bail!("the kind \"{kind}\" must be \"service\" or \"inferencepool\"")
            }
        };
        let (host, port) = match rest.split_once(':') {
            None => (rest, None),
            Some((host, port)) => {
                let port = port.parse::<u16>().ok().filter(|port| *port > 0);
                (host, Some(port.context("the port must be a number from 1 to 65535")?))
            }
        };
        let host = host.strip_suffix(".svc.cluster.local").unwrap_or(host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        let (name, namespace) = match host.split_once('.') {
            None => (host, None),
            Some((name, namespace)) => (name, Some(namespace)),
        };
        ensure!(
            is_label(name) && namespace.is_none_or(is_label),
            "\"{host}\" must be a NAME or NAME.NAMESPACE, each of {LABEL}"
        );
        let namespace = namespace.map(ToOwned::to_owned);
        Ok(Self { kind, name: name.to_owned(), namespace, port })
    }
}

impl Written {
    /// With the values that it does not write. `what` is the variant or mirror, for messages.
    pub(in crate::render) fn complete(
        self,
        what: &str,
        options: &Options,
    ) -> anyhow::Result<Backend> {
        let kind = self.kind.unwrap_or(options.kind);
        let port = self.port.or(options.port);
        let namespace = self.namespace.unwrap_or_else(|| options.namespace.clone());
        let name = self.name;
        ensure!(
            kind == Kind::InferencePool || port.is_some(),
            "{what} has no port, but the Gateway API needs the port of each service\n  \
             hint: add --port PORT, or --destination {what}={name}:PORT"
        );
        Ok(Backend {
            kind,
            name,
            namespace,
            port: if kind == Kind::Service { port } else { self.port },
        })
    }
}

/// The backend of a variant's or a mirror's cluster. `variant` is the variant's name, `None` for a
/// mirror.
pub(super) fn of(
    cluster: &str,
    variant: Option<&str>,
    options: &Options,
) -> anyhow::Result<Backend> {
    let what = variant.unwrap_or(cluster);
    let given =
        options.destination.iter().find(|m| m.of == cluster || Some(m.of.as_str()) == variant);
    let mut written = match given {
        Some(mapping) => mapping.to.clone(),
        None => outbound(cluster).unwrap_or_else(|| cluster.to_owned()).parse().map_err(
            |_: anyhow::Error| {
                anyhow::anyhow!(
                    "the cluster {cluster} cannot name a backend, which must be {LABEL}\n  \
                     hint: name its backend with --destination {what}=NAME:PORT"
                )
            },
        )?,
    };
    // The copies of requests go to services: a mirror has no endpoint picker.
    if variant.is_none() {
        written.kind.get_or_insert(Kind::Service);
    }
    written.complete(what, options)
}

/// The service in a cluster with the name that Istio gives it: `outbound|80||forecast.prod.svc.cluster.local`.
fn outbound(cluster: &str) -> Option<String> {
    let mut parts = cluster.strip_prefix("outbound|")?.split('|');
    let (port, subset, host) = (parts.next()?, parts.next()?, parts.next()?);
    subset.is_empty().then(|| format!("{host}:{port}"))
}

impl Backend {
    /// As `backendRefs` and mirrors write it. `from` is the namespace of the route.
    pub(super) fn reference(&self, from: &str) -> Value {
        let mut reference = serde_json::Map::new();
        if self.kind == Kind::InferencePool {
            reference.insert("group".to_owned(), json!("inference.networking.k8s.io"));
            reference.insert("kind".to_owned(), json!("InferencePool"));
        }
        reference.insert("name".to_owned(), json!(self.name));
        if self.namespace != from {
            reference.insert("namespace".to_owned(), json!(self.namespace));
        }
        if let Some(port) = self.port {
            reference.insert("port".to_owned(), json!(port));
        }
        reference.into()
    }

    /// The host name of a service inside the cluster.
    pub(super) fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }
}

/// `predictor.models:8080`.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
