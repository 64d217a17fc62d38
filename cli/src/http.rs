//! HTTP for the servers that the command calls: MLflow, Prometheus, stores and the API server of Kubernetes.
//!
//! One agent, so both have the same rules. Certificates are checked against those of the system, so a company's own
//! authority works. Redirects are not followed: a redirected POST would arrive as a GET, and credentials belong to one
//! server. Requests are not retried. A status other than 2xx is an answer and not an error.

use std::net::IpAddr;
use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

use crate::words::plain;

const CONNECT: Duration = Duration::from_secs(10);

/// An agent that waits at most `answer` for a whole exchange.
pub(crate) fn agent(answer: Duration) -> Agent {
    agent_of(answer, RootCerts::PlatformVerifier)
}

/// The same, for a server whose certificate comes from these authorities.
pub(crate) fn agent_of(answer: Duration, roots: RootCerts) -> Agent {
    let tls = TlsConfig::builder().root_certs(roots).build();
    config(answer).tls_config(tls).build().new_agent()
}

/// The rules of all agents.
pub(crate) fn config(answer: Duration) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(answer))
        .user_agent(concat!("sidetrack/", env!("CARGO_PKG_VERSION")))
}

/// An address, or a text that has none, without what may be a password: for messages.
pub(crate) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or((None, url), |(it, rest)| (Some(it), rest));
    match (scheme, rest.rsplit_once('@')) {
        (Some(scheme), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        (_, None) => url.to_owned(),
    }
}

/// Whether what is sent to this address can be read on its way: plain HTTP to another host.
pub(crate) fn is_in_clear(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return true };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    uri.scheme_str() != Some("https") && !is_here
}

/// The error of a call without an answer, with a hint: `elsewhere` when the address itself may be wrong.
pub(crate) fn unreachable(call: &str, error: &ureq::Error, elsewhere: &str) -> anyhow::Error {
    let hint = match error {
        ureq::Error::Timeout(_) => "hint: the server is slow, or a firewall drops the requests",
        // TLS reports a certificate through the errors of the socket.
        error if error.to_string().contains("certificate") => {
            let (why, hint) = of_certificate(&error.to_string());
            return anyhow::anyhow!("{call}: the server's certificate {why}\n  hint: {hint}");
        }
        _ => elsewhere,
    };
    // It may repeat the address.
    let error = error.to_string().split(' ').map(shown).collect::<Vec<_>>().join(" ");
    let error = plain(error.strip_prefix("io: ").unwrap_or(&error));
    anyhow::anyhow!("{call}: {error}\n  {hint}")
}

/// Why a certificate is not accepted, and what to do.
fn of_certificate(error: &str) -> (&'static str, &'static str) {
    const OF_SYSTEM: &str = "certificates are checked against those of the system; SSL_CERT_FILE names a file with others";
    let kinds = [
        (
            "CaUsedAsEndEntity",
            "is that of an authority, and not of a server",
            "make one for a server, HOST being its name, and name it in SSL_CERT_FILE:\n  \
             openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 365 \\\n    \
             -subj /CN=HOST -addext subjectAltName=DNS:HOST -addext basicConstraints=critical,CA:FALSE",
        ),
        ("UnknownIssuer", "comes from an unknown authority", OF_SYSTEM),
        ("not valid for name", "is for another host", "use the host name that the certificate has"),
        ("NotValidForName", "is for another host", "use the host name that the certificate has"),
        ("expired", "has expired", "renew it, or correct the clock of this machine"),
        ("Expired", "has expired", "renew it, or correct the clock of this machine"),
        ("not valid yet", "is not valid yet", "correct the clock of this machine or of its issuer"),
    ];
    let found = kinds.into_iter().find(|(said, ..)| error.contains(said));
    found.map_or(("is not accepted", OF_SYSTEM), |(_, why, hint)| (why, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, wanted) in [
            ("http://u:s3cret@store:8088/v1", "http://***@store:8088/v1"),
            ("http://u:a/b@c@store:8088", "http://***@store:8088"),
            ("u:s3cret@store:8088", "***@store:8088"),
            ("http://store:8088/v1?a=b", "http://store:8088/v1?a=b"),
            ("store", "store"),
        ] {
            assert_eq!(shown(url), wanted);
        }
        let error = ureq::Error::BadUri("http://u:s3cret@a b".to_owned());
        let text = unreachable("GET http://***@a", &error, "hint").to_string();
        assert!(!text.contains("s3cret") && text.contains("***@a b"), "{text}");
    }

    #[test]
    fn plain_http_to_another_host_is_in_clear() {
        for url in ["http://store.models:8088", "http://10.0.0.1/", "HTTP://store", "no address"] {
            assert!(is_in_clear(url), "{url}");
        }
        for url in [
            "https://store.models:8088",
            "http://127.0.0.1:8088",
            "http://127.8.0.1",
            "http://[::1]:8088/v1",
            "http://localhost:8088",
        ] {
            assert!(!is_in_clear(url), "{url}");
        }
    }
}
