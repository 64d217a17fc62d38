//! Sums per slot: everything that the tests need of the data. What lies below (units, rows) may come from any engine; what
//! lies above (checks, tests, verdict, plots) reads only these sums.
//!
//! Two passes over the shards, each on all cores, merged in the order of the shards: first the sums, then, for units in
//! several strata, the products of their residuals, which need the ratios of the first pass.

mod balance;
mod covariates;
mod crossings;
mod days;
mod heavy;
mod large;
mod over_time;
mod placement;
mod presence;
mod segments;
mod tails;
mod values;

use std::collections::BTreeMap;

use sidetrack_stats::accumulate::Pairs;

use crate::answer::Role;
use crate::attribution::Attribution;
use crate::cap;
use crate::covariate::Covariates;
use crate::error::Error;
use crate::join::{Cell, Joined, Shape, TOLD, Totals, UNTOLD, Unit, UnitTable};
use crate::metric::{Measure, Metric, Origin};
use crate::segments::Chosen;
pub(crate) use balance::{Balance, Weights};
pub(crate) use covariates::{Adjusting, Gaps, Likeness, is_adjusted};
pub use days::MOST_DAYS_SINCE;
pub(crate) use days::{DaySums, has_days};
pub(crate) use heavy::threshold;
pub(crate) use large::adds_values;
pub(crate) use over_time::{OverTime, end};
pub(crate) use placement::{Before, Echoes, Placed, place};
pub(crate) use presence::Presence;
pub(crate) use segments::{SegmentSums, is_segmented};
pub(crate) use tails::{Tails, needs_tails};
use values::{Value, Values, value};

/// All sums of an analysis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    /// Sums of requests by slot.
    pub(crate) totals: Vec<Totals>,
    /// Units by slot, each once, in the slot of its first request.
    pub(crate) firsts: Vec<u64>,
    /// Units with a response, in each slot that they were seen in.
    pub(crate) answered: Vec<u64>,
    /// Units that were assigned to two variants within one stratum.
    pub(crate) torn: u64,
    /// Units whose variant changed from one stratum to another.
    pub(crate) moved: u64,
    /// Units whose lines name their trial, whose lines do not, and with lines of both kinds.
    pub(crate) told: Told,
    /// Units whose attribution window was open in their first phase, by slot.
    pub(crate) open: Vec<u64>,
    /// When the last open window ends, in milliseconds since 1970.
    pub(crate) closes: Option<u64>,
    /// By metric; empty for quantiles and without units.
    pub(crate) metrics: Vec<MetricSums>,
    pub(crate) over_time: OverTime,
    /// By dimension.
    pub(crate) segments: Vec<SegmentSums>,
    /// By metric: by day. Empty without units.
    pub(crate) days: Vec<DaySums>,
    /// Units with more requests than this are the heaviest.
    pub(crate) heavy: u64,
    /// Only with units.
    pub(crate) balance: Balance,
    /// Where units were seen.
    pub(crate) presence: Presence,
    /// Only with covariates.
    pub(crate) covariates: Likeness,
}

/// Units by whether their lines name the trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) all: u64,
    pub(crate) none: u64,
    pub(crate) some: u64,
}

/// The sums of a metric over units.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricSums {
    /// Numerator and denominator of each unit, by slot.
    pub(crate) pairs: Vec<Pairs>,
    /// The same without the heaviest units.
    pub(crate) light: Vec<Pairs>,
    /// The same without the units with the largest values; empty where values are not added up.
    pub(crate) small: Vec<Pairs>,
    /// A unit with a larger value is among those.
    pub(crate) large: f64,
    /// The pairs without a cap; empty if there is none.
    pub(crate) uncapped: Vec<Pairs>,
    /// For units in two slots, the product of their residuals `y − R x` there, summed over units.
    pub(crate) crossings: Products,
    /// The value at which units are capped.
    pub(crate) cap: Option<f64>,
    /// Units above the cap, by slot.
    pub(crate) capped: Vec<u64>,
    /// By slot; empty if no test of means decides.
    pub(crate) tails: Vec<Tails>,
    /// Only of metrics that covariates adjust.
    pub(crate) covariates: Option<Box<Adjusting>>,
}

