use super::*;
use crate::answer::{Goal, Kind, Value};
use crate::check::{CheckName, CheckState};

fn metric(name: &str, role: Role, decision: Conclusion) -> MetricResult {
    let result = CandidateResult {
        variant: "fancy".to_owned(),
        n: 100,
        value: Some(0.5),
        baseline_value: Some(0.4),
        margin: (role == Role::Guardrail).then_some(0.02),
        diff: Some(0.1),
        ci: [Some(0.05), Some(0.15)],
        relative_lift: None,
        relative_lift_ci: [None; 2],
        p_value: None,
        log10_p: None,
        p_adjusted: None,
        statistic: None,
        df: None,
        p_best: None,
        expected_loss: None,
        method: String::new(),
        undefined: None,
        decision,
        phases: Vec::new(),
        adjustment: None,
        posterior: None,
    };
    MetricResult {
        name: name.to_owned(),
        role,
        kind: Kind::Ratio,
        goal: Goal::Increase,
        unit: None,
        is_share: true,
        margin: (role == Role::Guardrail).then_some(0.02),
        cap: None,
        baseline: Value { variant: "plain".to_owned(), n: 100, value: Some(0.4) },
        candidates: vec![result],
    }
}

fn grounds(metrics: &[MetricResult]) -> Grounds<'_> {
    Grounds {
        metrics,
        without_breaker: None,
        srm_mismatch: false,
        checks: &[],
        allow_srm: false,
        request_level: false,
        other_weights: 0.0,
        planned_reached: false,
        candidates: &["fancy"],
        baseline: "plain",
    }
}

fn judged(metrics: &[MetricResult], without_breaker: Option<&[MetricResult]>) -> Verdict {
    verdict(&Grounds { without_breaker, ..grounds(metrics) })
}

fn better() -> MetricResult {
    metric("accuracy", Role::Primary, Conclusion::Better)
}

#[test]
fn every_guardrail_must_hold() {
    for (guardrail, decision) in [
        (Conclusion::NonInferior, Decision::Promote),
        (Conclusion::Inferior, Decision::KeepBaseline),
        (Conclusion::NoDifferenceShown, Decision::Inconclusive),
        (Conclusion::Undefined, Decision::Inconclusive),
    ] {
        let metrics = [better(), metric("errors", Role::Guardrail, guardrail)];
        assert_eq!(judged(&metrics, None).decision, decision, "{guardrail:?}");
    }
}

#[test]
fn an_unsettled_guardrail_is_named_with_its_margin() {
    let guardrail = metric("errors", Role::Guardrail, Conclusion::NoDifferenceShown);
    let reasons = judged(&[better(), guardrail], None).reasons;
    assert_eq!(
        reasons.last().unwrap().to_string(),
        "the guardrail errors is not settled: fancy may still be worse by more than 2 points"
    );
}

#[test]
fn harm_without_the_open_breaker_keeps_the_baseline() {
    let metrics = [better()];
    assert_eq!(judged(&metrics, Some(&[better()])).decision, Decision::Promote);
    for (role, conclusion, decision) in [
        (Role::Guardrail, Conclusion::Inferior, Decision::KeepBaseline),
        (Role::Primary, Conclusion::Worse, Decision::KeepBaseline),
        (Role::Exploratory, Conclusion::Worse, Decision::Promote),
    ] {
        let without = [metric("errors", role, conclusion)];
        assert_eq!(judged(&metrics, Some(&without)).decision, decision, "{role:?}");
    }
}

#[test]
fn exploratory_metrics_decide_nothing() {
    let metrics = [better(), metric("basket", Role::Exploratory, Conclusion::Worse)];
    let verdict = judged(&metrics, None);
    assert_eq!((verdict.decision, verdict.reasons.len()), (Decision::Promote, 1));
}

#[test]
fn data_that_cannot_be_trusted_have_no_winner() {
    let metrics = [better()];
    let invalid =
        |reason| Verdict { decision: Decision::Invalid, winner: None, reasons: vec![reason] };
    let share = TOLERATED + 1e-6;
    let other_weights = verdict(&Grounds { other_weights: share, ..grounds(&metrics) });
    assert_eq!(other_weights, invalid(Reason::WeightsChanged { share }));
    let tolerated = Grounds { other_weights: TOLERATED, ..grounds(&metrics) };
    assert_eq!(verdict(&tolerated).decision, Decision::Promote);
    let mismatch = || Grounds { srm_mismatch: true, ..grounds(&metrics) };
    assert_eq!(verdict(&mismatch()), invalid(Reason::SampleRatioMismatch));
    let allowed = verdict(&Grounds { allow_srm: true, ..mismatch() });
    assert_eq!((allowed.decision, allowed.winner.as_deref()), (Decision::Promote, Some("fancy")));
    let only_allowed = verdict(&Grounds { allow_srm: true, ..grounds(&metrics) });
    assert_eq!(only_allowed.decision, Decision::Promote);
}

