//! Tails and quantiles.

use sidetrack_stats::distribution::beta::Beta;
use sidetrack_stats::distribution::{chi_square, normal, student};

use super::*;

#[test]
fn normal_tails() {
    group("normal_ln_upper", |group, case| {
        group.check(case, "ln", normal::ln_upper(number(case, "z")))
    });
    group("normal_quantile", |group, case| {
        group.check(case, "z", normal::quantile(number(case, "tail")))
    });
}

#[test]
fn student_tails() {
    group("student_ln_two_sided", |group, case| {
        group.check(case, "ln", student::ln_two_sided(number(case, "t"), number(case, "df")));
    });
    group("student_quantile", |group, case| {
        group.check(case, "t", student::quantile(number(case, "tail"), number(case, "df")));
    });
}

#[test]
fn chi_square_tails() {
    group("chi_square_ln_upper", |group, case| {
        group.check(case, "ln", chi_square::ln_upper(number(case, "x"), number(case, "df")));
    });
}

#[test]
fn beta_tails() {
    group("beta_ln_tails", |group, case| {
        let beta = Beta::new(number(case, "a"), number(case, "b")).unwrap();
        let (lower, upper) = beta.ln_tails(number(case, "x"));
        group.check(case, "lower", lower);
        group.check(case, "upper", upper);
    });
}
