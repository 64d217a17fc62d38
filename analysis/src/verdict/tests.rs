use super::*;
use crate::answer::{Goal, Kind, Value};

fn metric(name: &str, role: Role, decision: Conclusion) -> MetricResult {
    let result = CandidateResult {
        variant: "fancy".to_owned(),
        n: 100,
        value: Some(0.5),
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
    };
    MetricResult {
        name: name.to_owned(),
        role,
        kind: Kind::Ratio,
        goal: Goal::Increase,
        unit: None,
        is_share: true,
        margin: (role == Role::Guardrail).then_some(0.02),
        baseline: Value { variant: "plain".to_owned(), n: 100, value: Some(0.4) },
        candidates: vec![result],
    }
}

fn grounds(metrics: &[MetricResult]) -> Grounds<'_> {
    Grounds {
        metrics,
        without_breaker: None,
        srm_mismatch: false,
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
