//! Times in which a breaker was open or recovering, from one minute to the next.

use std::collections::{BTreeMap, BTreeSet};

use sidetrack::plan::Experiment;
use sidetrack::quantity::Timestamp;

use super::share;
use crate::answer::{Breaker, OpenInterval};
use crate::join::Tally;
use crate::row::MINUTE;

/// The requests that a breaker touched: diverted, or let through as probes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    /// By minute and variant, of minutes with such requests.
    pub(crate) minutes: BTreeMap<u64, Vec<u64>>,
    /// All requests of the candidates.
    pub(crate) of_candidates: u64,
}

impl Touched {
    pub(crate) fn new(experiment: &Experiment, tally: &Tally) -> Self {
        let mut touched = Self::default();
        for (minute, counts) in &tally.minutes {
            let candidates = experiment.candidates().filter_map(|arm| counts.get(arm.index()));
            touched.of_candidates += candidates.map(|of| u64::from(of.requests)).sum::<u64>();
            if counts.iter().any(|of| of.breaker > 0) {
                let counts = counts.iter().map(|of| u64::from(of.breaker)).collect();
                touched.minutes.insert(*minute, counts);
            }
        }
        touched
    }
}

/// The times of each candidate.
pub(crate) fn breaker(experiment: &Experiment, of: &Touched) -> Breaker {
    let mut breaker = Breaker::default();
    let mut minutes = BTreeSet::new();
    let variants = experiment.variants.entries();
    for (arm, variant) in variants.filter(|(arm, _)| *arm != experiment.baseline) {
        let mut last: Option<(u64, u64, u64)> = None;
        let mut intervals = Vec::new();
        for (minute, counts) in &of.minutes {
            let touched = counts.get(arm.index()).copied().unwrap_or(0);
            if touched == 0 {
                continue;
            }
            minutes.insert(*minute);
            breaker.requests += touched;
            match &mut last {
                Some((_, end, sum)) if *minute <= *end + 1 => {
                    (*end, *sum) = (*minute, *sum + touched);
                }
                last => intervals.extend(last.replace((*minute, *minute, touched))),
            }
        }
        intervals.extend(last);
        let interval = |(from, to, requests): (u64, u64, u64)| OpenInterval {
            variant: variant.name.clone(),
            from: Timestamp::new(from * MINUTE).to_string(),
            to: Timestamp::new((to + 1) * MINUTE).to_string(),
            requests,
        };
        breaker.intervals.extend(intervals.into_iter().map(interval));
    }
    breaker.minutes = minutes.len() as u64;
    breaker.share = share(breaker.requests, of.of_candidates.saturating_sub(breaker.requests));
    breaker
}

#[cfg(test)]
mod tests;
