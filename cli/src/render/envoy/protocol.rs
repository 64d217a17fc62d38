//! The protocol that Envoy speaks to the models of a cluster.
//!
//! Envoy can use the client's protocol, but a model behind an HTTP/1.1 server then fails as soon as
//! a client speaks HTTP/2. So each cluster has a protocol of its own: HTTP/1.1 unless the endpoint's
//! URL or an option asks for another one.

use std::str::FromStr;

use anyhow::Context;
use serde::Serialize;

use super::Endpoint;

/// What Envoy speaks to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
    /// With TLS, what the server selects (ALPN); otherwise HTTP/1.1.
    Auto,
    /// The client's protocol. The models must speak both.
    Client,
}

impl Protocol {
    const ALL: [(&str, Self); 4] = [
        ("http1", Self::Http1),
        ("http2", Self::Http2),
        ("auto", Self::Auto),
        ("client", Self::Client),
    ];
}

/// `--upstream-protocol`: the protocol of one cluster, or of all of them.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// `None`: all clusters without a choice of their own.
    pub(super) cluster: Option<String>,
    protocol: Protocol,
}

impl FromStr for Choice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (cluster, word) = match text.rsplit_once('=') {
            Some((cluster, word)) => (Some(cluster.to_owned()), word),
            None => (None, text),
        };
        let found = Protocol::ALL.iter().find(|(name, _)| *name == word);
        let (_, protocol) = found.with_context(|| {
            let words: Vec<&str> = Protocol::ALL.iter().map(|(name, _)| *name).collect();
            format!("unknown protocol; expected one of: {}", words.join(", "))
        })?;
        Ok(Self { cluster, protocol: *protocol })
    }
}

/// The protocol of a cluster with these endpoints.
///
/// A WebSocket over HTTP/2 requires a server with extended CONNECT (RFC 8441), which hardly any
/// server that selects HTTP/2 has. So with `upgrades`, `auto` is HTTP/1.1.
pub(super) fn of(
    cluster: &str,
    endpoints: &[&Endpoint],
    choices: &[Choice],
    upgrades: bool,
) -> Protocol {
    let chosen =
        |name: Option<&str>| choices.iter().rev().find(|choice| choice.cluster.as_deref() == name);
    let is_grpc = endpoints.iter().any(|e| e.scheme.is_some_and(|scheme| scheme.is_grpc));
    let by_url = if is_grpc { Protocol::Http2 } else { Protocol::Auto };
    let protocol = match chosen(Some(cluster)) {
        Some(choice) => choice.protocol,
        None if is_grpc => Protocol::Http2,
        None => chosen(None).map_or(by_url, |choice| choice.protocol),
    };
    let is_tls = endpoints.iter().any(|endpoint| endpoint.is_tls());
    match protocol {
        Protocol::Auto if !is_tls || upgrades => Protocol::Http1,
        protocol => protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(endpoint: &str, choices: &[&str], upgrades: bool) -> Protocol {
        let endpoint: Endpoint = format!("new={endpoint}").parse().unwrap();
        let choices: Vec<Choice> = choices.iter().map(|choice| choice.parse().unwrap()).collect();
        of("new", &[&endpoint], &choices, upgrades)
    }

    #[test]
    fn a_model_gets_http2_only_if_it_is_known_to_speak_it() {
        assert_eq!(chosen("a:80", &[], false), Protocol::Http1);
        assert_eq!(chosen("http://a", &["auto"], false), Protocol::Http1);
        assert_eq!(chosen("https://a", &[], false), Protocol::Auto);
        assert_eq!(chosen("https://a", &[], true), Protocol::Http1);
        assert_eq!(chosen("grpc://a", &[], false), Protocol::Http2);
        assert_eq!(of("unknown", &[], &[], false), Protocol::Http1);
    }

    #[test]
    fn a_choice_for_the_cluster_precedes_one_for_all() {
        assert_eq!(chosen("a:80", &["http2"], false), Protocol::Http2);
        assert_eq!(chosen("a:80", &["new=http1", "http2"], false), Protocol::Http1);
        assert_eq!(chosen("a:80", &["old=http2"], false), Protocol::Http1);
        assert_eq!(chosen("a:80", &["client"], false), Protocol::Client);
        assert_eq!(chosen("grpc://a", &["http1"], false), Protocol::Http2);
        assert_eq!(chosen("grpc://a", &["new=http1"], false), Protocol::Http1);
        assert!("h2".parse::<Choice>().is_err());
    }
}
