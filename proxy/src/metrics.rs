//! The series of a configuration, resolved once when it is loaded.
//!
//! Requests are counted locally. Counts are published on the tick, every 100 ms, and response times
//! once a second; a worker that crashes loses what it has not published.

use core::time::Duration;
use std::cell::Cell;

use sidetrack::breaker::Event;
use sidetrack::decide::{Decision, Missing, Reason};
use sidetrack::names::{label, metric, status};
use sidetrack::outcome::Status;
use sidetrack::plan::{Experiment, PerExperiment, PerVariant, Plan, VariantId};
use sidetrack::quantity::Timestamp;

use crate::host::{Kind, Sink};
use crate::latency::Latency;
use crate::series::{Counter, Series};

/// The series of a plugin that belong to no experiment.
pub(crate) struct Global {
    pub(crate) config_hash: Series,
    pub(crate) config_rejected: Series,
    /// Other plugins with the same header prefix.
    pub(crate) prefix_shared: Series,
    /// 1 if listeners have different files under the plugin's name.
    pub(crate) plugin_shared: Series,
    /// Requests that another plugin with the same header prefix has decided.
    pub(crate) yielded: Series,
    /// Requests without a decision, because the proxy did not return their headers.
    pub(crate) undecided: Series,
}

impl Global {
    /// A proxy may have several plugins, each with its own configuration.
    pub(crate) fn define(sink: &impl Sink, plugin: &str) -> Self {
        let labels: &[(&str, &str)] =
            if plugin.is_empty() { &[] } else { &[(label::PLUGIN, plugin)] };
        Self {
            config_hash: Series::define(sink, Kind::Gauge, labels, metric::CONFIG_HASH),
            config_rejected: Series::define(sink, Kind::Counter, labels, metric::CONFIG_REJECTED),
            prefix_shared: Series::define(sink, Kind::Gauge, labels, metric::PREFIX_SHARED),
            plugin_shared: Series::define(sink, Kind::Gauge, labels, metric::PLUGIN_SHARED),
            yielded: Series::define(sink, Kind::Counter, labels, metric::YIELDED),
            undecided: Series::define(sink, Kind::Counter, &[], metric::UNDECIDED),
        }
    }
}

/// The series of an experiment.
pub(crate) struct Metrics {
    overrides: Counter,
    /// By [`Missing`].
    missing_unit: [Counter; 4],
    mirrored: Counter,
    variants: PerVariant<VariantMetrics>,
    has_unpublished_counts: Cell<bool>,
    has_unpublished_times: Cell<bool>,
}

struct VariantMetrics {
    /// By phase, the first without one; within, by [`Status`].
    requests: Vec<[Counter; 3]>,
    latency: Latency,
    weight: Series,
    /// `None` for the baseline.
    breaker: Option<BreakerMetrics>,
}

struct BreakerMetrics {
    state: Series,
    trips: Series,
    would_trip: Series,
    fallbacks: Counter,
}

impl VariantMetrics {
    fn define(sink: &impl Sink, experiment: &Experiment, id: VariantId, variant: &str) -> Self {
        let labels = [(label::EXPERIMENT, experiment.name.as_str()), (label::MODEL, variant)];
        let series = |kind, metric| Series::define(sink, kind, &labels, metric);
        let requests = |phase: Option<&str>| {
            [status::SUCCESS, status::ERROR, status::ABORTED].map(|status| {
                let mut labels = labels.to_vec();
                labels.extend(phase.map(|phase| (label::PHASE, phase)));
                labels.push((label::STATUS, status));
                Counter::define(sink, &labels, metric::REQUESTS)
            })
        };
        let phases = experiment.schedule.phases().iter().map(|phase| Some(phase.name.as_str()));
        Self {
            breaker: (id != experiment.baseline).then(|| BreakerMetrics {
                state: series(Kind::Gauge, metric::BREAKER_STATE),
                trips: series(Kind::Counter, metric::BREAKER_TRIPS),
                would_trip: series(Kind::Counter, metric::BREAKER_WOULD_TRIP),
                fallbacks: Counter::define(sink, &labels, metric::FALLBACKS),
            }),
            requests: core::iter::once(None).chain(phases).map(requests).collect(),
            latency: Latency::define(sink, &labels),
            weight: series(Kind::Gauge, metric::WEIGHT),
        }
    }
}

impl Metrics {
    /// The series of all experiments of a plan, in its order.
    pub(crate) fn define(sink: &impl Sink, plan: &Plan) -> PerExperiment<Self> {
        plan.experiments.map(|_, experiment| Self::define_experiment(sink, experiment))
    }

