//! Client of the admin interface: pages, commands, statistics, listeners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::time::sleep;

use super::Envoy;
use super::metrics::{Scrape, parse_stats};
use crate::client::{Client, Request};

/// The limit for a listener to appear: dynamic listeners appear after the process is ready.
const LISTENER_DEADLINE: Duration = Duration::from_secs(10);

/// A client of the admin interface.
#[derive(Debug)]
pub(super) struct Admin {
    client: Client,
}

impl Admin {
    pub(super) fn new(addr: SocketAddr) -> Self {
        Self { client: Client::new(addr).with_timeout(Duration::from_secs(10)) }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.client.addr()
    }

    pub(super) async fn ready(&self) -> Result<bool> {
        Ok(self.client.send(Request::get("/ready")).await?.status == 200)
    }

    pub(super) async fn ask(&self, method: &str, path: &str) -> Result<String> {
        let request = Request::new(method, path);
        let answer = self
            .client
            .send(request)
            .await
            .with_context(|| format!("Envoy's admin: {method} {path}"))?;
        ensure!(
            answer.status == 200,
            "Envoy's admin: {method} {path}: {}: {}",
            answer.status,
            answer.text()
        );
        Ok(answer.text())
    }
}

impl Envoy {
    /// The body of an admin page, for example `/config_dump`.
    ///
    /// # Errors
    /// If Envoy does not respond with 200.
    pub async fn admin_get(&self, path: &str) -> Result<String> {
        self.admin.ask("GET", path).await
    }

    /// Sends an admin command, for example `/logging?wasm=debug` or `/reset_counters`.
    ///
    /// # Errors
    /// If Envoy does not respond with 200.
    pub async fn admin_post(&self, path: &str) -> Result<String> {
        self.admin.ask("POST", path).await
    }

    /// Counters and gauges whose names match the regular expression. Histograms are left out.
    ///
    /// # Errors
    /// If Envoy does not respond, or the expression is invalid.
    pub async fn stats(&self, filter_regex: &str) -> Result<BTreeMap<String, i64>> {
        let text =
            self.admin_get(&format!("/stats?filter={}", percent_encoded(filter_regex))).await?;
        Ok(parse_stats(&text))
    }

    /// Scrapes the statistics whose names in Envoy, such as `cluster.a.upstream_rq_200`, match the regular expression.
    ///
    /// # Errors
    /// If Envoy does not respond; if it has exited, the message contains the log's tail.
    pub async fn scrape(&self, filter_regex: &str) -> Result<Scrape> {
        let path = format!("/stats/prometheus?filter={}", percent_encoded(filter_regex));
        match self.admin_get(&path).await {
            Ok(page) => Ok(Scrape::parse(&page)),
            Err(_) if !self.is_running() => bail!("Envoy has exited\n{}", self.log_tail(20)),
            Err(error) => Err(error),
        }
    }

    /// The release, for example `1.40.0`; `None` if Envoy reports its version in another form.
    ///
    /// # Errors
    /// If Envoy does not respond.
    pub async fn version(&self) -> Result<Option<String>> {
        Ok(release(&self.admin_get("/server_info").await?))
    }

    /// All statistics in the Prometheus text format.
    ///
    /// # Errors
    /// If Envoy does not respond.
    pub async fn prometheus(&self) -> Result<String> {
        self.admin_get("/stats/prometheus").await
    }

    /// The port of the listener with this name. Waits up to 2 seconds for the listener to appear.
    ///
    /// # Errors
    /// If the listener does not exist. The message names the existing listeners.
    pub async fn listener_port(&self, listener_name: &str) -> Result<u16> {
        let deadline = Instant::now() + LISTENER_DEADLINE;
        loop {
            let listeners = listener_ports(&self.admin_get("/listeners?format=json").await?)?;
            if let Some(port) = listeners.get(listener_name) {
                return Ok(*port);
            }
            if Instant::now() > deadline {
                let names: Vec<&str> = listeners.keys().map(String::as_str).collect();
                bail!(
                    "Envoy has no listener `{listener_name}`; it has: [{}]\n{}",
                    names.join(", "),
                    self.log_tail(20)
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn listener_ports(json: &str) -> Result<BTreeMap<String, u16>> {
    let page: Value = serde_json::from_str(json).context("reading Envoy's /listeners")?;
    let statuses = page
        .get("listener_statuses")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    Ok(statuses
        .iter()
        .filter_map(|status| {
            let name = status.get("name")?.as_str()?;
            let port = status.pointer("/local_address/socket_address/port_value")?.as_u64()?;
            Some((name.to_owned(), u16::try_from(port).ok()?))
        })
        .collect())
}

/// The release in `commit/1.40.0/Clean/RELEASE/BoringSSL`.
fn release(server_info: &str) -> Option<String> {
    let info: Value = serde_json::from_str(server_info).ok()?;
    Some(info.get("version")?.as_str()?.split('/').nth(1)?.to_owned())
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