#[test]
fn requests_of_users_do_not_decide() {
    let metrics = [better()];
    let found = verdict(&Grounds { request_level: true, ..grounds(&metrics) });
    assert_eq!((found.decision, found.winner), (Decision::Inconclusive, None));
    let variant = "fancy".to_owned();
    assert_eq!(found.reasons.last(), Some(&Reason::RequestsDoNotDecide { variant }));
    // What harms may be kept off by requests.
    let harm = [metric("accuracy", Role::Primary, Conclusion::Worse)];
    let found = verdict(&Grounds { request_level: true, ..grounds(&harm) });
    assert_eq!((found.decision, found.reasons.len()), (Decision::KeepBaseline, 1));
}

#[test]
fn at_the_planned_units_the_baseline_stays_unless_a_candidate_wins() {
    let at_plan = |conclusion| {
        let metrics = [metric("accuracy", Role::Primary, conclusion)];
        let found = verdict(&Grounds { planned_reached: true, ..grounds(&metrics) });
        (
            found.decision,
            found.reasons.last().map(|reason| matches!(reason, Reason::NothingBetter { .. })),
        )
    };
    assert_eq!(at_plan(Conclusion::NoDifferenceShown), (Decision::KeepBaseline, Some(true)));
    assert_eq!(at_plan(Conclusion::Better), (Decision::Promote, Some(false)));
    assert_eq!(at_plan(Conclusion::Worse), (Decision::KeepBaseline, Some(false)));
    let metrics = [metric("accuracy", Role::Primary, Conclusion::NoDifferenceShown)];
    assert_eq!(judged(&metrics, None).decision, Decision::Inconclusive);
    let without_candidates = Grounds { candidates: &[], ..grounds(&metrics) };
    assert_eq!(verdict(&without_candidates).decision, Decision::Inconclusive);
}

#[test]
fn one_worse_metric_outweighs_all_better_ones() {
    let metrics = [better(), metric("revenue", Role::Primary, Conclusion::Worse), better()];
    let found = judged(&metrics, None);
    assert_eq!(found.decision, Decision::KeepBaseline);
    let kinds = found.reasons.iter().map(|reason| matches!(reason, Reason::Better(_)));
    assert_eq!(kinds.collect::<Vec<_>>(), [true, false, true]);
    // A primary metric that shows nothing, or that cannot be judged, does not stop a winner.
    for open in [Conclusion::NoDifferenceShown, Conclusion::Undefined] {
        let metrics = [better(), metric("revenue", Role::Primary, open)];
        assert_eq!(judged(&metrics, None).decision, Decision::Promote, "{open:?}");
        let alone = [metric("revenue", Role::Primary, open)];
        assert_eq!(judged(&alone, None).decision, Decision::Inconclusive, "{open:?}");
    }
    let undefined = [metric("revenue", Role::Primary, Conclusion::Undefined)];
    let reasons = judged(&undefined, None).reasons;
    assert!(matches!(reasons[..], [Reason::NotJudged { guardrail: false, .. }]), "{reasons:?}");
    let undefined = [metric("errors", Role::Guardrail, Conclusion::Undefined)];
    let reasons = judged(&undefined, None).reasons;
    assert!(matches!(reasons[..], [Reason::NotJudged { guardrail: true, .. }]), "{reasons:?}");
}

/// A metric with a result for each of two candidates: the conclusion, and how probably it is the best.
fn of_two(name: &str, results: [(Conclusion, f64); 2]) -> MetricResult {
    let mut metric = metric(name, Role::Primary, results[0].0);
    let mut second = metric.candidates[0].clone();
    second.variant = "shiny".to_owned();
    metric.candidates.push(second);
    for (candidate, (conclusion, p_best)) in metric.candidates.iter_mut().zip(results) {
        candidate.decision = conclusion;
        candidate.p_best = Some(p_best);
    }
    metric
}

