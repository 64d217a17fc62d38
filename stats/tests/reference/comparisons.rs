//! Tests and intervals.

use sidetrack_stats::distribution::student;
use sidetrack_stats::input::{Fraction, Proportion, Sample};
use sidetrack_stats::means;
use sidetrack_stats::result::Comparison;
use sidetrack_stats::score::Score;

use super::*;

fn level(case: &Value) -> Fraction {
    Fraction::new(number(case, "alpha")).unwrap()
}

/// The counts of both variants in each stratum.
fn tables(case: &Value) -> Vec<(Proportion, Proportion)> {
    let tables = case["in"]["tables"].as_array().unwrap().iter().map(|table| {
        let table = counts(table);
        let share = |x, n| Proportion::new(x, n).unwrap();
        (share(table[0], table[1]), share(table[2], table[3]))
    });
    tables.collect()
}

fn check(group: &mut Group, case: &Value, found: &Comparison) {
    group.check(case, "diff", found.estimate.difference);
    let interval = found.interval.unwrap();
    group.check_all(case, "ci", &[interval.low, interval.high]);
    group.check(case, "lift", found.lift.ok());
    match found.lift_interval {
        Ok(interval) => group.check_all(case, "lift_ci", &[interval.low, interval.high]),
        Err(_) => assert!(case["want"]["lift_ci"].is_null(), "{case}"),
    }
    let test = found.test.unwrap();
    group.check(case, "statistic", test.statistic);
    group.check(case, "log10_p", test.p.log10());
}

#[test]
fn scores_of_shares() {
    group("score", |group, case| {
        let score = Score::of_shares(&tables(case), number(case, "stretch")).unwrap();
        let at = numbers(&case["in"]["at"]);
        let found: Vec<f64> = at.iter().map(|delta| score.statistic(*delta)).collect();
        group.check_all(case, "statistic", &found);
        let interval = score.interval(number(case, "z"));
        group.check_all(case, "interval", &[interval.low, interval.high]);
    });
}

#[test]
fn shares() {
    group("shares", |group, case| {
        let found = Score::of_shares(&tables(case), 1.0).unwrap().comparison(level(case));
        check(group, case, &found);
        group.check(case, "power", found.power);
        group.check_all(case, "variances", &[found.variances.0, found.variances.1]);
        if !case["want"]["p"].is_null() {
            group.check(case, "p", found.test.unwrap().p.get());
        }
    });
}

#[test]
fn two_means() {
    group("means", |group, case| {
        let sample = |key: &str| {
            let input = &case["in"][key];
            Sample::new(
                input[0].as_f64().unwrap(),
                input[1].as_f64().unwrap(),
                input[2].as_u64().unwrap(),
            )
            .unwrap()
        };
        let found = means::compare(sample("baseline"), sample("candidate"), level(case));
        check(group, case, &found);
        group.check(case, "df", found.test.unwrap().df);
        if !case["want"]["p"].is_null() {
            group.check(case, "p", found.test.unwrap().p.get());
        }
        if !case["want"]["power"].is_null() {
            group.check(case, "power", found.power);
        }
    });
}

#[test]
fn power_of_t_tests() {
    group("noncentral_power", |group, case| {
        let power = student::two_sided_power(
            number(case, "delta"),
            number(case, "df"),
            number(case, "critical"),
        );
        group.check(case, "power", power);
    });
}
