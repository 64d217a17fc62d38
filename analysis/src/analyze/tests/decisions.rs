//! How metrics are decided: planned looks, corrections, priors; and ratios of two columns.

use sidetrack::config::{Bayes, BayesRule};
use sidetrack::plan::Correction;
use sidetrack_stats::group_sequential::Repeated;

use super::*;
use crate::answer::CandidateResult;

/// An analysis of so many units; `value` is what a unit has of the columns.
fn found(
    columns: &str,
    units: u64,
    value: impl Fn(u64) -> String,
    settings: &Settings,
) -> Result<Analysis, String> {
    let log: String = (0..units).map(|unit| line(unit, unit, &ok(100))).collect();
    let rows: String = (0..units).map(|unit| format!("u{unit},{}\n", value(unit))).collect();
    let rows = format!("unit,{columns}\n{rows}");
    analyzed(FILE, log.as_bytes(), Some(&rows), settings).map(|(analysis, _)| analysis)
}

fn asked(metrics: &[&str], methods: Methods) -> Settings {
    let primary = metrics.iter().map(|metric| metric.parse().unwrap()).collect();
    Settings {
        methods,
        metrics: MetricRequests { primary, ..MetricRequests::default() },
        ..settings()
    }
}

/// The first candidate of a metric.
fn of<'a>(analysis: &'a Analysis, name: &str) -> &'a CandidateResult {
    let metric = analysis.metrics.iter().find(|metric| metric.name == name).unwrap();
    &metric.candidates[0]
}

/// A number that is larger for the candidate, by a small part of its spread.
fn number(unit: u64, more: u64) -> String {
    (unit / 2 * 7919 % 101 + more * (unit % 2)).to_string()
}

#[test]
fn primary_metrics_are_tested_at_the_planned_looks_only() {
    let at = |units, more| {
        let methods = Methods { looks: Some(5), ..Methods::default() };
        let settings = Settings { planned_units: Some(1000), ..asked(&["revenue=mean"], methods) };
        found("revenue", units, |unit| number(unit, more), &settings).unwrap()
    };
    // Far beyond any bound, but between two looks.
    let between = at(500, 60);
    let look = between.sequential.clone().unwrap();
    assert_eq!((look.look, look.looks, look.units, look.next_units), (3, 5, 500, Some(600)));
    assert_eq!(
        (between.test, between.decision),
        (TestMode::GroupSequential, Decision::Inconclusive)
    );
    let result = of(&between, "revenue");
    assert_eq!((result.p_value, result.decision), (None, Conclusion::Undefined));
    assert!(result.ci[0] > Some(0.0), "an always-valid interval");
    assert!(result.method.contains("nothing is decided between two planned looks"));
    // Guardrails are judged at any time.
    assert!(of(&between, "error_rate").decision != Conclusion::Undefined);
    let third = at(600, 60);
    assert_eq!(third.sequential.as_ref().unwrap().next_units, None);
    assert_eq!(of(&third, "revenue").decision, Conclusion::Better);
    // At a look, the p-value is that of its bound.
    let look = at(650, 5);
    let bounds = Repeated::new(0.65, 5, Fraction::FIVE_PERCENT).unwrap();
    let result = of(&look, "revenue");
    let p = bounds.p_value(result.statistic.unwrap());
    assert!((result.p_value.unwrap() / p.get() - 1.0).abs() < 1e-12 && p.get() < 1.0);
    let half = (result.ci[1].unwrap() - result.ci[0].unwrap()) / 2.0;
    let error = result.diff.unwrap() / result.statistic.unwrap();
    assert!((half / error - bounds.critical()).abs() < 1e-9);
    // The last look, and beyond it.
    let last = at(1000, 0);
    assert_eq!((last.test, last.decision), (TestMode::GroupSequential, Decision::KeepBaseline));
    let beyond = at(1200, 0);
    assert_eq!((beyond.test, beyond.sequential.is_none()), (TestMode::AlwaysValid, true));
}

#[test]
fn the_correction_of_the_plan_is_over_the_primary_metrics() {
    let value = |unit: u64| format!("{},{},{}", number(unit, 6), number(unit, 5), number(unit, 1));
    let metrics = ["a=mean:increase", "b=mean:increase", "c=mean:increase"];
    let of = |correction| {
        let methods = Methods { correction, ..Methods::default() };
        let settings = Settings { planned_units: Some(2000), ..asked(&metrics, methods) };
        let analysis = found("a,b,c", 2000, value, &settings).unwrap();
        ["a", "b", "c"].map(|name| {
            let result = of(&analysis, name);
            (result.p_value.unwrap(), result.p_adjusted.unwrap())
        })
    };
    let [a, b, c] = of(None);
    let near = |found: f64, wanted: f64| assert!((found / wanted - 1.0).abs() < 1e-9, "{found}");
    assert!(a.0 < b.0 && b.0 < c.0 && c.0 < 1.0);
    near(a.1, 3.0 * a.0);
    near(b.1, 2.0 * b.0);
    assert_eq!(of(Some(Correction::Holm)), of(None));
    let [a, b, _] = of(Some(Correction::BenjaminiHochberg));
    near(a.1, 3.0 * a.0);
    near(b.1, 1.5 * b.0);
    for (p, adjusted) in of(Some(Correction::None)) {
        near(adjusted, p);
    }
}