#[test]
fn of_several_winners_the_one_that_is_probably_the_best_is_promoted() {
    use Conclusion::{Better, NoDifferenceShown, Worse};
    let winner = |metrics: &[MetricResult]| {
        let found = verdict(&Grounds { candidates: &["fancy", "shiny"], ..grounds(metrics) });
        (found.decision, found.winner)
    };
    let promoted = |name: &str| (Decision::Promote, Some(name.to_owned()));
    assert_eq!(winner(&[of_two("accuracy", [(Better, 0.4), (Better, 0.6)])]), promoted("shiny"));
    assert_eq!(winner(&[of_two("accuracy", [(Better, 0.6), (Better, 0.4)])]), promoted("fancy"));
    assert_eq!(winner(&[of_two("accuracy", [(Worse, 0.9), (Better, 0.1)])]), promoted("shiny"));
    // The first metric counts.
    let second = of_two("revenue", [(Better, 0.1), (Better, 0.9)]);
    let first = of_two("accuracy", [(Better, 0.6), (Better, 0.4)]);
    assert_eq!(winner(&[first, second]), promoted("fancy"));
    // The baseline is kept at once only if every candidate harms.
    let open = of_two("accuracy", [(Worse, 0.1), (NoDifferenceShown, 0.4)]);
    assert_eq!(winner(&[open]), (Decision::Inconclusive, None));
    let harm = of_two("accuracy", [(Worse, 0.1), (Worse, 0.1)]);
    assert_eq!(winner(&[harm]), (Decision::KeepBaseline, None));
}

