//! Judging of one experiment's candidates, by rates and by failures in a row.
//!
//! The baseline is never judged: its record only holds the counts that candidates are compared with.

use super::shared::SharedBreaker;
use super::store::Store;
use super::{Counts, Ended, Event, Rule, Streak};
use crate::names::shared as names;
use crate::plan::Experiment;
use crate::quantity::Timestamp;

/// The breakers of one experiment's variants on one worker.
#[derive(Debug)]
pub(super) struct ExperimentBreakers {
    pub(super) rule: Rule,
    baseline: usize,
    pub(super) variants: Vec<SharedBreaker>,
    /// The number of outcomes that this worker has counted.
    outcomes: u64,
}

impl ExperimentBreakers {
    pub(super) fn load(experiment: &Experiment, store: &impl Store, now: Timestamp) -> Self {
        let rule = Rule::new(&experiment.breaker);
        let load = |name: &str| {
            let key = format!("{}{}.{name}", names::BREAKER, experiment.name);
            SharedBreaker::load(store, key, &rule, now)
        };
        let variants = experiment.variants.iter().map(|variant| load(&variant.name)).collect();
        Self { rule, baseline: experiment.baseline, variants, outcomes: 0 }
    }

    #[inline]
    pub(super) fn candidates(&self) -> impl Iterator<Item = usize> + use<> {
        let baseline = self.baseline;
        (0..self.variants.len()).filter(move |&variant| variant != baseline)
    }

    #[inline]
    pub(super) fn epoch(&self, variant: usize) -> u32 {
        self.variants.get(variant).map_or(0, |breaker| breaker.view.shared.epoch())
    }

    /// Counts an outcome of a request that was decided in `epoch`. Returns whether it may complete a streak.
    #[inline]
    pub(super) fn count(&mut self, variant: usize, epoch: u32, ended: Ended) -> bool {
        if !self.rule.is_active() {
            return false;
        }
        self.outcomes += 1;
        let Some(breaker) = self.variants.get_mut(variant) else { return false };
        breaker.view.local.count(ended, epoch, self.outcomes);
        ended.failed && variant != self.baseline
    }

    /// Adds the baseline's outcomes to its record. Comes before judging: candidates are compared with it.
    pub(super) fn share_baseline(&mut self, store: &impl Store, now: Timestamp) {
        let rule = &self.rule;
        if let Some(baseline) = self.variants.get_mut(self.baseline)
            && !baseline.view.local.pending().is_empty()
        {
            baseline.update(store, now, |record, new| {
                record.observe(rule, now, new);
                None
            });
        }
    }

    /// Takes over what other workers have written.
    pub(super) fn adopt(&mut self, store: &impl Store, variant: usize) {
        if let Some(candidate) = self.variants.get_mut(variant)
            && let Some(record) = candidate.read(store)
        {
            candidate.view.adopt(record);
        }
    }

    /// Judges a candidate on a tick: first by its rates, if there is anything new, then by its streak.
    pub(super) fn judge(
        &mut self,
        store: &impl Store,
        variant: usize,
        now: Timestamp,
        jitter: &mut impl FnMut() -> u64,
    ) -> Option<Event> {
        let is_due = self.variants.get(variant)?.view.is_due(&self.rule, now);
        if is_due && let Some(event) = self.judge_rates(store, variant, now, jitter()) {
            return Some(event);
        }
        self.variants.get_mut(variant)?.view.local.count_wait(&self.rule);
        self.judge_streak(store, variant, || now, jitter)
    }

    fn judge_rates(
        &mut self,
        store: &impl Store,
        variant: usize,
        now: Timestamp,
        jitter: u64,
    ) -> Option<Event> {
        let rule = &self.rule;
        let Ok([baseline, candidate]) = self.variants.get_disjoint_mut([self.baseline, variant])
        else {
            return None;
        };
        let counts = || baseline.read(store).map_or_else(Counts::default, |b| b.counts(now));
        candidate.update(store, now, |record, new| record.advance(rule, now, new, counts, jitter))
    }

    /// Opens a candidate's breaker if it alone fails, many times in a row.
    pub(super) fn judge_streak(
        &mut self,
        store: &impl Store,
        variant: usize,
        now: impl FnOnce() -> Timestamp,
        jitter: impl FnOnce() -> u64,
    ) -> Option<Event> {
        let (candidate, baseline) =
            (&self.variants.get(variant)?.view, &self.variants.get(self.baseline)?.view.local);
        let Streak::Trips(failures) = candidate.local.streak(&self.rule, baseline) else {
            return None;
        };
        let (rule, epoch) = (&self.rule, candidate.shared.epoch());
        let (now, jitter) = (now(), jitter());
        self.variants.get_mut(variant)?.update(store, now, |record, _| {
            // Another worker may have made a transition; these failures do not count in its epoch.
            let is_current = record.epoch() == epoch;
            is_current.then(|| record.trip_on_streak(rule, now, failures, jitter)).flatten()
        })
    }
}
