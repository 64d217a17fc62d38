//! The API server of a cluster over HTTP: as the pod's service account inside the cluster, else through `kubectl proxy`.
//!
//! kubectl brings its own credentials, login plugins and proxies, so no kubeconfig is read here. Inside a pod there is no
//! kubectl: the token and the authority of the service account are read again for every request, because both rotate.

mod proxy;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use super::connection::Connection;
use crate::http;
use crate::words::visible;
use proxy::Proxy;

/// The files of a pod's service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long to wait for an answer: shorter than a lease lasts.
const ANSWER: Duration = Duration::from_secs(8);

/// A connection to the API server.
pub(crate) struct Api {
    base: String,
    server: Server,
}

enum Server {
    /// The address and the credentials of a pod.
    Pod(Mutex<Pod>),
    Kubectl {
        agent: Agent,
        _proxy: Proxy,
    },
}

/// An agent that trusts this authority.
#[derive(Default)]
struct Pod {
    authority: Vec<u8>,
    agent: Option<Agent>,
}

/// An answer other than success.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    /// The API's `Status` object.
    pub(crate) body: Value,
    call: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.body.get("message").and_then(Value::as_str).unwrap_or("no reason given");
        write!(f, "{}: status {}: {}", self.call, self.status, visible(message))
    }
}

impl std::error::Error for Refused {}

/// What a request does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Get,
    Create,
    Replace,
    /// Server-side apply.
    Apply,
}

impl Api {
    /// The API server of this pod, or of kubectl's context.
    pub(crate) fn connect(connection: &Connection) -> anyhow::Result<Self> {
        match in_cluster(connection) {
            Some(base) => Ok(Self { base, server: Server::Pod(Mutex::default()) }),
            None => {
                let proxy = Proxy::start(connection)?;
                let agent = proxy.agent(ANSWER);
                let server = Server::Kubectl { agent, _proxy: proxy };
                Ok(Self { base: "http://localhost".to_owned(), server })
            }
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// [`Refused`] for a response with an error status; else why no response came.
    pub(crate) fn send(&self, verb: Verb, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (method, content) = match verb {
            Verb::Get => ("GET", ""),
            Verb::Create => ("POST", "application/json"),
            Verb::Replace => ("PUT", "application/json"),
            // JSON is YAML.
            Verb::Apply => ("PATCH", "application/apply-patch+yaml"),
        };
        let call = format!("{method} {path}");
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", "application/json");
        let agent = match &self.server {
            Server::Kubectl { agent, .. } => agent.clone(),
            Server::Pod(pod) => {
                let token = read("token")?;
                let token = String::from_utf8_lossy(&token);
                request = request.header("authorization", format!("Bearer {}", token.trim()));
                pod.lock().unwrap_or_else(PoisonError::into_inner).agent()?
            }
        };
        let sent = match verb {
            Verb::Get => agent.run(request.body(())?),
            _ => agent.run(request.header("content-type", content).body(body.to_string())?),
        };
        let hint =
            "hint: is the API server reachable, and does the connection have the right context?";
        let mut reply = sent.map_err(|error| http::unreachable(&call, &error, hint))?;
        let status = reply.status();
        let text = reply.body_mut().read_to_string().with_context(|| call.clone())?;
        // A proxy in between answers in words.
        let words = || json!({"message": text.trim()});
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| words());
        if status.is_success() {
            return Ok(body);
        }
        Err(Refused { status: status.as_u16(), body, call }.into())
    }
}

impl Pod {
    fn agent(&mut self) -> anyhow::Result<Agent> {
        let authority = read("ca.crt")?;
        if let Some(agent) = self.agent.as_ref().filter(|_| self.authority == authority) {
            return Ok(agent.clone());
        }
        let mut roots: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(&authority) {
            if let PemItem::Certificate(certificate) =
                item.context("the service account's ca.crt")?
            {
                roots.push(certificate);
            }
        }
        let agent = http::agent_of(ANSWER, RootCerts::Specific(Arc::new(roots)));
        self.authority = authority;
        self.agent = Some(agent.clone());
        Ok(agent)
    }
}

/// The address of the API server, if this is a pod with a service account and no option names another cluster.
fn in_cluster(connection: &Connection) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let given = !connection.flags().is_empty() || variable("KUBECONFIG").is_some();
    let (host, port) =
        variable("KUBERNETES_SERVICE_HOST").zip(variable("KUBERNETES_SERVICE_PORT"))?;
    if given || !Path::new(ACCOUNT).join("token").exists() {
        return None;
    }
    // An IPv6 address needs brackets.
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Some(format!("https://{host}:{port}"))
}

/// The namespace of this pod.
pub(crate) fn own_namespace(connection: &Connection) -> Option<String> {
    in_cluster(connection)?;
    let text = String::from_utf8(read("namespace").ok()?).ok()?;
    Some(text.trim().to_owned())
}

fn read(name: &str) -> anyhow::Result<Vec<u8>> {
    let path = Path::new(ACCOUNT).join(name);
    std::fs::read(&path).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))
}
