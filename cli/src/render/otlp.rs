//! The receiver of exposures over OTLP, as meshes address it: a host name and a port.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::envoy::Address;

/// A store or a collector.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Receiver {
    host: String,
    port: u16,
    /// Name and namespace of a Service in this cluster.
    service: Option<String>,
    namespace: Option<String>,
}

impl FromStr for Receiver {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        ensure!(
            !text.contains("://"),
            "expected HOST:PORT without a scheme: proxies of a mesh send no token, and TLS is the mesh's; a store that \
             requires a token needs a Collector in front of it"
        );
        let Address { host, port } = text.parse()?;
        let mut labels = host.split('.');
        let service = match (labels.next(), labels.next(), labels.next()) {
            (Some(service), Some(namespace), Some("svc")) => Some((service, namespace)),
            _ => None,
        };
        let service = service.map(|(name, namespace)| (name.to_owned(), namespace.to_owned()));
        let (service, namespace) = service.unzip();
        Ok(Self { host, port, service, namespace })
    }
}

impl Receiver {
    /// A receiver that Istio finds in its registry.
    pub(super) fn in_the_mesh(text: &str) -> anyhow::Result<Self> {
        let found: Self = text.parse()?;
        let is_name = found.host.contains('.') && found.host.parse::<std::net::IpAddr>().is_err();
        let of_mesh = is_name.then_some(found);
        of_mesh.context(
            "Istio sends to services that it knows by their full names, such as \
             store.models.svc.cluster.local:8088",
        )
    }

    /// What must hold in the mesh, as a sentence.
    pub(super) fn check(&self) -> String {
        let what = match (&self.service, &self.namespace) {
            (Some(service), Some(namespace)) => {
                format!(
                    "kubectl -n {namespace} get service {service}; the port's name begins with grpc"
                )
            }
            _ => "with a ServiceEntry; the protocol of the port is GRPC".to_owned(),
        };
        format!(
            "The mesh knows {} ({what}), and the provider for it, which `sidetrack render istio FILE --mesh-config --otlp \
             {self}` writes.",
            self.host
        )
    }
}

/// `HOST:PORT`.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_in_a_mesh_is_a_service_with_a_full_name() {
        let store = Receiver::in_the_mesh("store.models.svc.cluster.local:8088").unwrap();
        assert_eq!(store.service.as_deref(), Some("store"));
        assert_eq!(store.namespace.as_deref(), Some("models"));
        assert_eq!(store.to_string(), "store.models.svc.cluster.local:8088");
        let other = Receiver::in_the_mesh("otlp.example.com:4317").unwrap();
        assert_eq!(other.service, None);
        assert!(other.check().contains("ServiceEntry"));
        for (text, words) in [
            ("10.0.0.1:4317", "by their full names"),
            ("store:8088", "by their full names"),
            ("store.models.svc.cluster.local", "expected HOST:PORT"),
            ("https://store.models.svc:8088", "send no token"),
        ] {
            let error = Receiver::in_the_mesh(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
