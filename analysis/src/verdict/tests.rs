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

fn judged(metrics: &[MetricResult], without_breaker: Option<&[MetricResult]>) -> Verdict {
    verdict(&Grounds {
        metrics,
        without_breaker,
        srm_mismatch: false,
        allow_srm: false,
        request_level: false,
        other_weights: 0.0,
        planned_reached: false,
        candidates: &["fancy"],
        baseline: "plain",
    })
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
