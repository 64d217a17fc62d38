//! Score tests and intervals of two shares, with a correction for skewness: right where events are rare and one arm is small.
//!
//! An arm with a handful of events has hardly any variance of its own, so a test that uses each arm's own variance calls equal
//! variants different: with 2 % errors and a canary of 5 %, in a third of the experiments. Here the variance is that under the
//! hypothesis itself: for each difference δ, the shares are the most likely ones that differ by δ (Miettinen & Nurminen, Statistics in
//! Medicine 1985). The score's skewness is corrected (Gart & Nam 1988; Laud, Pharmaceutical Statistics 2017), and a quarter of an event
//! is taken off, between none (mid-p) and a half (exact tests). Test and interval are one function, so they agree.
//!
//! - Shares of units: the counts as they are.
//! - Events per request, where units were randomized: the counts divided by their design effect, which the units' residuals give
//!   (Rao & Scott, Biometrics 1992). A unit with ten failures is not ten events.
//! - Several strata: their scores are summed with fixed weights, as Cochran, Mantel and Haenszel do.

mod constrained;
mod law;
mod power;

use crate::accumulate::Pairs;
use crate::distribution::beta::Beta;
use crate::distribution::normal;
use crate::input::{Fraction, Proportion};
use crate::numeric::float;
use crate::numeric::root::rising;
use crate::result::{Comparison, Estimate, Interval, PValue, Test, Undefined, critical};
use constrained::shares_at;
use law::Law;
pub use power::power_for_rates;

/// The fewest events, and units without one, that each arm must have or be expected to have before a test decides.
///
/// Cochran's rule for tables of two by two (Biometrics 1954). Below it, one event more or less is a fifth of the evidence. The
/// expectation counts as well, so an arm without a single failure can be better, if it should have had five.
pub const FEWEST_EVENTS: f64 = 5.0;

/// Half of Yates's correction, in events.
const CONTINUITY: f64 = 0.25;

/// Events among trials, as many as independent ones are worth; not whole numbers then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    /// Events.
    pub(crate) x: f64,
    /// Trials without one.
    pub(crate) y: f64,
    /// Trials.
    pub(crate) n: f64,
}

impl Counts {
    fn of(share: Proportion) -> Self {
        Self { x: share.x(), y: share.failures().x(), n: share.n() }
    }

    fn share(self) -> Share {
        Share { p: self.x / self.n, q: self.y / self.n }
    }

    fn variance(self) -> f64 {
        self.share().variance() / self.n
    }

    const fn mirrored(self) -> Self {
        Self { x: self.y, y: self.x, n: self.n }
    }
}

/// A share and what is missing to one, which of a share near one has the digits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share {
    p: f64,
    q: f64,
}

impl Share {
    fn of(p: f64) -> Self {
        Self { p, q: 1.0 - p }
    }

    const fn mirrored(self) -> Self {
        Self { p: self.q, q: self.p }
    }

    /// Of one trial.
    fn variance(self) -> f64 {
        self.p * self.q
    }

    /// The third moment of one trial.
    fn third(self) -> f64 {
        self.variance() * (self.q - self.p)
    }
}

/// Both arms in one stratum.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Table {
    baseline: Counts,
    candidate: Counts,
    weight: f64,
}

/// A stratum of shares of which only the sizes are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stratum {
    /// Its part of the merged difference.
    pub weight: f64,
    /// The baseline's share, and of how many independent trials it is; not whole numbers.
    pub baseline: (f64, f64),
    /// The same of the candidate.
    pub candidate: (f64, f64),
}

/// Two shares, stratum by stratum.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    tables: Vec<Table>,
    stretch: f64,
}

impl Score {
    /// Of shares of units.
    ///
    /// `stretch` is how many times larger units in several strata make the variance of the merged difference; 1 when each unit is in
    /// one stratum. What is below a tenth is taken as a tenth.
    ///
    /// # Errors
    /// `TooFew` without strata.
    pub fn of_shares(strata: &[(Proportion, Proportion)], stretch: f64) -> Result<Self, Undefined> {
        let table = |(one, two): &(Proportion, Proportion)| {
            (size(one.n(), two.n()), Counts::of(*one), Counts::of(*two))
        };
        Self::new(strata.iter().map(table), stretch)
    }

