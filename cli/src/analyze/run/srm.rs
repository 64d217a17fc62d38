//! Whether each variant got the share of units that the file promises, stratum by stratum.
//!
//! Each unit counts once, in the stratum of its first request and as it was assigned there, so the strata are independent
//! and their chi-squares add up. Requests are not tested where users were randomised: they come in bundles, and such a
//! test raises alarms that mean nothing.

use serde_json::Map;
use sidetrack::plan::Assignment;
use sidetrack::plan::Experiment;
use sidetrack_stats::srm::{Counts, LEVEL, Shares, over_phases};

use super::analysis::{Srm, SrmPhase};
use super::strata::Strata;

/// Tests the counts of units (by stratum and variant).
pub(super) fn srm(
    experiment: &Experiment,
    strata: &Strata,
    observed: &[Vec<u64>],
    units: bool,
) -> Srm {
    let mut phases = Vec::new();
    let mut tested = Vec::new();
    let mut notes = Vec::new();
    let tests = units || experiment.assignment == Assignment::RequestRandom;
    let (mut uninvited, mut smallest) = (false, 1.0f64);
    for (stratum, observed) in strata.list.iter().zip(observed) {
        let shares: Vec<f64> =
            experiment.shares_of(&stratum.weights).iter().map(|share| share.fraction()).collect();
        let counts = Shares::new(&shares).and_then(|shares| Counts::new(&shares, observed)).ok();
        let test = counts.as_ref().filter(|_| tests).map(|counts| counts.test().p);
        let name = || stratum.name.clone().unwrap_or_else(|| "the experiment".to_owned());
        if let Some(counts) = counts.filter(|_| tests) {
            if counts.has_uninvited() {
                uninvited = true;
                notes.push(format!("{}: a variant of weight 0 has units", name()));
            }
            if counts.is_sparse() {
                notes.push(format!(
                    "{}: fewer than five units expected of a variant, so the test is rough",
                    name()
                ));
            }
            smallest = smallest.min(test.map_or(1.0, |p| p.get()));
            tested.push(counts);
        }
        if observed.iter().any(|count| *count > 0) || strata.list.len() == 1 {
            let named = |values: Vec<serde_json::Value>| -> Map<String, serde_json::Value> {
                experiment.variants.iter().map(|variant| variant.name.clone()).zip(values).collect()
            };
            phases.push(SrmPhase {
                phase: stratum.name.clone(),
                expected: named(shares.iter().map(|share| (*share).into()).collect()),
                observed: named(observed.iter().map(|count| (*count).into()).collect()),
                p_value: test.map(|p| p.get()),
            });
        }
    }
    if !tests {
        notes.push(
            "traffic ratio, not tested: users were randomised, and the log has only requests; set settings.exposure_unit"
                .to_owned(),
        );
    }
    let test = over_phases(&tested).ok();
    // A mismatch in one phase is not to be diluted by the others; each phase gets its part of the level.
    #[expect(clippy::cast_precision_loss, reason = "a count of phases")]
    let mismatch = uninvited
        || test.is_some_and(|test| test.p.get() < LEVEL)
        || smallest < LEVEL / tested.len().max(1) as f64;
    Srm {
        verdict: match test {
            None => "undefined",
            Some(_) if mismatch => "mismatch",
            Some(_) => "ok",
        },
        p_value: test.map(|test| test.p.get()),
        log10_p: test.map(|test| test.p.log10()),
        statistic: test.map(|test| test.statistic),
        df: test.and_then(|test| test.df),
        phases,
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}
