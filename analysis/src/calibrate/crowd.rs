//! Users of simulated experiments: what each has of a metric, and what the truth about it is.

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::float;

use super::dice::Dice;
use crate::answer::{Goal, Role};
use crate::metric::{Absent, Margin, Measure, Metric, Origin};

/// A metric and how users differ in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Crowd {
    /// The share of users with an event.
    Share(f64),
    /// Errors per request. Users make 1 to many requests (geometric, 5 on average) and differ in how often they fail.
    Errors(f64),
    /// A normal number per user.
    Normal,
    /// Revenue: one of twenty users pays, an exponential amount.
    ZeroInflated,
    /// Lognormal with σ = 1.
    LogNormal,
}

/// Requests of a user on average.
const REQUESTS: f64 = 5.0;

/// One of so many users pays.
const PAYS: f64 = 0.05;

impl Crowd {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Share(_) => "share",
            Self::Errors(_) => "error rate",
            Self::Normal => "mean, normal",
            Self::ZeroInflated => "mean, 95 % zero",
            Self::LogNormal => "mean, lognormal",
        }
    }

    /// The rate of events of a share.
    pub(super) const fn rate(self) -> Option<f64> {
        match self {
            Self::Share(rate) | Self::Errors(rate) => Some(rate),
            _ => None,
        }
    }

    /// As a metric of an analysis.
    pub(super) fn metric(self, role: Role, margin: Option<f64>) -> Metric {
        let (measure, origin, goal) = match self {
            Self::Share(_) => (Measure::Proportion, Origin::Column(0), Goal::Increase),
            Self::Errors(_) => (Measure::Ratio, Origin::Errors, Goal::Decrease),
            _ => (Measure::Mean, Origin::Column(0), Goal::Increase),
        };
        let margin = margin.map(Margin::Absolute);
        let absent = Absent::Zero;
        let (name, cap) = (self.name().to_owned(), None);
        Metric { name, role, measure, origin, goal, margin, absent, cap }
    }

    /// Which way is better.
    pub(super) const fn sign(self) -> f64 {
        if matches!(self, Self::Errors(_)) { -1.0 } else { 1.0 }
    }

    /// The variance of a user's part in the value, if the value is higher by `shift`.
    pub(super) fn variance(self, shift: f64) -> f64 {
        match self {
            Self::Share(rate) => (rate + shift) * (1.0 - rate - shift),
            // Residuals y − R x over the mean of x: independent requests, and E x(x − 1) pairs of a user with its own rate, whose
            // variance is 4/5 of the squared rate (3u² for a uniform u).
            Self::Errors(rate) => {
                let rate = rate + shift;
                let pairs = 2.0 * REQUESTS * (REQUESTS - 1.0);
                (REQUESTS * rate * (1.0 - rate) + pairs * 0.8 * rate * rate) / (REQUESTS * REQUESTS)
            }
            Self::Normal => 1.0,
            Self::ZeroInflated => PAYS * 2.0 - PAYS * PAYS,
            Self::LogNormal => (1.0f64.exp() - 1.0) * 1.0f64.exp(),
        }
    }

    /// Adds `n` users whose expected value is higher by `shift`.
    pub(super) fn join(self, arm: &mut Arm, n: u64, shift: f64, dice: &mut Dice) {
        if let Self::Share(rate) = self {
            arm.events += dice.binomial(n, rate + shift);
            arm.units += n;
            return;
        }
        for _ in 0..n {
            let (y, x) = match self {
                Self::Errors(rate) => failures(rate + shift, dice),
                Self::Normal => (dice.normal() + shift, 1.0),
                Self::ZeroInflated if dice.uniform() < PAYS => (dice.exponential() + shift, 1.0),
                Self::ZeroInflated | Self::Share(_) => (shift, 1.0),
                Self::LogNormal => (dice.normal().exp() + shift, 1.0),
            };
            // Numbers of this size are always taken.
            let _ = arm.pairs.add(y, x);
        }
    }
}

/// A user's failures and requests.
fn failures(rate: f64, dice: &mut Dice) -> (f64, f64) {
    let mut requests = 1u64;
    while dice.uniform() > 1.0 / REQUESTS {
        requests += 1;
    }
    let own = (3.0 * rate * dice.uniform().powi(2)).min(1.0);
    let failed = (0..requests).filter(|_| dice.uniform() < own).count();
    (float(failed as u64), float(requests))
}

/// What a variant's users add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arm {
    events: u64,
    units: u64,
    pairs: Pairs,
}

impl Arm {
    /// As an analysis sums them.
    pub(super) fn pairs(&self) -> Pairs {
        if self.units < 2 {
            return self.pairs;
        }
        let (x, n) = (float(self.events), float(self.units));
        let variance = x / n * (n - x) / (n - 1.0);
        Pairs::of_summary(self.units, (x / n, 1.0), (variance, 0.0), 0.0).unwrap_or_default()
    }

    pub(super) fn count(&self) -> u64 {
        self.units + self.pairs.count()
    }

    /// The value as observed.
    pub(super) fn value(&self) -> f64 {
        let (y, x) = self.pairs().means();
        if x == 0.0 { 0.0 } else { y / x }
    }
}