/// What sums are made of.
#[derive(Clone)]
pub(crate) struct Summation<'s> {
    pub(crate) joined: &'s Joined,
    /// Outcomes about units.
    pub(crate) placed: Option<&'s Placed>,
    pub(crate) covariates: Option<&'s Covariates>,
    pub(crate) metrics: &'s [Metric],
    /// The segments of each dimension.
    pub(crate) segments: &'s Chosen,
    /// By metric: the value at which units are capped. [`Summation::run`] finds them.
    pub(crate) caps: Vec<Option<f64>>,
    /// By metric: the value above which a unit is among the largest. [`Summation::run`] finds them.
    pub(crate) large: Vec<Option<f64>>,
    pub(crate) attribution: Option<Attribution>,
    pub(crate) shape: Shape,
    /// Whether units are compared.
    pub(crate) units: bool,
    pub(crate) threads: usize,
}

impl Summation<'_> {
    /// Makes the sums.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(crate) fn run(&self) -> Result<Sums, Error> {
        let caps = self.caps()?;
        let capped = Self { caps, ..self.clone() };
        let large = capped.large()?;
        Self { large, ..capped }.summed()
    }

    /// The value of each cap: the quantile of all units.
    fn caps(&self) -> Result<Vec<Option<f64>>, Error> {
        let cap = |(index, metric): (usize, &Metric)| {
            let Some(quantile) = metric.cap.filter(|_| self.units) else { return Ok(None) };
            Ok(cap::value(self.of_units(index, metric)?, quantile))
        };
        self.metrics.iter().enumerate().map(cap).collect()
    }

    /// The value of each unit in each of its slots.
    fn of_units(&self, index: usize, metric: &Metric) -> Result<Vec<f64>, Error> {
        let values = self.each(|table| {
            let (mut all, mut values) = (Vec::new(), Values::new());
            for unit in table.units() {
                let Some((first, _)) = unit.first() else { continue };
                self.values(index, metric, table, unit, first, &mut values);
                all.extend(values.iter().map(|value| value.y));
            }
            all
        })?;
        let mut all = Vec::with_capacity(values.iter().map(Vec::len).sum());
        values.into_iter().for_each(|values| all.extend(values));
        Ok(all)
    }

    fn summed(&self) -> Result<Sums, Error> {
        let drawn = self.metrics.iter().position(|metric| {
            metric.role == Role::Primary && !matches!(metric.measure, Measure::Quantile(_))
        });
        let heavy = heavy::threshold(self.each(heavy::counts)?);
        let shards = self.each(|table| self.shard(table, drawn, heavy))?;
        let mut sums = Sums { heavy, ..self.empty() };
        let mut several = false;
        for totals in &self.joined.totals {
            for (sum, more) in sums.totals.iter_mut().zip(totals.iter()) {
                sum.merge(more);
            }
        }
        for shard in &shards {
            sums.merge(&shard.sums);
            several |= shard.several;
        }
        self.add_days(&mut sums)?;
        if self.units && self.metrics.iter().any(needs_tails) {
            for tails in self.each(|table| self.tails(table, &sums))? {
                for (metric, more) in sums.metrics.iter_mut().zip(tails) {
                    metric.tails.resize(more.len(), Tails::default());
                    metric.tails.iter_mut().zip(&more).for_each(|(sum, more)| sum.merge(more));
                }
            }
        }
        if several {
            self.cross_segments(&mut sums)?;
            for shard in self.each(|table| self.crossings(table, &sums))? {
                sums.metrics.iter_mut().zip(shard).for_each(|(metric, more)| more.add_to(metric));
            }
        }
        Ok(sums)
    }

    fn empty(&self) -> Sums {
        let slots = self.shape.slots();
        let of = |(index, metric): (usize, &Metric)| match metric.measure {
            Measure::Quantile(_) => MetricSums::default(),
            _ if !self.units => MetricSums::default(),
            _ => {
                let pairs = vec![Pairs::default(); slots];
                let cap = self.caps.get(index).copied().flatten();
                let large = self.large.get(index).copied().flatten();
                MetricSums {
                    light: pairs.clone(),
                    small: if large.is_some() { pairs.clone() } else { Vec::new() },
                    large: large.unwrap_or(f64::INFINITY),
                    uncapped: if cap.is_some() { pairs.clone() } else { Vec::new() },
                    pairs,
                    cap,
                    capped: vec![0; slots],
                    covariates: self.covariates.filter(|_| covariates::is_adjusted(metric)).map(
                        |covariates| Box::new(Adjusting::new(covariates, slots, large.is_some())),
                    ),
                    ..MetricSums::default()
                }
            }
        };
        Sums {
            totals: vec![Totals::default(); slots],
            firsts: vec![0; slots],
            answered: vec![0; slots],
            torn: 0,
            moved: 0,
            told: Told::default(),
            open: vec![0; slots],
            closes: None,
            metrics: self.metrics.iter().enumerate().map(of).collect(),
            over_time: OverTime::new(slots),
            segments: self.empty_segments(),
            days: Vec::new(),
            heavy: u64::MAX,
            balance: Balance::new(slots, self.shape.arms, self.columns()),
            presence: Presence::new(slots, self.shape.arms),
            covariates: Likeness::new(self.covariates, self.shape),
        }
    }

    /// How many columns the outcomes have.
    fn columns(&self) -> usize {
        let column = |metric: &Metric| match metric.origin {
            Origin::Column(column) => 1 + metric.per.map_or(column, |per| per.max(column)),
            _ => 0,
        };
        self.metrics.iter().map(column).max().unwrap_or(0)
    }

    /// How many answered requests of a unit have a value of each column, in its first cell; of outcomes about units, whether
    /// the unit has one.
    fn labels(&self, balance: &mut Balance, table: &UnitTable, unit: Unit<'_>) {
        let Some((first, cell)) = unit.first().filter(|(_, cell)| !self.is_open(cell)) else {
            return;
        };
        for column in 0..self.columns() {
            let (rows, of) = match self.placed {
                Some(_) => {
                    let cells = unit.cells().map(|(cell, _)| table.column(column, cell).1);
                    (f64::from(u8::from(cells.sum::<u32>() > 0)), 1.0)
                }
                // A request that failed has no prediction that could be labeled, though it may have a row.
                None => {
                    let served = cell.answered().saturating_sub(cell.failed);
                    (f64::from(table.served_values(column, first)), f64::from(served))
                }
            };
            balance.labels(column, self.slot(cell), rows, of);
        }
    }

    /// The first pass over a shard.
    fn shard(&self, table: &UnitTable, drawn: Option<usize>, heavy: u64) -> Shard {
        let mut sums = self.empty();
        let mut several = false;
        let span = self.joined.tally.span.unwrap_or_default();
        let (mut values, mut design) = (Values::new(), Vec::new());
        for unit in table.units() {
            let Some((first, cell)) = unit.first() else { continue };
            let begun = cell.first;
            let slot = self.slot(cell);
            add_one(&mut sums.firsts, slot);
            for (_, cell) in unit.cells() {
                sums.over_time.joined(cell.first, span, self.slot(cell));
                sums.presence.seen(self.slot(cell), cell);
            }
            if let Some((_, cell)) = unit.at(u64::MAX) {
                sums.presence.last(cell);
            }
            let segments = self.segmented(&mut sums, unit, slot, begun);
            let requests = heavy::requests(unit);
            let is_heavy = requests > heavy;
            sums.balance.unit(slot, cell, requests, is_heavy);
            self.labels(&mut sums.balance, table, unit);
            if let Some(covariates) = self.covariates {
                covariates.design(table, first, &mut design);
                sums.covariates.add(table, first, slot);
            }
            if let Some(attribution) = self.attribution {
                let open = unit.cells().filter(|(_, cell)| self.is_open(cell));
                let ends = open.map(|(_, cell)| attribution.end(cell.first).get());
                sums.closes = sums.closes.max(ends.max());
                if self.is_open(cell) {
                    add_one(&mut sums.open, slot);
                }
            }
            match unit.cells().fold(0, |trials, (_, cell)| trials | cell.trials) {
                TOLD => sums.told.all += 1,
                UNTOLD => sums.told.none += 1,
                _ => sums.told.some += 1,
            }
            sums.torn += u64::from(unit.cells().any(|(_, cell)| cell.torn));
            sums.moved += u64::from(unit.cells().any(|(_, other)| other.arm != cell.arm));
            several |= unit.cells().nth(1).is_some();
            for (_, cell) in unit.cells().filter(|(_, cell)| cell.answered() > 0) {
                add_one(&mut sums.answered, self.slot(cell));
            }
            let by_segment = &mut sums.segments;
            for (index, (metric, of)) in self.metrics.iter().zip(&mut sums.metrics).enumerate() {
                if of.pairs.is_empty() {
                    continue;
                }
                self.values(index, metric, table, unit, first, &mut values);
                for value in &values {
                    of.add(value, is_heavy);
                    for (sums, (segment, _)) in by_segment.iter_mut().zip(&segments) {
                        sums.value(index, *segment, value);
                    }
                    if let Some(adjusting) = &mut of.covariates {
                        let is_large = value.y.abs() > of.large;
                        adjusting.add(value, &design, (is_heavy, is_large));
                    }
                    let Value { slot, y, x, .. } = *value;
                    if Some(index) == drawn {
                        sums.over_time.value(begun, span, slot, (y, x));
                    }
                }
            }
        }
        Shard { sums, several }
    }

    /// Whether the attribution window of a unit is still open, in the phase of this cell.
    fn is_open(&self, cell: &Cell) -> bool {
        self.attribution.is_some_and(|attribution| attribution.is_open(cell.first))
    }

    /// A unit's values in each of its slots, of the metric with this index.
    fn values(
        &self,
        index: usize,
        metric: &Metric,
        table: &UnitTable,
        unit: Unit<'_>,
        first: u32,
        values: &mut Values,
    ) {
        values.clear();
        let is_column = matches!(metric.origin, Origin::Column(_));
        let cap = self.caps.get(index).copied().flatten();
        for (number, cell) in unit.cells().filter(|(_, cell)| !is_column || !self.is_open(cell)) {
            let of = |column: usize| match self.placed {
                Some(placed) if !placed.timed && number != first => None,
                _ => Some(table.column(column, number)),
            };
            let column = match metric.origin {
                Origin::Column(column) => of(column),
                _ => Some((0.0, 0)),
            };
            let Some(column) = column else { continue };
            let per = metric.per.and_then(of);
            if column.0.is_infinite() || per.is_some_and(|(sum, _)| sum.is_infinite()) {
                // A value of the unit cannot be read, and unknown is not zero.
                values.clear();
                return;
            }
            let found = match per {
                // A unit without rows adds nothing to either sum.
                Some((x, rows)) => (column.1 + rows > 0).then_some((column.0, x)),
                None => value(metric, cell, column),
            };
            if let Some((y, x)) = found {
                let whole = y;
                let y = cap.map_or(y, |cap| y.min(cap));
                let rows = column.1;
                values.push(Value { slot: self.slot(cell), y, x, whole, rows });
            }
        }
    }

    fn slot(&self, cell: &Cell) -> usize {
        self.shape.slot(usize::from(cell.stratum), usize::from(cell.arm))
    }

    /// Applies `f` to the units of every shard, on all cores; results are in the order of the shards.
    fn each<R: Send>(&self, f: impl Fn(&UnitTable) -> R + Sync) -> Result<Vec<R>, Error> {
        self.joined.shards.each(self.threads, |_, table| f(table))
    }
}

