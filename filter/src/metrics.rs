//! The ids of all series, resolved once when a configuration is loaded.
//!
//! A stat's name carries its labels the way Istio's `extraStatTags` expects them, `label=.=value;.;` before the
//! metric's name; Envoy's `stats_tags` turn them into labels. Envoy finds a stat by its name, so counts survive
//! updates of the configuration and a restart of the filter.

use sidetrack::breaker::Event;
use sidetrack::decide::Decision;
use sidetrack::outcome::Status;
use sidetrack::plan::{Experiment, Plan};
use sidetrack::quantity::{Ppm, Timestamp};
use sidetrack::rollout::InForce;

use crate::host::{self, Kind};

/// A series that may be missing: a host that refuses a metric costs its count, not the request.
#[derive(Clone, Copy)]
pub(crate) struct Series(Option<u32>);

impl Series {
    fn define(kind: Kind, labels: &[(&str, &str)], metric: &str) -> Self {
        let labels: String = labels.iter().map(|(label, value)| format!("{label}=.={value};.;")).collect();
        let name = labels + metric;
        let id = host::define_metric(kind, &name);
        if let Err(failed) = id {
            log::warn!("sidetrack: Envoy refused the metric {name} (status {})", failed.0);
        }
        Self(id.ok())
    }

    pub(crate) fn count(self) {
        // A count that Envoy refuses is lost; there is nobody to tell on the request path.
        self.0.map(|id| host::increment(id, 1).ok());
    }

    pub(crate) fn value(self) -> Option<u64> {
        host::metric(self.0?).ok()
    }

    pub(crate) fn set(self, value: u64) {
        self.0.map(|id| host::set_gauge(id, value).ok());
    }
}

/// The series that no experiment has.
pub(crate) struct Global {
    pub(crate) config_hash: Series,
    pub(crate) config_rejected: Series,
    /// Requests that passed without a decision because Envoy did not give their headers.
    pub(crate) undecided: Series,
}

impl Global {
    pub(crate) fn define() -> Self {
        Self {
            config_hash: Series::define(Kind::Gauge, &[], "ab_test_config_hash"),
            config_rejected: Series::define(Kind::Counter, &[], "ab_test_config_rejected_total"),
            undecided: Series::define(Kind::Counter, &[], "ab_test_undecided_total"),
        }
    }
}

/// The series of an experiment.
pub(crate) struct Metrics {
    pub(crate) overrides: Series,
    pub(crate) missing_unit: Series,
    pub(crate) mirrored: Series,
    variants: Vec<VariantMetrics>,
}

struct VariantMetrics {
    /// By phase, the first without one; within, by [`Status`].
    requests: Vec<[Series; 3]>,
    weight: Series,
    /// A candidate's; the baseline has no breaker.
    breaker: Option<BreakerMetrics>,
}

struct BreakerMetrics {
    state: Series,
    trips: Series,
    would_trip: Series,
    fallbacks: Series,
}

impl Metrics {
    /// The series of all experiments of a plan, in its order.
    pub(crate) fn define(plan: &Plan) -> Vec<Self> {
        plan.experiments.iter().map(Self::of).collect()
    }

    fn of(experiment: &Experiment) -> Self {
        let name = ("experiment", experiment.name.as_str());
        let counter = |metric| Series::define(Kind::Counter, &[name], metric);
        let variant = |index: usize, variant: &str| {
            let labels = [name, ("model_name", variant)];
            let requests = |phase: Option<&str>| {
                ["success", "error", "aborted"].map(|status| {
                    let mut labels = labels.to_vec();
                    labels.extend(phase.map(|phase| ("phase", phase)));
                    labels.push(("status", status));
                    Series::define(Kind::Counter, &labels, "ab_test_requests_total")
                })
            };
            let phases = experiment.schedule.phases().iter().map(|phase| Some(phase.name.as_str()));
            let counter = |metric| Series::define(Kind::Counter, &labels, metric);
            VariantMetrics {
                breaker: (index != experiment.baseline).then(|| BreakerMetrics {
                    state: Series::define(Kind::Gauge, &labels, "ab_test_breaker_state"),
                    trips: counter("ab_test_breaker_trips_total"),
                    would_trip: counter("ab_test_breaker_would_trip_total"),
                    fallbacks: counter("ab_test_fallbacks_total"),
                }),
                requests: core::iter::once(None).chain(phases).map(requests).collect(),
                weight: Series::define(Kind::Gauge, &labels, "ab_test_variant_weight_ppm"),
            }
        };
        Self {
            overrides: counter("ab_test_overrides_total"),
            missing_unit: counter("ab_test_missing_unit_total"),
            mirrored: counter("ab_test_mirrored_total"),
            variants: experiment.variants.iter().enumerate().map(|(i, v)| variant(i, &v.name)).collect(),
        }
    }

    /// Counts a request that ended.
    pub(crate) fn ended(&self, decision: &Decision, status: Status) {
        let phase = decision.phase.map_or(0, |phase| phase.saturating_add(1));
        let series = self.variants.get(decision.served).and_then(|variant| variant.requests.get(phase));
        if let Some([success, error, aborted]) = series {
            match status {
                Status::Success => success.count(),
                Status::Error => error.count(),
                Status::Aborted => aborted.count(),
            }
        }
    }

    /// Counts a request whose candidate was replaced by the baseline.
    pub(crate) fn fell_back(&self, assigned: usize) {
        if let Some(breaker) = self.breaker(assigned) {
            breaker.fallbacks.count();
        }
    }

    /// Counts a transition of a candidate's breaker.
    pub(crate) fn breaker_event(&self, variant: usize, event: &Event) {
        if let (Some(breaker), Event::Opened { would, .. }) = (self.breaker(variant), event) {
            if *would { breaker.would_trip.count() } else { breaker.trips.count() }
        }
    }

    /// Publishes the state of a candidate's breaker.
    pub(crate) fn breaker_state(&self, variant: usize, code: u64) {
        if let Some(breaker) = self.breaker(variant) {
            breaker.state.set(code);
        }
    }

    fn breaker(&self, variant: usize) -> Option<&BreakerMetrics> {
        self.variants.get(variant)?.breaker.as_ref()
    }

    /// Publishes the share that each variant has in force.
    pub(crate) fn publish_weights(&self, experiment: &Experiment, now: Timestamp) {
        let weights = match experiment.schedule.at(now) {
            InForce::Weights(weights, _) if experiment.enabled => weights,
            _ => &[],
        };
        let weight = |index| weights.get(index).copied().unwrap_or(Ppm::ZERO).get();
        let candidates: u32 = experiment.candidates().map(weight).sum();
        for (index, variant) in self.variants.iter().enumerate() {
            let is_baseline = index == experiment.baseline;
            let share = if is_baseline { Ppm::ALL.get().saturating_sub(candidates) } else { weight(index) };
            variant.weight.set(u64::from(share));
        }
    }
}
