use sidetrack_stats::input::{Fraction, Proportion};
use sidetrack_stats::score::Score;

use super::*;
use crate::metric::{Absent, Margin, Measure, Origin};

const NAMES: [&str; 2] = ["plain", "fancy"];

fn names() -> Names<'static> {
    Names { variants: NAMES.to_vec(), baseline: 0, strata: vec![None] }
}

fn metric(name: &str, role: Role, goal: Goal, margin: Option<Margin>) -> Metric {
    let (measure, origin) = (Measure::Proportion, Origin::Column(0));
    let (name, absent, cap) = (name.to_owned(), Absent::Zero, None);
    let (model, llm, per) = (None, None, None);
    Metric { name, role, measure, origin, goal, absent, margin, cap, model, llm, per }
}

/// Successes of 10 000 units each.
fn compared(baseline: u64, candidate: u64) -> Vec<Compared> {
    let share = |successes| Proportion::new(successes, 10_000).unwrap();
    let score = Score::of_shares(&[(share(baseline), share(candidate))], 1.0).unwrap();
    vec![Compared {
        candidate: 1,
        sizes: (10_000, 10_000),
        comparison: Ok(score.comparison(Fraction::FIVE_PERCENT)),
        method: String::new(),
        strata: Vec::new(),
        posteriors: score.posteriors(),
        score: Some(Scored::Shares(score)),
        adjusted: None,
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

/// A comparison of units that all have the same value.
fn constant(values: (f64, f64), sizes: (u64, u64)) -> Vec<Compared> {
    let side = |value, units| sidetrack_stats::strata::Side { value, variance: 0.0, units };
    let sides = [(side(values.0, sizes.0), side(values.1, sizes.1))];
    vec![Compared {
        candidate: 1,
        sizes,
        comparison: sidetrack_stats::strata::merge(&sides, 0.0, Fraction::FIVE_PERCENT),
        method: "ratio".to_owned(),
        strata: Vec::new(),
        posteriors: None,
        score: None,
        adjusted: None,
    }]
}

fn always(planned: u64) -> Look {
    Look::Always(ConfidenceSequence::new(planned, Fraction::FIVE_PERCENT).unwrap())
}

fn result(metric: Metric, compared: Vec<Compared>, look: Look) -> CandidateResult {
    let judged = judge(&[(metric, compared)], look, Fraction::FIVE_PERCENT, &names());
    judged.into_iter().next().unwrap().candidates.into_iter().next().unwrap()
}

/// A guardrail of half a point on shares of `units`, so many of which failed.
fn guarded(failed: (u64, u64), units: (u64, u64), look: Look) -> CandidateResult {
    let share = |failed, units| Proportion::new(failed, units).unwrap();
    let shares = (share(failed.0, units.0), share(failed.1, units.1));
    let score = Score::of_shares(&[shares], 1.0).unwrap();
    let compared = Compared {
        sizes: units,
        comparison: Ok(score.comparison(Fraction::FIVE_PERCENT)),
        score: Some(Scored::Shares(score)),
        ..compared(1, 1).remove(0)
    };
    let margin = Some(Margin::Absolute(0.005));
    result(metric("error_rate", Role::Guardrail, Goal::Decrease, margin), vec![compared], look)
}

#[test]
fn without_a_single_failure_the_interval_says_how_frequent_they_may_be() {
    let found = guarded((0, 0), (1000, 500), Look::Fixed);
    let high = found.ci[1].unwrap();
    // The rule of three, for two sides: 3.7 of 500.
    assert!((0.006..0.010).contains(&high), "{high}");
    assert_eq!((found.p_value, found.decision), (None, Conclusion::NoDifferenceShown));
    assert!(found.method.ends_with("; undefined: zero variance"), "{}", found.method);
    // The other way round where all units fail, and wider if it is looked at repeatedly.
    let all = guarded((1000, 500), (1000, 500), Look::Fixed);
    assert!((all.ci[0].unwrap() + high).abs() < 1e-9, "{all:?}");
    let wider = guarded((0, 0), (1000, 500), always(1500));
    assert!(wider.ci[1].unwrap() > 1.5 * high, "{wider:?}");
    let enough = guarded((0, 0), (10_000, 10_000), Look::Fixed);
    assert_eq!(enough.decision, Conclusion::NonInferior);
}

#[test]
fn a_few_failures_break_no_guardrail_and_many_do() {
    for look in [Look::Fixed, always(10_000)] {
        let few = guarded((0, 4), (9950, 50), look);
        assert_eq!((few.decision, few.p_value), (Conclusion::NoDifferenceShown, None));
        assert_eq!(few.undefined, Some(Undefined::FewEvents));
    }
    assert_eq!(guarded((0, 9), (9950, 50), Look::Fixed).decision, Conclusion::Inferior);
    assert_eq!(guarded((50, 60), (9500, 500), always(10_000)).decision, Conclusion::Inferior);
}

#[test]
fn an_always_valid_p_value_is_never_below_the_fixed_one() {
    for (failed, units) in [((190, 2), (9500, 500)), ((40, 9), (950, 50)), ((90, 160), (900, 900))]
    {
        let fixed = guarded(failed, units, Look::Fixed).p_value.unwrap();
        for planned in [100, 1000, 2500, 10_000, 1_000_000] {
            let always = guarded(failed, units, always(planned));
            assert!(always.p_value.unwrap() >= fixed, "{failed:?} {planned}: {always:?}");
        }
    }
}

#[test]
fn a_guardrail_without_variance_is_exact_from_a_hundred_units_on() {
    let latency = |role, margin| Metric {
        measure: Measure::Ratio,
        origin: Origin::Latency,
        ..metric("latency_mean", role, Goal::Decrease, margin)
    };
    let guard = |margin| latency(Role::Guardrail, Some(Margin::Absolute(margin)));
    let judged = |margin, worse: f64, units: u64, look| {
        let found = result(guard(margin), constant((1.0, 1.0 + worse), (units - 50, 50)), look);
        (found.ci[0], found.decision)
    };
    let unknown = (None, Conclusion::Undefined);
    for look in [Look::Fixed, always(1000)] {
        assert_eq!(judged(0.5, 0.25, 100, look), (Some(0.25), Conclusion::NonInferior));
        assert_eq!(judged(0.5, 0.25, 99, look), unknown);
    }
    // At the margin it is neither within nor beyond; at a margin of 0, no change is within.
    for (margin, worse, conclusion) in [
        (0.5, 0.5, Conclusion::NoDifferenceShown),
        (0.5, 0.75, Conclusion::Inferior),
        (0.5, -0.5, Conclusion::NonInferior),
        (0.0, 0.0, Conclusion::NonInferior),
        (0.0, 0.25, Conclusion::Inferior),
        (0.0, -0.25, Conclusion::NonInferior),
    ] {
        assert_eq!(judged(margin, worse, 1000, Look::Fixed).1, conclusion, "{margin} {worse}");
    }
    // Another metric says why it is not judged.
    let found =
        result(latency(Role::Primary, None), constant((1.0, 1.25), (500, 500)), Look::Fixed);
    assert_eq!((found.ci, found.decision), ([None; 2], Conclusion::Undefined));
    assert_eq!(found.method, "ratio; undefined: zero variance");
    assert_eq!((found.diff, found.undefined), (Some(0.25), Some(Undefined::ZeroVariance)));
}

#[test]
fn a_relative_margin_is_of_the_baselines_value() {
    let guard = |margin| {
        let metric = metric("g", Role::Guardrail, Goal::Decrease, Some(margin));
        let judged =
            judge(&[(metric, compared(2000, 2050))], Look::Fixed, Fraction::FIVE_PERCENT, &names());
        (judged[0].margin.map(|margin| (margin * 1e6).round()), judged[0].candidates[0].decision)
    };
    // The interval reaches to 1.6 points, 8 % of the baseline's 20 %.
    assert_eq!(guard(Margin::Relative(0.1)), (Some(20_000.0), Conclusion::NonInferior));
    assert_eq!(guard(Margin::Relative(0.05)), (Some(10_000.0), Conclusion::NoDifferenceShown));
    assert_eq!(guard(Margin::Absolute(0.01)).1, Conclusion::NoDifferenceShown);
}

#[test]
fn better_is_in_the_direction_of_the_goal() {
    let decided = |goal, candidate| {
        let metric = metric("a", Role::Primary, goal, None);
        conclusions(&[(metric, compared(1000, candidate))])[0]
    };
    assert_eq!(decided(Goal::Increase, 1400), Conclusion::Better);
    assert_eq!(decided(Goal::Increase, 700), Conclusion::Worse);
    assert_eq!(decided(Goal::Decrease, 1400), Conclusion::Worse);
    assert_eq!(decided(Goal::Decrease, 700), Conclusion::Better);
    assert_eq!(decided(Goal::Decrease, 1001), Conclusion::NoDifferenceShown);
}

#[test]
fn too_few_data_leave_everything_undefined() {
    let nothing = Compared { comparison: Err(Undefined::TooFew), ..compared(1, 1).remove(0) };
    for role in [Role::Primary, Role::Guardrail] {
        let metric = metric("a", role, Goal::Increase, Some(Margin::Absolute(0.1)));
        let found = result(metric, vec![nothing.clone()], Look::Fixed);
        assert_eq!((found.value, found.diff, found.ci), (None, None, [None; 2]));
        assert_eq!(
            (found.decision, found.method.as_str()),
            (Conclusion::Undefined, "; undefined: too few data")
        );
    }
    // The sequential interval needs at least a hundred units.
    let share = |successes| Proportion::new(successes, 49).unwrap();
    let score = Score::of_shares(&[(share(5), share(15))], 1.0).unwrap();
    let few = Compared {
        sizes: (49, 49),
        comparison: Ok(score.comparison(Fraction::FIVE_PERCENT)),
        posteriors: score.posteriors(),
        score: Some(Scored::Shares(score)),
        ..compared(1, 1).remove(0)
    };
    let found = result(primary("a"), vec![few], always(1000));
    assert_eq!((found.ci, found.relative_lift_ci, found.p_value), ([None; 2], [None; 2], None));
    assert_eq!(found.decision, Conclusion::Undefined);
    assert!(found.diff.is_some() && found.p_best.is_some(), "{found:?}");
}

#[test]
fn the_probability_to_be_the_best_takes_each_variants_own_error() {
    use sidetrack_stats::input::Sample;
    use sidetrack_stats::means;
    let against = |mean: f64, index| {
        let sample = |mean, sd| Sample::new(mean, sd, 400).unwrap();
        let comparison =
            means::compare(sample(100.0, 20.0), sample(mean, 1.0), Fraction::FIVE_PERCENT);
        Compared {
            candidate: index,
            comparison: Ok(comparison),
            posteriors: None,
            ..compared(1, 1).remove(0)
        }
    };
    let names =
        Names { variants: vec!["plain", "fancy", "shiny"], baseline: 0, strata: vec![None] };
    let best = |means: [f64; 2], goal| {
        let measured =
            Metric { measure: Measure::Mean, ..metric("revenue", Role::Primary, goal, None) };
        let measured = [(measured, vec![against(means[0], 1), against(means[1], 2)])];
        let judged = judge(&measured, Look::Fixed, Fraction::FIVE_PERCENT, &names);
        judged[0].candidates.iter().map(|found| found.p_best.unwrap()).collect::<Vec<_>>()
    };
    // Standard errors of 1, 0.05 and 0.05, integrated by SciPy. With the baseline's error shared out by sizes it would be
    // 0.31 and 0.37.
    let wanted = [0.041_391_838_138_023_47, 0.499_386_849_236_408_1];
    for (found, wanted) in best([100.0, 100.1], Goal::Increase).into_iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
    }
    let wanted = [0.440_284_744_864_336_8, 0.009_065_621_506_397_701];
    let mirrored = best([99.85, 100.0], Goal::Decrease);
    assert!((mirrored[1] - wanted[1]).abs() < 1e-9, "{mirrored:?}");
}

#[test]
fn a_baseline_without_errors_of_its_own_can_still_be_beaten() {
    use sidetrack_stats::strata::{Side, merge};
    let side = |value, variance| Side { value, variance, units: 400 };
    let against = |candidate, value| Compared {
        candidate,
        comparison: merge(&[(side(1.0, 0.0), side(value, 0.01))], 0.0, Fraction::FIVE_PERCENT),
        posteriors: None,
        ..compared(1, 1).remove(0)
    };
    let measured = Metric { measure: Measure::Ratio, ..primary("a") };
    let names =
        Names { variants: vec!["plain", "fancy", "shiny"], baseline: 0, strata: vec![None] };
    let measured = [(measured, vec![against(1, 1.0), against(2, 1.1)])];
    let judged = judge(&measured, Look::Fixed, Fraction::FIVE_PERCENT, &names);
    let best: Vec<f64> = judged[0].candidates.iter().map(|found| found.p_best.unwrap()).collect();
    // Two normal candidates against a constant: the probability that the first one is above both, by SciPy.
    assert!(best[0] > 0.2 && best[1] > 0.6 && best[0] + best[1] < 1.0, "{best:?}");
}

#[test]
fn each_comparison_has_the_baselines_value_of_its_own_phases() {
    use sidetrack_stats::strata::{Side, merge};
    let side = |value, units| Side { value, variance: 0.001, units };
    // The second candidate joined late, in the phase in which all values are higher.
    let of = |candidate, second: [u64; 2]| Compared {
        candidate,
        comparison: merge(
            &[(side(1.0, 1000), side(1.1, second[0])), (side(2.0, 1000), side(2.1, second[1]))],
            0.0,
            Fraction::FIVE_PERCENT,
        ),
        posteriors: None,
        ..compared(1, 1).remove(0)
    };
    let guard = Metric {
        measure: Measure::Ratio,
        ..metric("a", Role::Guardrail, Goal::Decrease, Some(Margin::Relative(0.1)))
    };
    let names =
        Names { variants: vec!["plain", "fancy", "shiny"], baseline: 0, strata: vec![None] };
    let measured = [(guard, vec![of(1, [1000, 1000]), of(2, [0, 1000])])];
    let judged = judge(&measured, Look::Fixed, Fraction::FIVE_PERCENT, &names).remove(0);
    let baselines: Vec<f64> =
        judged.candidates.iter().map(|found| found.baseline_value.unwrap()).collect();
    assert_eq!(baselines, [1.5, 2.0]);
    for found in &judged.candidates {
        let gap = found.value.unwrap() - found.baseline_value.unwrap() - found.diff.unwrap();
        assert!(gap.abs() < 1e-12, "{found:?}");
        let margin = found.margin.unwrap() - 0.1 * found.baseline_value.unwrap();
        assert!(margin.abs() < 1e-12, "{found:?}");
    }
    assert!(!judged.has_one_baseline());
}

/// Events and units of the baseline and of the candidate.
type Shares = ((u64, u64), (u64, u64));

#[test]
fn a_variant_without_events_is_not_certain_to_be_the_best() {
    let share = |(x, n)| Proportion::new(x, n).unwrap();
    let best = |strata: &[Shares]| {
        let pairs: Vec<_> = strata.iter().map(|(one, two)| (share(*one), share(*two))).collect();
        let score = Score::of_shares(&pairs, 1.0).unwrap();
        let found = Compared {
            comparison: Ok(score.comparison(Fraction::FIVE_PERCENT)),
            posteriors: score.posteriors(),
            score: Some(Scored::Shares(score)),
            ..compared(1, 1).remove(0)
        };
        let metric = metric("errors", Role::Primary, Goal::Decrease, None);
        judge(&[(metric, vec![found])], Look::Fixed, Fraction::FIVE_PERCENT, &names())
            .remove(0)
            .candidates
            .remove(0)
            .p_best
            .unwrap()
    };
    // No failures of 50 where 2 % fail, by SciPy: Beta distributions in one phase, normal ones in two.
    for (found, wanted) in [
        (best(&[((19, 950), (0, 50))]), 0.651_839_204_855_166_6),
        (best(&[((10, 475), (0, 25)), ((10, 475), (0, 25))]), 0.793_662_624_648_331_8),
    ] {
        assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
    }
}

#[test]
fn a_mean_latency_cannot_fall_by_more_than_all_of_it() {
    use sidetrack_stats::strata::{Side, merge};
    let side = |value, variance| Side { value, variance, units: 400 };
    let lift = |origin| {
        let comparison = merge(&[(side(1.0, 0.03), side(0.4, 0.3))], 0.0, Fraction::FIVE_PERCENT);
        let found =
            Compared { comparison, posteriors: None, score: None, ..compared(1, 1).remove(0) };
        let measured = Metric { measure: Measure::Ratio, origin, ..primary("a") };
        result(measured, vec![found], Look::Fixed).relative_lift_ci[0].unwrap()
    };
    assert_eq!(lift(Origin::Latency), -1.0);
    // A profit can become a loss.
    assert!(lift(Origin::Column(0)) < -1.5);
}
