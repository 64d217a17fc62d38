use super::*;
use crate::answer::{Conclusion, Kind, MetricUnit, Role, Value};

fn metric(name: &str, goal: Goal, diff: Option<f64>, ci: [Option<f64>; 2]) -> MetricResult {
    let result = CandidateResult {
        variant: "fancy".to_owned(),
        n: 100,
        value: None,
        baseline_value: None,
        margin: None,
        diff,
        ci,
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
        decision: Conclusion::Undefined,
        phases: Vec::new(),
        adjustment: None,
        posterior: None,
    };
    MetricResult {
        name: name.to_owned(),
        role: Role::Primary,
        kind: Kind::Ratio,
        goal,
        unit: (name == "latency_mean").then_some(MetricUnit::Seconds),
        is_share: name == ACCURACY,
        margin: None,
        cap: None,
        baseline: Value { variant: "plain".to_owned(), n: 100, value: None },
        candidates: vec![result],
    }
}

/// Accuracy and latency, each with its difference; intervals reach 0.006 and 0.001 to both sides.
fn both(points: f64, seconds: f64) -> [MetricResult; 2] {
    let ci = |center: f64, half: f64| [Some(center - half), Some(center + half)];
    [
        metric(ACCURACY, Goal::Increase, Some(points), ci(points, 0.006)),
        metric("latency_mean", Goal::Decrease, Some(seconds), ci(seconds, 0.001)),
    ]
}

fn prices(texts: &[&str]) -> Vec<Price> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn close(found: Option<f64>, wanted: f64) {
    assert!(found.is_some_and(|found| (found - wanted).abs() < 1e-12), "{found:?}, not {wanted}");
}

#[test]
fn gains_and_costs_at_the_prices() {
    let prices = prices(&["accuracy=0.02", "latency_mean=0.001"]);
    let [found] = &expected_values(&both(0.036, 0.017), &prices)[..] else { panic!("one") };
    // 3.6 points at 0.02 less 17 ms at 0.001, and both errors together: 0.6 · 0.02 + 1 · 0.001.
    close(found.net, 0.072 - 0.017);
    close(found.net_ci[0], 0.055 - 0.013);
    close(found.net_ci[1], 0.055 + 0.013);
    close(found.ms_per_point, 17.0 / 3.6);
    let parts: Vec<_> = found.parts.iter().map(|part| (&*part.metric, part.value_per)).collect();
    assert_eq!(parts, [(ACCURACY, 0.02), ("latency_mean", 0.001)]);
    close(Some(found.parts[0].gain), 3.6);
    close(Some(found.parts[1].gain), -17.0);
    assert_eq!(
        found.sentence,
        "fancy brings 3.60 points of accuracy and costs 17.0 ms of mean latency; worth it where a \
         point of accuracy is worth more than 4.7 ms. fancy: +0.0550 net per prediction, at your \
         prices (from +0.0420 to +0.0680)"
    );
}

#[test]
fn a_trade_off_exists_only_where_one_gains_and_the_other_costs() {
    for (points, seconds, sentence) in [
        (0.01, -0.005, "fancy brings 1.00 points of accuracy and saves 5.0 ms of mean latency"),
        (-0.01, -0.005, "fancy loses 1.00 points of accuracy and saves 5.0 ms of mean latency"),
        (-0.01, 0.005, "fancy loses 1.00 points of accuracy and costs 5.0 ms of mean latency"),
        // Less than the interval's 0.6 points and 1 ms to both sides is not settled.
        (
            0.005,
            0.005,
            "fancy shows no significant difference in accuracy and costs 5.0 ms of mean latency",
        ),
        (-0.005, -0.0005, "fancy shows no significant difference in accuracy or mean latency"),
        (
            0.01,
            0.0005,
            "fancy brings 1.00 points of accuracy and shows no significant difference in mean latency",
        ),
    ] {
        let [found] = &expected_values(&both(points, seconds), &[])[..] else { panic!("one") };
        assert_eq!(found.sentence, sentence);
        assert_eq!((found.ms_per_point, found.net, found.net_ci), (None, None, [None; 2]));
        assert!(found.parts.is_empty());
    }
}

