//! The filter's metrics, by proxy: from an admin interface, or from Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;
use sidetrack::names::{label, metric, status};
use sidetrack_lab::Scrape;

use crate::breaker::Breaker;
use crate::fault::Fault;
use crate::http::{agent, shown, unreachable};
use crate::prometheus::Prometheus;

/// How long to wait for an admin interface.
const ANSWER: Duration = Duration::from_secs(10);
/// The labels by which Prometheus distinguishes proxies, the most telling first.
const PROXY: [&str; 2] = ["pod", "instance"];

/// What one proxy says.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Proxy {
    pub(crate) name: String,
    /// Whether the file is in force; null without a file.
    pub(crate) current: Option<bool>,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) experiments: BTreeMap<String, BTreeMap<String, Variant>>,
}

/// A plugin has one experiment file.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    /// The first eight digits of the hash in force; zeros before the first good file.
    pub(crate) hash: String,
    /// How many updates it has rejected.
    pub(crate) rejected: u64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Variant {
    /// Percent; null where the proxy does not say.
    pub(crate) weight: Option<f64>,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) fallbacks: u64,
    pub(crate) trips: u64,
    pub(crate) breaker: Option<Breaker>,
}

impl Proxy {
    /// Whether a file with this short hash is in force.
    pub(super) fn has(&self, hash: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.hash == hash)
    }
}

impl Plugin {
    /// Whether a file is in force.
    pub(crate) fn has_configuration(&self) -> bool {
        self.hash.bytes().any(|digit| digit != b'0')
    }
}

/// The proxy with this admin interface.
pub(crate) fn admin(url: &str) -> anyhow::Result<Vec<Proxy>> {
    let url = url.trim_end_matches('/');
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let page = format!("{url}/stats/prometheus?filter=ab_test_");
    let hint = "hint: --admin must be the address of an Envoy's admin interface, such as http://127.0.0.1:9901; \
                for other proxies, use --prometheus or `kubectl sidetrack status`";
    let (call, url) = (format!("GET {}", shown(&page)), shown(&url));
    let failed = |error: ureq::Error| unreachable(&call, &error, hint);
    let mut reply = agent(ANSWER).get(&page).call().map_err(failed)?;
    let status = reply.status();
    let text = reply.body_mut().read_to_string().map_err(failed)?;
    ensure!(status.is_success(), "{call}: status {status}\n  {hint}");
    let scrape = Scrape::parse(&text);
    let mut proxies = Proxies::default();
    for (name, labels, value) in scrape.series() {
        let label = |wanted: &str| {
            labels.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str())
        };
        proxies.add(&url, name, label, value);
    }
    let proxies = proxies.into_vec();
    ensure!(
        !proxies.is_empty(),
        Fault(format!(
            "the Envoy at {url} does not run the filter: it has no metric {}",
            metric::CONFIG_HASH
        ))
    );
    Ok(proxies)
}

/// All proxies that Prometheus scrapes.
pub(crate) fn prometheus(url: &str) -> anyhow::Result<Vec<Proxy>> {
    let server = Prometheus::new(url, "--prometheus");
    let wanted = [
        metric::CONFIG_HASH,
        metric::CONFIG_REJECTED,
        metric::WEIGHT,
        metric::REQUESTS,
        metric::FALLBACKS,
        metric::BREAKER_STATE,
        metric::BREAKER_TRIPS,
    ];
    let samples = server.query(&format!("{{__name__=~\"{}\"}}", wanted.join("|")))?;
    let mut proxies = Proxies::default();
    for sample in &samples {
        let proxy = PROXY.iter().map(|name| sample.label(name)).find(|name| !name.is_empty());
        let Some(value) = sample.value() else { continue };
        proxies.add(
            proxy.unwrap_or("?"),
            sample.label("__name__"),
            |name| sample.label(name),
            value,
        );
    }
    let proxies = proxies.into_vec();
    ensure!(
        !proxies.is_empty(),
        Fault(format!(
            "Prometheus at {} has no series {}\n  hint: check that it scrapes the proxies",
            server.url,
            metric::CONFIG_HASH
        ))
    );
    Ok(proxies)
}

/// The proxies so far, by name.
#[derive(Default)]
struct Proxies(BTreeMap<String, (BTreeMap<String, Plugin>, Proxy)>);

impl Proxies {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; hashes have 32 bits, and counters are far below 2^53"
    )]
    fn add<'l>(&mut self, proxy: &str, name: &str, label: impl Fn(&str) -> &'l str, value: f64) {
        let (plugins, proxy) = self.0.entry(proxy.to_owned()).or_default();
        let count = value.round() as u64;
        if name == metric::CONFIG_HASH || name == metric::CONFIG_REJECTED {
            let plugin = plugins.entry(label(label::PLUGIN).to_owned()).or_default();
            if name == metric::CONFIG_HASH {
                plugin.hash = format!("{:08x}", value as u32);
            } else {
                plugin.rejected += count;
            }
            return;
        }
        let (experiment, model) = (label(label::EXPERIMENT), label(label::MODEL));
        if experiment.is_empty() || model.is_empty() {
            return;
        }
        let variants = proxy.experiments.entry(experiment.to_owned()).or_default();
        let variant = variants.entry(model.to_owned()).or_default();
        match name {
            metric::WEIGHT => variant.weight = Some(value / 10_000.0),
            metric::REQUESTS => {
                variant.requests += count;
                if label(label::STATUS) == status::ERROR {
                    variant.errors += count;
                }
            }
            metric::FALLBACKS => variant.fallbacks += count,
            metric::BREAKER_TRIPS => variant.trips += count,
            metric::BREAKER_STATE => {
                variant.breaker = Some(Breaker::of(count));
            }
            _ => {}
        }
    }

    /// Those that run the filter.
    fn into_vec(self) -> Vec<Proxy> {
        let proxies = self.0.into_iter().map(|(name, (plugins, proxy))| {
            let plugins = plugins.into_iter();
            // A plugin that was removed has no hash in force; its counter stays.
            let plugins = plugins.filter(|(_, plugin)| !plugin.hash.is_empty());
            let plugins = plugins.map(|(name, plugin)| Plugin { name, ..plugin }).collect();
            Proxy { name, plugins, ..proxy }
        });
        proxies.filter(|proxy| !proxy.plugins.is_empty()).collect()
    }
}
