//! The test for a sample ratio mismatch: whether each variant got its configured share of units, stratum by stratum.
//!
//! Each unit counts once, in the stratum of its first request and as it was assigned there, so the strata are independent.
//! The test holds at every look, since a running experiment is looked at every day (`srm::always_valid`), and sound strata do
//! not dilute a mismatch in one. Requests are not tested if users were randomized: they come in bursts, which cause false
//! positives.

use std::collections::BTreeMap;

use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::Timestamp;
use sidetrack_stats::srm::{ALWAYS_LEVEL, Counts, Shares, always_valid, over_phases};

use crate::answer::{Srm, SrmPhase, SrmVerdict};
use crate::phases::Phase;

/// Tests the counts of units (by stratum and variant).
pub(crate) fn srm(
    experiment: &Experiment,
    strata: &[Phase],
    observed: &[Vec<u64>],
    seen: &[Vec<u64>],
    units: bool,
) -> Srm {
    let mut phases = Vec::new();
    let mut tested = Vec::new();
    let mut notes = Vec::new();
    let time = |time| Some(Timestamp::new(time).to_string());
    let tests = units || experiment.assignment == Assignment::RequestRandom;
    let mut uninvited = false;
    for ((stratum, observed), seen) in strata.iter().zip(observed).zip(seen) {
        let shares = stratum.shares.as_slice();
        let counts = Shares::new(shares).and_then(|shares| Counts::new(&shares, observed)).ok();
        let alone =
            counts.clone().filter(|_| tests).and_then(|counts| always_valid(&[counts]).ok());
        let name = || stratum.name.clone().unwrap_or_else(|| "the experiment".to_owned());
        let has_uninvited =
            shares.iter().zip(observed).any(|(share, units)| *share == 0.0 && *units > 0);
        if tests && has_uninvited {
            uninvited = true;
            notes.push(format!("{}: a variant with weight 0 has units", name()));
        }
        tested.extend(counts.filter(|_| tests));
        if seen.iter().any(|count| *count > 0) || strata.len() == 1 {
            let names = || experiment.variants.iter().map(|variant| variant.name.clone());
            phases.push(SrmPhase {
                phase: stratum.name.clone(),
                from: time(stratum.span().0),
                to: time(stratum.span().1),
                expected: names().zip(shares.iter().copied()).collect::<BTreeMap<_, _>>(),
                observed: names().zip(observed.iter().copied()).collect::<BTreeMap<_, _>>(),
                seen: names().zip(seen.iter().copied()).collect::<BTreeMap<_, _>>(),
                p_value: alone.map(|p| p.get()),
            });
        }
    }
    if !tests {
        notes.push(
            "not tested: users were randomized, but the log has no units; set settings.exposure_unit"
                .to_owned(),
        );
    }
    let p = always_valid(&tested).ok();
    let chi_square = over_phases(&tested).ok();
    let mismatch = uninvited || p.is_some_and(|p| p.get() < ALWAYS_LEVEL);
    Srm {
        verdict: match p {
            _ if mismatch => SrmVerdict::Mismatch,
            None => SrmVerdict::Undefined,
            Some(_) => SrmVerdict::Ok,
        },
        p_value: p.map(|p| p.get()),
        log10_p: p.map(|p| p.log10()),
        statistic: chi_square.map(|test| test.statistic),
        df: chi_square.and_then(|test| test.df),
        phases,
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}

#[cfg(test)]
mod tests;