    fn define_experiment(sink: &impl Sink, experiment: &Experiment) -> Self {
        let labels = [(label::EXPERIMENT, experiment.name.as_str())];
        let counter = |metric| Counter::define(sink, &labels, metric);
        Self {
            overrides: counter(metric::OVERRIDES),
            missing_unit: Missing::ALL.map(|missing| {
                let reason = (label::REASON, missing.as_str());
                Counter::define(sink, &[labels, [reason]].concat(), metric::MISSING_UNIT)
            }),
            mirrored: counter(metric::MIRRORED),
            variants: experiment
                .variants
                .map(|id, variant| VariantMetrics::define(sink, experiment, id, &variant.name)),
            has_unpublished_counts: Cell::new(false),
            has_unpublished_times: Cell::new(false),
        }
    }

    /// Counts a decision.
    #[inline]
    pub(crate) fn count_decision(&self, decision: &Decision) {
        if decision.reason == Reason::Override {
            self.count(&self.overrides);
        }
        if decision.reason == Reason::BreakerOpen {
            self.count_fallback(decision.assigned);
        }
        if let Some(missing) = decision.missing {
            self.count_skipped(missing);
        }
        if decision.mirror {
            self.count(&self.mirrored);
        }
    }

    /// Counts a request that does not take part, because it has no unit.
    pub(crate) fn count_skipped(&self, missing: Missing) {
        let [absent, too_large, unreadable, too_many] = &self.missing_unit;
        self.count(match missing {
            Missing::Absent => absent,
            Missing::BodyTooLarge => too_large,
            Missing::BodyUnreadable => unreadable,
            Missing::TooManyHeld => too_many,
        });
    }

    /// Counts a request that has ended, and its response time if it was answered.
    #[inline]
    pub(crate) fn count_request(
        &self,
        decision: &Decision,
        status: Status,
        time: Option<Duration>,
    ) {
        let variant = &self.variants[decision.served];
        let phase = decision.phase.map_or(0, |phase| phase.saturating_add(1));
        if let Some([success, error, aborted]) = variant.requests.get(phase) {
            self.count(match status {
                Status::Success => success,
                Status::Error => error,
                Status::Aborted => aborted,
            });
        }
        // Aborted requests have no time: the count of times is that of successes and errors.
        if let Some(time) = time.filter(|_| status != Status::Aborted) {
            variant.latency.count(time);
            self.has_unpublished_times.set(true);
        }
    }

    /// Counts a request of a candidate that the baseline served.
    pub(crate) fn count_fallback(&self, candidate: VariantId) {
        if let Some(breaker) = self.breaker(candidate) {
            self.count(&breaker.fallbacks);
        }
    }

    #[inline]
    fn count(&self, counter: &Counter) {
        counter.count();
        self.has_unpublished_counts.set(true);
    }

    /// Publishes the counts since the last call.
    pub(crate) fn publish_counts(&self, sink: &impl Sink) {
        if !self.has_unpublished_counts.take() {
            return;
        }
        for counter in [&self.overrides, &self.mirrored].into_iter().chain(&self.missing_unit) {
            counter.publish(sink);
        }
        for variant in &self.variants {
            variant.requests.iter().flatten().for_each(|counter| counter.publish(sink));
            variant.breaker.iter().for_each(|breaker| breaker.fallbacks.publish(sink));
        }
    }

    /// Publishes the response times since the last call.
    pub(crate) fn publish_times(&self, sink: &impl Sink) {
        if self.has_unpublished_times.take() {
            self.variants.iter().for_each(|variant| variant.latency.publish(sink));
        }
    }

    /// Counts a transition of a candidate's breaker at once.
    pub(crate) fn count_transition(&self, sink: &impl Sink, candidate: VariantId, event: &Event) {
        if let (Some(breaker), Event::Opened { would, .. }) = (self.breaker(candidate), event) {
            if *would { breaker.would_trip.count(sink) } else { breaker.trips.count(sink) }
        }
    }

    /// Publishes the state of a candidate's breaker, one of [`sidetrack::names::breaker_state`].
    pub(crate) fn publish_breaker_state(&self, sink: &impl Sink, candidate: VariantId, state: u64) {
        if let Some(breaker) = self.breaker(candidate) {
            breaker.state.set(sink, state);
        }
    }

    fn breaker(&self, candidate: VariantId) -> Option<&BreakerMetrics> {
        self.variants[candidate].breaker.as_ref()
    }

    /// Publishes the weight of each variant that is in force at this time.
    pub(crate) fn publish_weights(
        &self,
        sink: &impl Sink,
        experiment: &Experiment,
        now: Timestamp,
    ) {
        for (variant, share) in self.variants.iter().zip(&experiment.shares(now)) {
            variant.weight.set(sink, u64::from(share.get()));
        }
    }
}
