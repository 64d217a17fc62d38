//! Judging of one experiment's candidates, by rates and by failures in a row.
//!
//! The baseline is never judged: its record only holds the counts that candidates are compared
//! with.

use super::local::Verdict;
use super::shared::SharedBreaker;
use super::store::Store;
use super::ticket::Request;
use super::{End, Event, Rule};
use crate::names::shared as names;
use crate::plan::{Experiment, PerVariant, VariantId};
use crate::quantity::{Millis, Timestamp};

/// The breakers of one experiment's variants on one worker.
#[derive(Debug)]
pub(super) struct ExperimentBreakers {
    pub(super) rule: Rule,
    baseline: VariantId,
    pub(super) variants: PerVariant<SharedBreaker>,
    /// The number of outcomes that this worker has counted.
    outcomes: u64,
}

impl ExperimentBreakers {
    pub(super) fn load(experiment: &Experiment, store: &impl Store, now: Timestamp) -> Self {
        let rule = Rule::new(&experiment.breaker);
        let variants = experiment.variants.map(|_, variant| {
            let key = format!("{}{}.{}", names::BREAKER, experiment.name, variant.name);
            SharedBreaker::load(store, key, &rule, now)
        });
        Self { rule, baseline: experiment.baseline, variants, outcomes: 0 }
    }

    #[inline]
    pub(super) fn candidates(&self) -> impl Iterator<Item = VariantId> + use<> {
        let baseline = self.baseline;
        self.variants.ids().filter(move |&variant| variant != baseline)
    }

    #[inline]
    pub(super) fn epoch(&self, variant: VariantId) -> u32 {
        self.variants[variant].view.shared.epoch()
    }

    /// Counts the response headers of a request that has waited this long, if they are slow.
    #[inline]
    pub(super) fn respond(&mut self, request: &mut Request, waited: Millis, uptime: Millis) {
        if self.rule.slow_over().is_some_and(|over| waited > over) {
            self.variants[request.variant].view.local.be_slow(request, uptime);
        }
    }

    /// Counts the good response headers of an answer that has not ended.
    pub(super) fn answer(&mut self, request: &mut Request, uptime: Millis) {
        self.outcomes += 1;
        self.variants[request.variant].view.local.answer(request, uptime, self.outcomes);
    }

    /// Counts what can be said of a request that still waits.
    pub(super) fn wait(&mut self, request: &mut Request, waited: Millis, uptime: Millis) {
        self.respond(request, waited, uptime);
        let view = &mut self.variants[request.variant].view;
        view.local.wait(request);
        if self.rule.no_answer().is_some_and(|after| waited >= after) {
            self.outcomes += 1;
            let are_few = view.are_few();
            view.local.fail(&self.rule, are_few, request, uptime, self.outcomes);
        }
    }

    /// Counts a request whose upload has stalled for this long. The client or the variant is at
    /// fault: a proxy reads no more from the client than the variant reads, and then it may not
    /// notice that the client leaves.
    pub(super) fn stall(&mut self, request: &mut Request, stalled: Millis) {
        if self.rule.no_answer().is_some_and(|after| stalled >= after) {
            self.variants[request.variant].view.local.abandon(request);
        }
    }

    /// Counts how a request ended. Returns whether it may complete a streak.
    #[inline]
    pub(super) fn end(&mut self, request: &mut Request, end: End, uptime: Millis) -> bool {
        self.outcomes += 1;
        let view = &mut self.variants[request.variant].view;
        match end {
            End::Completed => view.local.complete(request, uptime, self.outcomes),
            End::Failed => {
                let are_few = view.are_few();
                return view.local.fail(&self.rule, are_few, request, uptime, self.outcomes)
                    && request.variant != self.baseline;
            }
            End::Abandoned => view.local.abandon(request),
            End::Unknown => view.local.leave(request),
        }
        false
    }

    /// Adds the baseline's outcomes to its record. Comes before judging: candidates are compared
    /// with it.
    pub(super) fn share_baseline(&mut self, store: &impl Store, now: Timestamp) {
        let rule = &self.rule;
        let baseline = &mut self.variants[self.baseline];
        if !baseline.view.local.news.is_empty() {
            baseline.update(store, now, |record, new| {
                record.observe(rule, now, new);
                None
            });
        }
    }

    /// Takes over what other workers have written.
    pub(super) fn adopt(&mut self, store: &impl Store, variant: VariantId) {
        let candidate = &mut self.variants[variant];
        if let Some(record) = candidate.read(store) {
            candidate.view.adopt(record);
        }
    }

    /// Judges a candidate on a tick: first by what all workers share, if there is anything new,
    /// then by the streak on this worker.
    pub(super) fn judge(
        &mut self,
        store: &impl Store,
        variant: VariantId,
        now: Timestamp,
        uptime: Millis,
        jitter: &mut impl FnMut() -> u64,
    ) -> Option<Event> {
        let view = &mut self.variants[variant].view;
        view.local.news.uptime = uptime;
        let is_due = view.is_due(&self.rule, now);
        if is_due && let Some(event) = self.judge_shared(store, variant, now, jitter()) {
            return Some(event);
        }
        self.judge_streak(store, variant, uptime, || now, jitter)
    }

    fn judge_shared(
        &mut self,
        store: &impl Store,
        variant: VariantId,
        now: Timestamp,
        jitter: u64,
    ) -> Option<Event> {
        let rule = &self.rule;
        let pair = [self.baseline.index(), variant.index()];
        let Ok([baseline, candidate]) = self.variants.as_mut_slice().get_disjoint_mut(pair) else {
            return None;
        };
        let baseline = || baseline.read(store);
        candidate
            .update(store, now, |record, news| record.advance(rule, now, news, baseline, jitter))
    }

    /// Opens a candidate's breaker if it alone fails, many times in a row.
    pub(super) fn judge_streak(
        &mut self,
        store: &impl Store,
        variant: VariantId,
        uptime: Millis,
        now: impl FnOnce() -> Timestamp,
        jitter: impl FnOnce() -> u64,
    ) -> Option<Event> {
        let (candidate, baseline) = (&self.variants[variant].view, &self.variants[self.baseline]);
        let verdict = candidate.local.judge(
            &self.rule,
            candidate.are_few(),
            &baseline.view.local,
            || baseline.read(store),
            uptime,
        );
        let Verdict::Trips(failures) = verdict else { return None };
        let (rule, epoch) = (&self.rule, candidate.shared.epoch());
        let (now, jitter) = (now(), jitter());
        self.variants[variant].update(store, now, |record, _| {
            // Another worker may have made a transition; these failures do not count in its epoch.
            let is_current = record.epoch() == epoch;
            is_current.then(|| record.trip_on_streak(rule, now, failures, jitter)).flatten()
        })
    }
}
