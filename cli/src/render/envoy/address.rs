//! Addresses as options write them: `HOST:PORT`, and `CLUSTER=HOST:PORT` or `CLUSTER=URL`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::Context;
use serde::Serialize;

/// A host and a port.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (host, port) = text.rsplit_once(':').context("expected HOST:PORT")?;
        Ok(Self { host: host_name(host)?, port: port_number(port)? })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl Address {
    /// An address to listen on: Envoy does not resolve host names there.
    pub(super) fn to_listen(text: &str) -> anyhow::Result<Self> {
        let address: Self = text.parse()?;
        if address.is_literal() {
            return Ok(address);
        }
        let (host, port) = (address.host.escape_default(), address.port);
        let instead = if host.to_string().eq_ignore_ascii_case("localhost") {
            format!("use 127.0.0.1:{port}")
        } else {
            format!("use an IP address of the proxy, or 0.0.0.0:{port} for all of them")
        };
        anyhow::bail!("Envoy listens on an IP address and does not resolve \"{host}\"; {instead}")
    }

    /// Whether the host is an IP address, which is not resolved.
    pub(super) fn is_literal(&self) -> bool {
        let without_zone = self.host.split('%').next().unwrap_or_default();
        without_zone.parse::<IpAddr>().is_ok()
    }
}

fn host_name(text: &str) -> anyhow::Result<String> {
    let host = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    anyhow::ensure!(!host.is_empty(), "the host is missing; expected HOST:PORT");
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    anyhow::ensure!(
        host.chars().all(is_part),
        "\"{}\" is not a host name or an IP address",
        host.escape_default()
    );
    Ok(host.to_owned())
}

fn port_number(text: &str) -> anyhow::Result<u16> {
    text.parse().ok().context("the port must be a number from 0 to 65535")
}

/// An address of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) cluster: String,
    pub(crate) address: Address,
    /// The scheme of a URL; `None` for `HOST:PORT`.
    pub(crate) scheme: Option<Scheme>,
}

/// What the scheme of an endpoint's URL says about its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// Whether they are encrypted.
    pub(super) is_tls: bool,
    /// Whether they speak HTTP/2, which gRPC requires.
    pub(super) is_grpc: bool,
}

impl Scheme {
    /// All schemes by their names.
    const ALL: [(&str, Self); 4] = [
        ("http", Self { is_tls: false, is_grpc: false }),
        ("https", Self { is_tls: true, is_grpc: false }),
        ("grpc", Self { is_tls: false, is_grpc: true }),
        ("grpcs", Self { is_tls: true, is_grpc: true }),
    ];

    pub(super) const fn port(self) -> u16 {
        if self.is_tls { 443 } else { 80 }
    }
}

impl FromStr for Endpoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (cluster, target) =
            text.split_once('=').context("expected CLUSTER=HOST:PORT or CLUSTER=URL")?;
        let Some((scheme, rest)) = target.split_once("://") else {
            return Ok(Self::plain(cluster, target.parse()?));
        };
        let found = Scheme::ALL.iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name));
        let (_, scheme) = found.with_context(|| {
            let schemes: Vec<&str> = Scheme::ALL.iter().map(|(name, _)| *name).collect();
            format!(
                "unknown scheme \"{}\"; expected one of: {}",
                scheme.escape_default(),
                schemes.join(", ")
            )
        })?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        anyhow::ensure!(
            !authority.contains(['/', '?', '#']),
            "the URL has a path, but the path of a request comes from its client; remove \"{}\"",
            authority.trim_start_matches(|c| !matches!(c, '/' | '?' | '#')).escape_default()
        );
        anyhow::ensure!(
            !authority.contains('@'),
            "the URL has a user name, which Envoy does not send; remove it"
        );
        // The colons of an IPv6 address are inside brackets.
        let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let address = match port {
            Some((host, port)) => Address { host: host_name(host)?, port: port_number(port)? },
            None => Address { host: host_name(authority)?, port: scheme.port() },
        };
        Ok(Self { cluster: cluster.to_owned(), address, scheme: Some(*scheme) })
    }
}