#[test]
fn a_prior_is_reported_and_decides_only_if_the_plan_says_so() {
    let with = |bayes: Bayes, metric: &str| {
        let methods = Methods { bayes: Some(bayes), ..Methods::default() };
        let settings = Settings { planned_units: Some(2000), ..asked(&[metric], methods) };
        found("a", 2000, |unit| number(unit, 3), &settings).unwrap()
    };
    let flat = Bayes { mean: 0.0, sd: 10.0, relative: true, equivalence: Some(0.01), decide: None };
    let analysis = with(flat, "a=mean:increase");
    let result = of(&analysis, "a");
    let posterior = result.posterior.clone().unwrap();
    // A prior that says next to nothing leaves the estimate.
    assert!((posterior.mean - result.relative_lift.unwrap()).abs() < 1e-4, "{posterior:?}");
    assert!((posterior.interval[0] - result.relative_lift_ci[0].unwrap()).abs() < 1e-3);
    assert!(posterior.p_better > 0.9 && posterior.p_equivalent.unwrap() < 0.1);
    assert_eq!(result.decision, Conclusion::Better);
    // A narrow prior at 0 pulls it there.
    let narrow = with(Bayes { sd: 0.005, ..flat }, "a=mean:increase");
    let pulled = of(&narrow, "a").posterior.clone().unwrap();
    assert!(pulled.mean < 0.2 * posterior.mean && pulled.p_better < posterior.p_better);
    assert_eq!(of(&narrow, "a").decision, Conclusion::Better, "it decides nothing");
    let decide = Some(BayesRule { probability: 0.95, loss: 0.001 });
    let rule = |sd, metric: &str| of(&with(Bayes { sd, decide, ..flat }, metric), "a").decision;
    assert_eq!(rule(0.005, "a=mean:increase"), Conclusion::NoDifferenceShown);
    assert_eq!(rule(10.0, "a=mean:increase"), Conclusion::Better);
    assert_eq!(rule(10.0, "a=mean:decrease"), Conclusion::Worse);
    // In the metric's own unit.
    let own = with(Bayes { relative: false, ..flat }, "a=mean:increase");
    let result = of(&own, "a");
    assert!((result.posterior.clone().unwrap().mean - result.diff.unwrap()).abs() < 0.1);
}

#[test]
fn a_prior_that_the_data_contradict_does_not_outvote_them() {
    let decide = Some(BayesRule { probability: 0.95, loss: 0.001 });
    let with = |mean, sd, metric: &str| {
        let bayes = Bayes { mean, sd, relative: true, equivalence: None, decide };
        let methods = Methods { bayes: Some(bayes), ..Methods::default() };
        let settings = Settings { planned_units: Some(2000), ..asked(&[metric], methods) };
        found("a", 2000, |unit| number(unit, 3), &settings).unwrap()
    };
    // A certain prior of a loss, and one of a gain where there is a loss.
    for (mean, metric) in [(-5.0, "a=mean:increase"), (5.0, "a=mean:decrease")] {
        let analysis = with(if metric.ends_with("increase") { mean } else { -mean }, 1e-3, metric);
        let result = of(&analysis, "a");
        assert_eq!(result.decision, Conclusion::Undefined, "{metric} {result:?}");
        assert!(result.method.contains("the data contradict the prior"), "{}", result.method);
        let reasons: Vec<String> = analysis.reasons.iter().map(ToString::to_string).collect();
        let named = |reason: &String| reason.contains("the data contradict the prior");
        assert!(reasons.iter().any(named), "{reasons:?}");
    }
    // Where both agree, it decides, however far apart they are.
    let agreed = with(5.0, 1e-3, "a=mean:increase");
    assert_eq!(of(&agreed, "a").decision, Conclusion::Better);
    let reasons: Vec<String> = agreed.reasons.iter().map(ToString::to_string).collect();
    let told = reasons.iter().find(|reason| reason.starts_with("a by the prior: ")).unwrap();
    assert!(told.contains("is better with a probability of 100 %"), "{told}");
}

#[test]
fn a_ratio_of_two_columns_is_a_ratio_of_sums_over_units() {
    // Of each unit, its sum of revenue and of orders; every tenth has none.
    let value = |unit: u64| match unit % 10 {
        9 => "0,0".to_owned(),
        _ => format!("{},{}", 10 * (1 + unit % 3) + unit % 7, 1 + unit % 3),
    };
    let analysis = found(
        "revenue,orders",
        400,
        value,
        &asked(&["revenue/orders:increase"], Methods::default()),
    )
    .unwrap();
    let metric = &analysis.metrics[0];
    assert_eq!((metric.name.as_str(), metric.kind), ("revenue/orders", crate::answer::Kind::Ratio));
    let ratio = |odd: u64| {
        let mut sums = (0.0, 0.0);
        for unit in (0..400u64).filter(|unit| unit % 2 == odd && unit % 10 != 9) {
            sums.0 += f64::from(u32::try_from(10 * (1 + unit % 3) + unit % 7).unwrap());
            sums.1 += f64::from(u32::try_from(1 + unit % 3).unwrap());
        }
        sums.0 / sums.1
    };
    let result = &metric.candidates[0];
    assert!((metric.baseline.value.unwrap() - ratio(0)).abs() < 1e-12);
    assert!((result.value.unwrap() - ratio(1)).abs() < 1e-12);
    assert_eq!(result.method, "ratio over units, delta method");
    let error = |metric: &str| {
        found("revenue,orders", 200, value, &asked(&[metric], Methods::default())).unwrap_err()
    };
    assert!(error("revenue/orders=mean").contains("write revenue/orders=ratio"));
    assert!(error("revenue/visits=ratio").contains("no outcome has revenue/visits"));
}
