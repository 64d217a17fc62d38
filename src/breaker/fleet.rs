//! Agreement of all workers of a proxy about the breakers of all experiments.
//!
//! Each worker has a [`Fleet`]. It counts outcomes without touching the [`Store`]. On each tick it
//! adds them to the variant's shared record by compare-and-swap and judges the record; the worker
//! whose write succeeds has made the transition, and reports it. Failures in a row are judged at
//! once, without waiting for the tick.
//!
//! The version of one key announces transitions: each of them writes it. A worker reads the version
//! once per tick, and the records only when it has changed. A worker that misses an announcement
//! reads its records a second later.

use super::Event;
use super::experiment::ExperimentBreakers;
use super::store::{Store, announce};
use super::ticket::{End, Request, Ticket};
use super::waiting::{Entry, Upload, Waiting};
use crate::decide::Gate;
use crate::names::shared;
use crate::plan::{Experiment, ExperimentId, PerExperiment, Plan, VariantId};
use crate::quantity::{Bucket, Millis, Timestamp};

/// The breakers of a configuration on one worker.
#[derive(Debug)]
pub struct Fleet {
    experiments: PerExperiment<ExperimentBreakers>,
    /// The version of the announcement that this worker has acted on.
    generation: u32,
    waiting: Waiting,
    /// The latest uptime seen.
    uptime: Millis,
    /// A newer configuration judges in its place.
    is_retired: bool,
}

