//! From sums to comparisons: each metric, each candidate against the baseline, stratum by stratum and merged.
//!
//! The unit of analysis is what was randomised. Metrics per request are ratios of sums over units (the delta method), so
//! that a user with a thousand requests is one user. A unit that was seen in several strata counts in each, as it was
//! assigned there, and the variance knows that it is the same unit. Without units, each request is taken for one.

use sidetrack_stats::accumulate::Pairs;
use sidetrack_stats::input::{Fraction, Proportion};
use sidetrack_stats::result::{Comparison, Undefined};
use sidetrack_stats::strata::{self, Side};
use sidetrack_stats::{means, proportions, ratio};

use super::histogram::GROUPS;
use super::ledger::{Cell, Ledger, Unit};
use super::metric::{Kind, Metric, Source};
use super::outcomes::Outcomes;

/// The data of an analysis.
pub(super) struct Data<'d> {
    pub(super) ledger: &'d Ledger,
    /// Sum and count of each column of outcomes that are about units, by the number of the unit's first cell.
    pub(super) by_unit: &'d [Vec<(f64, u32)>],
    pub(super) strata: usize,
    pub(super) arms: usize,
    pub(super) baseline: usize,
    /// Whether there are units.
    pub(super) units: bool,
    pub(super) level: Fraction,
}

/// A candidate against the baseline in one metric.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) candidate: usize,
    /// Units behind the baseline's and the candidate's value.
    pub(super) sizes: (u64, u64),
    pub(super) comparison: Result<Comparison, Undefined>,
    /// What was computed, in words.
    pub(super) method: String,
    /// The same within each stratum that has both.
    pub(super) strata: Vec<(usize, (u64, u64), Comparison)>,
    /// The shares behind it, when it is one stratum of shares: for posteriors.
    pub(super) shares: Option<(Proportion, Proportion)>,
}

/// Outcomes about units, put beside the units of the log.
pub(super) struct Placed {
    pub(super) columns: Vec<Vec<(f64, u32)>>,
    pub(super) matched: u64,
    pub(super) unmatched: u64,
    /// Rows from before the unit's first request.
    pub(super) early: u64,
}

/// Finds the unit of each row. What came before a unit's first request cannot be the model's doing.
pub(super) fn place(ledger: &Ledger, outcomes: &Outcomes) -> Placed {
    let cells = ledger.cells() as usize;
    let mut placed = Placed {
        columns: vec![vec![(0.0, 0); cells]; outcomes.columns.len()],
        matched: 0,
        unmatched: 0,
        early: 0,
    };
    for (keys, time, values) in outcomes.units() {
        let Some((number, cell)) = keys.into_iter().find_map(|key| ledger.unit(key)?.first())
        else {
            placed.unmatched += 1;
            continue;
        };
        if time.is_some_and(|time| time < cell.first) {
            placed.early += 1;
            continue;
        }
        placed.matched += 1;
        for (column, value) in
            placed.columns.iter_mut().zip(values).filter(|(_, value)| !value.is_nan())
        {
            if let Some((sum, count)) = column.get_mut(number as usize) {
                *sum += value;
                *count += 1;
            }
        }
    }
    placed
}

