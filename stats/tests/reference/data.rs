//! What is made of raw data, and of several phases.

use sidetrack_stats::accumulate::{Moments, Pairs};
use sidetrack_stats::input::{Fraction, Sample};
use sidetrack_stats::{means, ratio, srm};

use super::*;

fn pairs_of(y: &[f64], x: &[f64]) -> Pairs {
    let mut pairs = Pairs::default();
    for (y, x) in y.iter().zip(x) {
        pairs.add(*y, *x).unwrap();
    }
    pairs
}

/// The raw data with these indices.
pub(crate) fn sets(case: &Value) -> (Pairs, Pairs) {
    let raw = Group::load("moments").cases;
    let load = |i: usize| {
        let input = &raw[usize::try_from(case["in"]["sets"][i].as_u64().unwrap()).unwrap()]["in"];
        pairs_of(&numbers(&input["y"]), &numbers(&input["x"]))
    };
    (load(0), load(1))
}

#[test]
fn means_and_variances_in_one_pass() {
    group("moments", |group, case| {
        let (y, x) = (numbers(&case["in"]["y"]), numbers(&case["in"]["x"]));
        let whole = pairs_of(&y, &x);
        let (mut merged, rest) = (pairs_of(&y[..7], &x[..7]), pairs_of(&y[7..], &x[7..]));
        merged.merge(&rest);
        merged.merge(&Pairs::default());
        let mut alone = Moments::default();
        let mut half = Moments::default();
        for (i, y) in y.iter().enumerate() {
            if i % 2 == 0 { &mut alone } else { &mut half }.add(*y).unwrap();
        }
        alone.merge(&half);
        for pairs in [whole, merged] {
            group.check_all(case, "means", &[pairs.means().0, pairs.means().1]);
            group.check_all(case, "variances", &[pairs.variances().0, pairs.variances().1]);
            group.check(case, "covariance", pairs.covariance());
        }
        assert_eq!(whole.first().mean(), whole.means().0);
        group.close(case, "mean alone", &case["want"]["means"][0], Some(alone.mean()));
        group.close(case, "variance alone", &case["want"]["variances"][0], Some(alone.variance()));
        assert_eq!(alone.count(), merged.count());
    });
}

#[test]
fn ratios() {
    group("ratio", |group, case| {
        let (baseline, candidate) = sets(case);
        let found = ratio::compare(&baseline, &candidate, Fraction::FIVE_PERCENT).unwrap();
        group.check_all(case, "values", &[found.values.0, found.values.1]);
        group.check(case, "diff", found.estimate.difference);
        let interval = found.interval.unwrap();
        group.check_all(case, "ci", &[interval.low, interval.high]);
        group.check(case, "statistic", found.test.unwrap().statistic);
        group.check(case, "log10_p", found.test.unwrap().p.log10());
    });
}

#[test]
fn means_of_several_phases() {
    group("means_phases", |group, case| {
        let phases = case["in"]["phases"].as_array().unwrap().iter().map(numbers);
        let sample = |n: &[f64]| Sample::new(n[0], n[1], whole(n[2])).unwrap();
        let phases: Vec<_> = phases.map(|n| (sample(&n[..3]), sample(&n[3..]))).collect();
        let found = means::stratified(&phases, Fraction::FIVE_PERCENT).unwrap();
        group.check(case, "diff", found.estimate.difference);
        let interval = found.interval.unwrap();
        group.check_all(case, "ci", &[interval.low, interval.high]);
        group.check_all(case, "values", &[found.values.0, found.values.1]);
        group.check(case, "statistic", found.test.unwrap().statistic);
        group.check(case, "log10_p", found.test.unwrap().p.log10());
    });
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
fn whole(n: f64) -> u64 {
    n as u64
}

#[test]
fn sample_ratios() {
    let counted = |expected: &Value, observed: &Value| {
        srm::Counts::new(&srm::Shares::new(&numbers(expected)).unwrap(), &counts(observed)).unwrap()
    };
    group("srm", |group, case| {
        let counts = counted(&case["in"]["expected"], &case["in"]["observed"]);
        let test = counts.test();
        group.check(case, "statistic", test.statistic);
        group.check(case, "df", test.df);
        group.check(case, "log10_p", test.p.log10());
        group.check(case, "always_log10_p", srm::always_valid(&[counts]).unwrap().log10());
    });
    group("srm_phases", |group, case| {
        let phases = case["in"]["phases"].as_array().unwrap();
        let phases: Vec<_> = phases.iter().map(|phase| counted(&phase[0], &phase[1])).collect();
        let always = srm::always_valid(&phases).unwrap();
        group.check(case, "always_log10_p", always.log10());
        let test = srm::over_phases(&phases).unwrap();
        group.check(case, "statistic", test.statistic);
        group.check(case, "df", test.df);
        group.check(case, "log10_p", test.p.log10());
    });
}
