//! What follows from comparisons: posteriors, adjustments, plans.

use sidetrack_stats::distribution::beta::Beta;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::power::{Formula, Goal, size_for_mean, size_for_rate};
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
        let mirrored: Vec<Beta> =
            arms.iter().map(|arm| Beta::new(arm.b(), arm.a()).unwrap()).collect();
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
        let p: Vec<PValue> =
            numbers(&case["in"]["p"]).into_iter().map(|p| PValue::new(p).unwrap()).collect();
        let plain = |p: Vec<PValue>| p.into_iter().map(PValue::get).collect::<Vec<_>>();
        group.check_all(case, "holm", &plain(multiplicity::holm(&p)));
        group.check_all(case, "bh", &plain(multiplicity::benjamini_hochberg(&p)));
    });
}

fn goal(case: &Value) -> Goal {
    let fraction = |key: &str| Fraction::new(number(case, key)).unwrap();
    Goal { level: fraction("alpha"), power: fraction("power"), share: fraction("share") }
}

#[test]
fn sizes() {
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let float = |n: u64| n as f64;
    group("size_rate", |group, case| {
        let rate = Fraction::new(number(case, "rate")).unwrap();
        let size = |formula| size_for_rate(rate, number(case, "mde"), goal(case), formula).unwrap();
        let (score, cohen) = (size(Formula::Score), size(Formula::CohenH));
        group.check(case, "baseline", float(score.baseline));
        group.check(case, "candidate", float(score.candidate));
        group.check(case, "cohen_baseline", float(cohen.baseline));
        group.check(case, "cohen_candidate", float(cohen.candidate));
    });
    group("size_mean", |group, case| {
        let size = size_for_mean(number(case, "sd"), number(case, "mde"), goal(case)).unwrap();
        group.check(case, "baseline", float(size.baseline));
        group.check(case, "candidate", float(size.candidate));
    });
}
