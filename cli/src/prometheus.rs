//! A client of Prometheus' query API.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::http::{agent, shown, unreachable};
use crate::words::visible;

/// How long to wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A Prometheus server.
pub(crate) struct Prometheus {
    /// Its address as messages show it.
    pub(crate) url: String,
    address: String,
    agent: ureq::Agent,
    /// The option that names it.
    option: &'static str,
}

#[derive(Deserialize)]
struct Reply {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Found>,
}

#[derive(Deserialize)]
struct Found {
    result: Vec<Sample>,
}

/// A number with labels.
#[derive(Deserialize)]
pub(crate) struct Sample {
    pub(crate) metric: BTreeMap<String, String>,
    /// A time and a number as text.
    value: (f64, String),
}

impl Sample {
    /// A label, empty if the series does not have it.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.metric.get(name).map_or("", String::as_str)
    }

    /// The number; `None` for NaN and infinity.
    pub(crate) fn value(&self) -> Option<f64> {
        self.value.1.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// Rounded, because `increase` extrapolates and counts are not whole; 0 for NaN and infinity.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    pub(crate) fn count(&self) -> u64 {
        self.value().map_or(0, |value| value.max(0.0).round() as u64)
    }
}

impl Prometheus {
    /// The server that this option names.
    pub(crate) fn new(url: &str, option: &'static str) -> Self {
        let address = url.trim_end_matches('/').to_owned();
        Self { url: shown(&address), address, agent: agent(ANSWER), option }
    }

    /// The instant vector of a query.
    ///
    /// # Errors
    ///
    /// If the server does not answer, is not Prometheus, or rejects the query.
    pub(crate) fn query(&self, query: &str) -> anyhow::Result<Vec<Sample>> {
        let url = format!("{}/api/v1/query", self.address);
        let call = format!("GET {}", shown(&url));
        let hint = format!(
            "hint: {} must be the address of a Prometheus server, such as http://prometheus:9090",
            self.option
        );
        let failed = |error: ureq::Error| unreachable(&call, &error, &hint);
        let mut reply = self.agent.get(&url).query("query", query).call().map_err(failed)?;
        let status = reply.status();
        let text = reply.body_mut().read_to_string().map_err(failed)?;
        let reply: Reply = serde_json::from_str(&text).map_err(|_| {
            anyhow::anyhow!("{call}: status {status}, but not an answer of Prometheus\n  {hint}")
        })?;
        anyhow::ensure!(
            reply.status == "success",
            "{call}: Prometheus rejected the query: {}",
            visible(&reply.error)
        );
        Ok(reply.data.map(|data| data.result).unwrap_or_default())
    }
}
