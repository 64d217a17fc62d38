//! Shares: of units that converted, of units that met an error.
//!
//! The test is the z test with the pooled variance, the interval Newcombe's, the relative lift's interval that of the logarithm of the
//! ratio (Katz). They are three answers, and near the level they may differ by a hair; no one interval serves all three well. No Wald
//! interval: its width is zero without conversions, where it matters most.

use crate::distribution::normal;
use crate::input::{Fraction, Proportion};
use crate::result::{Comparison, Estimate, Interval, PValue, Test, Undefined, critical};

/// The candidate's share against the baseline's.
#[must_use]
pub fn compare(baseline: Proportion, candidate: Proportion, level: Fraction) -> Comparison {
    let difference = baseline.difference(candidate);
    let variances = (baseline.variance() / baseline.n(), candidate.variance() / candidate.n());
    let variance = variances.0 + variances.1;
    let test = test(baseline, candidate);
    Comparison {
        values: (baseline.share(), candidate.share()),
        variances,
        estimate: Estimate { difference, variance, df: None },
        interval: Some(newcombe(baseline, candidate, level)),
        lift: lift(baseline, candidate),
        lift_interval: lift_interval(baseline, candidate, level),
        power: test.is_ok().then(|| power_at(baseline, candidate, difference, level)),
        test,
    }
}

/// The z test with the pooled variance.
///
/// # Errors
/// `ZeroVariance` when all units or none succeeded.
pub fn test(baseline: Proportion, candidate: Proportion) -> Result<Test, Undefined> {
    let (n1, n2) = (baseline.n(), candidate.n());
    let successes = baseline.x() + candidate.x();
    let failures = (n1 - baseline.x()) + (n2 - candidate.x());
    if successes == 0.0 || failures == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    // (p₂ − p₁) / √(p q (1/n₁ + 1/n₂)), with every division brought to the end.
    let statistic =
        baseline.cross(candidate) * ((n1 + n2) / (successes * failures * n1 * n2)).sqrt();
    Ok(Test { statistic, df: None, p: PValue::of_ln(normal::ln_two_sided(statistic)) })
}

/// The candidate's shares against the baseline's over several phases, each compared within itself.
///
/// The test is Cochran's (Mantel and Haenszel's with n for n − 1), which is the z test when there is one phase. The difference is the mean of the
/// phases' differences weighted by n₁ n₂ / (n₁ + n₂); the lift is Mantel and Haenszel's, with the variance of Greenland & Robins (1985). The
/// weights depend on sizes only, so a phase without conversions is harmless.
///
/// # Errors
/// `TooFew` without phases.
pub fn stratified(
    phases: &[(Proportion, Proportion)],
    level: Fraction,
) -> Result<Comparison, Undefined> {
    if let [(baseline, candidate)] = phases {
        return Ok(compare(*baseline, *candidate, level));
    }
    if phases.is_empty() {
        return Err(Undefined::TooFew);
    }
    let sum = |term: &dyn Fn(Proportion, Proportion) -> f64| -> f64 {
        phases.iter().map(|&(baseline, candidate)| term(baseline, candidate)).sum()
    };
    let weight = |b: Proportion, c: Proportion| b.n() / (b.n() + c.n()) * c.n();
    let weights = sum(&weight);
    let scored = sum(&|b, c| b.cross(c) / (b.n() + c.n()));
    let difference = scored / weights;
    let of = |side: &dyn Fn(Proportion, Proportion) -> Proportion| {
        let term = |b, c| weight(b, c).powi(2) * side(b, c).variance() / side(b, c).n();
        sum(&term) / weights.powi(2)
    };
    let variances = (of(&|b, _| b), of(&|_, c| c));
    let variance = variances.0 + variances.1;
    // Var(Σ w d) under the null: Σ w p q, with each phase's own pooled p.
    let null = sum(&|b, c| {
        let (successes, n) = (b.x() + c.x(), b.n() + c.n());
        weight(b, c) * (successes / n) * ((n - successes) / n)
    });
    let test = if null > 0.0 {
        let statistic = scored / null.sqrt();
        Ok(Test { statistic, df: None, p: PValue::of_ln(normal::ln_two_sided(statistic)) })
    } else {
        Err(Undefined::ZeroVariance)
    };
    let critical = critical(None, level);
    let bound = critical * null.sqrt() / weights;
    let mean =
        |of: &dyn Fn(Proportion, Proportion) -> f64| sum(&|b, c| weight(b, c) * of(b, c)) / weights;
    let (lift, lift_interval) = stratified_lift(phases, critical);
    let power = |_| two_tails(bound, difference, variance.sqrt());
    Ok(Comparison {
        values: (mean(&|b, _| b.share()), mean(&|_, c| c.share())),
        variances,
        estimate: Estimate { difference, variance, df: None },
        interval: (variance > 0.0)
            .then(|| Interval::around(difference, critical * variance.sqrt())),
        lift,
        lift_interval,
        power: test.ok().map(power),
        test,
    })
}