impl Endpoint {
    /// An endpoint without a scheme: its connections are not encrypted, and the host header stays.
    pub(crate) fn plain(cluster: &str, address: Address) -> Self {
        Self { cluster: cluster.to_owned(), address, scheme: None }
    }

    /// The host that the server expects: a URL's name, and its port unless it is the scheme's own.
    /// `None`: requests keep the client's host.
    pub(super) fn host(&self) -> Option<String> {
        let scheme = self.scheme.filter(|_| !self.address.is_literal())?;
        let Address { host, port } = &self.address;
        Some(if *port == scheme.port() { host.clone() } else { format!("{host}:{port}") })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.scheme.is_some_and(|scheme| scheme.is_tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Result<(String, u16, bool, Option<String>), String> {
        let endpoint: Endpoint = text.parse().map_err(|error| format!("{error:#}"))?;
        let host = endpoint.host();
        Ok((endpoint.address.host.clone(), endpoint.address.port, endpoint.is_tls(), host))
    }

    #[test]
    fn an_endpoint_is_an_address_or_a_url() {
        for (text, host, port, tls, rewritten) in [
            ("a=10.0.0.1:9001", "10.0.0.1", 9001, false, None),
            ("a=models.svc:9001", "models.svc", 9001, false, None),
            ("a=[::1]:80", "::1", 80, false, None),
            ("a=http://models.svc", "models.svc", 80, false, Some("models.svc")),
            ("a=http://models.svc:8080", "models.svc", 8080, false, Some("models.svc:8080")),
            (
                "a=https://models.example.com/",
                "models.example.com",
                443,
                true,
                Some("models.example.com"),
            ),
            (
                "a=HTTPS://models.example.com:443",
                "models.example.com",
                443,
                true,
                Some("models.example.com"),
            ),
            ("a=https://[2001:db8::1]", "2001:db8::1", 443, true, None),
            ("a=https://[2001:db8::1]:8443", "2001:db8::1", 8443, true, None),
            ("a=grpc://models.svc:9000", "models.svc", 9000, false, Some("models.svc:9000")),
            ("a=grpcs://10.0.0.1", "10.0.0.1", 443, true, None),
        ] {
            let expected = (host.to_owned(), port, tls, rewritten.map(ToOwned::to_owned));
            assert_eq!(endpoint(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_listener_has_an_ip_address() {
        for text in ["127.0.0.1:10000", "0.0.0.0:0", "[::1]:80", "[fe80::1%eth0]:80"] {
            assert!(Address::to_listen(text).is_ok(), "{text}");
        }
        for (text, why) in [
            ("localhost:9901", "does not resolve \"localhost\"; use 127.0.0.1:9901"),
            ("LocalHost:1", "use 127.0.0.1:1"),
            ("proxy.example.com:80", "or 0.0.0.0:80 for all of them"),
            ("1.2.3:80", "does not resolve \"1.2.3\""),
            ("10000", "expected HOST:PORT"),
        ] {
            let error = Address::to_listen(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_an_endpoint_cannot_be_is_refused() {
        for (text, why) in [
            ("a", "expected CLUSTER=HOST:PORT or CLUSTER=URL"),
            ("a=b", "expected HOST:PORT"),
            ("a=:80", "the host is missing"),
            ("a=b:http", "the port must be a number"),
            ("a=https:/b:443", "is not a host name"),
            ("a=ftp://b", "unknown scheme \"ftp\"; expected one of: http, https, grpc, grpcs"),
            ("a=https://b/v2?x", "remove \"/v2?x\""),
            ("a=https://me@b", "remove it"),
            ("a=https://b:99999", "the port must be a number"),
            ("a=https://", "the host is missing"),
        ] {
            let error = endpoint(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
