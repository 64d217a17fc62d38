//! Times in which a breaker was open or recovering, from one minute to the next.

use std::collections::BTreeSet;

use sidetrack::plan::Experiment;
use sidetrack::quantity::Timestamp;

use super::share;
use crate::answer::{Breaker, OpenInterval};
use crate::join::Tally;
use crate::row::MINUTE;

/// The times of each candidate.
pub(crate) fn breaker(experiment: &Experiment, tally: &Tally) -> Breaker {
    let mut breaker = Breaker::default();
    let mut of_candidates = 0;
    let mut minutes = BTreeSet::new();
    let variants = experiment.variants.entries();
    for (arm, variant) in variants.filter(|(arm, _)| *arm != experiment.baseline) {
        let mut last: Option<(u64, u64, u64)> = None;
        let mut intervals = Vec::new();
        for (minute, counts) in &tally.minutes {
            let Some(counts) = counts.get(arm.index()) else { continue };
            of_candidates += u64::from(counts.requests);
            let touched = u64::from(counts.breaker);
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
    breaker.share = share(breaker.requests, of_candidates.saturating_sub(breaker.requests));
    breaker
}

#[cfg(test)]
mod tests;
