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
    const ALL: [Self; 4] = [Self::Http1, Self::Http2, Self::Auto, Self::Client];

    const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Auto => "auto",
            Self::Client => "client",
        }
    }
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
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == word);
        let protocol = found.with_context(|| {
            let words = Protocol::ALL.map(Protocol::name);
            format!("unknown protocol; expected one of: {}", words.join(", "))
        })?;
        Ok(Self { cluster, protocol })
    }
}

/// The protocol of a cluster with these endpoints.
///
/// The URL of a gRPC endpoint precedes a choice for all clusters.
///
/// A WebSocket over HTTP/2 requires a server with extended CONNECT (RFC 8441), which hardly any
/// server that selects HTTP/2 has. So with `upgrades`, `auto` is HTTP/1.1.
pub(super) fn of(
    cluster: &str,
    endpoints: &[&Endpoint],
    choices: &[Choice],
    upgrades: bool,
) -> anyhow::Result<Protocol> {
    let chosen = |name: Option<&str>| {
        let choice = choices.iter().rev().find(|choice| choice.cluster.as_deref() == name);
        choice.map(|choice| choice.protocol)
    };
    let (own, common) = (chosen(Some(cluster)), chosen(None));
    let is_grpc = endpoints.iter().any(|e| e.scheme.is_some_and(|scheme| scheme.is_grpc));
    let protocol = if is_grpc {
        // A choice for all clusters is also for those without a gRPC URL, but HTTP/1.1 contradicts it.
        let is_http1 = |protocol: &Protocol| *protocol == Protocol::Http1;
        let chosen = own.or_else(|| common.filter(is_http1));
        if let Some(other) = chosen.filter(|protocol| *protocol != Protocol::Http2) {
            anyhow::bail!(
                "--upstream-protocol {}: {cluster} has a grpc:// or grpcs:// endpoint, and gRPC \
                 requires HTTP/2\n  hint: use http:// or https:// for {cluster}, or name the \
                 clusters of the other models: --upstream-protocol CLUSTER={0}",
                other.name()
            );
        }
        Protocol::Http2
    } else {
        own.or(common).unwrap_or(Protocol::Auto)
    };
    let is_tls = endpoints.iter().any(|endpoint| endpoint.is_tls());
    Ok(match protocol {
        Protocol::Auto if !is_tls || upgrades => Protocol::Http1,
        protocol => protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(endpoint: &str, choices: &[&str], upgrades: bool) -> Protocol {
        try_chosen(endpoint, choices, upgrades).unwrap()
    }

    fn try_chosen(endpoint: &str, choices: &[&str], upgrades: bool) -> anyhow::Result<Protocol> {
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
        assert_eq!(of("unknown", &[], &[], false).unwrap(), Protocol::Http1);
    }

    #[test]
    fn a_choice_for_the_cluster_precedes_one_for_all() {
        assert_eq!(chosen("a:80", &["http2"], false), Protocol::Http2);
        assert_eq!(chosen("a:80", &["new=http1", "http2"], false), Protocol::Http1);
        assert_eq!(chosen("a:80", &["old=http2"], false), Protocol::Http1);
        assert_eq!(chosen("a:80", &["client"], false), Protocol::Client);
        assert!("h2".parse::<Choice>().is_err());
    }

    #[test]
    fn a_grpc_endpoint_speaks_http2_or_is_refused() {
        for choices in [&["auto"][..], &["client"], &["old=http1"], &["http1", "new=http2"]] {
            assert_eq!(chosen("grpc://a", choices, false), Protocol::Http2, "{choices:?}");
            assert_eq!(chosen("grpcs://a", choices, true), Protocol::Http2, "{choices:?}");
        }
        for choices in [&["http1"][..], &["new=http1"], &["new=auto"], &["http2", "new=client"]] {
            let error = try_chosen("grpc://a", choices, false).unwrap_err().to_string();
            assert!(error.contains("gRPC requires HTTP/2"), "{choices:?}: {error}");
        }
    }
}
