//! The series of a configuration, resolved once when it is loaded.
//!
//! What requests count is added up here and told to Envoy on the tick, requests within a tenth of a second and times
//! within a second; a worker that crashes loses as much.

use core::time::Duration;
use std::cell::Cell;

use sidetrack::breaker::Event;
use sidetrack::decide::{Decision, Reason};
use sidetrack::names::{label, metric, status};
use sidetrack::outcome::Status;
use sidetrack::plan::{Experiment, PerExperiment, PerVariant, Plan, VariantId};
use sidetrack::quantity::Timestamp;

use crate::host::Kind;
use crate::latency::Latency;
use crate::series::{Counter, Series};

/// The series that no experiment has.
pub(crate) struct Global {
    pub(crate) config_hash: Series,
    pub(crate) config_rejected: Series,
    /// Requests that passed without a decision because Envoy did not give their headers.
    pub(crate) undecided: Series,
}

impl Global {
    /// A proxy may hold several plugins, each with its own configuration.
    pub(crate) fn define(plugin: &str) -> Self {
        let labels: &[(&str, &str)] =
            if plugin.is_empty() { &[] } else { &[(label::PLUGIN, plugin)] };
        Self {
            config_hash: Series::define(Kind::Gauge, labels, metric::CONFIG_HASH),
            config_rejected: Series::define(Kind::Counter, labels, metric::CONFIG_REJECTED),
            undecided: Series::define(Kind::Counter, &[], metric::UNDECIDED),
        }
    }
}

/// The series of an experiment.
pub(crate) struct Metrics {
    overrides: Counter,
    missing_unit: Counter,
    mirrored: Counter,
    variants: PerVariant<VariantMetrics>,
    /// Something was counted that Envoy has not been told.
    counted: Cell<bool>,
    /// A time was.
    timed: Cell<bool>,
}

struct VariantMetrics {
    /// By phase, the first without one; within, by [`Status`].
    requests: Vec<[Counter; 3]>,
    latency: Latency,
    weight: Series,
    /// A candidate's; the baseline has no breaker.
    breaker: Option<BreakerMetrics>,
}

struct BreakerMetrics {
    state: Series,
    trips: Series,
    would_trip: Series,
    fallbacks: Counter,
}

impl Metrics {
    /// The series of all experiments of a plan, in its order.
    pub(crate) fn define(plan: &Plan) -> PerExperiment<Self> {
        plan.experiments.map(|_, experiment| Self::of(experiment))
    }

    fn of(experiment: &Experiment) -> Self {
        let name = (label::EXPERIMENT, experiment.name.as_str());
        let counter = |series| Counter::define(&[name], series);
        let variant = |id: VariantId, variant: &str| {
            let labels = [name, (label::MODEL, variant)];
            let requests = |phase: Option<&str>| {
                [status::SUCCESS, status::ERROR, status::ABORTED].map(|status| {
                    let mut labels = labels.to_vec();
                    labels.extend(phase.map(|phase| (label::PHASE, phase)));
                    labels.push((label::STATUS, status));
                    Counter::define(&labels, metric::REQUESTS)
                })
            };
            let phases = experiment.schedule.phases().iter().map(|phase| Some(phase.name.as_str()));
            let counter = |series| Series::define(Kind::Counter, &labels, series);
            VariantMetrics {
                breaker: (id != experiment.baseline).then(|| BreakerMetrics {
                    state: Series::define(Kind::Gauge, &labels, metric::BREAKER_STATE),
                    trips: counter(metric::BREAKER_TRIPS),
                    would_trip: counter(metric::BREAKER_WOULD_TRIP),
                    fallbacks: Counter::define(&labels, metric::FALLBACKS),
                }),
                requests: core::iter::once(None).chain(phases).map(requests).collect(),
                latency: Latency::define(&labels),
                weight: Series::define(Kind::Gauge, &labels, metric::WEIGHT),
            }
        };
        Self {
            overrides: counter(metric::OVERRIDES),
            missing_unit: counter(metric::MISSING_UNIT),
            mirrored: counter(metric::MIRRORED),
            variants: experiment.variants.map(|id, written| variant(id, &written.name)),
            counted: Cell::new(false),
            timed: Cell::new(false),
        }
    }

    /// Counts what was decided.
    pub(crate) fn decided(&self, decision: &Decision) {
        if decision.reason == Reason::Override {
            self.count(&self.overrides);
        }
        if decision.reason == Reason::BreakerOpen {
            self.fell_back(decision.assigned);
        }
        if decision.missing_unit {
            self.count(&self.missing_unit);
        }
        if decision.mirror {
            self.count(&self.mirrored);
        }
    }

    /// Counts a request that is left out for want of a unit.
    pub(crate) fn skipped(&self) {
        self.count(&self.missing_unit);
    }

    /// Counts a request that ended, and the time to its answer, if it got one.
    pub(crate) fn ended(&self, decision: &Decision, status: Status, took: Option<Duration>) {
        let variant = &self.variants[decision.served];
        let phase = decision.phase.map_or(0, |phase| phase.saturating_add(1));
        if let Some([success, error, aborted]) = variant.requests.get(phase) {
            self.count(match status {
                Status::Success => success,
                Status::Error => error,
                Status::Aborted => aborted,
            });
        }
        // So that as many times are counted as answers.
        if let Some(took) = took.filter(|_| status != Status::Aborted) {
            variant.latency.took(took);
            self.timed.set(true);
        }
    }

    /// Counts a request whose candidate was replaced by the baseline.
    pub(crate) fn fell_back(&self, assigned: VariantId) {
        if let Some(breaker) = self.breaker(assigned) {
            self.count(&breaker.fallbacks);
        }
    }

    fn count(&self, counter: &Counter) {
        counter.count();
        self.counted.set(true);
    }

    /// Tells Envoy what was counted since it was last told.
    pub(crate) fn tell_counts(&self) {
        if !self.counted.take() {
            return;
        }
        for counter in [&self.overrides, &self.missing_unit, &self.mirrored] {
            counter.tell();
        }
        for variant in &self.variants {
            variant.requests.iter().flatten().for_each(Counter::tell);
            variant.breaker.iter().for_each(|breaker| breaker.fallbacks.tell());
        }
    }

    /// Tells Envoy the times that were counted since it was last told.
    pub(crate) fn tell_times(&self) {
        if self.timed.take() {
            self.variants.iter().for_each(|variant| variant.latency.tell());
        }
    }

    /// Counts a transition of a candidate's breaker.
    pub(crate) fn breaker_event(&self, variant: VariantId, event: &Event) {
        if let (Some(breaker), Event::Opened { would, .. }) = (self.breaker(variant), event) {
            if *would { breaker.would_trip.count() } else { breaker.trips.count() }
        }
    }

    /// Publishes the state of a candidate's breaker.
    pub(crate) fn breaker_state(&self, variant: VariantId, code: u64) {
        if let Some(breaker) = self.breaker(variant) {
            breaker.state.set(code);
        }
    }

    fn breaker(&self, variant: VariantId) -> Option<&BreakerMetrics> {
        self.variants[variant].breaker.as_ref()
    }

    /// Publishes the share that each variant has in force.
    pub(crate) fn publish_weights(&self, experiment: &Experiment, now: Timestamp) {
        for (variant, share) in self.variants.iter().zip(&experiment.shares(now)) {
            variant.weight.set(u64::from(share.get()));
        }
    }
}
