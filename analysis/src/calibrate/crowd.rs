//! Users of simulated experiments: what each has of a metric, and what the truth about it is.

use sidetrack::quantity::Ppm;
use sidetrack_stats::dice::Dice;
use sidetrack_stats::distribution::normal;
use sidetrack_stats::float;

use super::arm::Arm;
use crate::answer::{Goal, Role};
use crate::metric::{Absent, Margin, Measure, Metric, Origin};

/// A metric and how users differ in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Crowd {
    /// The share of users with an event.
    Share(f64),
    /// Errors per request. Users differ in how often they fail.
    Errors(f64),
    /// Revenue per request: exponential, and users differ in their mean.
    Ratio,
    /// A normal number per user.
    Normal,
    /// Revenue: one of twenty users pays, an exponential amount.
    ZeroInflated,
    /// Lognormal with σ = 1.
    LogNormal,
    /// Lognormal with σ = 2.
    Skewed,
    /// The same, capped.
    SkewedCapped,
    /// Pareto with index 1.1, whose variance is infinite.
    Pareto,
    /// The same, capped.
    ParetoCapped,
    /// Revenue per request of users with Pareto numbers of requests of index 1.2.
    Heavy,
    /// The same of index 1.05.
    VeryHeavy,
    /// A normal number per user, and one from before with a correlation of 0.7, which one of twenty users does not have.
    Covariate,
    /// The share of users with an event, whose probability is in proportion to a number from before.
    CovariateShare,
    /// A quantile of the latency of requests: lognormal around 100 ms, and users differ in their speed.
    Latency(f64),
}

/// Users who are drawn one by one.
pub(super) const DRAWN: [Crowd; 10] = [
    Crowd::Errors(0.005),
    Crowd::Errors(0.02),
    Crowd::Errors(0.1),
    Crowd::Ratio,
    Crowd::Normal,
    Crowd::ZeroInflated,
    Crowd::LogNormal,
    Crowd::Latency(0.5),
    Crowd::Latency(0.95),
    Crowd::Latency(0.99),
];

/// Values of which few decide a mean.
pub(super) const SKEWED: [Crowd; 4] =
    [Crowd::Skewed, Crowd::SkewedCapped, Crowd::Pareto, Crowd::ParetoCapped];

/// Requests of a user on average; their number is geometric.
const REQUESTS: f64 = 5.0;

/// The cap of skewed values: their 99 % quantile.
const CAP: u32 = 990_000;

/// The index of Pareto values.
const PARETO: f64 = 1.1;

/// The correlation with a covariate, and how many users have none.
const EXPLAINS: f64 = 0.7;
const UNKNOWN: f64 = 0.05;
/// The rate of events that a covariate explains in part.
const EVENTS: f64 = 0.2;

/// One of so many users pays.
const PAYS: f64 = 0.05;

/// The σ of the logarithm of a request's latency: between users, and between the requests of one.
const SPEED: (f64, f64) = (0.3, 0.6);

/// Milliseconds.
const MEDIAN: f64 = 100.0;