impl Data<'_> {
    /// Compares every candidate.
    pub(super) fn measure(&self, metric: &Metric) -> Vec<Found> {
        let candidates = (0..self.arms).filter(|arm| *arm != self.baseline);
        match metric.kind {
            Kind::Quantile(share) => {
                candidates.map(|candidate| self.quantile(candidate, share)).collect()
            }
            _ if self.units => {
                let pairs = self.pairs(metric);
                candidates.map(|candidate| self.by_unit(metric, &pairs, candidate)).collect()
            }
            _ => candidates.map(|candidate| self.by_request(metric, candidate)).collect(),
        }
    }

    /// What a unit's cell adds to a metric: numerator and denominator.
    fn value(&self, metric: &Metric, number: u32, cell: &Cell, first: bool) -> Option<(f64, f64)> {
        let answered = f64::from(cell.answered());
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of one unit are far below 2^53"
        )]
        let (y, x) = match metric.source {
            Source::Errors => (f64::from(cell.failed), answered),
            Source::Aborts => (f64::from(cell.aborted), f64::from(cell.requests)),
            Source::Latency => (cell.latency as f64 / 1000.0, answered),
            Source::Column(column) => {
                let (sum, count) = match self.by_unit.get(column) {
                    // An outcome of a unit belongs to the variant that the unit met first.
                    Some(column) if first => {
                        column.get(number as usize).copied().unwrap_or_default()
                    }
                    Some(_) => return None,
                    None => self.ledger.column(column, number),
                };
                match metric.kind {
                    Kind::Proportion => (f64::from(u8::from(sum > 0.0)), 1.0),
                    Kind::Mean => (sum, 1.0),
                    _ => (sum, f64::from(count)),
                }
            }
        };
        (x > 0.0).then_some((y, x))
    }

    /// The slot of a variant in a stratum.
    fn slot(&self, stratum: usize, arm: usize) -> usize {
        stratum * self.arms + arm
    }

    /// Gives each unit's values to `see`: the unit's first request, and slot, numerator and denominator of each cell.
    pub(super) fn each_unit(
        &self,
        metric: &Metric,
        mut see: impl FnMut(u64, &[(usize, f64, f64)]),
    ) {
        let mut values = Vec::new();
        for unit in self.ledger.units() {
            values.clear();
            let Some(begun) = self.unit_values(metric, unit, &mut values) else { continue };
            see(begun, &values);
        }
    }

    fn unit_values(
        &self,
        metric: &Metric,
        unit: Unit<'_>,
        values: &mut Vec<(usize, f64, f64)>,
    ) -> Option<u64> {
        let (first, cell) = unit.first()?;
        let begun = cell.first;
        for (number, cell) in unit.cells() {
            if let Some((y, x)) = self.value(metric, number, cell, number == first) {
                values.push((self.slot(usize::from(cell.stratum), usize::from(cell.arm)), y, x));
            }
        }
        Some(begun)
    }

    fn pairs(&self, metric: &Metric) -> Vec<Pairs> {
        let mut pairs = vec![Pairs::default(); self.strata * self.arms];
        self.each_unit(metric, |_, values| {
            for (slot, y, x) in values {
                // Sums of checked numbers; one beyond 1e150 is left out.
                pairs.get_mut(*slot).map(|pairs| pairs.add(*y, *x).ok());
            }
        });
        pairs
    }

    /// Both sides in each stratum; a side that cannot be judged has no units.
    fn sides(&self, pairs: &[Pairs], candidate: usize) -> Vec<(Side, Side)> {
        let side = |stratum: usize, arm: usize| {
            let pairs = pairs.get(self.slot(stratum, arm)).copied().unwrap_or_default();
            ratio::ratio(&pairs).map_or(EMPTY, |found| Side {
                value: found.value,
                variance: found.variance,
                units: pairs.count(),
            })
        };
        (0..self.strata)
            .map(|stratum| (side(stratum, self.baseline), side(stratum, candidate)))
            .collect()
    }

    fn by_unit(&self, metric: &Metric, pairs: &[Pairs], candidate: usize) -> Found {
        let sides = self.sides(pairs, candidate);
        let used: Vec<usize> = usable(&sides);
        let sizes = sizes(&sides);
        let pair = |stratum: usize, arm: usize| {
            pairs.get(self.slot(stratum, arm)).copied().unwrap_or_default()
        };
        let within: Vec<_> = used
            .iter()
            .filter_map(|&stratum| {
                let sides = *sides.get(stratum)?;
                let compared = strata::merge(&[sides], 0.0, self.level).ok()?;
                Some((stratum, (sides.0.units, sides.1.units), compared))
            })
            .collect();
        let covariance = self.covariance(metric, &sides, pairs, candidate);
        let (mut shares, mut word) = (None, "");
        let comparison = match (metric.kind, used.as_slice()) {
            (Kind::Proportion, _) if covariance == 0.0 => {
                let counts: Vec<(Proportion, Proportion)> = used
                    .iter()
                    .filter_map(|&stratum| {
                        let of = |arm| share_of(&pair(stratum, arm));
                        of(self.baseline).zip(of(candidate))
                    })
                    .collect();
                if let [one] = counts.as_slice() {
                    shares = Some(*one);
                }
                word = "z test of shares of units";
                proportions::stratified(&counts, self.level)
            }
            (Kind::Mean, &[stratum]) => {
                word = "Welch's t test of means per unit";
                let of = |arm| pair(stratum, arm).first().sample();
                of(self.baseline)
                    .and_then(|one| Ok(means::compare(one, of(candidate)?, self.level)))
                    .map_err(|_| Undefined::TooFew)
            }
            _ => strata::merge(&sides, covariance, self.level),
        };
        let word = match (word, metric.kind) {
            ("", Kind::Ratio) => "ratio over units, delta method",
            ("", _) => "means per unit",
            (word, _) => word,
        };
        Found {
            candidate,
            sizes,
            comparison,
            method: told(word, used.len()),
            strata: within,
            shares,
        }
    }

    /// What units in several strata add to the variance of the merged difference.
    fn covariance(
        &self,
        metric: &Metric,
        sides: &[(Side, Side)],
        pairs: &[Pairs],
        candidate: usize,
    ) -> f64 {
        let sizes: Vec<(u64, u64)> =
            sides.iter().map(|(one, two)| (one.units, two.units)).collect();
        let weights = strata::weights(&sizes);
        // How far a unit moves the merged difference, for a numerator that is one above what its denominator lets expect.
        let pull = |slot: usize| -> Option<(f64, f64)> {
            let (stratum, arm) = (slot / self.arms, slot % self.arms);
            let (one, two) = sides.get(stratum)?;
            let weight = weights.get(stratum).copied().filter(|weight| *weight > 0.0)?;
            let (side, sign) = match arm {
                _ if arm == self.baseline => (one, -1.0),
                _ if arm == candidate => (two, 1.0),
                _ => return None,
            };
            let pairs = pairs.get(slot)?;
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            let denominators = pairs.means().1 * pairs.count() as f64;
            Some((sign * weight / denominators, side.value))
        };
        let mut sum = 0.0;
        self.each_unit(metric, |_, values| {
            if values.len() < 2 {
                return;
            }
            let pulls = values.iter().filter_map(|(slot, y, x)| {
                let (pull, value) = pull(*slot)?;
                Some(pull * (y - value * x))
            });
            let (mut all, mut own) = (0.0, 0.0);
            for pull in pulls {
                all += pull;
                own += pull * pull;
            }
            // (Σ a)² − Σ a² is twice the sum over pairs.
            sum += all * all - own;
        });
        sum
    }

    /// Each request is taken for a unit.
    fn by_request(&self, metric: &Metric, candidate: usize) -> Found {
        let mut counts = Vec::new();
        let mut sides = Vec::new();
        for stratum in 0..self.strata {
            let of = |arm: usize| -> Option<(Option<Proportion>, Side)> {
                let totals = self.ledger.totals(stratum, arm)?;
                let answered = totals.requests - totals.aborted;
                let moments = match metric.source {
                    Source::Errors => return share_side(totals.failed, answered),
                    Source::Aborts => return share_side(totals.aborted, totals.requests),
                    Source::Latency => &totals.latency,
                    Source::Column(column) => totals.outcomes.get(column)?,
                };
                let sample = moments.sample().ok()?;
                #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
                let variance = moments.variance() / sample.count() as f64;
                Some((None, Side { value: sample.mean(), variance, units: sample.count() }))
            };
            let (one, two) = (of(self.baseline), of(candidate));
            if let (Some((Some(one), _)), Some((Some(two), _))) = (one, two) {
                counts.push((one, two));
            }
            sides.push((one.map_or(EMPTY, |(_, side)| side), two.map_or(EMPTY, |(_, side)| side)));
        }
        let used = usable(&sides);
        let (comparison, word) = if counts.is_empty() {
            (strata::merge(&sides, 0.0, self.level), "means per request")
        } else {
            (proportions::stratified(&counts, self.level), "z test of shares of requests")
        };
        let within = used.iter().filter_map(|&stratum| {
            let sides = *sides.get(stratum)?;
            Some((
                stratum,
                (sides.0.units, sides.1.units),
                strata::merge(&[sides], 0.0, self.level).ok()?,
            ))
        });
        Found {
            candidate,
            sizes: sizes(&sides),
            comparison,
            method: told(word, used.len()),
            strata: within.collect(),
            shares: if let [one] = counts.as_slice() { Some(*one) } else { None },
        }
    }

    /// The difference of quantiles of the latency, with the jackknife's variance over groups of units.
    fn quantile(&self, candidate: usize, share: f64) -> Found {
        // By stratum: the two quantiles, and both again without each group.
        let mut full: Vec<(Side, Side)> = Vec::new();
        let mut less: Vec<Vec<(f64, f64)>> = Vec::new();
        let units = self.sizes_by_slot();
        for stratum in 0..self.strata {
            let of = |arm: usize| -> Option<(f64, Vec<f64>, u64)> {
                let histogram = &self.ledger.totals(stratum, arm)?.histogram;
                let total = histogram.total();
                let value = total.quantile(share)? / 1000.0;
                let without = |group| {
                    histogram.without(&total, group).quantile(share).map_or(value, |q| q / 1000.0)
                };
                let units = units.get(self.slot(stratum, arm)).copied().unwrap_or(0);
                Some((value, (0..GROUPS).map(without).collect(), units))
            };
            match (of(self.baseline), of(candidate)) {
                (Some((one, one_less, n1)), Some((two, two_less, n2))) => {
                    full.push((
                        Side { value: one, variance: jackknife(&one_less), units: n1 },
                        Side { value: two, variance: jackknife(&two_less), units: n2 },
                    ));
                    less.push(one_less.into_iter().zip(two_less).collect());
                }
                _ => {
                    full.push((EMPTY, EMPTY));
                    less.push(Vec::new());
                }
            }
        }
        let pairs: Vec<(u64, u64)> = full.iter().map(|(one, two)| (one.units, two.units)).collect();
        let weights = strata::weights(&pairs);
        let merged = |group: usize| -> f64 {
            let term = |(weight, less): (&f64, &Vec<(f64, f64)>)| {
                less.get(group).map_or(0.0, |(one, two)| weight * (two - one))
            };
            weights.iter().zip(&less).map(term).sum()
        };
        let together = jackknife(&(0..GROUPS).map(merged).collect::<Vec<_>>());
        let apart: f64 = weights
            .iter()
            .zip(&full)
            .map(|(w, (one, two))| w * w * (one.variance + two.variance))
            .sum();
        let used = usable(&full);
        let within = used.iter().filter_map(|&stratum| {
            let sides = *full.get(stratum)?;
            Some((
                stratum,
                (sides.0.units, sides.1.units),
                strata::merge(&[sides], 0.0, self.level).ok()?,
            ))
        });
        Found {
            candidate,
            sizes: sizes(&full),
            comparison: strata::merge(&full, together - apart, self.level),
            method: told("quantiles, jackknife over groups of units", used.len()),
            strata: within.collect(),
            shares: None,
        }
    }

    /// Units that were answered, by slot; requests where there are no units.
    fn sizes_by_slot(&self) -> Vec<u64> {
        let mut sizes = vec![0; self.strata * self.arms];
        if self.units {
            for unit in self.ledger.units() {
                for (_, cell) in unit.cells().filter(|(_, cell)| cell.answered() > 0) {
                    let slot = self.slot(usize::from(cell.stratum), usize::from(cell.arm));
                    if let Some(size) = sizes.get_mut(slot) {
                        *size += 1;
                    }
                }
            }
            return sizes;
        }
        for (slot, size) in sizes.iter_mut().enumerate() {
            let totals = self.ledger.totals(slot / self.arms, slot % self.arms);
            *size = totals.map_or(0, |totals| totals.requests - totals.aborted);
        }
        sizes
    }
}