/// The variant that served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The experiment.
    pub experiment: ExperimentId,
    /// The variant.
    pub variant: VariantId,
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
        let generation = store.version(shared::GENERATION);
        let load = |_, experiment: &Experiment| ExperimentBreakers::load(experiment, store, now);
        Self {
            experiments: plan.experiments.map(load),
            generation,
            waiting: Waiting::new(),
            uptime: Millis::ZERO,
            is_retired: false,
        }
    }

    /// What a candidate's breaker lets through.
    #[inline]
    #[must_use]
    pub fn gate(&self, experiment: ExperimentId, variant: VariantId) -> Gate {
        let breakers = &self.experiments[experiment];
        breakers.variants[variant].view.shared.gate(&breakers.rule)
    }

    /// The number of transitions of a variant's breaker; a request that is decided now counts only
    /// until the next one.
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

    /// Begins a request that has just been decided. `unit` is the bucket of its unit; all requests
    /// without one count as one unit. `uptime` is a clock that never steps, the same for all
    /// workers. `waiting`: the variant has the whole request, so the time that it takes begins now.
    #[inline]
    pub fn begin(
        &mut self,
        served: Served,
        unit: Option<Bucket>,
        uptime: Millis,
        waiting: bool,
    ) -> Ticket {
        let since = self.advance(uptime);
        let epoch = self.experiments[served.experiment].epoch(served.variant);
        let request = Request::new(served, epoch, unit);
        let mut ticket = Ticket { request, since, place: None };
        self.wait(&mut ticket, if waiting { Upload::Whole } else { Upload::Moving });
        ticket
    }

    /// Notes that a part of the request's body has arrived.
    #[inline]
    pub fn progressed(&mut self, ticket: &Ticket) {
        if let Some(entry) = ticket.place.and_then(|place| self.waiting.entry(place)) {
            entry.upload = Upload::Moving;
        }
    }

    /// Notes that the request's upload has ended: the time that the variant takes begins now.
    pub fn uploaded(&mut self, ticket: &mut Ticket, uptime: Millis) {
        ticket.since = self.advance(uptime);
        // It does not wait if it has been answered before.
        if let Some(entry) = ticket.place.and_then(|place| self.waiting.entry(place)) {
            (entry.since, entry.upload) = (ticket.since, Upload::Whole);
        }
    }

    /// Notes that response headers have arrived, good or bad: the time that the variant takes ends
    /// now. Slow ones count as such.
    #[inline]
    pub fn responded(&mut self, ticket: &mut Ticket, uptime: Millis) {
        let uptime = self.advance(uptime);
        // An answer before the end of the request is not slow.
        let is_whole = self.stop_waiting(ticket) == Some(Upload::Whole);
        if !is_whole || self.is_retired {
            return;
        }
        let waited = uptime.since(ticket.since);
        self.experiments[ticket.request.experiment].respond(&mut ticket.request, waited, uptime);
    }

    /// Counts good response headers as a success before the answer has ended. A streak ends only
    /// when it has [`ended`](Self::ended).
    pub fn answered(&mut self, ticket: &mut Ticket, uptime: Millis) {
        self.responded(ticket, uptime);
        let breakers = &mut self.experiments[ticket.request.experiment];
        if !self.is_retired && breakers.rule.is_active() {
            breakers.answer(&mut ticket.request, self.uptime);
        }
    }

    /// Counts how a request ended. A failure takes back the success of its response headers, and
    /// opens the breaker at once if the candidate has failed too often in a row; reads the clock
    /// and the random number (see [`Breaker::advance`](super::Breaker::advance)) only then.
    #[inline]
    #[must_use = "transitions are to be logged and counted"]
    pub fn ended(
        &mut self,
        store: &impl Store,
        mut ticket: Ticket,
        end: End,
        now: impl FnOnce() -> Timestamp,
        jitter: impl FnOnce() -> u64,
    ) -> Option<Transition> {
        self.stop_waiting(&mut ticket);
        let request = &mut ticket.request;
        let breakers = &mut self.experiments[request.experiment];
        if self.is_retired || !breakers.rule.is_active() {
            return None;
        }
        let may_trip = breakers.end(request, end, self.uptime);
        if may_trip { self.judge_streak(store, request, now, jitter) } else { None }
    }

    #[cold]
    fn judge_streak(
        &mut self,
        store: &impl Store,
        &Request { experiment, variant, .. }: &Request,
        now: impl FnOnce() -> Timestamp,
        jitter: impl FnOnce() -> u64,
    ) -> Option<Transition> {
        let breakers = &mut self.experiments[experiment];
        let event = breakers.judge_streak(store, variant, self.uptime, now, jitter)?;
        announce(store);
        Some(Transition { experiment, variant, event })
    }

    #[inline]
    fn wait(&mut self, ticket: &mut Ticket, upload: Upload) {
        let rule = &self.experiments[ticket.request.experiment].rule;
        if !self.is_retired && rule.limits_waiting() {
            ticket.place = self.waiting.insert(ticket.request, ticket.since, upload);
        }
    }

    /// Takes over what was counted while the request waited. Returns how much of it had arrived.
    #[inline]
    fn stop_waiting(&mut self, ticket: &mut Ticket) -> Option<Upload> {
        let Entry { request, upload, .. } = self.waiting.remove(ticket.place.take()?)?;
        ticket.request = request;
        Some(upload)
    }

    /// Makes a request one that was decided in this epoch.
    #[cfg(test)]
    pub(super) fn decide_in(&mut self, ticket: &mut Ticket, epoch: u32) {
        self.stop_waiting(ticket);
        ticket.request.epoch = epoch;
    }

    #[cfg(test)]
    pub(super) fn slow_over(&self, experiment: ExperimentId) -> Option<Millis> {
        self.experiments[experiment].rule.slow_over()
    }

    #[inline]
    fn advance(&mut self, uptime: Millis) -> Millis {
        self.uptime = self.uptime.max(uptime);
        self.uptime
    }

    /// Counts requests that have waited too long, whoever gives up on them later.
    fn count_waiting(&mut self) {
        for entry in self.waiting.iter_mut() {
            let waited = self.uptime.since(entry.since);
            let breakers = &mut self.experiments[entry.request.experiment];
            match entry.upload {
                Upload::Whole => breakers.wait(&mut entry.request, waited, self.uptime),
                Upload::Moving => {
                    (entry.since, entry.upload) = (self.uptime, Upload::Stalled);
                }
                Upload::Stalled => breakers.stall(&mut entry.request, waited),
            }
        }
    }

    /// Counts requests that wait too long, shares this worker's outcomes, adopts the transitions of
    /// other workers and makes those that are due. To be called several times a second, with or
    /// without traffic. `generation` is the version of [`GENERATION`](shared::GENERATION), read just
    /// before. `jitter` returns random numbers.
    #[must_use = "transitions are to be logged and counted"]
    pub fn tick(
        &mut self,
        store: &impl Store,
        generation: u32,
        now: Timestamp,
        uptime: Millis,
        mut jitter: impl FnMut() -> u64,
    ) -> Vec<Transition> {
        let is_changed = core::mem::replace(&mut self.generation, generation) != generation;
        self.advance(uptime);
        if self.is_retired {
            self.follow(store, now, is_changed);
            return Vec::new();
        }
        self.count_waiting();
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
                if let Some(event) = breakers.judge(store, variant, now, self.uptime, &mut jitter) {
                    announce(store);
                    transitions.push(Transition { experiment, variant, event });
                }
            }
        }
        transitions
    }

    /// Ends the judging: a newer configuration of this plugin is in force. From now on this fleet
    /// counts and writes nothing; it only adopts what others write.
    pub fn retire(&mut self) {
        self.is_retired = true;
        self.waiting = Waiting::new();
    }

    /// Adopts what other workers have written.
    fn follow(&mut self, store: &impl Store, now: Timestamp, is_changed: bool) {
        for breakers in self.experiments.as_mut_slice() {
            for variant in breakers.candidates() {
                if is_changed || breakers.variants[variant].view.is_due(&breakers.rule, now) {
                    breakers.adopt(store, variant);
                    breakers.variants[variant].view.synced = now;
                }
            }
        }
    }
}
