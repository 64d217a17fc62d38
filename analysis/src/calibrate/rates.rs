//! How often each was decided, and whether that is too often.

use sidetrack_stats::distribution::beta::Beta;
use sidetrack_stats::float;

use super::cell::Cell;
use super::trial::Decided;
use super::{BOTH_SIDES, ONE_SIDE, Row};

/// The probability that a grid fails although every rate is nominal.
const FALSE_ALARM: f64 = 0.001;

/// A rate looks too high if so many errors have a lower probability than this at the nominal level.
const SUSPECT: f64 = 0.01;

/// How much power may be lost against a test that knows the variances, at even shares and 2000 units or more.
const POWER_LOSS: f64 = 0.05;

/// How often each was decided.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) promoted: u64,
    pub(super) worse: u64,
    pub(super) missed: u64,
    pub(super) non_inferior: u64,
    pub(super) inferior: u64,
    pub(super) oracle: u64,
    /// Promoted, also by the oracle.
    pub(super) agreed: u64,
}

impl Counts {
    pub(super) fn add(&mut self, decided: Decided) {
        self.promoted += u64::from(decided.promoted);
        self.worse += u64::from(decided.worse);
        self.missed += u64::from(decided.missed);
        self.non_inferior += u64::from(decided.non_inferior);
        self.inferior += u64::from(decided.inferior);
        self.oracle += u64::from(decided.oracle);
        self.agreed += u64::from(decided.oracle && decided.promoted);
    }
}

/// What was counted in so many runs of an experiment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) runs: u32,
    /// Equal variants, or a candidate at the margin.
    pub(super) null: Counts,
    /// A candidate that is better.
    pub(super) better: Option<Counts>,
    /// Equal variants, where `null` is a candidate at the margin.
    pub(super) equal: Option<Counts>,
}

impl Rates {
    /// Whether a rate looks too high, or the power too low, to be believed from these runs.
    pub(super) fn look_high(&self, cell: &Cell) -> bool {
        !self.failed(cell, SUSPECT, 0.0).is_empty()
    }

    /// The names of the rates for which so many errors are less probable than `alarm`, and `power` if it is lower than the
    /// oracle's by more than is allowed and than so many standard errors.
    fn failed(&self, cell: &Cell, alarm: f64, errors: f64) -> Vec<&'static str> {
        let high = |count, level| too_many(count, self.all(), level, alarm);
        let null = self.null;
        if let Some(corner) = &cell.corner {
            let count = corner.count(&null);
            return if high(count, corner.nominal) { vec!["corner"] } else { Vec::new() };
        }
        let primary = cell.margin.is_none();
        let weak = |found| loses(found, self.all(), errors);
        let checks = [
            ("false_promotions", primary && high(null.promoted, ONE_SIDE)),
            ("false_worse", primary && high(null.worse, ONE_SIDE)),
            ("false_non_inferior", !primary && high(null.non_inferior, ONE_SIDE)),
            ("false_inferior", !primary && high(null.inferior, ONE_SIDE)),
            ("false_harm", self.equal.is_some_and(|found| high(found.inferior, ONE_SIDE))),
            ("missed", high(null.missed, BOTH_SIDES)),
            ("power", cell.is_even() && self.better.is_some_and(weak)),
        ];
        checks.into_iter().filter(|(_, failed)| *failed).map(|(name, _)| name).collect()
    }

    fn all(&self) -> u64 {
        u64::from(self.runs)
    }

    /// As a row of a grid with so many experiments.
    pub(super) fn row(&self, cell: &Cell, cells: usize) -> Row {
        let share = |count: u64| float(count) / float(self.all());
        let primary = cell.margin.is_none();
        let null = self.null;
        // Four rates of each experiment at most.
        let alarm = FALSE_ALARM / float(4 * cells as u64);
        Row {
            metric: cell.crowd.name(),
            rate: cell.crowd.rate(),
            looks: cell.looks.name(),
            variants: cell.arms,
            share: cell.share,
            units: cell.units,
            margin: cell.margin,
            runs: self.runs,
            false_promotions: primary.then(|| share(null.promoted)),
            false_worse: primary.then(|| share(null.worse)),
            false_non_inferior: (!primary).then(|| share(null.non_inferior)),
            false_inferior: (!primary).then(|| share(null.inferior)),
            false_harm: self.equal.map(|found| share(found.inferior)),
            missed: share(null.missed),
            power: self.better.map(|found| share(found.promoted)),
            oracle: self.better.map(|found| share(found.oracle)),
            corner: cell.corner.map(|corner| corner.with(share(corner.count(&null)))),
            failed: self.failed(cell, alarm, 4.0),
        }
    }
}

/// Whether so many of so many are improbable at this level.
fn too_many(count: u64, all: u64, level: f64, alarm: f64) -> bool {
    if float(count) <= float(all) * level {
        return false;
    }
    // P(X ≥ x) is the distribution function of Beta(x, n − x + 1).
    let (x, n) = (float(count), float(all));
    Beta::new(x, n - x + 1.0).is_some_and(|beta| beta.ln_tails(level).0 < alarm.ln())
}

/// Whether the power is below the oracle's by more than is allowed and than so many standard errors. Both decide the same
/// runs, so the error is that of the runs in which they differ.
fn loses(found: Counts, all: u64, errors: f64) -> bool {
    let (missed, gained) = (found.oracle - found.agreed, found.promoted - found.agreed);
    let lost = float(missed) - float(gained);
    lost > POWER_LOSS * float(all) + errors * float(missed + gained).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_fails_where_chance_cannot_explain_it() {
        assert!(!too_many(25, 1000, 0.025, 1e-5));
        assert!(!too_many(40, 1000, 0.025, 1e-5));
        assert!(too_many(60, 1000, 0.025, 1e-5));
        assert!(!too_many(0, 1000, 0.025, 1e-5));
        assert!(too_many(1000, 1000, 0.025, 1e-5));
    }

    #[test]
    fn power_is_lost_where_the_same_runs_show_it() {
        let lost = |promoted, oracle, agreed| {
            loses(Counts { promoted, oracle, agreed, ..Counts::default() }, 1000, 4.0)
        };
        // 50 are allowed, and four times the root of the runs that differ.
        assert_eq!([lost(700, 785, 700), lost(700, 795, 700)], [false, true]);
        assert_eq!([lost(700, 795, 650), lost(700, 800, 600)], [false, false]);
    }
}
