//! HTTP for the servers that the command calls: MLflow and Prometheus.
//!
//! One agent, so both have the same rules. Certificates are checked against those of the system, so a company's own
//! authority works. Redirects are not followed: a redirected POST would arrive as a GET, and credentials belong to one
//! server. Requests are not retried. A status other than 2xx is an answer and not an error.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

const CONNECT: Duration = Duration::from_secs(10);

/// An agent that waits at most `answer` for a whole exchange.
pub(crate) fn agent(answer: Duration) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(answer))
        .user_agent(concat!("sidetrack/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls);
    config.build().new_agent()
}

/// The error of a call without an answer, with a hint: `elsewhere` when the address itself may be wrong.
pub(crate) fn unreachable(call: &str, error: &ureq::Error, elsewhere: &str) -> anyhow::Error {
    let hint = match error {
        ureq::Error::Timeout(_) => "hint: the server is slow, or a firewall drops the requests",
        // TLS reports a certificate through the errors of the socket.
        error if error.to_string().contains("certificate") => {
            "hint: certificates are checked against those of the system; SSL_CERT_FILE names a file with others"
        }
        _ => elsewhere,
    };
    anyhow::anyhow!("{call}: {error}\n  {hint}")
}
