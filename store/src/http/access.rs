//! Who may use the interface.
//!
//! On loopback, every process of the machine. Elsewhere only over TLS and with a bearer token, whose digest is all that the server
//! knows. Without a token, a browser could be made to ask on behalf of a foreign page; so the host must be this machine's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::App;
use super::problem::Problem;
use crate::error::Error;

/// The largest body by default, in bytes.
const MAX_BODY: usize = 16 << 20;

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Who may use the interface, and how much of it.
#[derive(Clone)]
pub struct Access {
    /// The SHA-256 digest of the bearer token; `None`: no token is needed.
    pub token_sha256: Option<[u8; 32]>,
    /// `None`: no TLS.
    pub tls: Option<Tls>,
    /// The largest body in bytes, decompressed.
    pub max_body: usize,
    /// Records per second, on average; `None`: no limit.
    pub max_rate: Option<u32>,
}

impl Access {
    /// For this machine only.
    #[must_use]
    pub const fn local() -> Self {
        Self { token_sha256: None, tls: None, max_body: MAX_BODY, max_rate: None }
    }

    /// Refuses to serve other machines without TLS and a token.
    pub(super) fn check(&self, address: SocketAddr) -> Result<(), Error> {
        if address.ip().is_loopback() {
            return Ok(());
        }
        let missing = match (&self.tls, &self.token_sha256) {
            (Some(_), Some(_)) => return Ok(()),
            (None, None) => "--tls-cert, --tls-key and --token-sha256",
            (None, Some(_)) => "--tls-cert and --tls-key",
            (Some(_), None) => "--token-sha256",
        };
        Err(Error::Input(format!(
            "other machines can reach {address}, so the store needs {missing}\n  hint: listen on \
             127.0.0.1 if only this machine uses it"
        )))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("token", &self.token_sha256.is_some())
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn configuration(&self) -> Result<RustlsConfig, Error> {
        // Only the first one counts; the command may have set it already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let pem = |path: &PathBuf, what: &str, error: &dyn fmt::Display| {
            Error::Input(format!("{}: not {what} in PEM: {error}", path.display()))
        };
        let bad =
            |error: rustls::pki_types::pem::Error| pem(&self.certificate, "a certificate", &error);
        let certificates = CertificateDer::pem_file_iter(&self.certificate).map_err(bad)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| pem(&self.key, "a private key", &error))?;
        let mut configuration = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| pem(&self.certificate, "a certificate for the key", &error))?;
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(RustlsConfig::from_config(Arc::new(configuration)))
    }
}

/// Lets a request pass, or answers it.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    let is_grpc = is_grpc(request.headers());
    let refused = match app.access.token_sha256 {
        Some(_) if is_probe => None,
        Some(digest) => (!has_token(request.headers(), &digest)).then_some((
            StatusCode::UNAUTHORIZED,
            "a bearer token is missing or wrong (header authorization)",
        )),
        None if is_grpc || is_this_machine(&request) => None,
        None => Some((
            StatusCode::FORBIDDEN,
            "without a token, the host of a request must be localhost or an IP address",
        )),
    };
    match refused {
        None => next.run(request).await,
        Some((_, detail)) if is_grpc => tonic::Status::unauthenticated(detail).into_http(),
        Some((status, detail)) => Problem::new(status, detail).into_response(),
    }
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

fn has_token(headers: &HeaderMap, digest: &[u8; 32]) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let token = given.and_then(|given| {
        let (scheme, token) = given.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let found: [u8; 32] = Sha256::digest(token.unwrap_or_default()).into();
    token.is_some() && bool::from(found.ct_eq(digest))
}

/// Whether the host is one that no other site can have: its name could lead here, but a page of it must not.
fn is_this_machine(request: &Request) -> bool {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = request.uri().authority().map(|host| host.as_str()).or(header) else {
        return true;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}
