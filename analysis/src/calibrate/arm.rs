//! What the users of a variant add up to, in the form in which an analysis sums them.

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::float;
use sidetrack_stats::vectors::Vectors;

use super::crowd::Crowd;
use crate::histogram::Histogram;
use crate::join::Totals;

/// A variant's users in one stratum.
#[derive(Clone, Debug, Default)]
pub(super) struct Arm {
    events: u64,
    /// Users that were not added as pairs.
    units: u64,
    pairs: Pairs,
    /// Values of users that may be capped.
    values: Vec<f64>,
    /// Numerators and denominators of users with heavy tails.
    heavy: Vec<(f64, f64)>,
    /// Of users with a covariate.
    vectors: Vectors,
    /// Only of latencies, since it is large.
    histogram: Option<Box<Histogram>>,
}

impl Arm {
    /// Users, so many of them with an event.
    pub(super) const fn add_events(&mut self, events: u64, units: u64) {
        self.events += events;
        self.units += units;
    }

    /// A user's numerator and denominator.
    pub(super) fn add(&mut self, y: f64, x: f64) {
        // Numbers of this size are always taken.
        let _ = self.pairs.add(y, x);
    }

    /// A user's value, and what was known before.
    pub(super) fn add_with(&mut self, y: f64, before: Option<f64>) {
        if self.vectors.count() == 0 {
            self.vectors = Vectors::new(4);
        }
        let unknown = f64::from(u8::from(before.is_none()));
        let before = before.map_or(0.0, |before| before);
        let _ = self.vectors.add(&[y, 1.0, before, unknown]);
        self.add(y, 1.0);
    }

    /// What adjusts the metric; `None` without a covariate.
    pub(super) fn vectors(&self) -> Option<&Vectors> {
        (self.vectors.count() > 0).then_some(&self.vectors)
    }

    /// A user's numerator and denominator, of which few decide.
    pub(super) fn add_heavy(&mut self, y: f64, x: f64) {
        self.heavy.push((y, x));
        self.add(y, x);
    }

    /// The denominators of users with heavy tails.
    pub(super) fn weights(&self) -> impl Iterator<Item = f64> {
        self.heavy.iter().map(|(_, x)| *x)
    }

    /// The users with heavy tails, without those above a denominator.
    pub(super) fn light(&self, most: f64) -> Pairs {
        let mut pairs = Pairs::default();
        for (y, x) in self.heavy.iter().filter(|(_, x)| *x <= most) {
            let _ = pairs.add(*y, *x);
        }
        pairs
    }

    /// A user's value, which may be capped.
    pub(super) fn add_value(&mut self, y: f64) {
        self.values.push(y);
    }

    /// The values that may be capped.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    /// A request of a user, in milliseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds")]
    pub(super) fn add_latency(&mut self, user: u64, milliseconds: f64) {
        self.histogram.get_or_insert_default().add(user, milliseconds as u32);
    }

    /// A user whose requests were added.
    pub(super) const fn add_user(&mut self) {
        self.units += 1;
    }

    /// Numerators and denominators of the users, whose values are at most the cap.
    pub(super) fn pairs(&self, cap: f64) -> Pairs {
        if !self.values.is_empty() {
            let mut pairs = self.pairs;
            for value in &self.values {
                let _ = pairs.add(value.min(cap), 1.0);
            }
            return pairs;
        }
        if self.units < 2 || self.histogram.is_some() {
            return self.pairs;
        }
        let (x, n) = (float(self.events), float(self.units));
        let variance = x / n * (n - x) / (n - 1.0);
        Pairs::of_summary(self.units, (x / n, 1.0), (variance, 0.0), 0.0).unwrap_or_default()
    }

    /// The sums of the requests.
    pub(super) fn totals(&self) -> Totals {
        let histogram = self.histogram.as_deref().cloned().unwrap_or_default();
        Totals { histogram, ..Totals::default() }
    }

    pub(super) fn count(&self) -> u64 {
        self.units + self.pairs.count() + self.values.len() as u64
    }

    /// Successes and users, for a bandit.
    pub(super) const fn events(&self) -> (u64, u64) {
        (self.events, self.units)
    }

    /// The value as observed, with the cap where it truly is.
    pub(super) fn value(&self, crowd: Crowd) -> f64 {
        if let Crowd::Latency(share) = crowd {
            let counts = self.histogram.as_deref().map(Histogram::total);
            return counts.and_then(|counts| counts.quantile(share)).unwrap_or(0.0) / 1000.0;
        }
        let (y, x) = self.pairs(crowd.limit()).means();
        if x == 0.0 { 0.0 } else { y / x }
    }
}
