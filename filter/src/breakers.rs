//! The breakers of a configuration on this worker: [`Fleet`] over Envoy's shared data, log and
//! metrics.
//!
//! The records are in shared data, not in stats: only shared data has compare-and-swap, and an
//! operator's stats matcher can hide any stat, which then always reads zero.

use sidetrack::breaker::{Ended, Fleet, Served, Store, SwapError, Transition};
use sidetrack::decide::{Decision, Gate};
use sidetrack::plan::{ExperimentId, PerExperiment, Plan, VariantId};
use sidetrack::quantity::Timestamp;

use crate::host::{self, Failed, Level};
use crate::metrics::Metrics;

/// Envoy's shared data.
pub(crate) struct SharedData;

impl Store for SharedData {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        host::shared(key)
    }

    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError> {
        host::set_shared(key, value, version).map_err(|failed| match failed {
            Failed::CONFLICT => SwapError::Conflict,
            _ => SwapError::Unavailable,
        })
    }
}

/// The breakers of a configuration.
pub(crate) struct Breakers(Fleet);

impl Breakers {
    /// Loads the breakers of a plan and publishes their states.
    pub(crate) fn new(plan: &Plan, metrics: &PerExperiment<Metrics>, now: Timestamp) -> Self {
        let fleet = Fleet::load(plan, &SharedData, now);
        for (id, experiment) in plan.experiments.entries() {
            for variant in experiment.variants.ids() {
                metrics[id].breaker_state(variant, fleet.code(id, variant));
            }
        }
        Self(fleet)
    }

    /// What a candidate's breaker lets through.
    pub(crate) fn gate(&self, experiment: ExperimentId, variant: VariantId) -> Gate {
        self.0.gate(experiment, variant)
    }

    /// The epoch of the breaker of the variant that serves this request.
    pub(crate) fn epoch(&self, decision: &Decision) -> u32 {
        self.0.epoch(decision.experiment, decision.served)
    }

    /// Counts how a request ended; reads the clock only if that opens the breaker.
    #[inline]
    pub(crate) fn ended(
        &mut self,
        decision: &Decision,
        epoch: u32,
        ended: Ended,
        now: impl FnOnce() -> Timestamp,
        plan: &Plan,
        metrics: &PerExperiment<Metrics>,
    ) {
        let served = Served { experiment: decision.experiment, variant: decision.served, epoch };
        if let Some(transition) = self.0.count(&SharedData, served, ended, now, jitter) {
            self.report(&transition, plan, metrics);
        }
    }

    /// Shares outcomes with the other workers, and adopts and makes transitions.
    pub(crate) fn tick(&mut self, now: Timestamp, plan: &Plan, metrics: &PerExperiment<Metrics>) {
        for transition in self.0.tick(&SharedData, now, jitter) {
            self.report(&transition, plan, metrics);
        }
    }

    /// Logs and counts a transition.
    fn report(&self, transition: &Transition, plan: &Plan, metrics: &PerExperiment<Metrics>) {
        let &Transition { experiment: id, variant, ref event } = transition;
        let (experiment, metrics) = (&plan.experiments[id], &metrics[id]);
        let name = &experiment.variants[variant].name;
        host::log(Level::Warn, &format!("sidetrack: {}/{name}: {event}", experiment.name));
        metrics.breaker_event(variant, event);
        metrics.breaker_state(variant, self.0.code(id, variant));
    }
}

fn jitter() -> u64 {
    host::random().unwrap_or_default()
}
