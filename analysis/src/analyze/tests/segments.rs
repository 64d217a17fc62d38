//! Segments of units: which variant's data they are, what they warn of, and what they cannot decide.

use super::*;
use crate::answer::{SegmentKind, SegmentResult};
use crate::segments::Dimension;

fn by(name: &str) -> Settings {
    let segments = vec![Dimension { name: name.to_owned(), planned: false }];
    Settings { segments, planned_units: Some(4000), ..settings() }
}

/// The state and the message of a check.
fn check(analysis: &Analysis, name: CheckName) -> (CheckState, &str) {
    let check = analysis.checks.iter().find(|check| check.name == name).unwrap();
    (check.state, check.message.as_str())
}

/// 4000 units, half in each variant. `tier` gives the tier of a unit, and `fails` whether its request failed.
fn log(tier: impl Fn(u64) -> Option<&'static str>, fails: impl Fn(u64, &str) -> bool) -> String {
    let of = |unit: u64| {
        let tier = tier(unit);
        let status = if fails(unit, tier.unwrap_or("")) { 503 } else { 200 };
        let tier = tier.map_or_else(String::new, |tier| format!(r#","tier":"{tier}""#));
        line(unit, unit % 3600, &format!(r#""status":{status},"duration":100{tier}"#))
    };
    (0..4000).map(of).collect()
}

fn found(log: &str, settings: &Settings) -> (Analysis, SegmentResult) {
    let analysis = analyzed(FILE, log.as_bytes(), None, settings).unwrap().0;
    let result = analysis.segments[0].clone();
    (analysis, result)
}

#[test]
fn an_effect_in_one_segment_shows_there() {
    // The candidate (odd units) fails in three of ten requests of free users, and never elsewhere.
    let tier = |unit: u64| [Some("free"), Some("pro"), None][(unit / 2 % 3) as usize];
    let log = log(tier, |unit, tier| unit % 2 == 1 && tier == "free" && unit / 6 % 10 < 3);
    let (analysis, result) = found(&log, &by("tier"));
    let names: Vec<&str> = result.segments.iter().map(|segment| segment.name()).collect();
    assert_eq!(names, ["free", "pro", "(no value)"]);
    let units: Vec<u64> = result.segments.iter().map(|it| it.units.values().sum()).collect();
    assert_eq!((units, result.values), (vec![1334, 1334, 1332], 2));
    let errors = result.metrics.iter().find(|metric| metric.name == "error_rate").unwrap();
    let decisions: Vec<Conclusion> =
        errors.segments.iter().map(|segment| segment.candidates[0].decision).collect();
    let none = Conclusion::Undefined;
    assert_eq!(decisions, [Conclusion::Worse, none, none]);
    let diff = errors.segments[0].candidates[0].diff.unwrap();
    assert!((diff - 0.3).abs() < 0.01, "{diff}");
    let interaction = &errors.candidates[0];
    assert!(interaction.p_adjusted.unwrap() < 1e-10 && !interaction.disagrees, "{interaction:?}");
    assert_eq!(check(&analysis, CheckName::SegmentSplit).0, CheckState::Ok);
    assert_eq!(check(&analysis, CheckName::SegmentSum).0, CheckState::Ok);
}

#[test]
fn a_total_that_disagrees_with_its_parts_is_a_warning() {
    // Free users fail more often, and three quarters of the candidate's users are free, but a quarter of the baseline's.
    // Within each tier the candidate fails less.
    let tier = |unit: u64| {
        let quarter = unit / 2 % 4;
        let free = if unit.is_multiple_of(2) { quarter == 0 } else { quarter != 0 };
        Some(if free { "free" } else { "pro" })
    };
    let fails = |unit: u64, tier: &str| {
        let (luck, is_candidate) = (unit / 8 % 20, unit % 2 == 1);
        luck < match (tier, is_candidate) {
            ("free", false) => 12,
            ("free", true) => 10,
            (_, false) => 4,
            (_, true) => 2,
        }
    };
    let (analysis, result) = found(&log(tier, fails), &by("tier"));
    let errors = result.metrics.iter().find(|metric| metric.name == "error_rate").unwrap();
    let total = analysis.metrics.iter().find(|metric| metric.name == "error_rate").unwrap();
    assert!(total.candidates[0].diff.unwrap() > 0.09);
    assert!(errors.segments.iter().all(|it| it.candidates[0].diff.unwrap() < -0.09));
    let interaction = &errors.candidates[0];
    assert!(interaction.disagrees && (interaction.merged_diff.unwrap() + 0.1).abs() < 0.01);
    let (state, message) = check(&analysis, CheckName::SegmentSum);
    assert!(state == CheckState::Warning && message.contains("Simpson"), "{message}");
    let (state, message) = check(&analysis, CheckName::SegmentSplit);
    assert_eq!(state, CheckState::Warning, "{message}");
    assert!(message.contains("fancy 500") || message.contains("fancy 1500"), "{message}");
    let reasons: Vec<String> = analysis.reasons.iter().map(ToString::to_string).collect();
    assert!(reasons.iter().any(|reason| reason.contains("Simpson")), "{reasons:?}");
}

#[test]
fn segments_never_decide() {
    let tier = |unit: u64| Some(["a", "b", "c", "d"][(unit / 2 % 4) as usize]);
    let log = log(tier, |unit, tier| tier == "a" && unit % 2 == 1 && unit / 8 % 2 == 0);
    let (with, _) = found(&log, &by("tier"));
    let without =
        analyzed(FILE, log.as_bytes(), None, &Settings { segments: vec![], ..by("tier") });
    let without = without.unwrap().0;
    assert_eq!(with.decision, without.decision);
    let text = |analysis: &Analysis| serde_json::to_string(&analysis.metrics).unwrap();
    assert_eq!(text(&with), text(&without));
    assert_eq!(with.plan.exploratory, without.plan.exploratory);
    assert!(without.segments.is_empty());
}

#[test]
fn a_field_that_no_line_has_is_a_warning() {
    let log = log(|_| Some("a"), |_, _| false);
    let (analysis, result) = found(&log, &by("country"));
    assert_eq!(result.segments.len(), 1);
    assert_eq!(result.segments[0].kind, SegmentKind::Unknown);
    let (state, message) = check(&analysis, CheckName::SegmentValues);
    assert_eq!(state, CheckState::Warning);
    assert!(message.starts_with("no line of the logs and no row of the outcomes has a value of"));
}

#[test]
fn a_unit_has_the_value_of_its_earliest_row_and_unknown_ones_are_their_own_segment() {
    let log = log(|_| None, |_, _| false);
    let mut outcomes = "unit,time,bought,country\n".to_owned();
    for unit in 0..4000u64 {
        // Later rows, and rows without a value, do not change it. A tenth have none at all.
        let (first, later) = if unit / 2 % 10 == 0 { ("", "") } else { ("DE", "FR") };
        writeln!(outcomes, "u{unit},2026-11-24T12:00:00Z,1,{later}").unwrap();
        writeln!(outcomes, "u{unit},2026-11-24T10:00:00Z,0,{first}").unwrap();
        writeln!(outcomes, "u{unit},2026-11-24T09:30:00Z,0,").unwrap();
    }
    let analysis = analyzed(FILE, log.as_bytes(), Some(&outcomes), &by("country")).unwrap().0;
    let result = &analysis.segments[0];
    let names: Vec<&str> = result.segments.iter().map(|segment| segment.name()).collect();
    assert_eq!(names, ["DE", "(no value)"]);
    let units: Vec<u64> = result.segments.iter().map(|it| it.units.values().sum()).collect();
    assert_eq!((units, result.recorded_later), (vec![3600, 400], 3600));
    let rows = analysis.outcomes.unwrap();
    assert_eq!(rows.ignored_columns, [""; 0]);
}

#[test]
fn requests_have_no_segments() {
    let line = log(|_| Some("a"), |_, _| false);
    let nameless =
        (0..4000).fold(line, |text, unit| text.replacen(&format!(r#""unit":"u{unit}","#), "", 1));
    let settings = Settings { assume_independent_requests: true, ..by("tier") };
    let analysis = analyzed(FILE, nameless.as_bytes(), None, &settings).unwrap().0;
    assert!(analysis.segments.is_empty());
    let (state, message) = check(&analysis, CheckName::SegmentValues);
    assert_eq!(state, CheckState::Warning);
    assert!(message.contains("the log has none"), "{message}");
}

#[test]
fn the_example_of_the_docs_can_be_followed() {
    // docs/report.md: 28 and 32 of 50, then 43 and 32 of 50, and 200 planned units.
    let mut log = String::new();
    let mut outcomes = "request_id,correct\n".to_owned();
    for unit in 0..200u64 {
        let (is_german, number) = (unit / 2 % 2 == 0, unit / 4);
        let right = match (unit % 2, is_german) {
            (0, true) => 28,
            (1, true) => 43,
            _ => 32,
        };
        let country = if is_german { "DE" } else { "FR" };
        let more = format!(r#""status":200,"duration":100,"country":"{country}""#);
        log += &line(unit, unit, &more);
        writeln!(outcomes, "{unit}-{unit},{}", u8::from(number < right)).unwrap();
    }
    let settings = Settings { planned_units: Some(200), ..by("country") };
    let analysis = analyzed(FILE, log.as_bytes(), Some(&outcomes), &settings).unwrap().0;
    let near = |found: Option<f64>, want: f64| {
        let found = found.unwrap();
        assert!((found / want - 1.0).abs() < 0.003, "found {found}, want {want}");
    };
    let total = analysis.metrics.iter().find(|metric| metric.name == "accuracy").unwrap();
    let total = &total.candidates[0];
    near(total.relative_lift, 0.25);
    near(total.relative_lift_ci[0], 0.0275);
    near(total.relative_lift_ci[1], 0.521);
    near(total.diff, 0.15);
    near(total.ci[0], 0.0153);
    near(total.ci[1], 0.281);
    near(total.p_value, 0.0286);
    let accuracy = &analysis.segments[0].metrics.iter().find(|it| it.name == "accuracy").unwrap();
    let [german, french] = [0, 1].map(|place| &accuracy.segments[place].candidates[0]);
    near(german.relative_lift, 0.536);
    near(german.diff, 0.3);
    near(german.p_value, 0.0014);
    near(german.p_adjusted, 0.00279);
    assert_eq!((french.diff, french.p_adjusted), (Some(0.0), Some(1.0)));
    near(accuracy.candidates[0].statistic, 5.67);
    near(accuracy.candidates[0].p_value, 0.0172);
    let detectable = &analysis.outlook.detectable[0];
    near(detectable.now, 0.181);
    near(detectable.planned, 0.181);
}