impl Crowd {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Share(_) => "share",
            Self::Errors(_) => "error rate",
            Self::Ratio => "ratio over users",
            Self::Normal => "mean, normal",
            Self::ZeroInflated => "mean, 95 % zero",
            Self::LogNormal => "mean, lognormal",
            Self::Skewed => "mean, lognormal (σ 2)",
            Self::SkewedCapped => "mean, lognormal (σ 2), capped",
            Self::Pareto => "mean, Pareto 1.1",
            Self::ParetoCapped => "mean, Pareto 1.1, capped",
            Self::Heavy => "ratio, Pareto 1.2 requests",
            Self::VeryHeavy => "ratio, Pareto 1.05 requests",
            Self::Covariate => "mean, covariate (ρ 0.7)",
            Self::CovariateShare => "share, covariate",
            Self::Latency(_) => "latency quantile",
        }
    }

    /// The rate of events of a share, or the share of requests below a quantile.
    pub(super) const fn rate(self) -> Option<f64> {
        match self {
            Self::Share(rate) | Self::Errors(rate) | Self::Latency(rate) => Some(rate),
            _ => None,
        }
    }

    /// As a metric of an analysis.
    pub(super) fn metric(self, role: Role, margin: Option<f64>) -> Metric {
        let (measure, origin, goal) = match self {
            Self::Share(_) | Self::CovariateShare => {
                (Measure::Proportion, Origin::Column(0), Goal::Increase)
            }
            Self::Errors(_) => (Measure::Ratio, Origin::Errors, Goal::Decrease),
            Self::Ratio | Self::Heavy | Self::VeryHeavy => {
                (Measure::Ratio, Origin::Column(0), Goal::Increase)
            }
            Self::Latency(share) => (Measure::Quantile(share), Origin::Latency, Goal::Decrease),
            _ => (Measure::Mean, Origin::Column(0), Goal::Increase),
        };
        let margin = margin.map(Margin::Absolute);
        let absent = Absent::Zero;
        let (name, cap) = (self.name().to_owned(), self.cap());
        let (model, llm, per) = (None, None, None);
        Metric { name, role, measure, origin, goal, margin, absent, cap, model, llm, per }
    }

    /// The quantile at which values are capped.
    pub(super) fn cap(self) -> Option<Ppm> {
        matches!(self, Self::SkewedCapped | Self::ParetoCapped).then(|| Ppm::new(CAP)).flatten()
    }

    /// The cap where it truly is: the quantile of the values; infinite without one.
    pub(super) fn limit(self) -> f64 {
        let share = self.cap().map_or(0.0, |_| 1.0 - f64::from(CAP) / 1e6);
        match self {
            Self::SkewedCapped => (2.0 * normal::quantile(share)).exp(),
            Self::ParetoCapped => share.powf(-1.0 / PARETO),
            _ => f64::INFINITY,
        }
    }

    /// Which way is better.
    pub(super) const fn sign(self) -> f64 {
        if matches!(self, Self::Errors(_) | Self::Latency(_)) { -1.0 } else { 1.0 }
    }

    /// Whether no value can be as far from what it is.
    pub(super) fn allows(self, shift: f64) -> bool {
        match self {
            Self::Share(rate) | Self::Errors(rate) => shift * 1.2 < rate.min(1.0 - rate),
            Self::CovariateShare => shift * 1.2 < EVENTS,
            Self::Latency(_) => shift < 0.5 * self.value(),
            // Without a variance, no test that knows it is a standard.
            Self::Pareto | Self::Heavy | Self::VeryHeavy => false,
            _ => true,
        }
    }

    /// The true value of equal variants; only of latencies, in seconds.
    fn value(self) -> f64 {
        match self {
            Self::Latency(share) => quantile(share) / 1000.0,
            _ => 0.0,
        }
    }

    /// A margin for the guardrail of a latency: this part of the quantile, in seconds.
    pub(super) fn margin_of(self, part: f64) -> f64 {
        part * self.value()
    }

    /// The variance of a user's part in the value, if the value is higher by `shift`.
    pub(super) fn variance(self, shift: f64) -> f64 {
        // Of the squared number of requests: 2m² − m.
        let square = 2.0 * REQUESTS * REQUESTS - REQUESTS;
        match self {
            Self::Share(rate) => (rate + shift) * (1.0 - rate - shift),
            // Residuals y − R x over the mean of x: independent requests, and E x(x − 1) pairs of a user with its own rate, whose
            // variance is 4/5 of the squared rate (3u² for a uniform u).
            Self::Errors(rate) => {
                let rate = rate + shift;
                let pairs = square - REQUESTS;
                (REQUESTS * rate * (1.0 - rate) + pairs * 0.8 * rate * rate) / (REQUESTS * REQUESTS)
            }
            // A user's mean is 2u, with E (2u)² = 4/3 and a variance of 1/3.
            Self::Ratio => (REQUESTS * 4.0 / 3.0 + square / 3.0) / (REQUESTS * REQUESTS),
            // Without the covariate: what it explains is gained.
            Self::Normal | Self::Covariate => 1.0,
            Self::CovariateShare => (EVENTS + shift) * (1.0 - EVENTS - shift),
            Self::ZeroInflated => PAYS * 2.0 - PAYS * PAYS,
            Self::LogNormal => (1.0f64.exp() - 1.0) * 1.0f64.exp(),
            Self::Skewed => (4.0f64.exp() - 1.0) * 4.0f64.exp(),
            // Both moments of min(x, cap): the part below the cap, in closed form, and the cap itself.
            Self::SkewedCapped => {
                let (cap, above) = (self.limit(), 1.0 - f64::from(CAP) / 1e6);
                let score = cap.ln() / 2.0;
                let below =
                    |power: f64| (2.0 * power * power).exp() * normal::upper(2.0 * power - score);
                let (mean, square) = (below(1.0) + cap * above, below(2.0) + cap * cap * above);
                square - mean * mean
            }
            Self::ParetoCapped => {
                let (cap, above) = (self.limit(), 1.0 - f64::from(CAP) / 1e6);
                let below =
                    |power: f64| PARETO / (power - PARETO) * (cap.powf(power - PARETO) - 1.0);
                let (mean, square) = (below(1.0) + cap * above, below(2.0) + cap * cap * above);
                square - mean * mean
            }
            Self::Pareto | Self::Heavy | Self::VeryHeavy => f64::INFINITY,
            Self::Latency(share) => {
                // Of the share of requests below the quantile, over the squared density there.
                let pairs = together(share) - share * share;
                let shares = REQUESTS * share * (1.0 - share) + (square - REQUESTS) * pairs;
                let spread = SPEED.0.hypot(SPEED.1);
                let score = normal::quantile(1.0 - share);
                let density = normal::density(score) / (spread * (self.value() + shift));
                shares / (REQUESTS * REQUESTS) / (density * density)
            }
        }
    }

    /// Adds `n` users whose expected value is higher by `shift`.
    pub(super) fn join(self, arm: &mut Arm, n: u64, shift: f64, dice: &mut Dice) {
        if let Self::Share(rate) = self {
            arm.add_events(dice.binomial(n, rate + shift), n);
            return;
        }
        for _ in 0..n {
            match self {
                Self::Errors(rate) => {
                    let (y, x) = failures(rate + shift, dice);
                    arm.add(y, x);
                }
                Self::Ratio => {
                    let (requests, own) = (requests(dice), 2.0 * dice.uniform());
                    let y: f64 = (0..requests).map(|_| own * dice.exponential() + shift).sum();
                    arm.add(y, float(requests));
                }
                Self::Covariate => {
                    let before = dice.normal();
                    let own = (1.0 - EXPLAINS * EXPLAINS).sqrt() * dice.normal();
                    let known = (!dice.happens(UNKNOWN)).then_some(before);
                    arm.add_with(EXPLAINS * before + own + shift, known);
                }
                Self::CovariateShare => {
                    let before = dice.uniform();
                    let happens = dice.happens(2.0 * EVENTS * before + shift);
                    arm.add_with(f64::from(u8::from(happens)), Some(before));
                }
                Self::Normal => arm.add(dice.normal() + shift, 1.0),
                Self::ZeroInflated if dice.happens(PAYS) => {
                    arm.add(dice.exponential() + shift, 1.0);
                }
                Self::ZeroInflated | Self::Share(_) => arm.add(shift, 1.0),
                Self::LogNormal => arm.add(dice.normal().exp() + shift, 1.0),
                Self::Skewed => arm.add((2.0 * dice.normal()).exp() + shift, 1.0),
                Self::SkewedCapped => arm.add_value((2.0 * dice.normal()).exp() + shift),
                Self::Pareto => arm.add(pareto(dice) + shift, 1.0),
                Self::ParetoCapped => arm.add_value(pareto(dice) + shift),
                Self::Heavy | Self::VeryHeavy => {
                    let index = if self == Self::Heavy { 1.2 } else { 1.05 };
                    let requests = dice.pareto(index).floor();
                    arm.add_heavy((2.0 * dice.uniform() + shift) * requests, requests);
                }
                Self::Latency(_) => {
                    let slower = 1.0 + shift / self.value();
                    let own = (SPEED.0 * dice.normal()).exp() * MEDIAN * slower;
                    let key = dice.bits();
                    for _ in 0..requests(dice) {
                        arm.add_latency(key, own * (SPEED.1 * dice.normal()).exp());
                    }
                    arm.add_user();
                }
            }
        }
    }
}

