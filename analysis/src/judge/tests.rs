use sidetrack_stats::input::{Fraction, Proportion};
use sidetrack_stats::proportions;

use super::*;
use crate::metric::{Margin, Origin};

const NAMES: [&str; 2] = ["plain", "fancy"];

fn names() -> Names<'static> {
    Names { variants: NAMES.to_vec(), baseline: 0, strata: vec![None] }
}

fn metric(name: &str, role: Role, goal: Goal, margin: Option<Margin>) -> Metric {
    let (measure, origin) = (Measure::Proportion, Origin::Column(0));
    Metric { name: name.to_owned(), role, measure, origin, goal, margin }
}

/// Successes of 10 000 units each.
fn compared(baseline: u64, candidate: u64) -> Vec<Compared> {
    let share = |successes| Proportion::new(successes, 10_000).unwrap();
    let shares = (share(baseline), share(candidate));
    vec![Compared {
        candidate: 1,
        sizes: (10_000, 10_000),
        comparison: proportions::stratified(&[shares], Fraction::FIVE_PERCENT),
        method: String::new(),
        strata: Vec::new(),
        shares: Some(shares),
    }]
}

fn conclusions(measured: &[(Metric, Vec<Compared>)]) -> Vec<Conclusion> {
    let judged = judge(measured, Look::Fixed, Fraction::FIVE_PERCENT, &names());
    judged.iter().map(|metric| metric.candidates[0].decision).collect()
}

fn primary(name: &str) -> Metric {
    metric(name, Role::Primary, Goal::Increase, None)
}

#[test]
fn a_second_primary_metric_changes_what_the_first_one_shows() {
    // p is about 0.03: significant alone, not as one of two (Holm: 0.06).
    let alone = [(primary("a"), compared(1000, 1094))];
    assert_eq!(conclusions(&alone), [Conclusion::Better]);
    let both = [(primary("a"), compared(1000, 1094)), (primary("b"), compared(1000, 1094))];
    assert_eq!(conclusions(&both), [Conclusion::NoDifferenceShown; 2]);
    let judged = judge(&both, Look::Fixed, Fraction::FIVE_PERCENT, &names());
    for metric in judged {
        let result = &metric.candidates[0];
        let (p, adjusted) = (result.p_value.unwrap(), result.p_adjusted.unwrap());
        assert!((adjusted - 2.0 * p).abs() < 1e-12, "{adjusted} {p}");
    }
    // Guardrails take no part in it.
    let guarded = [
        (primary("a"), compared(1000, 1094)),
        (
            metric("g", Role::Guardrail, Goal::Decrease, Some(Margin::Absolute(0.5))),
            compared(1000, 1094),
        ),
    ];
    assert_eq!(conclusions(&guarded), [Conclusion::Better, Conclusion::NonInferior]);
}

#[test]
fn a_guardrail_is_held_against_its_margin_in_the_bad_direction() {
    let guard = |goal, margin, baseline, candidate| {
        let metric = metric("g", Role::Guardrail, goal, Some(Margin::Absolute(margin)));
        conclusions(&[(metric, compared(baseline, candidate))])[0]
    };
    // Four points more: bad if less is better, good if more is.
    assert_eq!(guard(Goal::Decrease, 0.02, 1000, 1400), Conclusion::Inferior);
    assert_eq!(guard(Goal::Increase, 0.02, 1000, 1400), Conclusion::NonInferior);
    assert_eq!(guard(Goal::Increase, 0.02, 1400, 1000), Conclusion::Inferior);
    assert_eq!(guard(Goal::Decrease, 0.02, 1400, 1000), Conclusion::NonInferior);
    // The whole interval must be within the margin, not the difference alone.
    assert_eq!(guard(Goal::Decrease, 0.005, 1000, 1000), Conclusion::NoDifferenceShown);
    assert_eq!(guard(Goal::Decrease, 0.02, 1000, 1000), Conclusion::NonInferior);
}

#[test]
fn a_difference_is_the_candidates_value_minus_the_baselines() {
    let measured = [(primary("a"), compared(1000, 1400))];
    let judged = judge(&measured, Look::Fixed, Fraction::FIVE_PERCENT, &names());
    let result = &judged[0].candidates[0];
    assert_eq!((judged[0].baseline.variant.as_str(), result.variant.as_str()), ("plain", "fancy"));
    assert_eq!((judged[0].baseline.value, result.value), (Some(0.1), Some(0.14)));
    let [Some(low), Some(high)] = result.ci else { panic!("{result:?}") };
    assert!(0.0 < low && low < 0.04 && 0.04 < high, "{result:?}");
}
