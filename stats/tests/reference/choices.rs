//! What follows from comparisons: posteriors, adjustments, plans.

use sidetrack_stats::distribution::beta::Beta;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::PValue;
use sidetrack_stats::{cuped, multiplicity, posterior};

use super::*;

#[test]
fn posteriors() {
    group("posterior", |group, case| {
        let arms = case["in"]["arms"].as_array().unwrap();
        let arms: Vec<Beta> =
            arms.iter().map(numbers).map(|arm| Beta::new(arm[0], arm[1]).unwrap()).collect();
        group.check_all(case, "best", &posterior::best(&arms, false));
        if !case["want"]["loss"].is_null() {
            group.check_all(case, "loss", &posterior::expected_loss(&arms, false));
        }
        // Turned around: who is lowest among the mirrored.
        let mirrored: Vec<Beta> = arms.iter().map(|arm| Beta::new(arm.b(), arm.a()).unwrap()).collect();
        group.check_all(case, "best", &posterior::best(&mirrored, true));
    });
}

#[test]
fn covariates() {
    group("cuped", |group, case| {
        let (baseline, candidate) = super::data::sets(case);
        let found = cuped::compare(&baseline, &candidate, Fraction::FIVE_PERCENT).unwrap();
        group.check(case, "theta", found.theta);
        group.check(case, "reduction", found.reduction);
        let comparison = found.comparison;
        group.check(case, "diff", comparison.estimate.difference);
        group.check(case, "variance", comparison.estimate.variance);
        group.check(case, "df", comparison.estimate.df);
        group.check(case, "statistic", comparison.test.unwrap().statistic);
        group.check(case, "log10_p", comparison.test.unwrap().p.log10());
    });
}

#[test]
fn many_metrics() {
    group("multiplicity", |group, case| {
        let p: Vec<PValue> = numbers(&case["in"]["p"]).into_iter().map(|p| PValue::new(p).unwrap()).collect();
        let plain = |p: Vec<PValue>| p.into_iter().map(PValue::get).collect::<Vec<_>>();
        group.check_all(case, "holm", &plain(multiplicity::holm(&p)));
        group.check_all(case, "bh", &plain(multiplicity::benjamini_hochberg(&p)));
    });
}
