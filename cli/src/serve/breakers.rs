//! Breakers for the store, from the metrics of the proxies.

use std::sync::Arc;
use std::time::Duration;

use clap::Args as Arguments;
use sidetrack_store::{BreakerReading, BreakerState, BreakerWatch, Error, Store};

use crate::breaker::Breaker;
use crate::status::read::{self, Proxy};

/// How often the metrics are read.
const EVERY: Duration = Duration::from_secs(5);

/// Where the proxies are observed.
#[derive(Arguments)]
pub(crate) struct Proxies {
    /// The admin interface of an Envoy, for the exact state of its breakers; may be repeated
    #[arg(long, value_name = "URL", conflicts_with = "prometheus")]
    admin: Vec<String>,
    /// A Prometheus server, for the exact state of breakers in all proxies that it scrapes
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
}

impl Proxies {
    /// One Envoy.
    pub(crate) fn of_admin(url: String) -> Self {
        Self { admin: vec![url], prometheus: None }
    }

    /// Reads the metrics as long as the result is kept; `None` if no proxies are given.
    pub(crate) fn watch(&self, store: &Arc<Store>) -> Result<Option<BreakerWatch>, Error> {
        let Self { admin, prometheus } = self;
        if admin.is_empty() && prometheus.is_none() {
            return Ok(None);
        }
        let (admin, prometheus) = (admin.clone(), prometheus.clone());
        let source = move || {
            let mut proxies = Vec::new();
            for url in &admin {
                proxies.extend(read::admin(url).map_err(|error| first_line(&error))?);
            }
            if let Some(url) = &prometheus {
                proxies.extend(read::prometheus(url).map_err(|error| first_line(&error))?);
            }
            Ok(proxies.iter().flat_map(readings).collect())
        };
        store.watch_breakers(EVERY, source).map(Some)
    }
}

/// Without the hint, which names other commands.
fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

fn readings(proxy: &Proxy) -> Vec<BreakerReading> {
    let experiments = proxy.experiments.iter();
    let variants = experiments.flat_map(|(experiment, variants)| {
        variants.iter().map(move |(name, variant)| (experiment, name, variant))
    });
    let readings = variants.filter_map(|(experiment, name, variant)| {
        let state = match variant.breaker? {
            Breaker::Closed => BreakerState::Closed,
            Breaker::HalfOpen => BreakerState::HalfOpen,
            Breaker::Open => BreakerState::Open,
        };
        Some(BreakerReading {
            proxy: proxy.name.clone(),
            experiment: experiment.clone(),
            variant: name.clone(),
            state,
            trips: variant.trips,
        })
    });
    readings.collect()
}