/// A side that nothing is known of.
pub(super) const EMPTY: Side = Side { value: 0.0, variance: 0.0, units: 0 };

/// Strata that have units of both.
fn usable(sides: &[(Side, Side)]) -> Vec<usize> {
    let both = |(_, (one, two)): &(usize, &(Side, Side))| one.units > 0 && two.units > 0;
    sides.iter().enumerate().filter(both).map(|(stratum, _)| stratum).collect()
}

fn sizes(sides: &[(Side, Side)]) -> (u64, u64) {
    sides.iter().fold((0, 0), |sums, (one, two)| (sums.0 + one.units, sums.1 + two.units))
}

fn told(word: &str, strata: usize) -> String {
    if strata > 1 { format!("{word}, {strata} phases apart and merged") } else { word.to_owned() }
}

/// Units with a success of all units, from pairs of 0 or 1 and 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a count"
)]
fn share_of(pairs: &Pairs) -> Option<Proportion> {
    let n = pairs.count();
    Proportion::new((pairs.means().0 * n as f64).round() as u64, n).ok()
}

fn share_side(successes: u64, trials: u64) -> Option<(Option<Proportion>, Side)> {
    let share = Proportion::new(successes, trials).ok()?;
    let p = share.share();
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let variance = p * (1.0 - p) / trials as f64;
    Some((Some(share), Side { value: p, variance, units: trials }))
}

/// The variance of an estimate, from the estimates without one group each.
#[expect(clippy::cast_precision_loss, reason = "a hundred groups")]
fn jackknife(without: &[f64]) -> f64 {
    let n = without.len() as f64;
    let mean = without.iter().sum::<f64>() / n;
    (n - 1.0) / n * without.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
}