/// The inverse of the distribution function.
fn pareto(dice: &mut Dice) -> f64 {
    (1.0 - dice.uniform()).powf(-1.0 / PARETO)
}

/// The latency, in milliseconds, below which this share of the requests is.
fn quantile(share: f64) -> f64 {
    MEDIAN * (SPEED.0.hypot(SPEED.1) * normal::quantile(1.0 - share)).exp()
}

/// The probability that two requests of a user are both below the quantile: a sum over the user's speed.
fn together(share: f64) -> f64 {
    const STEPS: i32 = 400;
    let edge = SPEED.0.hypot(SPEED.1) * normal::quantile(1.0 - share);
    let step = 16.0 / f64::from(STEPS);
    let term = |index: i32| {
        let speed = -8.0 + step * f64::from(index);
        let below = normal::upper((SPEED.0 * speed - edge) / SPEED.1);
        normal::density(speed) * below * below * step
    };
    (0..=STEPS).map(term).sum()
}

fn requests(dice: &mut Dice) -> u64 {
    let mut requests = 1;
    while dice.uniform() > 1.0 / REQUESTS {
        requests += 1;
    }
    requests
}

/// A user's failures and requests.
fn failures(rate: f64, dice: &mut Dice) -> (f64, f64) {
    let requests = requests(dice);
    let own = (3.0 * rate * dice.uniform().powi(2)).min(1.0);
    let failed = (0..requests).filter(|_| dice.happens(own)).count();
    (float(failed as u64), float(requests))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variance of the value over many groups of `n` users, times `n`.
    fn observed(crowd: Crowd, shift: f64, n: u64) -> f64 {
        let mut dice = Dice::new(9);
        let values: Vec<f64> = (0..2000)
            .map(|_| {
                let mut arm = Arm::default();
                crowd.join(&mut arm, n, shift, &mut dice);
                arm.value(crowd)
            })
            .collect();
        let mean = values.iter().sum::<f64>() / 2000.0;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2000.0 * float(n)
    }

    #[test]
    fn the_oracle_knows_the_variances() {
        // The 99th percentile needs more users than these, and the variance of the others is that of a few runs.
        let is_usable = |crowd: &Crowd| {
            !matches!(crowd, Crowd::Latency(0.99) | Crowd::Errors(0.005) | Crowd::Skewed)
                && crowd.variance(0.0).is_finite()
        };
        let crowds = std::iter::once(Crowd::Share(0.1)).chain(DRAWN).chain(SKEWED);
        for crowd in crowds.filter(is_usable) {
            let n = if matches!(crowd, Crowd::LogNormal) { 2000 } else { 500 };
            let (known, found) = (crowd.variance(0.0), observed(crowd, 0.0, n));
            assert!((found / known - 1.0).abs() < 0.12, "{crowd:?}: {found}, known {known}");
        }
    }

    #[test]
    fn a_shift_moves_the_value_by_itself() {
        for (crowd, shift) in [
            (Crowd::Share(0.1), 0.03),
            (Crowd::Errors(0.1), 0.03),
            (Crowd::Ratio, 0.2),
            (Crowd::ZeroInflated, -0.1),
            (Crowd::Latency(0.95), 0.05),
        ] {
            let mut dice = Dice::new(4);
            let mut value = |shift| {
                let mut arm = Arm::default();
                crowd.join(&mut arm, 200_000, shift, &mut dice);
                arm.value(crowd)
            };
            let moved = value(shift) - value(0.0);
            assert!((moved - shift).abs() < 0.01, "{crowd:?}: {moved}");
        }
    }
}