#[test]
fn a_part_without_an_interval_leaves_the_sum_without_one() {
    let revenue = metric("revenue", Goal::Increase, Some(0.5), [None; 2]);
    let [found] = &expected_values(&[revenue], &prices(&["revenue=2", "unknown=1"]))[..] else {
        panic!("one")
    };
    close(found.net, 1.0);
    assert_eq!((found.net_ci, found.parts.len()), ([None; 2], 1));
    assert_eq!(
        found.sentence,
        "fancy: whether it gains or loses at your prices is not settled, because a metric has no \
         interval"
    );
}

#[test]
fn a_net_value_whose_interval_contains_zero_is_not_stated() {
    // 0.5 points ± 0.6: the net value is from -0.1 to 1.1 points' worth.
    let prices = prices(&["accuracy=0.02"]);
    let [found] = &expected_values(&both(0.005, 0.017), &prices)[..] else { panic!("one") };
    close(found.net, 0.01);
    close(found.net_ci[0], -0.002);
    close(found.net_ci[1], 0.022);
    assert_eq!(
        found.sentence,
        "fancy shows no significant difference in accuracy and costs 17.0 ms of mean latency. fancy: \
         whether it gains or loses at your prices is not settled (from -0.00200 to +0.0220 net per \
         prediction)"
    );
}

#[test]
fn a_net_interval_adds_up_the_ends_that_belong_together() {
    // Intervals that reach further to one side: 1 point (0.9 to 2), and 10 ms (9 to 30).
    let metrics = [
        metric(ACCURACY, Goal::Increase, Some(0.01), [Some(0.009), Some(0.02)]),
        metric("latency_mean", Goal::Decrease, Some(0.01), [Some(0.009), Some(0.03)]),
    ];
    let prices = prices(&["accuracy=1", "latency_mean=0.01"]);
    let [found] = &expected_values(&metrics, &prices)[..] else { panic!("one") };
    close(found.net_ci[0], 0.9 - 0.3);
    close(found.net_ci[1], 2.0 - 0.09);
}

#[test]
fn what_the_report_calls_not_significant_is_no_gain() {
    // The interval excludes zero, the p-value is adjusted for other metrics.
    let sentence = |role, decision| {
        let mut metrics = both(0.01, -0.01);
        metrics[1].role = role;
        metrics[1].candidates[0].decision = decision;
        expected_values(&metrics, &[]).remove(0).sentence
    };
    let open = sentence(Role::Exploratory, Conclusion::NoDifferenceShown);
    let words =
        "brings 1.00 points of accuracy and shows no significant difference in mean latency";
    assert!(open.ends_with(words), "{open}");
    for (role, decision) in [
        (Role::Exploratory, Conclusion::Better),
        // About its margin.
        (Role::Guardrail, Conclusion::NoDifferenceShown),
    ] {
        let settled = sentence(role, decision);
        assert!(settled.ends_with("and saves 10.0 ms of mean latency"), "{settled}");
    }
}

#[test]
fn without_anything_to_weigh_there_is_no_value() {
    let revenue = metric("revenue", Goal::Increase, Some(0.5), [None; 2]);
    assert!(expected_values(&[revenue], &[]).is_empty());
    let unknown = metric("revenue", Goal::Increase, None, [None; 2]);
    assert!(expected_values(&[unknown], &prices(&["revenue=2"])).is_empty());
    assert!(expected_values(&[], &prices(&["revenue=2"])).is_empty());
}

#[test]
fn a_price_is_a_name_and_an_amount_of_zero_or_more() {
    let zero: Price = "accuracy=0".parse().unwrap();
    assert_eq!(zero, Price { metric: ACCURACY.to_owned(), amount: 0.0 });
    for bad in ["accuracy", "accuracy=", "accuracy=x", "accuracy=-1", "accuracy=inf"] {
        assert!(bad.parse::<Price>().unwrap_err().contains(bad), "{bad}");
    }
}
