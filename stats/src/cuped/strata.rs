//! CUPED with several covariates, over several strata, for means, shares and ratios.
//!
//! Each unit has a numerator y, a denominator x (1 for a mean) and covariates z. The ratio R = ȳ/x̄ of a slot is linear in the
//! residuals e = (y − R x)/x̄ (delta method), so the covariates explain e as they would explain y: θ solves S θ = c, with S the sum of the
//! covariates' products of deviations *within* each slot (stratum and variant), and c that of their products with e. For means, θ is what least
//! squares finds of y on the covariates and an indicator of each slot (Frisch & Waugh 1933). The adjusted ratio is R − θ(z̄ − z̄ of both variants).

use std::ops::RangeFrom;

use super::Vectors;
use crate::input::Fraction;
use crate::means::{of_estimate, satterthwaite};
use crate::numeric::float;
use crate::result::{Comparison, Estimate, Undefined};
use crate::strata::{self, Side};

/// Where the numerator is in the vectors; the denominator follows, then the covariates.
const COVARIATES: RangeFrom<usize> = 2..;

/// A slot without units.
const EMPTY: Side = Side { value: 0.0, variance: 0.0, units: 0 };

/// The adjustment of both variants in all strata.
#[derive(Clone, Debug)]
pub struct Fit<'v> {
    strata: Vec<Option<(&'v Vectors, &'v Vectors)>>,
    theta: Vec<f64>,
    factor: Factor,
    /// Units minus slots minus covariates that adjust.
    df: f64,
    /// How much larger variances are, since θ was fitted to the same units.
    fitted: f64,
    /// The sum of squared adjusted residuals over `df`.
    variance: f64,
}

/// Fits θ to the units of both variants. Each vector is numerator, denominator, covariates. Strata in which a variant has fewer than two
/// units are left out.
///
/// A covariate that does not vary, or that the ones before it determine, adjusts nothing.
///
/// # Errors
/// `TooFew` if fewer units than covariates and slots are left, `ZeroBaseline` if the denominators of a slot sum to nothing.
pub fn fit<'v>(
    strata: &[(&'v Vectors, &'v Vectors)],
    covariates: usize,
) -> Result<Fit<'v>, Undefined> {
    let usable = |pair: &(&'v Vectors, &'v Vectors)| {
        let both = pair.0.count().min(pair.1.count()) > 1;
        both.then_some(*pair)
    };
    let strata: Vec<_> = strata.iter().map(usable).collect();
    let slots = || strata.iter().flatten().flat_map(|(one, two)| [*one, *two]);
    if slots().any(|slot| slot.mean(1) == 0.0) {
        return Err(Undefined::ZeroBaseline);
    }
    let square = |row: usize, column: usize| -> f64 {
        slots().map(|slot| slot.product(row + 2, column + 2)).sum()
    };
    let factor = Factor::new(covariates, square);
    let explained = |column: usize| -> f64 {
        let unit: Vec<f64> =
            (0..=column + 2).map(|at| f64::from(u8::from(at == column + 2))).collect();
        slots().map(|slot| slot.form(&residual(slot, &[]), &unit)).sum()
    };
    let theta = factor.solve(&(0..covariates).map(explained).collect::<Vec<_>>());
    let free: f64 = slots().map(|slot| float(slot.count()) - 1.0).sum();
    let df = free - factor.rank();
    if df < 1.0 {
        return Err(Undefined::TooFew);
    }
    let squares = |slot: &'v Vectors| {
        let residual = residual(slot, &theta);
        slot.form(&residual, &residual).max(0.0)
    };
    let variance = slots().map(squares).sum::<f64>() / df;
    Ok(Fit { fitted: free / df, variance, df, theta: theta.clone(), factor, strata })
}

/// The coefficients of a unit's adjusted residual: (y − R x)/x̄ − θ z.
fn residual(slot: &Vectors, theta: &[f64]) -> Vec<f64> {
    let scale = 1.0 / slot.mean(1);
    let own = [scale, -slot.mean(0) * scale * scale];
    own.into_iter().chain(theta.iter().map(|theta| -theta)).collect()
}

