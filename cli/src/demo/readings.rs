//! What others than the client say: Envoy's metrics at `/stats/prometheus`, and the models.

use sidetrack::names::{breaker_state, label, metric};
use sidetrack_lab::prometheus_value;

use super::act::State;
use super::stage::Stage;
use crate::words::variant;

/// All of it at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings {
    /// By variant.
    pub(super) counted: Vec<Counted>,
    pub(super) breaker: Breaker,
}

/// How many requests were counted of one variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// [`metric::REQUESTS`].
    pub(super) metrics: u64,
    /// What arrived at the model.
    pub(super) model: u64,
    /// What the model answered with a 5xx status.
    pub(super) failures: u64,
}

/// The first candidate's breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    /// [`metric::BREAKER_STATE`].
    pub(super) state: State,
    /// [`metric::BREAKER_TRIPS`].
    pub(super) trips: u64,
    /// [`metric::FALLBACKS`].
    pub(super) fallbacks: u64,
}

impl Readings {
    /// From Envoy's page and the stage's models.
    pub(super) fn of(stage: &Stage, page: &str) -> Self {
        let experiment = stage.experiment();
        let value = |name: &str, model: &str| {
            let labels = [(label::EXPERIMENT, experiment.name.as_str()), (label::MODEL, model)];
            whole(prometheus_value(page, name, &labels).unwrap_or_default())
        };
        let both = experiment.variants.iter().zip(&stage.models);
        let counted = both.map(|(variant, model)| Counted {
            metrics: value(metric::REQUESTS, &variant.name),
            model: model.count(),
            failures: model.failures().len() as u64,
        });
        let candidate = variant(experiment, stage.candidate());
        let breaker = Breaker {
            state: match value(metric::BREAKER_STATE, candidate) {
                breaker_state::CLOSED => State::Closed,
                breaker_state::HALF_OPEN => State::HalfOpen,
                _ => State::Open,
            },
            trips: value(metric::BREAKER_TRIPS, candidate),
            fallbacks: value(metric::FALLBACKS, candidate),
        };
        Self { counted: counted.collect(), breaker }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a counter, far below 2^53"
)]
const fn whole(count: f64) -> u64 {
    count as u64
}
