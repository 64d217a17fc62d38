//! Who may use the interface.
//!
//! On loopback, every process of the machine. Elsewhere only over TLS and with a bearer token, whose digest is all that the server
//! knows. Without a token, a browser could be made to ask on behalf of a foreign page; so the host must be this machine's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::App;
use super::problem::Problem;
use crate::error::Error;
use crate::page;

/// What a browser is asked for: any user name, and the token as the password.
const BASIC: &str = r#"Basic realm="sidetrack", charset="UTF-8""#;
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
        let empty: [u8; 32] = Sha256::digest([]).into();
        if self.token_sha256 == Some(empty) {
            let problem = "--token-sha256 is the digest of an empty text, so every client would have the token";
            return Err(Error::Usage(problem.to_owned()));
        }
        if address.ip().is_loopback() {
            return Ok(());
        }
        let missing = match (&self.tls, &self.token_sha256) {
            (Some(_), Some(_)) => return Ok(()),
            (None, None) => "--tls-cert, --tls-key and --token-sha256",
            (None, Some(_)) => "--tls-cert and --tls-key",
            (Some(_), None) => "--token-sha256",
        };
        Err(Error::Usage(format!(
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
        let bad = |error: pem::Error| unread("--tls-cert", &self.certificate, "certificate", error);
        let certificates = CertificateDer::pem_file_iter(&self.certificate).map_err(bad)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        if certificates.is_empty() {
            return Err(bad(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| unread("--tls-key", &self.key, "private key", error))?;
        let mut configuration = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| {
                let (key, certificate) = (self.key.display(), self.certificate.display());
                let text = match error {
                    rustls::Error::InconsistentKeys(_) => {
                        format!("--tls-key: {key} is not the key of the certificate {certificate}")
                    }
                    error => {
                        format!("--tls-cert: {certificate} cannot be used with {key}: {error}")
                    }
                };
                Error::Usage(text)
            })?;
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(RustlsConfig::from_config(Arc::new(configuration)))
    }
}

/// A PEM file that does not have what it must have.
fn unread(option: &str, file: &Path, what: &str, error: pem::Error) -> Error {
    let file = file.display();
    let why = match error {
        pem::Error::NoItemsFound => format!("{file} has no {what} in PEM"),
        pem::Error::Io(error) => {
            format!("cannot read {file}: {}", sidetrack_analysis::in_words(&error))
        }
        _ => format!("{file} is not a {what} in PEM: a block is damaged"),
    };
    Error::Usage(format!("{option}: {why}"))
}

/// Lets a request pass, or answers it.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    let is_grpc = is_grpc(request.headers());
    let refused = match app.access.token_sha256 {
        Some(_) if is_probe => None,
        Some(digest) => (!has_token(&request, &digest)).then_some((
            StatusCode::UNAUTHORIZED,
            "a bearer token is missing or wrong (header authorization)",
        )),
        None if is_foreign(&request) => Some((
            StatusCode::FORBIDDEN,
            "without a token, a page of another site may not write (header origin)",
        )),
        None if is_proxy(&request) || is_this_machine(&request) => None,
        None => Some((
            StatusCode::FORBIDDEN,
            "without a token, the host of a request must be localhost or an IP address",
        )),
    };
    match refused {
        None => next.run(request).await,
        Some((_, detail)) if is_grpc => tonic::Status::unauthenticated(detail).into_http(),
        Some((status, detail)) => {
            let mut response = Problem::new(status, detail).into_response();
            if status == StatusCode::UNAUTHORIZED && page::is_page(request.uri().path()) {
                // A browser asks its user.
                let basic = HeaderValue::from_static(BASIC);
                response.headers_mut().append(header::WWW_AUTHENTICATE, basic);
            }
            response
        }
    }
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

/// A call of gRPC, whose host is the name of a cluster. No browser makes one: it speaks HTTP/2 over TLS only.
fn is_proxy(request: &Request) -> bool {
    is_grpc(request.headers())
        && request.version() == Version::HTTP_2
        && request.uri().path().starts_with("/opentelemetry.proto.collector.")
}

/// Whether a browser writes on behalf of a page that neither this server nor another one of this machine has sent.
fn is_foreign(request: &Request) -> bool {
    let headers = request.headers();
    let Some(origin) = headers.get(header::ORIGIN).filter(|_| !request.method().is_safe()) else {
        return false;
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|host| host.as_str()).or(host);
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    !origin.is_some_and(|(_, origin)| Some(origin) == host || is_loopback(origin))
}

fn has_token(request: &Request, digest: &[u8; 32]) -> bool {
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let token = given.and_then(|given| token(given, request.method().is_safe()));
    let found: [u8; 32] = Sha256::digest(token.as_deref().unwrap_or_default()).into();
    token.is_some() && bool::from(found.ct_eq(digest))
}

/// The token in the header `authorization`. Browsers send a password along with requests that other sites make, so it only
/// reads.
pub(crate) fn token(given: &[u8], is_safe: bool) -> Option<Vec<u8>> {
    match given.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(token.to_vec()),
        _ if is_safe => password(given),
        _ => None,
    }
}

/// The password of `Basic` credentials, whichever the user name.
fn password(given: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = given.split_at_checked(6)?;
    let decoded = scheme.eq_ignore_ascii_case(b"basic ").then(|| BASE64.decode(encoded).ok())??;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.get(colon + 1..).map(<[u8]>::to_vec)
}

/// Whether the host is one that no other site can have: its name could lead here, but a page of it must not.
fn is_this_machine(request: &Request) -> bool {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|host| host.as_str()).or(header);
    host.is_none_or(is_local)
}

/// Whether a host is `localhost` or an address.
pub(crate) fn is_local(host: &str) -> bool {
    is_localhost_or(host, |_| true)
}

fn is_loopback(host: &str) -> bool {
    is_localhost_or(host, |address| address.is_loopback())
}

fn is_localhost_or(host: &str, fits: impl Fn(IpAddr) -> bool) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(fits)
}
