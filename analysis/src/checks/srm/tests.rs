use super::*;

const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "one", "for": "1h", "weights": {"c": 50}}, {"name": "two", "for": "1h", "weights": {"c": 50}},
        {"name": "three", "for": "1h", "weights": {"c": 50}}, {"name": "four", "weights": {"c": 50}}]}}]}"#;

fn verdict(observed: [[u64; 2]; 4]) -> SrmVerdict {
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let strata = Strata::new(&experiment, "").unwrap();
    let observed: Vec<Vec<u64>> = observed.iter().map(|counts| counts.to_vec()).collect();
    srm(&experiment, &strata, &observed, true).verdict
}

#[test]
fn good_phases_do_not_dilute_a_mismatch_in_one() {
    let good = [5000, 5000];
    assert_eq!(verdict([good; 4]), SrmVerdict::Ok);
    // Chi-square 14.4 with one degree of freedom: p = 0.00015; with the three good phases, four degrees: p = 0.006.
    let bad = [5190, 4810];
    assert_eq!(verdict([good, bad, good, good]), SrmVerdict::Mismatch);
    // The level is divided by the number of phases: p = 0.0005 in one of four is not enough.
    assert_eq!(verdict([good, [5174, 4826], good, good]), SrmVerdict::Ok);
}

#[test]
fn small_mismatches_in_all_phases_add_up() {
    assert_eq!(verdict([[5120, 4880]; 4]), SrmVerdict::Mismatch);
}
