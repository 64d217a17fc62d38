//! What the proxies say of a candidate: trips of its breaker, and ready endpoints.

use std::time::Duration;

use clap::Args as Arguments;
use serde_json::Value;
use sidetrack::names::{label, metric};
use sidetrack::plan::Plan;
use sidetrack_lab::Scrape;

use super::decide::Fleet;
use crate::http::{agent, shown, unreachable};
use crate::prometheus::Prometheus;
use crate::status;

/// Envoy's number of healthy endpoints of a cluster.
const HEALTHY: &str = "envoy_cluster_membership_healthy";
const CLUSTER: &str = "envoy_cluster_name";
const ANSWER: Duration = Duration::from_secs(10);

/// Where proxies are observed.
#[derive(Arguments)]
pub(crate) struct ProxyOptions {
    /// A Prometheus server: roll back if breakers trip in most proxies, or the candidate has no ready endpoint
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// A PromQL query for the number of ready endpoints, with the result 0 and not none if there are none [default: by the candidate's cluster in Envoy]
    #[arg(long, value_name = "QUERY", requires = "prometheus")]
    ready: Option<String>,
    /// The admin interface of an Envoy: roll back if the candidate's cluster has no ready endpoint
    #[arg(long, value_name = "URL", conflicts_with = "prometheus")]
    admin: Option<String>,
}

impl ProxyOptions {
    /// Why a file is not in force in all proxies yet; `None` if it is, or no proxies are given.
    pub(crate) fn missing(&self, plan: &Plan) -> anyhow::Result<Option<String>> {
        let hash = plan.hash.short();
        let proxies = match (&self.prometheus, &self.admin) {
            (Some(url), _) => status::in_prometheus(url, &hash)?,
            (None, Some(url)) => status::in_envoy(url, &hash)?,
            (None, None) => return Ok(None),
        };
        Ok((proxies.current < proxies.all).then(|| {
            let status::InForce { current, all } = proxies;
            format!("the file ({hash}) is in force in {current} of {all} proxies")
        }))
    }

    pub(super) fn read(
        &self,
        experiment: &str,
        candidate: &str,
        cluster: Option<&str>,
    ) -> anyhow::Result<Fleet> {
        if let Some(url) = &self.prometheus {
            return self.prometheus(url, experiment, candidate, cluster);
        }
        let endpoints = match (&self.admin, cluster) {
            (Some(url), Some(cluster)) => endpoints(url, cluster)?,
            _ => None,
        };
        Ok(Fleet { tripped: None, endpoints })
    }

    fn prometheus(
        &self,
        url: &str,
        experiment: &str,
        candidate: &str,
        cluster: Option<&str>,
    ) -> anyhow::Result<Fleet> {
        let server = Prometheus::new(url, "--prometheus");
        let (experiment, candidate) = (Value::from(experiment), Value::from(candidate));
        let (name, model) = (label::EXPERIMENT, label::MODEL);
        let trips = metric::BREAKER_TRIPS;
        let trips = format!("{trips}{{{name}={experiment},{model}={candidate}}}");
        // `increase` does not see a trip before the first scrape, as of a candidate that fails at once: of a series that
        // is newer than the window, all trips count.
        let trips = server.query(&format!(
            "sum by (pod, instance) (({trips} unless {trips} offset 5m) or increase({trips}[5m]))"
        ))?;
        let tripped = trips.iter().filter(|proxy| proxy.value().is_some_and(|n| n > 0.0)).count();
        // A moment without endpoints, as between two pods, is not enough.
        let own = |cluster: &str| {
            let cluster = Value::from(cluster);
            format!("max(max_over_time({HEALTHY}{{{CLUSTER}={cluster}}}[2m]))")
        };
        let query = self.ready.clone().or_else(|| cluster.map(own));
        let ready = query.map(|query| server.query(&query)).transpose()?;
        // NaN is not a number of endpoints.
        let ready = ready.unwrap_or_default().into_iter().next();
        let endpoints = ready.filter(|sample| sample.value().is_some()).map(|it| it.count());
        Ok(Fleet {
            tripped: Some((u64::try_from(tripped)?, u64::try_from(trips.len())?)),
            endpoints,
        })
    }
}

/// The healthy endpoints of a cluster in one Envoy; `None` if it does not know the cluster.
fn endpoints(url: &str, cluster: &str) -> anyhow::Result<Option<u64>> {
    let url = url.trim_end_matches('/');
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let page = format!("{url}/stats/prometheus?filter=membership_healthy");
    let hint = "hint: --admin must be the address of an Envoy's admin interface, such as http://127.0.0.1:9901";
    let call = format!("GET {}", shown(&page));
    let failed = |error: ureq::Error| unreachable(&call, &error, hint);
    let mut reply = agent(ANSWER).get(&page).call().map_err(failed)?;
    let status = reply.status();
    let text = reply.body_mut().read_to_string().map_err(failed)?;
    anyhow::ensure!(status.is_success(), "{call}: status {status}\n  {hint}");
    let scrape = Scrape::parse(&text);
    let found = scrape.series().find(|(name, labels, _)| {
        *name == HEALTHY && labels.iter().any(|(name, value)| name == CLUSTER && value == cluster)
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let count = found.map(|(_, _, value)| value.max(0.0) as u64);
    Ok(count)
}