    /// Of events per request, from each unit's number of events and of requests. Strata that lack an arm are left out.
    ///
    /// # Errors
    /// `TooFew` without strata; `ZeroBaseline` when the values are not shares of the requests.
    pub fn of_ratios(strata: &[(Pairs, Pairs)], stretch: f64) -> Result<Self, Undefined> {
        let mut tables = Vec::new();
        for (one, two) in strata.iter().filter(|(one, two)| one.count().min(two.count()) > 1) {
            let ((y1, x1), (y2, x2)) = (sums(one), sums(two));
            let pooled = (y1 + y2) / (x1 + x2);
            let is_share = |y: f64, x: f64| x > 0.0 && (0.0..=1.0).contains(&(y / x));
            if !(is_share(y1, x1) && is_share(y2, x2)) {
                return Err(Undefined::ZeroBaseline);
            }
            let together = (residuals(one, pooled) + residuals(two, pooled)) / (x1 + x2);
            let together = design(together, pooled);
            let counts = |pairs: &Pairs, y: f64, x: f64| {
                let own = design(residuals(pairs, y / x) / x, y / x);
                let effect = together.max(own);
                Counts { x: y / effect, y: (x - y) / effect, n: x / effect }
            };
            let weight = size(float(one.count()), float(two.count()));
            tables.push((weight, counts(one, y1, x1), counts(two, y2, x2)));
        }
        Self::new(tables.into_iter(), stretch)
    }

    /// Of shares of independent trials, with the weights of the strata.
    ///
    /// # Errors
    /// `TooFew` without strata.
    pub fn of_strata(strata: &[Stratum], stretch: f64) -> Result<Self, Undefined> {
        let counts = |(share, n): (f64, f64)| Counts { x: share * n, y: (1.0 - share) * n, n };
        let table = |stratum: &Stratum| {
            (stratum.weight, counts(stratum.baseline), counts(stratum.candidate))
        };
        Self::new(strata.iter().map(table), stretch)
    }

    fn new(
        tables: impl Iterator<Item = (f64, Counts, Counts)>,
        stretch: f64,
    ) -> Result<Self, Undefined> {
        let mut tables: Vec<Table> = tables
            .map(|(weight, baseline, candidate)| Table { baseline, candidate, weight })
            .collect();
        let sum: f64 = tables.iter().map(|table| table.weight).sum();
        if tables.is_empty() {
            return Err(Undefined::TooFew);
        }
        tables.iter_mut().for_each(|table| table.weight /= sum);
        Ok(Self { tables, stretch: stretch.max(0.1) })
    }

    fn sum(&self, term: impl Fn(&Table) -> f64) -> f64 {
        self.tables.iter().map(term).sum()
    }

    /// The baseline's and the candidate's share, merged.
    #[must_use]
    pub fn values(&self) -> (f64, f64) {
        let of = |arm: fn(&Table) -> Counts| self.sum(|table| table.weight * arm(table).share().p);
        (of(|table| table.baseline), of(|table| table.candidate))
    }

    /// Candidate minus baseline.
    #[must_use]
    pub fn difference(&self) -> f64 {
        self.sum(|Table { baseline, candidate, weight }| {
            let cross = cross((candidate.x, baseline.n), (baseline.x, candidate.n));
            weight * cross / (baseline.n * candidate.n)
        })
    }

    /// How far the difference is above `delta`, in standard errors of a normal distribution after the corrections.
    ///
    /// Falls as `delta` rises; `-1 < delta < 1`.
    #[must_use]
    pub fn statistic(&self, delta: f64) -> f64 {
        let distance = self.difference() - delta;
        let law = self.law(|table| shares_at(table.baseline, table.candidate, delta));
        let distance = (distance.abs() - self.continuity()).max(0.0).copysign(distance);
        if distance == 0.0 {
            return 0.0;
        }
        let corrected = law.score(distance);
        // Near zero, the correction may be larger than the score.
        if corrected.signum() == distance.signum() { corrected } else { 0.0 }
    }