/// What metrics show, whether the plan is reached, and what must follow.
type Row = (&'static [Conclusion], &'static [Conclusion], bool, Decision, Option<&'static str>);

/// Each row of the tables, from the conclusions to the sentence that ends the reasons.
#[test]
fn each_row_of_the_tables_decides() {
    use Conclusion::{Better, Inferior, NoDifferenceShown, NonInferior, Undefined, Worse};
    use Decision::{Inconclusive, KeepBaseline, Promote};
    const PLAN: &str = "the planned number of units is reached";
    let rows: &[Row] = &[
        (&[Better], &[NonInferior], false, Promote, None),
        (&[Better], &[NonInferior], true, Promote, None),
        (&[Better], &[], true, Promote, None),
        (&[NoDifferenceShown, Better], &[NonInferior], true, Promote, None),
        (&[Better, Undefined], &[NonInferior], true, Promote, None),
        (&[Better], &[NoDifferenceShown], false, Inconclusive, None),
        (
            &[Better],
            &[NonInferior, NoDifferenceShown],
            true,
            Inconclusive,
            Some("and fancy is better, but a"),
        ),
        (&[Better], &[Undefined], true, Inconclusive, Some("and fancy is better, but a")),
        (&[Better], &[Inferior], false, KeepBaseline, None),
        (&[Better], &[NoDifferenceShown, Inferior], true, KeepBaseline, None),
        (&[NoDifferenceShown], &[NonInferior], false, Inconclusive, None),
        (&[NoDifferenceShown], &[NonInferior], true, KeepBaseline, Some("better than plain")),
        (
            &[NoDifferenceShown, Undefined],
            &[NonInferior],
            true,
            KeepBaseline,
            Some("better than plain"),
        ),
        (&[NoDifferenceShown], &[NoDifferenceShown], false, Inconclusive, None),
        (&[NoDifferenceShown], &[Undefined], true, KeepBaseline, Some("better than plain")),
        (&[NoDifferenceShown], &[Inferior], false, KeepBaseline, None),
        (&[NoDifferenceShown], &[Inferior], true, KeepBaseline, None),
        (&[Undefined], &[NonInferior], false, Inconclusive, None),
        (&[Undefined], &[NonInferior], true, Inconclusive, Some("no primary metric can be judged")),
        (
            &[Undefined, Undefined],
            &[Undefined],
            true,
            Inconclusive,
            Some("no primary metric can be judged"),
        ),
        (&[], &[NonInferior], true, Inconclusive, Some("no primary metric can be judged")),
        (&[Undefined], &[Inferior], false, KeepBaseline, None),
        (&[Worse], &[NonInferior], false, KeepBaseline, None),
        (&[Worse], &[NoDifferenceShown], true, KeepBaseline, None),
        (&[Better, Worse], &[NonInferior], true, KeepBaseline, None),
        (&[Worse, Better], &[Inferior], false, KeepBaseline, None),
    ];
    for (primaries, guards, planned_reached, decision, ending) in rows {
        let all = primaries.iter().map(|found| metric("accuracy", Role::Primary, *found));
        let guards = guards.iter().map(|found| metric("errors", Role::Guardrail, *found));
        let metrics: Vec<MetricResult> = all.chain(guards).collect();
        let found = verdict(&Grounds { planned_reached: *planned_reached, ..grounds(&metrics) });
        let last = found.reasons.last().map(ToString::to_string).unwrap_or_default();
        let place = format!("{primaries:?} {planned_reached}: {last}");
        assert_eq!(found.decision, *decision, "{place}");
        assert_eq!(found.winner.is_some(), *decision == Decision::Promote, "{place}");
        assert_eq!(last.starts_with(PLAN), ending.is_some(), "{place}");
        assert!(last.contains(ending.unwrap_or_default()), "{place}");
    }
}

#[test]
fn the_best_of_several_candidates_decides_at_the_plan() {
    use Conclusion::{Better, Inferior, NoDifferenceShown, NonInferior, Undefined, Worse};
    // The conclusions of a primary metric and of a guardrail for each candidate; the decision before and at the plan; the end.
    let rows = [
        (
            [(Worse, NonInferior), (NoDifferenceShown, NonInferior)],
            Some("better than plain"),
            false,
        ),
        ([(Worse, NonInferior), (Worse, Inferior)], None, false),
        ([(Better, Inferior), (Worse, NonInferior)], None, false),
        (
            [(NoDifferenceShown, NonInferior), (Better, NoDifferenceShown)],
            Some("and shiny is better"),
            true,
        ),
        (
            [(Undefined, NonInferior), (Better, NoDifferenceShown)],
            Some("and shiny is better"),
            true,
        ),
        (
            [(NoDifferenceShown, NonInferior), (Undefined, NonInferior)],
            Some("judged for shiny"),
            true,
        ),
        // "fancy is better" stands among the reasons, so the last one must not say that none is.
        (
            [(Better, Inferior), (NoDifferenceShown, NonInferior)],
            Some("plain without harm in another metric"),
            false,
        ),
    ];
    for (row, ending, open) in rows {
        let two = |pick: fn((Conclusion, Conclusion)) -> Conclusion, name: &str, role: Role| {
            let mut metric = of_two(name, row.map(|pair| (pick(pair), 0.3)));
            metric.role = role;
            metric
        };
        let metrics = [
            two(|pair| pair.0, "accuracy", Role::Primary),
            two(|pair| pair.1, "errors", Role::Guardrail),
        ];
        let candidates = ["fancy", "shiny"];
        let at = |planned_reached| {
            verdict(&Grounds { planned_reached, candidates: &candidates, ..grounds(&metrics) })
        };
        let found = at(true);
        let last = found.reasons.last().unwrap().to_string();
        let decision = if open { Decision::Inconclusive } else { Decision::KeepBaseline };
        assert_eq!((found.decision, found.winner), (decision, None), "{row:?} {last}");
        assert!(
            last.ends_with(ending.unwrap_or_default()) || last.contains(ending.unwrap_or_default()),
            "{last}"
        );
        let harm = ending.is_none();
        let early = if harm { Decision::KeepBaseline } else { Decision::Inconclusive };
        assert_eq!(at(false).decision, early, "{row:?}");
    }
}

/// A reason never denies what another one states.
#[test]
fn better_is_not_denied_by_the_last_reason() {
    use Conclusion::{Better, Inferior, NoDifferenceShown, NonInferior, Undefined, Worse};
    for guard in [NonInferior, NoDifferenceShown, Inferior, Undefined] {
        for other in [Better, NoDifferenceShown, Undefined, Worse] {
            for planned_reached in [false, true] {
                let metrics = [
                    better(),
                    metric("revenue", Role::Primary, other),
                    metric("errors", Role::Guardrail, guard),
                ];
                let found = verdict(&Grounds { planned_reached, ..grounds(&metrics) });
                let texts: Vec<String> = found.reasons.iter().map(ToString::to_string).collect();
                assert!(texts.iter().any(|text| text.starts_with("fancy is better")), "{texts:?}");
                let denied = texts.iter().any(|text| text.ends_with("better than plain"));
                assert!(!denied, "{texts:?}");
            }
        }
    }
}

fn check(state: CheckState) -> Check {
    Check {
        name: CheckName::MatchedRows,
        state,
        subject: None,
        value: Some(0.0),
        limit: 0.0,
        variants: std::collections::BTreeMap::new(),
        message: "no row matches".to_owned(),
    }
}

#[test]
fn a_check_that_fails_blocks_every_decision() {
    let metrics = [];
    let checks = [CheckState::Ok, CheckState::Blocking].map(check);
    let found = verdict(&Grounds { checks: &checks, planned_reached: true, ..grounds(&metrics) });
    let reasons = vec![Reason::from(check(CheckState::Blocking))];
    assert_eq!(found, Verdict { decision: Decision::Invalid, winner: None, reasons });
    let text = found.reasons[0].to_string();
    assert_eq!(text, "no row matches (--allow matched_rows continues anyway)");
    for state in [CheckState::Ok, CheckState::Warning, CheckState::Accepted] {
        let checks = [check(state)];
        let found = verdict(&Grounds { checks: &checks, ..grounds(&metrics) });
        assert_ne!(found.decision, Decision::Invalid, "{state:?}");
    }
    // All of them are shown, behind a broken split.
    let checks = [check(CheckState::Blocking)];
    let found = verdict(&Grounds { checks: &checks, srm_mismatch: true, ..grounds(&metrics) });
    assert_eq!((found.decision, found.reasons.len()), (Decision::Invalid, 2));
}