impl Fit<'_> {
    /// How much of the ratio goes with one unit of each covariate.
    #[must_use]
    pub fn theta(&self) -> &[f64] {
        &self.theta
    }

    /// Both adjusted sides of each stratum: around the covariates' means over both variants, and with at least the variance that both
    /// variants have together. A stratum without two units of each has no units.
    #[must_use]
    pub fn sides(&self) -> Vec<(Side, Side)> {
        let sides = |pair: &Option<(&Vectors, &Vectors)>| {
            let Some((one, two)) = pair else { return (EMPTY, EMPTY) };
            let (n1, n2) = (float(one.count()), float(two.count()));
            let (spread1, spread2) = (self.spread(one), self.spread(two));
            // As `ratio::common_variances`: the residuals of numerators, together.
            let scale = |slot: &Vectors| slot.mean(1) * slot.mean(1);
            let common = (spread1 * scale(one) * (n1 - 1.0) + spread2 * scale(two) * (n2 - 1.0))
                / (n1 + n2 - 2.0);
            let moved = self.moved(one, two);
            let side = |slot: &Vectors, spread: f64, n: f64, moved: f64| Side {
                value: slot.mean(0) / slot.mean(1) + moved,
                variance: spread.max(common / scale(slot)) / n,
                units: slot.count(),
            };
            let share = n2 / (n1 + n2);
            (side(one, spread1, n1, moved * share), side(two, spread2, n2, moved * (share - 1.0)))
        };
        self.strata.iter().map(sides).collect()
    }

    /// θ times the difference of the covariates' means.
    fn moved(&self, one: &Vectors, two: &Vectors) -> f64 {
        let columns = self.theta.iter().zip(COVARIATES);
        columns.map(|(theta, column)| theta * one.difference(two, column)).sum()
    }

    /// The variance of one unit's adjusted residual.
    fn spread(&self, slot: &Vectors) -> f64 {
        let residual = residual(slot, &self.theta);
        slot.form(&residual, &residual).max(0.0) / (float(slot.count()) - 1.0) * self.fitted
    }

    /// The merged comparison. `covariance`: what units in several strata add to the variance (see [`strata::merge`]).
    ///
    /// # Errors
    /// `TooFew` when no stratum has units of both.
    pub fn comparison(&self, covariance: f64, level: Fraction) -> Result<Comparison, Undefined> {
        strata::merge(&self.sides(), covariance + self.uncertainty(), level)
    }

    /// The comparison of means in a single stratum: Welch's test, or that with the common variance if its error is larger. The
    /// latter is the test of least squares (analysis of covariance).
    ///
    /// # Errors
    /// `TooFew` unless there is one stratum with units of both.
    pub fn of_means(&self, level: Fraction) -> Result<Comparison, Undefined> {
        let mut usable = self
            .strata
            .iter()
            .zip(self.sides())
            .filter_map(|(pair, sides)| pair.map(|(one, two)| (one, two, sides)));
        let (Some((one, two, sides)), None) = (usable.next(), usable.next()) else {
            return Err(Undefined::TooFew);
        };
        let (n1, n2) = (float(one.count()), float(two.count()));
        let own = (self.spread(one) / n1, self.spread(two) / n2);
        let common = (self.variance / n1, self.variance / n2);
        let is_pooled = common.0 + common.1 > (own.0 + own.1) * (1.0 + 1e-12);
        let variances = if is_pooled { common } else { own };
        let df =
            if is_pooled { self.df } else { satterthwaite((own.0, n1 - 1.0), (own.1, n2 - 1.0)) };
        let estimate = Estimate {
            difference: sides.1.value - sides.0.value,
            variance: variances.0 + variances.1 + self.uncertainty(),
            df: Some(df),
        };
        Ok(of_estimate((sides.0.value, sides.1.value), variances, estimate, level))
    }

    /// What the uncertainty of θ adds to the variance of the merged difference.
    fn uncertainty(&self) -> f64 {
        let sizes = self
            .strata
            .iter()
            .map(|pair| pair.map_or((0, 0), |(one, two)| (one.count(), two.count())));
        let weights = strata::weights(&sizes.collect::<Vec<_>>());
        let apart = |column: usize| -> f64 {
            let strata = self.strata.iter().zip(&weights);
            let strata = strata.filter_map(|(pair, weight)| Some((pair.as_ref()?, weight)));
            strata.map(|((one, two), weight)| weight * one.difference(two, column)).sum()
        };
        let apart: Vec<f64> = COVARIATES.take(self.theta.len()).map(apart).collect();
        let solved = self.factor.solve(&apart);
        self.variance * apart.iter().zip(solved).map(|(one, two)| one * two).sum::<f64>()
    }
}

/// A Cholesky factor of a matrix, without the columns that others determine.
#[derive(Clone, Debug)]
struct Factor {
    width: usize,
    /// The lower triangle, row by row.
    rows: Vec<Vec<f64>>,
    used: Vec<bool>,
}

impl Factor {
    fn new(width: usize, square: impl Fn(usize, usize) -> f64) -> Self {
        // A column is determined if so little of its variance is left.
        const LEFT: f64 = 1e-10;
        let mut factor = Self { width, rows: Vec::with_capacity(width), used: Vec::new() };
        for row in 0..width {
            let mut own = vec![0.0; row + 1];
            for column in 0..row {
                if factor.is_used(column) {
                    let known: f64 =
                        (0..column).map(|at| item(&own, at) * factor.at(column, at)).sum();
                    if let Some(entry) = own.get_mut(column) {
                        *entry = (square(row, column) - known) / factor.at(column, column);
                    }
                }
            }
            let pivot = square(row, row) - own.iter().map(|entry| entry * entry).sum::<f64>();
            let is_used = pivot > LEFT * square(row, row) && pivot > 0.0;
            if let Some(last) = own.last_mut() {
                *last = if is_used { pivot.sqrt() } else { 0.0 };
            }
            factor.rows.push(own);
            factor.used.push(is_used);
        }
        factor
    }

    fn is_used(&self, column: usize) -> bool {
        self.used.get(column).copied().unwrap_or(false)
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.rows.get(row).map_or(0.0, |row| item(row, column))
    }

    /// How many columns there are that no others determine.
    fn rank(&self) -> f64 {
        float(self.used.iter().filter(|used| **used).count() as u64)
    }

    /// The solution; 0 for columns that others determine.
    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut found = vec![0.0; self.width];
        for row in (0..self.width).filter(|row| self.is_used(*row)) {
            let known: f64 = (0..row).map(|at| self.at(row, at) * item(&found, at)).sum();
            if let Some(entry) = found.get_mut(row) {
                *entry = (item(right, row) - known) / self.at(row, row);
            }
        }
        for row in (0..self.width).rev().filter(|row| self.is_used(*row)) {
            let known: f64 =
                (row + 1..self.width).map(|at| self.at(at, row) * item(&found, at)).sum();
            let entry = (item(&found, row) - known) / self.at(row, row);
            if let Some(slot) = found.get_mut(row) {
                *slot = entry;
            }
        }
        found
    }
}

fn item(list: &[f64], at: usize) -> f64 {
    list.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
