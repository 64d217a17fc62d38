//! After a raise, most units are known ones: their requests in the present phase are what is compared with its weights.

use super::*;

/// 20 % and then 40 % of the units.
fn file() -> String {
    FILE.replace(
        r#"{"name": "fancy", "weight": 50}]"#,
        r#"{"name": "fancy"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
            {"name": "one", "for": "30m", "weights": {"fancy": 20}}, {"name": "two", "weights": {"fancy": 40}}]}"#,
    )
}

/// A request of one of a thousand units in a phase.
fn request(phase: &str, unit: u64, second: u64, status: u16) -> String {
    let part = if phase == "one" { 200 } else { 400 };
    let variant = if unit < part { "fancy" } else { "plain" };
    let line = line(
        0,
        second,
        &format!(r#""phase":"{phase}","status":{status},"duration":{}"#, 10 + unit % 91),
    );
    line.replace("\"u0\"", &format!("\"u{unit}\""))
        .replace("\"0-", &format!("\"{unit}-"))
        .replace("plain", variant)
}

/// All units in both phases. In one of them, the candidate answers with a 404.
fn raised(refusing: &str) -> Analysis {
    let phase = |phase: &str, begin: u64| {
        let status = |unit| if phase == refusing && unit < 200 { 404 } else { 200 };
        let lines = (0..1000).map(|unit| request(phase, unit, begin + unit % 600, status(unit)));
        lines.collect::<String>()
    };
    analysis_of(&file(), &(phase("one", 0) + &phase("two", 1800)), None, 2)
}

#[test]
fn units_that_come_back_count_in_each_phase() {
    let found = raised("");
    let units: Vec<u64> = found.variants.iter().map(|variant| variant.units).collect();
    assert_eq!((units.as_slice(), found.moved_units), ([600, 400].as_slice(), 200));
    let of = |counts: &std::collections::BTreeMap<String, u64>| [counts["plain"], counts["fancy"]];
    let phases = found.srm.phases.iter();
    let phases: Vec<_> = phases.map(|phase| (of(&phase.observed), of(&phase.seen))).collect();
    // The test counts each unit once.
    assert_eq!(phases, [([800, 200], [800, 200]), ([0, 0], [600, 400])]);
    let requests: Vec<_> =
        found.phases.iter().map(|phase| (of(&phase.requests), of(&phase.asked))).collect();
    assert_eq!(requests, [([800, 200], [800, 200]), ([600, 400], [600, 400])]);
}

#[test]
fn a_candidate_that_refuses_does_so_in_a_phase() {
    let refusing = |phase: &str| {
        let found = raised(phase);
        found.phases.into_iter().map(|phase| phase.refusing).collect::<Vec<_>>()
    };
    let (all, none) = (vec!["fancy".to_owned()], Vec::<String>::new());
    assert_eq!(refusing("one"), [all.clone(), none.clone()]);
    assert_eq!(refusing("two"), [none.clone(), all]);
    assert_eq!(refusing(""), [none.clone(), none]);
}