/// A shard's part of the sums.
struct Shard {
    sums: Sums,
    /// A unit has several cells.
    several: bool,
}

impl Sums {
    /// Adds a shard's part.
    fn merge(&mut self, shard: &Self) {
        let add = |sums: &mut [u64], more: &[u64]| {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        };
        add(&mut self.firsts, &shard.firsts);
        add(&mut self.answered, &shard.answered);
        add(&mut self.open, &shard.open);
        self.closes = self.closes.max(shard.closes);
        self.torn += shard.torn;
        self.told.all += shard.told.all;
        self.told.none += shard.told.none;
        self.told.some += shard.told.some;
        self.moved += shard.moved;
        for (sum, more) in self.metrics.iter_mut().zip(&shard.metrics) {
            sum.merge(more);
        }
        self.presence.merge(&shard.presence);
        self.over_time.merge(&shard.over_time);
        for (sums, more) in self.segments.iter_mut().zip(&shard.segments) {
            sums.merge(more);
        }
        self.balance.merge(&shard.balance);
        self.covariates.merge(&shard.covariates);
    }
}

/// For pairs of slots, the product of residuals there, summed over units.
pub(crate) type Products = BTreeMap<(usize, usize), f64>;

/// Adds the products of a unit's residuals `y − R x`, with the ratio R of each slot.
fn products(values: &mut Values, ratios: &[Option<f64>], products: &mut Products) {
    values.sort_by_key(|value| value.slot);
    let residual = |value: &Value| {
        let ratio = ratios.get(value.slot).copied().flatten()?;
        Some((value.slot, value.y - ratio * value.x))
    };
    let residuals: Vec<(usize, f64)> = values.iter().filter_map(residual).collect();
    for (index, (one, a)) in residuals.iter().enumerate() {
        for (two, b) in residuals.iter().skip(index + 1) {
            *products.entry((*one, *two)).or_default() += a * b;
        }
    }
}

fn add_one(counts: &mut [u64], slot: usize) {
    if let Some(count) = counts.get_mut(slot) {
        *count += 1;
    }
}
