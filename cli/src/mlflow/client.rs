//! Calls to an MLflow server: JSON over HTTP, with errors that name the URL and a hint.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body, RequestBuilder};

use crate::http::{self, unreachable};
use crate::words::visible;

const ANSWER: Duration = Duration::from_secs(60);
/// Uploads may be large and links slow.
const UPLOAD: Duration = Duration::from_secs(600);
const HINT_URI: &str = "hint: set --tracking-uri or MLFLOW_TRACKING_URI to the address of the MLflow server, such as \
                        http://127.0.0.1:5000";

/// Where the MLflow server is.
#[derive(clap::Args)]
pub(crate) struct Server {
    /// The MLflow server [default: MLFLOW_TRACKING_URI]
    #[arg(long, value_name = "URI")]
    tracking_uri: Option<String>,
}

/// A server, with the credentials for it.
pub(crate) struct Client {
    agent: Agent,
    /// Without a slash at the end, and without credentials.
    pub(crate) base: String,
    authorization: Option<String>,
}

impl Client {
    /// Prepares calls; sends nothing.
    ///
    /// # Errors
    ///
    /// Without a valid address.
    pub(crate) fn new(server: &Server) -> anyhow::Result<Self> {
        let uri = server.tracking_uri.clone().or_else(|| variable("MLFLOW_TRACKING_URI"));
        let base = base(&uri.with_context(|| format!("no MLflow server is given\n  {HINT_URI}"))?)?;
        Ok(Self { agent: http::agent(ANSWER), base, authorization: authorization() })
    }

    /// Reads, as `registered-models/alias`.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        call: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        let url = self.url(call);
        let request = self.agent.get(&url).query_pairs(query.iter().copied());
        read(&format!("GET {url}"), self.known(request).call())
    }

    /// Writes.
    pub(crate) fn post<T: DeserializeOwned>(&self, call: &str, body: &Value) -> anyhow::Result<T> {
        let url = self.url(call);
        read(&format!("POST {url}"), self.known(self.agent.post(&url)).send_json(body))
    }

    /// Removes.
    pub(crate) fn delete(&self, call: &str, body: &Value) -> anyhow::Result<()> {
        let url = self.url(call);
        let request = self.known(self.agent.delete(&url)).force_send_body();
        read::<Value>(&format!("DELETE {url}"), request.send_json(body)).map(|_| ())
    }

    /// Stores a file with the artifacts that the server keeps; `path` is relative to all of them.
    pub(crate) fn put(&self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{path}", self.base);
        let request = self.agent.put(&url).config().timeout_global(Some(UPLOAD)).build();
        let request = self.known(request).content_type("application/octet-stream");
        read::<Value>(&format!("PUT {url}"), request.send(content)).map(|_| ())
    }

    fn url(&self, call: &str) -> String {
        format!("{}/api/2.0/mlflow/{call}", self.base)
    }

    fn known<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        }
    }
}

/// An error response.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Method and URL.
    call: String,
    status: StatusCode,
    /// MLflow's error code, such as `RESOURCE_DOES_NOT_EXIST`; empty if another server answered.
    pub(crate) code: String,
    message: String,
}

/// Whether the error is MLflow's refusal with one of these codes.
pub(crate) fn refused(error: &anyhow::Error, codes: &[&str]) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| codes.contains(&refusal.code.as_str()))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (call, status, message) = (&self.call, self.status.as_u16(), visible(&self.message));
        let code =
            if self.code.is_empty() { String::new() } else { format!(" {}", visible(&self.code)) };
        write!(f, "{call}: the server answered {status}{code}: {message}")?;
        let hint = match status {
            403 if self.message.contains("Invalid Host") => {
                "hint: MLflow accepts only configured host names: start it with --allowed-hosts and the name in \
                 the tracking URI"
            }
            401 | 403 => {
                "hint: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of \
                 a user with this permission"
            }
            300..=399 => {
                "hint: redirects are not followed; use the target address as the tracking URI"
            }
            404 if self.code.is_empty() => HINT_URI,
            500.. => "hint: see the server's log for the reason; the request was not retried",
            _ => return Ok(()),
        };
        write!(f, "\n  {hint}")
    }
}

