//! How often the decisions of `analyze run` are wrong: simulated experiments over a grid, decided by the code that decides
//! real ones.
//!
//! Each experiment is run with equal variants (or, for a guardrail, with a candidate that is worse by exactly the margin),
//! and once more with a candidate that a test which knows the variances finds in four of five runs. A rate fails if it is
//! above its nominal level by more than chance allows: the probability of so many errors at the nominal level is below
//! 0.1 % over the whole grid. The same seed gives the same counts, whatever the number of threads.

mod arm;
mod cell;
mod crowd;
mod trial;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use sidetrack_stats::distribution::beta::Beta;
use sidetrack_stats::float;

pub use cell::Grid;
use cell::{Cell, Looks};
use sidetrack_stats::dice::Dice;
use trial::{Decided, Truth, run};

/// Days of an experiment that is looked at every day.
const DAYS: u64 = 14;

/// The nominal level of a false promotion, of a false "worse" and of a false "within the margin", each: half of 5 %.
pub const ONE_SIDE: f64 = 0.025;

/// The nominal share of intervals that miss the truth.
pub const BOTH_SIDES: f64 = 0.05;

/// The probability that a grid fails although every rate is nominal.
const FALSE_ALARM: f64 = 0.001;

/// How much power may be lost against a test that knows the variances, at even shares and 2000 units or more.
pub const POWER_LOSS: f64 = 0.05;

/// How to calibrate.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which experiments.
    pub grid: Grid,
    /// Runs of each.
    pub runs: NonZero<u32>,
    /// How many threads work; the result does not depend on it.
    pub threads: NonZero<usize>,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    /// Which experiments: `coarse` or `full`.
    pub grid: &'static str,
    /// Runs of each experiment.
    pub runs: u32,
    /// Looks of an experiment that is looked at daily.
    pub days: u64,
    /// No rate is above its nominal level by more than chance.
    pub ok: bool,
    /// The experiments.
    pub cells: Vec<Row>,
}

/// An experiment and its rates. A rate is null where it was not asked.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What is measured.
    pub metric: &'static str,
    /// The rate of events, or the share of requests below a quantile.
    pub rate: Option<f64>,
    /// How often it is looked at.
    pub looks: &'static str,
    /// Variants, the baseline included.
    pub variants: usize,
    /// Each candidate's share of the units.
    pub share: f64,
    /// All units.
    pub units: u64,
    /// The guardrail's margin, in seconds of a latency.
    pub margin: Option<f64>,
    /// Equal variants: a candidate was promoted.
    pub false_promotions: Option<f64>,
    /// Equal variants: a candidate was found worse.
    pub false_worse: Option<f64>,
    /// Worse by the margin: found within it.
    pub false_non_inferior: Option<f64>,
    /// Intervals that missed the truth, at any look.
    pub missed: f64,
    /// A better candidate was promoted.
    pub power: Option<f64>,
    /// A test that knows the variances would have promoted it.
    pub oracle: Option<f64>,
    /// The rates that are too high, or `power`.
    pub failed: Vec<&'static str>,
}

/// How often each was decided.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    promoted: u64,
    worse: u64,
    missed: u64,
    non_inferior: u64,
    oracle: u64,
}

impl Counts {
    fn add(&mut self, decided: Decided) {
        self.promoted += u64::from(decided.promoted);
        self.worse += u64::from(decided.worse);
        self.missed += u64::from(decided.missed);
        self.non_inferior += u64::from(decided.non_inferior);
        self.oracle += u64::from(decided.oracle);
    }
}

/// Simulates. `progress` is called with the number of finished experiments and of all.
pub fn calibrate(settings: &Settings, progress: &(dyn Fn(usize, usize) + Sync)) -> Calibration {
    let cells = settings.grid.cells();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let rows = Mutex::new(vec![None; cells.len()]);
    std::thread::scope(|scope| {
        for _ in 0..settings.threads.get() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(index) else { break };
                    let row = simulate(cell, index, settings.runs.get(), cells.len());
                    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(slot) = rows.get_mut(index) {
                        *slot = Some(row);
                    }
                    drop(rows);
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1, cells.len());
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    let cells: Vec<Row> = rows.into_iter().flatten().collect();
    let ok = cells.iter().all(|row| row.failed.is_empty());
    Calibration { grid: settings.grid.name(), runs: settings.runs.get(), days: DAYS, ok, cells }
}

fn simulate(cell: &Cell, index: usize, runs: u32, cells: usize) -> Row {
    let count = |truth: Truth, stream: u64| {
        let mut counts = Counts::default();
        for number in 0..runs {
            let seed = (index as u64) << 40 | stream << 36 | u64::from(number);
            counts.add(run(cell, truth, &mut Dice::new(seed)));
        }
        counts
    };
    let truth = cell.margin.map_or(Truth::Equal, Truth::AtMargin);
    let null = count(truth, 0);
    let better = better_by(cell).map(|by| count(Truth::Better(by), 1));
    let all = u64::from(runs);
    let share = |count: u64| float(count) / float(all);
    let primary = cell.margin.is_none();
    // Four rates a cell.
    let alarm = FALSE_ALARM / float(4 * cells as u64);
    let high = |count, level| too_many(count, all, level, alarm);
    let mut failed = Vec::new();
    let checks = [
        ("false_promotions", primary && high(null.promoted, ONE_SIDE)),
        ("false_worse", primary && high(null.worse, ONE_SIDE)),
        ("false_non_inferior", !primary && high(null.non_inferior, ONE_SIDE)),
        ("missed", high(null.missed, BOTH_SIDES)),
        ("power", cell.is_even() && better.is_some_and(|found| loses(found, all))),
    ];
    failed.extend(checks.into_iter().filter(|(_, failed)| *failed).map(|(name, _)| name));
    Row {
        metric: cell.crowd.name(),
        rate: cell.crowd.rate(),
        looks: cell.looks.name(),
        variants: cell.arms,
        share: cell.share,
        units: cell.units,
        margin: cell.margin,
        false_promotions: primary.then(|| share(null.promoted)),
        false_worse: primary.then(|| share(null.worse)),
        false_non_inferior: (!primary).then(|| share(null.non_inferior)),
        missed: share(null.missed),
        power: better.map(|found| share(found.promoted)),
        oracle: better.map(|found| share(found.oracle)),
        failed,
    }
}

/// The difference that a fixed test with known variances finds in four of five runs; `None` if no such difference is possible.
fn better_by(cell: &Cell) -> Option<f64> {
    // z of 2.5 % and of 20 %.
    const BOTH: f64 = 1.96 + 0.84;
    // A bandit's sizes depend on what it finds.
    if cell.margin.is_some() || cell.arms > 2 || cell.looks == Looks::Bandit {
        return None;
    }
    let units = float(cell.units);
    let sizes = 1.0 / (units * cell.share) + 1.0 / (units * (1.0 - cell.share));
    let by = BOTH * (cell.crowd.variance(0.0) * sizes).sqrt();
    cell.crowd.allows(by).then_some(by)
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

/// Whether the power is below the oracle's by more than is allowed and than four standard errors.
fn loses(found: Counts, all: u64) -> bool {
    let lost = (float(found.oracle) - float(found.promoted)) / float(all);
    lost > POWER_LOSS + 4.0 * (0.25 / float(all)).sqrt()
}

impl Cell {
    /// Whether it is large and even enough that power is promised.
    fn is_even(&self) -> bool {
        self.share >= 0.5 && self.units >= 2000
    }
}

#[cfg(test)]
mod tests;
