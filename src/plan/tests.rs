use crate::config::parse_json;
use crate::quantity::{Ppm, Timestamp};

/// The shares of `base`, `new` and `other` at this time, in parts per million.
fn shares(enabled: bool, at: &str) -> [u32; 3] {
    let file = format!(
        r#"{{"experiments": [{{
            "name": "e", "enabled": {enabled}, "unit": [{{"header": "u"}}], "baseline": "base",
            "variants": [{{"name": "new"}}, {{"name": "base"}}, {{"name": "other"}}],
            "rollout": {{"start": "2026-01-01T00:00:00Z", "phases": [
                {{"name": "one", "for": "1h", "weights": {{"new": 5, "other": 2.5}}}},
                {{"name": "two", "weights": {{"new": 30, "other": 40}}}}]}}}}]}}"#
    );
    let plan = parse_json(file.as_bytes()).unwrap();
    let experiment = plan.experiments.iter().next().unwrap();
    let shares = experiment.shares(Timestamp::parse(at).unwrap());
    ["base", "new", "other"].map(|name| {
        let mut ids = experiment.variants.ids();
        shares[ids.find(|&id| experiment.variants[id].name == name).unwrap()].get()
    })
}

#[test]
fn the_baseline_has_what_the_candidates_leave() {
    assert_eq!(shares(true, "2026-01-01T00:30:00Z"), [925_000, 50_000, 25_000]);
    assert_eq!(shares(true, "2026-01-01T01:00:00Z"), [300_000, 300_000, 400_000]);
}

#[test]
fn the_baseline_has_all_before_the_start_and_while_disabled() {
    assert_eq!(shares(true, "2025-12-31T23:59:59Z"), [Ppm::ALL.get(), 0, 0]);
    assert_eq!(shares(false, "2026-01-01T01:00:00Z"), [Ppm::ALL.get(), 0, 0]);
}
