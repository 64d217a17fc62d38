//! Agreement of all workers of a proxy about the breakers of all experiments.
//!
//! Each worker has a [`Fleet`]. It counts outcomes without touching the [`Store`]. On each tick it
//! adds them to the variant's shared record by compare-and-swap and judges the record; the worker
//! whose write succeeds has made the transition, and reports it. Failures in a row are judged at
//! once, without waiting for the tick.
//!
//! A generation number announces transitions: its version changes with each of them. A worker reads
//! it once per tick and reads the records only when it changed. A worker that misses an
//! announcement reads its records a second later.

use super::experiment::ExperimentBreakers;
use super::store::Store;
use super::{Ended, Event};
use crate::decide::Gate;
use crate::names::shared;
use crate::plan::{Experiment, ExperimentId, PerExperiment, Plan, VariantId};
use crate::quantity::Timestamp;

/// The breakers of a configuration on one worker.
#[derive(Debug)]
pub struct Fleet {
    experiments: PerExperiment<ExperimentBreakers>,
    /// The announcement that this worker has acted on, with its version.
    generation: Option<(Vec<u8>, u32)>,
}

/// The variant that served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The experiment.
    pub experiment: ExperimentId,
    /// The variant.
    pub variant: VariantId,
    /// The epoch of the variant's breaker when the request was decided.
    pub epoch: u32,
}

/// A transition that this worker has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The experiment.
    pub experiment: ExperimentId,
    /// The candidate.
    pub variant: VariantId,
    /// What happened.
    pub event: Event,
}

impl Fleet {
    /// Loads the breakers of a plan from the store; creates missing ones closed.
    #[must_use]
    pub fn load(plan: &Plan, store: &impl Store, now: Timestamp) -> Self {
        // Read before the records: if a transition happens in between, the first tick notices it.
        let generation = store.get(shared::GENERATION);
        let load = |_, experiment: &Experiment| ExperimentBreakers::load(experiment, store, now);
        Self { experiments: plan.experiments.map(load), generation }
    }

    /// What a candidate's breaker lets through.
    #[inline]
    #[must_use]
    pub fn gate(&self, experiment: ExperimentId, variant: VariantId) -> Gate {
        let breakers = &self.experiments[experiment];
        breakers.variants[variant].view.shared.gate(&breakers.rule)
    }

    /// The epoch of a variant's breaker; a request that is decided now counts in it.
    #[inline]
    #[must_use]
    pub fn epoch(&self, experiment: ExperimentId, variant: VariantId) -> u32 {
        self.experiments[experiment].epoch(variant)
    }

    /// The state of a candidate's breaker as a number, as in
    /// [`Breaker::code`](super::Breaker::code).
    #[must_use]
    pub fn code(&self, experiment: ExperimentId, variant: VariantId) -> u64 {
        let breakers = &self.experiments[experiment];
        breakers.variants[variant].view.shared.code(&breakers.rule)
    }

    /// Counts how a request ended. Opens the breaker at once if the candidate has failed too often
    /// in a row; reads the clock and the random number (see
    /// [`Breaker::advance`](super::Breaker::advance)) only then.
    #[inline]
    #[must_use = "transitions are to be logged and counted"]
    pub fn count(
        &mut self,
        store: &impl Store,
        served: Served,
        ended: Ended,
        now: impl FnOnce() -> Timestamp,
        jitter: impl FnOnce() -> u64,
    ) -> Option<Transition> {
        let breakers = &mut self.experiments[served.experiment];
        let may_trip = breakers.count(served.variant, served.epoch, ended);
        if may_trip { self.judge_streak(store, served, now, jitter) } else { None }
    }

    #[cold]
    fn judge_streak(
        &mut self,
        store: &impl Store,
        Served { experiment, variant, .. }: Served,
        now: impl FnOnce() -> Timestamp,
        jitter: impl FnOnce() -> u64,
    ) -> Option<Transition> {
        let breakers = &mut self.experiments[experiment];
        let event = breakers.judge_streak(store, variant, now, jitter)?;
        announce(store, breakers.epoch(variant));
        Some(Transition { experiment, variant, event })
    }

    /// Shares this worker's outcomes, adopts the transitions of other workers and makes those that
    /// are due. To be called several times a second, with or without traffic. `jitter` returns
    /// random numbers.
    #[must_use = "transitions are to be logged and counted"]
    pub fn tick(
        &mut self,
        store: &impl Store,
        now: Timestamp,
        mut jitter: impl FnMut() -> u64,
    ) -> Vec<Transition> {
        let generation = store.get(shared::GENERATION);
        let is_changed = generation != self.generation;
        self.generation = generation;
        // Allocates only if there is a transition.
        let mut transitions = Vec::new();
        for experiment in self.experiments.ids() {
            let breakers = &mut self.experiments[experiment];
            if !breakers.rule.is_active() {
                continue;
            }
            breakers.share_baseline(store, now);
            for variant in breakers.candidates() {
                if is_changed {
                    breakers.adopt(store, variant);
                }
                if let Some(event) = breakers.judge(store, variant, now, &mut jitter) {
                    announce(store, breakers.epoch(variant));
                    transitions.push(Transition { experiment, variant, event });
                }
            }
        }
        transitions
    }
}

/// Makes other workers read the records on their next tick; any write does, as it gives the key a
/// new version. If the write fails, they read them a second later.
fn announce(store: &impl Store, epoch: u32) {
    store.swap(shared::GENERATION, &epoch.to_le_bytes(), 0).ok();
}
