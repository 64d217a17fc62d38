//! What identifies the lines of a log: the experiments, the trials and the analysis plans that it holds.

use std::collections::BTreeMap;

use crate::row::{MINUTE, OtherLine};
use crate::short::Short;

/// How many names and trials are kept apart. A log that names a new one in each line must not take the memory.
const MOST: usize = 100;

/// Lines by what they name.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Lines of other experiments, by name.
    pub(crate) experiments: BTreeMap<String, u64>,
    /// Lines of other trials of the experiment; `None`: without a trial.
    pub(crate) trials: BTreeMap<Option<Short>, OtherTrial>,
    /// Requests that count, by the plan in force; `None`: without a plan.
    pub(crate) plans: BTreeMap<Option<Short>, u64>,
}

/// The lines of a trial that is not analyzed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OtherTrial {
    pub(crate) lines: u64,
    /// The first and the last time, in milliseconds since 1970.
    pub(crate) span: Option<(u64, u64)>,
    /// Exposures of units by minute, as far as they are known by digests.
    pub(crate) digests: BTreeMap<u64, u64>,
}

impl Seen {
    pub(super) fn experiment(&mut self, name: Option<&str>) {
        if let Some(name) = name {
            self.add_experiment(name, 1);
        }
    }

    fn add_experiment(&mut self, name: &str, lines: u64) {
        if let Some(sum) = self.experiments.get_mut(name) {
            *sum += lines;
        } else if self.experiments.len() < MOST {
            self.experiments.insert(name.to_owned(), lines);
        }
    }

    pub(super) fn trial(&mut self, line: &OtherLine) {
        let span = line.time.map(|time| (time, time));
        let minute = line.time.filter(|_| line.digest).map(|time| (time / MINUTE, 1));
        let digests = minute.into_iter().collect();
        self.add_trial(line.trial, OtherTrial { lines: 1, span, digests });
    }

    pub(super) fn plan(&mut self, plan: Option<Short>) {
        self.add_plan(plan, 1);
    }

    fn add_plan(&mut self, plan: Option<Short>, requests: u64) {
        if let Some(sum) = self.plans.get_mut(&plan) {
            *sum += requests;
        } else if self.plans.len() < MOST {
            self.plans.insert(plan, requests);
        }
    }

    fn add_trial(&mut self, trial: Option<Short>, more: OtherTrial) {
        if self.trials.len() >= MOST && !self.trials.contains_key(&trial) {
            return;
        }
        let sum = self.trials.entry(trial).or_default();
        sum.lines += more.lines;
        sum.span = match (sum.span, more.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        for (minute, lines) in more.digests {
            *sum.digests.entry(minute).or_default() += lines;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (name, lines) in other.experiments {
            self.add_experiment(&name, lines);
        }
        for (trial, more) in other.trials {
            self.add_trial(trial, more);
        }
        for (plan, requests) in other.plans {
            self.add_plan(plan, requests);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_take_no_memory() {
        let mut all = Seen::default();
        for batch in 0..3u64 {
            let mut seen = Seen::default();
            for number in 0..1000u32 {
                seen.experiment(Some(&format!("e{number}")));
                let trial = format!("{number:08x}").parse().ok();
                let time = Some(batch * 1000 + u64::from(number));
                seen.trial(&OtherLine { trial, time, ..OtherLine::default() });
                seen.plan(trial);
            }
            all.merge(seen);
        }
        assert_eq!((all.experiments.len(), all.trials.len(), all.plans.len()), (100, 100, 100));
        assert_eq!((all.experiments.get("e7"), all.experiments.get("e100")), (Some(&3), None));
        let seven = all.trials.get(&"00000007".parse().ok());
        let wanted = OtherTrial { lines: 3, span: Some((7, 2007)), digests: BTreeMap::new() };
        assert_eq!(seven, Some(&wanted));
    }
}