    /// How the difference would vary, if the shares were these.
    fn law(&self, shares: impl Fn(&Table) -> (Share, Share)) -> Law {
        let (mut apart, mut third) = (0.0, 0.0);
        for table in &self.tables {
            let (n1, n2) = (table.baseline.n, table.candidate.n);
            let (one, two) = shares(table);
            let square = table.weight * table.weight;
            apart += square * (one.variance() / n1 + two.variance() / n2);
            third += square * table.weight * (two.third() / (n2 * n2) - one.third() / (n1 * n1));
        }
        Law::new(apart * self.stretch, third)
    }

    /// What is taken off the difference.
    fn continuity(&self) -> f64 {
        let square = |table: &Table| table.weight * table.weight;
        CONTINUITY
            * self.sum(|table| square(table) * (1.0 / table.baseline.n + 1.0 / table.candidate.n))
    }

    /// The test that both shares are equal.
    ///
    /// # Errors
    /// `ZeroVariance` when all or none have an event; `FewEvents` below `FEWEST_EVENTS`.
    pub fn test(&self) -> Result<Test, Undefined> {
        let events = self.sum(|table| table.baseline.x + table.candidate.x);
        let trials = self.sum(|table| table.baseline.n + table.candidate.n);
        if events <= 0.0 || events >= trials {
            return Err(Undefined::ZeroVariance);
        }
        if !self.has_enough() {
            return Err(Undefined::FewEvents);
        }
        let statistic = self.statistic(0.0);
        Ok(Test { statistic, df: None, p: PValue::of_ln(normal::ln_two_sided(statistic)) })
    }

    /// Whether each arm has, or should have, `FEWEST_EVENTS` with and without an event.
    #[must_use]
    pub fn has_enough(&self) -> bool {
        let enough = |arm: fn(&Table) -> Counts, count: fn(Counts) -> f64| {
            let observed = self.sum(|table| count(arm(table)));
            let expected = self.sum(|table| {
                let (one, two) = (table.baseline, table.candidate);
                (count(one) + count(two)) * (arm(table).n / (one.n + two.n))
            });
            observed.max(expected) >= FEWEST_EVENTS
        };
        let counts: [fn(Counts) -> f64; 2] = [|counts| counts.x, |counts| counts.y];
        counts.into_iter().all(|count| {
            enough(|table| table.baseline, count) && enough(|table| table.candidate, count)
        })
    }

    /// The differences that the statistic does not reject at `z` standard errors: 1.96 for a fixed interval of 95 %, more for one that
    /// holds at every look.
    #[must_use]
    pub fn interval(&self, z: f64) -> Interval {
        let difference = self.difference();
        Interval {
            low: rising(-1.0, difference, |delta| z - self.statistic(delta)),
            high: rising(difference, 1.0, |delta| -z - self.statistic(delta)),
        }
    }

    /// The differences below zero and above at which the test of equal shares, whose common share is the observed one, is at `z`
    /// standard errors: what is between them is not rejected. Infinite where the distribution ends before.
    #[must_use]
    pub fn reach(&self, z: f64) -> (f64, f64) {
        let law = self.law(|table| shares_at(table.baseline, table.candidate, 0.0));
        let continuity = self.continuity();
        (law.distance(-z).min(0.0) - continuity, law.distance(z).max(0.0) + continuity)
    }

    /// The difference over the baseline's share.
    ///
    /// # Errors
    /// `ZeroBaseline` without events in the baseline.
    pub fn lift(&self) -> Result<f64, Undefined> {
        let (one, _) = self.values();
        if one > 0.0 { Ok(self.difference() / one) } else { Err(Undefined::ZeroBaseline) }
    }

