//! The test for a sample ratio mismatch: whether each variant got its configured share of units, stratum by stratum.
//!
//! Each unit counts once, in the stratum of its first request and as it was assigned there, so the strata are independent
//! and their statistics add up. A mismatch in a single stratum counts as well, at its part of the level: the other strata
//! cannot dilute it. Requests are not tested if users were randomized: they come in bursts, which cause false positives.

use std::collections::BTreeMap;

use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::Timestamp;
use sidetrack_stats::float;
use sidetrack_stats::srm::{Counts, LEVEL, Shares, over_phases};

use crate::answer::{Srm, SrmPhase, SrmVerdict};
use crate::phases::Phase;

/// Tests the counts of units (by stratum and variant).
pub(crate) fn srm(
    experiment: &Experiment,
    strata: &[Phase],
    observed: &[Vec<u64>],
    units: bool,
) -> Srm {
    let mut phases = Vec::new();
    let mut tested = Vec::new();
    let mut notes = Vec::new();
    let time = |time| Some(Timestamp::new(time).to_string());
    let tests = units || experiment.assignment == Assignment::RequestRandom;
    let (mut uninvited, mut smallest) = (false, 1.0f64);
    for (stratum, observed) in strata.iter().zip(observed) {
        let shares = stratum.shares.as_slice();
        let counts = Shares::new(shares).and_then(|shares| Counts::new(&shares, observed)).ok();
        let test = counts.as_ref().filter(|_| tests).map(|counts| counts.test().p);
        let name = || stratum.name.clone().unwrap_or_else(|| "the experiment".to_owned());
        let has_uninvited =
            shares.iter().zip(observed).any(|(share, units)| *share == 0.0 && *units > 0);
        if tests && has_uninvited {
            uninvited = true;
            notes.push(format!("{}: a variant with weight 0 has units", name()));
        }
        if let Some(counts) = counts.filter(|_| tests) {
            if counts.is_sparse() {
                notes.push(format!(
                    "{}: a variant has fewer than five expected units, so the test is approximate",
                    name()
                ));
            }
            smallest = smallest.min(test.map_or(1.0, |p| p.get()));
            tested.push(counts);
        }
        if observed.iter().any(|count| *count > 0) || strata.len() == 1 {
            let names = || experiment.variants.iter().map(|variant| variant.name.clone());
            phases.push(SrmPhase {
                phase: stratum.name.clone(),
                from: time(stratum.span().0),
                to: time(stratum.span().1),
                expected: names().zip(shares.iter().copied()).collect::<BTreeMap<_, _>>(),
                observed: names().zip(observed.iter().copied()).collect::<BTreeMap<_, _>>(),
                p_value: test.map(|p| p.get()),
            });
        }
    }
    if !tests {
        notes.push(
            "not tested: users were randomized, but the log has no units; set settings.exposure_unit"
                .to_owned(),
        );
    }
    let test = over_phases(&tested).ok();
    // The other strata must not dilute a mismatch in one: each is tested at its part of the level.
    let mismatch = uninvited
        || test.is_some_and(|test| test.p.get() < LEVEL)
        || smallest < LEVEL / float(tested.len().max(1) as u64);
    Srm {
        verdict: match test {
            _ if mismatch => SrmVerdict::Mismatch,
            None => SrmVerdict::Undefined,
            Some(_) => SrmVerdict::Ok,
        },
        p_value: test.map(|test| test.p.get()),
        log10_p: test.map(|test| test.p.log10()),
        statistic: test.map(|test| test.statistic),
        df: test.and_then(|test| test.df),
        phases,
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}

#[cfg(test)]
mod tests;
