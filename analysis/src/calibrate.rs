//! How often the decisions of `analyze run` are wrong: simulated experiments over a grid, decided by the code that decides
//! real ones.
//!
//! Each experiment is run with equal variants (or, for a guardrail, with a candidate that is worse by exactly the margin),
//! and once more with a candidate that a test which knows the variances finds in four of five runs. An experiment with a
//! rate that looks too high is simulated again, with other seeds and ten times the runs. A rate fails if it is then above
//! its nominal level by more than chance allows: the probability of so many errors at the nominal level is below 0.1 %
//! over the whole grid. The same seed gives the same counts, whatever the number of threads.

mod arm;
mod cell;
mod corner;
mod crowd;
mod rates;
mod trial;

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use sidetrack_stats::dice::Dice;
use sidetrack_stats::float;

pub use cell::Grid;
use cell::{Cell, Looks};
pub use corner::{Corner, Wrong};
use rates::{Counts, Rates};
use trial::{Truth, run};

/// Days of an experiment that is looked at every day.
const DAYS: u64 = 14;

/// The nominal level of a false promotion, of a false "worse", and of a guardrail that is wrongly found within its margin or
/// beyond it, each: half of 5 %.
pub const ONE_SIDE: f64 = 0.025;

/// The nominal share of intervals that miss the truth.
pub const BOTH_SIDES: f64 = 0.05;

/// How many times the runs an experiment is simulated again, if a rate looks too high.
pub const AGAIN: u32 = 10;

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
    /// Which experiments: `coarse`, `full` or `corners`.
    pub grid: &'static str,
    /// Experiments of the grid. There are fewer `cells` if it was interrupted.
    pub experiments: usize,
    /// Runs of each experiment.
    pub runs: u32,
    /// Looks of an experiment that is looked at daily.
    pub days: u64,
    /// All experiments were run, and no rate is above its nominal level by more than chance.
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
    /// Runs behind the rates: more than of other experiments if a rate looked too high.
    pub runs: u32,
    /// Equal variants: a candidate was promoted.
    pub false_promotions: Option<f64>,
    /// Equal variants: a candidate was found worse.
    pub false_worse: Option<f64>,
    /// Worse by the margin: found within it.
    pub false_non_inferior: Option<f64>,
    /// Worse by the margin: found beyond it.
    pub false_inferior: Option<f64>,
    /// Equal variants: the guardrail was found beyond its margin.
    pub false_harm: Option<f64>,
    /// Intervals that missed the truth, at any look.
    pub missed: f64,
    /// A better candidate was promoted.
    pub power: Option<f64>,
    /// A test that knows the variances would have promoted it.
    pub oracle: Option<f64>,
    /// Which case it is, in the grid of corners.
    pub corner: Option<Corner>,
    /// The rates that are too high, or `power`.
    pub failed: Vec<&'static str>,
}

/// Simulates. `progress` is called with the number of finished experiments and of all. If `stop` is set, the rows are those
/// of the experiments that are finished.
pub fn calibrate(
    settings: &Settings,
    progress: &(dyn Fn(usize, usize) + Sync),
    stop: &AtomicBool,
) -> Calibration {
    let cells = settings.grid.cells();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let rows = Mutex::new(vec![None; cells.len()]);
    std::thread::scope(|scope| {
        for _ in 0..settings.threads.get() {
            scope.spawn(|| {
                loop {
                    let index = scattered(next.fetch_add(1, Ordering::Relaxed), cells.len());
                    let Some(cell) = index.and_then(|index| cells.get(index)) else { break };
                    let index = index.unwrap_or_default();
                    let simulation = Simulation { cell, index, cells: cells.len(), stop };
                    let Some(row) = simulation.row(settings.runs.get()) else { break };
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
    let experiments = cells.len();
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    let cells: Vec<Row> = rows.into_iter().flatten().collect();
    let ok = cells.len() == experiments && cells.iter().all(|row| row.failed.is_empty());
    let (grid, runs) = (settings.grid.name(), settings.runs.get());
    Calibration { grid, experiments, runs, days: DAYS, ok, cells }
}

/// The order of the work: expensive experiments stand together in the grid, and are spread over the whole time, so that the
/// part that is done foretells the time that is left.
fn scattered(position: usize, all: usize) -> Option<usize> {
    // A prime, and larger than a grid, so each experiment has its turn.
    const STEP: usize = 10_007;
    (position < all).then(|| position * STEP % all)
}

/// An experiment of a grid.
struct Simulation<'s> {
    cell: &'s Cell,
    index: usize,
    /// Of the grid.
    cells: usize,
    stop: &'s AtomicBool,
}

impl Simulation<'_> {
    /// Its rates; `None` if it was stopped.
    fn row(&self, runs: u32) -> Option<Row> {
        let mut rates = self.rates(runs, 0)?;
        if rates.look_high(self.cell) {
            // As other runs, whose rates are not selected.
            rates = self.rates(runs.saturating_mul(AGAIN), 2)?;
        }
        Some(rates.row(self.cell, self.cells))
    }

    /// `stream` and the one after it tell its random numbers from others of this experiment.
    fn rates(&self, runs: u32, stream: u64) -> Option<Rates> {
        let truth = self.cell.margin.map_or(Truth::Equal, Truth::AtMargin);
        let null = self.count(truth, runs, stream)?;
        let better = match better_by(self.cell) {
            Some(by) => Some(self.count(Truth::Better(by), runs, stream + 1)?),
            None => None,
        };
        let equal = match truth {
            Truth::AtMargin(_) if self.cell.corner.is_none() => {
                Some(self.count(Truth::Equal, runs, stream + 1)?)
            }
            _ => None,
        };
        Some(Rates { runs, null, better, equal })
    }

    fn count(&self, truth: Truth, runs: u32, stream: u64) -> Option<Counts> {
        let mut counts = Counts::default();
        for number in 0..runs {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let seed = (self.index as u64) << 40 | stream << 36 | u64::from(number);
            counts.add(run(self.cell, truth, &mut Dice::new(seed)));
        }
        Some(counts)
    }
}

/// The difference that a fixed test with known variances finds in four of five runs; `None` if no such difference is possible.
fn better_by(cell: &Cell) -> Option<f64> {
    // z of 2.5 % and of 20 %.
    const BOTH: f64 = 1.96 + 0.84;
    // A bandit's sizes depend on what it finds. Corners are about errors.
    if cell.margin.is_some()
        || cell.arms > 2
        || cell.looks == Looks::Bandit
        || cell.corner.is_some()
    {
        return None;
    }
    let units = float(cell.units);
    let sizes = 1.0 / (units * cell.share) + 1.0 / (units * (1.0 - cell.share));
    let by = BOTH * (cell.crowd.variance(0.0) * sizes).sqrt();
    cell.crowd.allows(by).then_some(by)
}

#[cfg(test)]
mod tests;