    /// Its interval at `z` standard errors, on the logarithm of the ratio (Katz et al. 1978).
    ///
    /// # Errors
    /// As for `lift`; `TooFew` without events in the candidate; `ZeroVariance` where all units have one.
    pub fn lift_interval(&self, z: f64) -> Result<Interval, Undefined> {
        let lift = self.lift()?;
        let (one, two) = self.values();
        if two <= 0.0 {
            return Err(Undefined::TooFew);
        }
        let (v1, v2) = self.variances();
        let variance = v1 / (one * one) + v2 / (two * two);
        if variance <= 0.0 {
            return Err(Undefined::ZeroVariance);
        }
        let (center, half) = (lift.ln_1p(), z * variance.sqrt());
        Ok(Interval { low: (center - half).exp_m1(), high: (center + half).exp_m1() })
    }

    /// The variances of both shares as observed, stretched.
    fn variances(&self) -> (f64, f64) {
        let of = |arm: fn(&Table) -> Counts| {
            self.sum(|table| table.weight * table.weight * arm(table).variance())
        };
        (of(|table| table.baseline) * self.stretch, of(|table| table.candidate) * self.stretch)
    }

    /// The variances of what is known of both shares after a uniform prior, stretched: an arm without events is not certain.
    fn posterior_variances(&self) -> (f64, f64) {
        let of = |arm: fn(&Table) -> Counts| {
            self.sum(|table| {
                let Counts { x, y, n } = arm(table);
                let share = Share { p: (x + 1.0) / (n + 2.0), q: (y + 1.0) / (n + 2.0) };
                table.weight * table.weight * share.variance() / (n + 3.0)
            })
        };
        (of(|table| table.baseline) * self.stretch, of(|table| table.candidate) * self.stretch)
    }

    /// What is known of both shares after a uniform prior; `None` with several strata.
    #[must_use]
    pub fn posteriors(&self) -> Option<(Beta, Beta)> {
        let after = |arm: Counts| Beta::UNIFORM.plus(arm.x, arm.y);
        match self.tables.as_slice() {
            [table] => Some((after(table.baseline), after(table.candidate))),
            _ => None,
        }
    }

    /// Everything at once, for a single look.
    #[must_use]
    pub fn comparison(&self, level: Fraction) -> Comparison {
        let z = critical(None, level);
        let (v1, v2) = self.posterior_variances();
        Comparison {
            values: self.values(),
            variances: (v1, v2),
            estimate: Estimate { difference: self.difference(), variance: v1 + v2, df: None },
            interval: Some(self.interval(z)),
            lift: self.lift(),
            lift_interval: self.lift_interval(z),
            power: self.test().ok().and_then(|_| self.power(level)),
            test: self.test(),
        }
    }
}

/// `a b − c d`, rounded about once (Kahan): products near each other lose no digits.
fn cross((a, b): (f64, f64), (c, d): (f64, f64)) -> f64 {
    let product = c * d;
    a.mul_add(b, -product) + (-c).mul_add(d, product)
}

/// `n₁ n₂ / (n₁ + n₂)`.
fn size(one: f64, two: f64) -> f64 {
    one / (one + two) * two
}

/// Both numbers of all units, summed.
fn sums(pairs: &Pairs) -> (f64, f64) {
    let (y, x) = pairs.means();
    let n = float(pairs.count());
    (y * n, x * n)
}

/// The sum over units of `(y − R x)²`.
fn residuals(pairs: &Pairs, ratio: f64) -> f64 {
    let ((y, x), (vy, vx)) = (pairs.means(), pairs.variances());
    let n = float(pairs.count());
    let spread = vy - 2.0 * ratio * pairs.covariance() + ratio * ratio * vx;
    (n - 1.0) * spread.max(0.0) + n * (y - ratio * x).powi(2)
}

/// How many times the variance of a request is that of independent ones; at least 1.
fn design(spread: f64, share: f64) -> f64 {
    let independent = Share::of(share).variance();
    if independent > 0.0 { (spread / independent).max(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests;
