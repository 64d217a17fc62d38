//! Envoy's metrics and the models' own counters at one moment.

use sidetrack::names::{label, metric};
use sidetrack::plan::{Experiment, VariantId};
use sidetrack_lab::{ModelStub, Scrape as Metrics};

use crate::breaker::Breaker;
use crate::demo::testbed::Testbed;
use crate::words::variant;

/// The counters of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrape {
    /// In the order of the variants.
    pub(crate) variants: Vec<VariantCounts>,
    pub(crate) breaker: BreakerMetrics,
}

/// The requests of one variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VariantCounts {
    /// [`metric::REQUESTS`].
    pub(crate) metrics: u64,
    /// Requests that arrived at the model.
    pub(crate) model: u64,
    /// The model's 5xx responses.
    pub(crate) failures: u64,
}

/// The metrics of the first candidate's breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BreakerMetrics {
    /// [`metric::BREAKER_STATE`].
    pub(crate) state: Breaker,
    /// [`metric::BREAKER_TRIPS`].
    pub(crate) trips: u64,
    /// [`metric::FALLBACKS`].
    pub(crate) fallbacks: u64,
}

impl Scrape {
    /// Scrapes Envoy and reads the models' counters.
    pub(crate) async fn fetch(testbed: &Testbed) -> anyhow::Result<Self> {
        let metrics = testbed.envoy.scrape(metric::PREFIX).await?;
        Ok(Self::of(testbed.experiment(), testbed.candidate(), &testbed.models, &metrics))
    }

    fn of(
        experiment: &Experiment,
        candidate: VariantId,
        models: &[ModelStub],
        metrics: &Metrics,
    ) -> Self {
        // A series that does not exist is a request that was not counted: 0, and a check fails.
        let count = |name: &str, variant: &str| {
            let labels = [(label::EXPERIMENT, experiment.name.as_str()), (label::MODEL, variant)];
            metrics.count(name, &labels).unwrap_or_default()
        };
        let variants =
            experiment.variants.iter().zip(models).map(|(variant, model)| VariantCounts {
                metrics: count(metric::REQUESTS, &variant.name),
                model: model.count(),
                failures: model.failures().len() as u64,
            });
        let candidate = variant(experiment, candidate);
        let breaker = BreakerMetrics {
            state: Breaker::of(count(metric::BREAKER_STATE, candidate)),
            trips: count(metric::BREAKER_TRIPS, candidate),
            fallbacks: count(metric::FALLBACKS, candidate),
        };
        Self { variants: variants.collect(), breaker }
    }

    /// The 5xx responses of all models.
    pub(crate) fn failures(&self) -> u64 {
        self.variants.iter().map(|variant| variant.failures).sum()
    }
}