impl std::error::Error for Refusal {}

/// The body of a good answer; an empty one is `{}`.
fn read<T: DeserializeOwned>(
    call: &str,
    sent: Result<Response<Body>, ureq::Error>,
) -> anyhow::Result<T> {
    let mut response = sent.map_err(|error| unreachable(call, &error, HINT_URI))?;
    let status = response.status();
    let location = response
        .headers()
        .get(header::LOCATION)
        .map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
    let text = response
        .body_mut()
        .read_to_string()
        .map_err(|error| unreachable(call, &error, HINT_URI))?;
    if !status.is_success() {
        return Err(refusal(call, status, location, &text).into());
    }
    let text = if text.trim().is_empty() { "{}" } else { &text };
    serde_json::from_str(text).map_err(|_| {
        let beginning: String = visible(text).chars().take(80).collect();
        anyhow::anyhow!("{call}: not an answer of MLflow: {beginning}\n  {HINT_URI}")
    })
}

fn refusal(call: &str, status: StatusCode, location: Option<String>, text: &str) -> Refusal {
    #[derive(Deserialize)]
    struct ErrorBody {
        error_code: String,
        #[serde(default)]
        message: String,
    }
    let call = call.to_owned();
    match serde_json::from_str(text) {
        Ok(ErrorBody { error_code, message }) => {
            Refusal { call, status, code: error_code, message }
        }
        Err(_) => {
            let text = location.map_or_else(
                || text.trim().chars().take(200).collect(),
                |to| format!("redirect to {to}"),
            );
            Refusal { call, status, code: String::new(), message: text }
        }
    }
}

/// The address that calls are appended to.
fn base(uri: &str) -> anyhow::Result<String> {
    let web = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
    let authority = web.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    // Checked first, because no message may show a password, which may have any character.
    anyhow::ensure!(
        !uri.contains('@'),
        "the tracking URI must not contain a user name or password\n  \
         hint: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
    );
    anyhow::ensure!(
        !authority.is_empty() && !uri.contains(['?', '#']) && !uri.contains(char::is_whitespace),
        "the tracking URI is {}, but must be the http:// or https:// address of an MLflow server\n  {HINT_URI}",
        visible(uri)
    );
    Ok(uri.trim_end_matches('/').to_owned())
}

/// Like MLflow's own client: a user name and password take precedence over a token.
fn authorization() -> Option<String> {
    let password = || variable("MLFLOW_TRACKING_PASSWORD");
    match variable("MLFLOW_TRACKING_USERNAME").zip(password()) {
        Some((name, password)) => {
            Some(format!("Basic {}", BASE64.encode(format!("{name}:{password}"))))
        }
        None => variable("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}")),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_servers_and_passwords_are_not_shown() {
        assert_eq!(base("http://mlflow:5000/").unwrap(), "http://mlflow:5000");
        assert_eq!(base("https://example.com/mlflow").unwrap(), "https://example.com/mlflow");
        for bad in ["", "mlflow:5000", "sqlite:///mlflow.db", "http://", "http://a b", "http://a?b"]
        {
            assert!(base(bad).unwrap_err().to_string().contains("must be the http://"), "{bad}");
        }
        for uri in [
            "https://bob:hunter2@example.com",
            "bob:hunter2@example.com",
            "https://bob:hun/ter2@example.com",
            "http://bob:hunter2?@example.com",
        ] {
            let error = base(uri).unwrap_err().to_string();
            assert!(error.contains("MLFLOW_TRACKING_PASSWORD"), "{error}");
            assert!(!error.contains("hun") && !error.contains("bob"), "{error}");
        }
    }
}