fn stratified_lift(
    phases: &[(Proportion, Proportion)],
    critical: f64,
) -> (Result<f64, Undefined>, Result<Interval, Undefined>) {
    let (mut top, mut bottom, mut spread) = (0.0, 0.0, 0.0);
    for (b, c) in phases {
        let n = b.n() + c.n();
        top += c.x() * b.n() / n;
        bottom += b.x() * c.n() / n;
        spread += (b.n() / n * c.n() / n) * (b.x() + c.x()) - b.x() / n * c.x();
    }
    if bottom == 0.0 {
        return (Err(Undefined::ZeroBaseline), Err(Undefined::ZeroBaseline));
    }
    let lift = (top - bottom) / bottom;
    if top == 0.0 {
        return (Ok(lift), Err(Undefined::TooFew));
    }
    if spread <= 0.0 {
        return (Ok(lift), Err(Undefined::ZeroVariance));
    }
    let (center, half) = (lift.ln_1p(), critical * (spread / (top * bottom)).sqrt());
    (Ok(lift), Ok(Interval { low: (center - half).exp_m1(), high: (center + half).exp_m1() }))
}

/// Whether a cell of the two-by-two table is expected to hold fewer than five units, so that the z test is rough.
#[must_use]
pub fn is_sparse(baseline: Proportion, candidate: Proportion) -> bool {
    let (n1, n2) = (baseline.n(), candidate.n());
    let successes = baseline.x() + candidate.x();
    let failures = n1 + n2 - successes;
    successes.min(failures) * n1.min(n2) / (n1 + n2) < 5.0
}

/// Wilson's score interval of one share.
#[must_use]
pub fn wilson(proportion: Proportion, level: Fraction) -> Interval {
    score(proportion, critical(None, level))
}

fn score(proportion: Proportion, z: f64) -> Interval {
    let (x, n) = (proportion.x(), proportion.n());
    // Each end in the form that cancels nothing.
    let root = z * (z * z + 4.0 * x * ((n - x) / n)).sqrt();
    let low = 2.0 * x * (x / n) / (2.0 * x + z * z + root);
    let high = (2.0 * x + z * z + root) / (2.0 * (n + z * z));
    Interval { low, high: high.min(1.0) }
}

/// Newcombe's interval of the difference: the two Wilson intervals, put together (Newcombe 1998, method 10).
#[must_use]
pub fn newcombe(baseline: Proportion, candidate: Proportion, level: Fraction) -> Interval {
    let z = critical(None, level);
    let ((down1, up1), (down2, up2)) = (reach(baseline, z), reach(candidate, z));
    let difference = baseline.difference(candidate);
    Interval {
        low: (difference - down2.hypot(up1)).max(-1.0),
        high: (difference + up2.hypot(down1)).min(1.0),
    }
}

/// How far Wilson's interval reaches below and above the share.
fn reach(proportion: Proportion, z: f64) -> (f64, f64) {
    let failures = proportion.failures();
    if failures.successes() < proportion.successes() {
        // Of a share near one the other is the one with digits.
        let (down, up) = reach(failures, z);
        return (up, down);
    }
    let Interval { low, high } = score(proportion, z);
    (proportion.share() - low, high - proportion.share())
}

fn lift(baseline: Proportion, candidate: Proportion) -> Result<f64, Undefined> {
    if baseline.successes() == 0 {
        return Err(Undefined::ZeroBaseline);
    }
    Ok(baseline.cross(candidate) / (baseline.x() * candidate.n()))
}

fn lift_interval(
    baseline: Proportion,
    candidate: Proportion,
    level: Fraction,
) -> Result<Interval, Undefined> {
    let lift = lift(baseline, candidate)?;
    if candidate.successes() == 0 {
        return Err(Undefined::TooFew);
    }
    // The variance of ln(p₂/p₁): (1 − p)/x for each.
    let part = |p: Proportion| (p.n() - p.x()) / (p.n() * p.x());
    let variance = part(baseline) + part(candidate);
    if variance <= 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    let half = critical(None, level) * variance.sqrt();
    let center = lift.ln_1p();
    Ok(Interval { low: (center - half).exp_m1(), high: (center + half).exp_m1() })
}

/// The power of the z test on groups of these sizes, were the shares the baseline's and so much more.
fn power_at(baseline: Proportion, candidate: Proportion, difference: f64, level: Fraction) -> f64 {
    let p1 = baseline.share();
    z_power(p1, candidate.share(), difference, (baseline.n(), candidate.n()), level)
}

/// The power of the z test, both tails: the variance is pooled in the test and unpooled in truth.
pub(crate) fn z_power(
    p1: f64,
    p2: f64,
    difference: f64,
    (n1, n2): (f64, f64),
    level: Fraction,
) -> f64 {
    let pooled = (p1 * n1 + p2 * n2) / (n1 + n2);
    let null = (pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2)).sqrt();
    let truth = (p1 * (1.0 - p1) / n1 + p2 * (1.0 - p2) / n2).sqrt();
    two_tails(critical(None, level) * null, difference, truth)
}

/// The probability that a normal estimate around `difference` is further from zero than `bound`.
fn two_tails(bound: f64, difference: f64, se: f64) -> f64 {
    if se <= 0.0 {
        return if difference.abs() > bound { 1.0 } else { 0.0 };
    }
    (normal::upper((bound - difference) / se) + normal::upper((bound + difference) / se)).min(1.0)
}
