//! Looking more than once.

use sidetrack_stats::group_sequential::{Spending, bounds};
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::Estimate;
use sidetrack_stats::sequential::{ConfidenceSequence, Msprt};

use super::*;

fn estimate(case: &Value) -> Estimate {
    Estimate { difference: number(case, "diff"), variance: number(case, "variance"), df: None }
}

fn alpha(case: &Value) -> Fraction {
    Fraction::new(number(case, "alpha")).unwrap()
}

#[test]
fn confidence_sequences() {
    group("confidence_sequence", |group, case| {
        let count = |key: &str| case["in"][key].as_u64().unwrap();
        let sequence = ConfidenceSequence::new(count("planned"), alpha(case)).unwrap();
        let interval = sequence.interval(estimate(case), count("n")).unwrap();
        group.check_all(case, "ci", &[interval.low, interval.high]);
        group.check(case, "log10_p", sequence.p_value(estimate(case), count("n")).unwrap().log10());
    });
}

#[test]
fn mixture_tests() {
    group("msprt", |group, case| {
        let test = Msprt::new(number(case, "tau2").sqrt()).unwrap();
        let interval = test.interval(estimate(case), alpha(case)).unwrap();
        group.check_all(case, "ci", &[interval.low, interval.high]);
        group.check(case, "log10_p", test.p_value(estimate(case)).unwrap().log10());
    });
}

#[test]
fn planned_looks() {
    group("group_sequential", |group, case| {
        let spending = match case["in"]["spending"].as_str().unwrap() {
            "obrien_fleming" => Spending::ObrienFleming,
            "pocock" => Spending::Pocock,
            _ => Spending::Power(3.0),
        };
        let looks = numbers(&case["in"]["times"]);
        group.check_all(case, "bounds", &bounds(&looks, spending, alpha(case)).unwrap());
    });
}

/// What textbooks print for five even looks at 5 percent (Jennison & Turnbull 2000; `ldbounds`).
#[test]
fn planned_looks_are_those_of_the_textbooks() {
    let looks = [0.2, 0.4, 0.6, 0.8, 1.0];
    let near = |spending, printed: [f64; 5]| {
        let bounds = bounds(&looks, spending, Fraction::FIVE_PERCENT).unwrap();
        for (bound, printed) in bounds.iter().zip(printed) {
            assert!((bound - printed).abs() < 6e-4, "{bounds:?}, printed {printed}");
        }
    };
    near(Spending::ObrienFleming, [4.877, 3.357, 2.680, 2.290, 2.031]);
    near(Spending::Pocock, [2.438, 2.427, 2.410, 2.397, 2.386]);
}
