use std::collections::BTreeSet;

use super::*;
use crate::phases::{Book, Timeline};
use crate::strata::Strata;

const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "one", "for": "1h", "weights": {"c": 50}}, {"name": "two", "for": "1h", "weights": {"c": 50}},
        {"name": "three", "for": "1h", "weights": {"c": 50}}, {"name": "four", "weights": {"c": 50}}]}}]}"#;

fn tested(file: &str, observed: &[[u64; 2]], units: bool) -> Srm {
    let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let strata = Strata::new(&experiment, "").unwrap();
    // One minute of each stratum of the file.
    let active: Vec<BTreeSet<u64>> = (0..strata.list.len() as u64).map(|at| [at].into()).collect();
    let timeline = Timeline::new(&Book::new(&experiment, &strata), &active, true);
    let observed: Vec<Vec<u64>> = observed.iter().map(|counts| counts.to_vec()).collect();
    srm(&experiment, &timeline.phases, &observed, &observed, units)
}

fn verdict(observed: [[u64; 2]; 4]) -> SrmVerdict {
    tested(FILE, &observed, true).verdict
}

#[test]
fn good_phases_do_not_dilute_a_mismatch_in_one() {
    let good = [5000, 5000];
    assert_eq!(verdict([good; 4]), SrmVerdict::Ok);
    let bad = [5240, 4760];
    assert_eq!(verdict([good, bad, good, good]), SrmVerdict::Mismatch);
    assert_eq!(verdict([good, good, good, bad]), SrmVerdict::Mismatch);
    // In one of four phases, more is needed than in the only one.
    let doubtful = [5190, 4810];
    assert_eq!(verdict([doubtful, [0, 0], [0, 0], [0, 0]]), SrmVerdict::Mismatch);
    assert_eq!(verdict([good, good, good, doubtful]), SrmVerdict::Ok);
}

#[test]
fn small_mismatches_in_all_phases_add_up() {
    assert_eq!(verdict([[5125, 4875]; 4]), SrmVerdict::Mismatch);
}

/// One phase for all time.
const SIMPLE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c", "weight": 20}]}]}"#;

#[test]
fn the_statistic_is_that_of_all_phases() {
    let found = tested(FILE, &[[5100, 4900], [0, 0], [4900, 5100], [0, 0]], true);
    // 2 · (100² / 5000) in each of two phases.
    assert_eq!((found.statistic, found.df, found.verdict), (Some(8.0), Some(2.0), SrmVerdict::Ok));
    // By mpmath, from the definition.
    let p = found.p_value.unwrap();
    assert!((p - 0.461_406_414_203_495_27).abs() < 1e-12, "{p}");
    assert!((found.log10_p.unwrap() - p.log10()).abs() < 1e-12);
    // A phase without units is not shown.
    let phases: Vec<_> = found.phases.iter().map(|phase| phase.phase.as_deref()).collect();
    assert_eq!(phases, [Some("one"), Some("three")]);
    assert_eq!(found.phases[1].expected["c"], 0.5);
    assert_eq!((found.phases[1].observed["b"], found.phases[1].observed["c"]), (4900, 5100));
    assert_eq!(found.note, None);
}

#[test]
fn a_variant_with_weight_0_must_have_no_units() {
    let file = FILE.replacen("\"c\": 50", "\"c\": 0", 1);
    let good = [5000, 5000];
    let found = tested(&file, &[[10_000, 0], good, good, good], true);
    assert_eq!((found.verdict, found.note), (SrmVerdict::Ok, None));
    for observed in [&[[10_000, 1], good, good, good][..], &[[10_000, 1], [0, 0], [0, 0], [0, 0]]] {
        let found = tested(&file, observed, true);
        assert_eq!(found.verdict, SrmVerdict::Mismatch);
        assert_eq!(found.note.as_deref(), Some("one: a variant with weight 0 has units"));
    }
    let untested = tested(&file, &[[10_000, 1], good, good, good], false);
    assert_eq!(untested.verdict, SrmVerdict::Undefined);
}

#[test]
fn a_few_units_show_a_gross_mismatch() {
    // 80 % of the units should be the baseline's; the test is exact, so there is no note about few units.
    let found = |observed| {
        let found = tested(SIMPLE, &[observed], true);
        (found.verdict, found.note)
    };
    assert_eq!(found([16, 4]), (SrmVerdict::Ok, None));
    assert_eq!(found([0, 5]), (SrmVerdict::Ok, None));
    assert_eq!(found([0, 20]), (SrmVerdict::Mismatch, None));
}

#[test]
fn requests_are_tested_only_if_they_were_randomized() {
    let skewed = [[5000, 5000]];
    assert_eq!(tested(SIMPLE, &skewed, true).verdict, SrmVerdict::Mismatch);
    let found = tested(SIMPLE, &skewed, false);
    assert_eq!((found.verdict, found.p_value), (SrmVerdict::Undefined, None));
    assert!(found.note.is_some_and(|note| note.starts_with("not tested: users were randomized")));
    assert_eq!((found.phases.len(), found.phases[0].p_value), (1, None));
    let random = SIMPLE.replace("\"baseline\"", "\"assignment\": \"request_random\", \"baseline\"");
    let found = tested(&random, &skewed, false);
    assert_eq!((found.verdict, found.note), (SrmVerdict::Mismatch, None));
    // Without units, the only phase is still shown.
    let found = tested(SIMPLE, &[[0, 0]], true);
    assert_eq!((found.verdict, found.phases.len(), found.df), (SrmVerdict::Undefined, 1, None));
}
