//! Distances of two distributions, and how large they are by chance.
//!
//! A distance has no scale of its own: with a hundred rows, a population stability index of 0.2 is chance; with a million
//! rows, 0.01 is not. So each distance comes with what the sample size makes of it if nothing changed.
//!
//! Under that hypothesis, with shares `p` and `q` of the cells, PSI and eight times the Jensen-Shannon divergence are
//! approximately `Q = Σ (p − q)² / π` (Yurdakul & Naranjo 2020), a quadratic form in the difference of the shares. Rows of
//! a unit are not independent, and a unit may be in both samples, so the covariance of that difference is summed over units,
//! and `Q` has the distribution of Rao & Scott (1984) with Satterthwaite's degrees of freedom. With one row per unit this is the
//! chi-square test of homogeneity.

use crate::distribution::chi_square;
use crate::numeric::{float, ln_one_minus_exp};
use crate::result::{PValue, Undefined};

/// The rows of two samples by cell (a bin or a category), and their products by unit. A SQL engine can compute the same sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    cells: usize,
    first: Side,
    second: Side,
    /// Products of the first sample's rows and the second's, cell by cell.
    between: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Side {
    rows: Vec<u64>,
    /// Sums over units of products, cell by cell.
    products: Vec<u64>,
    units: u64,
    /// Whether any unit has more than one row.
    repeated: bool,
}

/// A distance of two distributions over cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// The population stability index `Σ (p − q) ln(p / q)`, 0 or more. An empty cell counts as half a row.
    pub psi: f64,
    /// The Jensen-Shannon distance: the root of the divergence with natural logarithms, from 0 to 0.83.
    pub jensen_shannon: f64,
    /// The probability of such a `Q` or a larger one by chance.
    pub p_value: PValue,
    /// The mean of the index if nothing changed.
    pub psi_by_chance: f64,
    /// The scale and the degrees of freedom of `Q` if nothing changed.
    scale: f64,
    degrees: f64,
    /// By how much more the shares vary than those of independent rows: the largest ratio over the sums of the first cells.
    pub design_effect: f64,
}

impl Side {
    fn new(cells: usize) -> Self {
        let products = vec![0; cells * cells];
        Self { rows: vec![0; cells], products, units: 0, repeated: false }
    }

    fn add(&mut self, unit: &[(usize, u64)]) {
        let mut all = 0;
        for &(cell, rows) in unit {
            all += rows;
            if let Some(sum) = self.rows.get_mut(cell) {
                *sum += rows;
            }
        }
        self.units += u64::from(all > 0);
        self.repeated |= all > 1;
    }

    fn total(&self) -> f64 {
        float(self.rows.iter().sum())
    }

    fn share(&self, cell: usize) -> f64 {
        self.rows.get(cell).map_or(0.0, |rows| float(*rows) / self.total())
    }
}

impl Cells {
    /// No rows in so many cells.
    #[must_use]
    pub fn new(cells: usize) -> Self {
        let between = vec![0; cells * cells];
        Self { cells, first: Side::new(cells), second: Side::new(cells), between }
    }

    /// Adds a unit: its rows by cell in both samples. Cells that do not exist are ignored; each is given at most once.
    pub fn add(&mut self, first: &[(usize, u64)], second: &[(usize, u64)]) {
        self.first.add(first);
        self.second.add(second);
        let cells = self.cells;
        let multiply = |into: &mut Vec<u64>, one: &[(usize, u64)], other: &[(usize, u64)]| {
            for &(row, many) in one {
                for &(column, more) in other {
                    if let Some(sum) = into.get_mut(row * cells + column) {
                        *sum += many * more;
                    }
                }
            }
        };
        multiply(&mut self.first.products, first, first);
        multiply(&mut self.second.products, second, second);
        multiply(&mut self.between, first, second);
    }

    /// The rows of each sample by cell.
    #[must_use]
    pub fn rows(&self) -> [&[u64]; 2] {
        [&self.first.rows, &self.second.rows]
    }

    /// The units of each sample.
    #[must_use]
    pub const fn units(&self) -> [u64; 2] {
        [self.first.units, self.second.units]
    }

    /// The distance of the two distributions.
    ///
    /// # Errors
    /// `TooFew` below two units in a sample; `ZeroVariance` if all rows are in one cell, or if all units of both samples have
    /// the same shares.
    pub fn distance(&self) -> Result<Distance, Undefined> {
        if self.first.units < 2 || self.second.units < 2 {
            return Err(Undefined::TooFew);
        }
        let (n, m) = (self.first.total(), self.second.total());
        let shares = |cell: usize| (self.first.share(cell), self.second.share(cell));
        let pooled = |cell: usize| {
            let (p, q) = shares(cell);
            (p * n + q * m) / (n + m)
        };
        let used: Vec<usize> = (0..self.cells).filter(|cell| pooled(*cell) > 0.0).collect();
        if used.len() < 2 {
            return Err(Undefined::ZeroVariance);
        }
        let (mut psi, mut divergence, mut statistic) = (0.0, 0.0, 0.0);
        for &cell in &used {
            let (p, q) = shares(cell);
            let (some_p, some_q) = (p.max(0.5 / n), q.max(0.5 / m));
            psi += (some_p - some_q) * (some_p / some_q).ln();
            let middle = f64::midpoint(p, q);
            for share in [p, q] {
                if share > 0.0 {
                    divergence += 0.5 * share * (share / middle).ln();
                }
            }
            statistic += (p - q) * (p - q) / pooled(cell);
        }
        let covariance = Covariance::new(self);
        let (mut trace, mut squares) = (0.0, 0.0);
        for &row in &used {
            trace += covariance.of(row, row) / pooled(row);
            for &column in &used {
                let value = covariance.of(row, column);
                squares += value * value / (pooled(row) * pooled(column));
            }
        }
        let jensen_shannon = divergence.max(0.0).sqrt();
        if trace <= 0.0 || squares <= 0.0 {
            // Units that are in both samples with the same rows do not vary.
            if statistic <= 0.0 {
                return Err(Undefined::ZeroVariance);
            }
            // All units of a sample are alike, and unlike those of the other: one constant became another. Only the number
            // of units says how probable that is by chance, at most as much as that so many coins fall alike.
            let units = float(self.first.units.min(self.second.units));
            let of_units = |side: &Side| side.total() / float(side.units);
            return Ok(Distance {
                psi,
                jensen_shannon,
                p_value: PValue::of_ln((1.0 - units) * std::f64::consts::LN_2),
                psi_by_chance: 0.0,
                scale: 0.0,
                degrees: 1.0,
                design_effect: of_units(&self.first).max(of_units(&self.second)),
            });
        }
        let (scale, degrees) = (squares / trace, trace * trace / squares);
        Ok(Distance {
            psi,
            jensen_shannon,
            p_value: PValue::of_ln(chi_square::ln_upper(statistic / scale, degrees)),
            psi_by_chance: trace,
            scale,
            degrees,
            design_effect: covariance.design_effect(&used),
        })
    }
}

impl Distance {
    /// The index that is exceeded with this probability, between 0 and 1, if nothing changed.
    #[must_use]
    pub fn psi_exceeded(&self, tail: f64) -> f64 {
        let wanted = tail.ln();
        let (mut low, mut high) = (0.0, 1.0);
        while chi_square::ln_upper(high, self.degrees) > wanted && high < 1e9 {
            high *= 2.0;
        }
        for _ in 0..100 {
            let middle = f64::midpoint(low, high);
            if chi_square::ln_upper(middle, self.degrees) > wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.scale * f64::midpoint(low, high)
    }

    /// The Jensen-Shannon distance that is exceeded with this probability if nothing changed.
    #[must_use]
    pub fn jensen_shannon_exceeded(&self, tail: f64) -> f64 {
        (self.psi_exceeded(tail) / 8.0).sqrt()
    }
}

/// The covariance of the difference of the shares, by unit.
struct Covariance<'a> {
    cells: &'a Cells,
    first: Vec<f64>,
    second: Vec<f64>,
    /// Sums of the rows and columns of the products between the samples.
    of_rows: Vec<f64>,
    of_columns: Vec<f64>,
}

impl<'a> Covariance<'a> {
    fn new(cells: &'a Cells) -> Self {
        let width = cells.cells.max(1);
        let lines = |products: &[u64]| -> Vec<f64> {
            products.chunks(width).map(|line| float(line.iter().sum())).collect()
        };
        let columns =
            (0..width).map(|column| float(cells.between.iter().skip(column).step_by(width).sum()));
        Self {
            first: lines(&cells.first.products),
            second: lines(&cells.second.products),
            of_rows: lines(&cells.between),
            of_columns: columns.collect(),
            cells,
        }
    }

    /// Of the errors of two cells.
    fn of(&self, row: usize, column: usize) -> f64 {
        let Cells { cells, first, second, between } = self.cells;
        let at = |products: &[u64], row: usize, column: usize| {
            products.get(row * cells + column).map_or(0.0, |sum| float(*sum))
        };
        let get = |sums: &[f64], at: usize| sums.get(at).copied().unwrap_or_default();
        let within = |side: &Side, sums: &[f64]| {
            let (p, q) = (side.share(row), side.share(column));
            let all: f64 = sums.iter().sum();
            let sum = at(&side.products, row, column) - p * get(sums, column) - q * get(sums, row)
                + p * q * all;
            let units = float(side.units);
            sum / (side.total() * side.total()) * units / (units - 1.0)
        };
        let all: f64 = self.of_rows.iter().sum();
        let across = |row: usize, column: usize| {
            let (p, q) = (first.share(row), second.share(column));
            let sum = at(between, row, column)
                - p * get(&self.of_columns, column)
                - q * get(&self.of_rows, row)
                + p * q * all;
            sum / (first.total() * second.total())
        };
        within(first, &self.first) + within(second, &self.second)
            - across(row, column)
            - across(column, row)
    }

    /// The largest ratio of the variance of a cumulative share's difference to that of independent rows.
    fn design_effect(&self, used: &[usize]) -> f64 {
        let Cells { first, second, between, .. } = self.cells;
        let independent =
            !first.repeated && !second.repeated && between.iter().all(|sum| *sum == 0);
        if independent {
            return 1.0;
        }
        let (mut variance, mut p, mut q, mut largest) = (0.0, 0.0, 0.0, 0.0f64);
        for (index, &cell) in used.iter().enumerate() {
            let before = used.iter().take(index).map(|other| self.of(cell, *other)).sum::<f64>();
            variance += self.of(cell, cell) + 2.0 * before;
            p += first.share(cell);
            q += second.share(cell);
            let plain = p * (1.0 - p) / first.total() + q * (1.0 - q) / second.total();
            if plain > 1e-12 / (first.total() + second.total()) && index + 1 < used.len() {
                largest = largest.max(variance / plain);
            }
        }
        largest
    }
}

/// The largest distance of two empirical distribution functions, from 0 to 1 (Kolmogorov and Smirnov). Both samples are in
/// ascending order and not empty.
#[must_use]
pub fn kolmogorov_smirnov(first: &[f64], second: &[f64]) -> f64 {
    let (mut i, mut j, mut largest) = (0usize, 0usize, 0.0f64);
    let (n, m) = (float(first.len() as u64), float(second.len() as u64));
    while let (Some(one), Some(other)) = (first.get(i), second.get(j)) {
        let value = one.min(*other);
        while first.get(i).is_some_and(|one| *one <= value) {
            i += 1;
        }
        while second.get(j).is_some_and(|other| *other <= value) {
            j += 1;
        }
        largest = largest.max((float(i as u64) / n - float(j as u64) / m).abs());
    }
    largest
}

/// The probability of such a distance or a larger one, if nothing changed: the limit for large samples of `rows`. With a
/// design effect other than 1, the samples count for as many independent rows.
#[must_use]
pub fn kolmogorov_p(distance: f64, rows: [u64; 2], design_effect: f64) -> PValue {
    let lambda = distance * effective(rows, design_effect).sqrt();
    PValue::of_ln(ln_kolmogorov(lambda))
}

/// The distance that is exceeded with this probability, between 0 and 1, if nothing changed.
#[must_use]
pub fn kolmogorov_exceeded(tail: f64, rows: [u64; 2], design_effect: f64) -> f64 {
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if ln_kolmogorov(middle) > tail.ln() {
            low = middle;
        } else {
            high = middle;
        }
    }
    (f64::midpoint(low, high) / effective(rows, design_effect).sqrt()).min(1.0)
}

fn effective([n, m]: [u64; 2], design_effect: f64) -> f64 {
    let (n, m) = (float(n), float(m));
    n * m / (n + m) / design_effect.max(1e-9)
}

/// The logarithm of Kolmogorov's upper tail (1933). Each of both series converges where the other one does not.
fn ln_kolmogorov(lambda: f64) -> f64 {
    use std::f64::consts::PI;
    if lambda <= 0.0 {
        return 0.0;
    }
    if lambda < 1.0 {
        let exponent = |k: f64| -(k * PI) * (k * PI) / (8.0 * lambda * lambda);
        let sum: f64 = [1.0, 3.0, 5.0, 7.0, 9.0].map(|k| exponent(k).exp()).iter().sum();
        // 1 minus the lower tail, which is tiny for a small λ.
        let ln_lower = ((2.0 * PI).sqrt() / lambda * sum).ln();
        return if ln_lower < -700.0 { 0.0 } else { ln_one_minus_exp(ln_lower.min(0.0)) };
    }
    let term = |k: f64| (-2.0 * (k * k - 1.0) * lambda * lambda).exp();
    let rest = 1.0 - term(2.0) + term(3.0) - term(4.0) + term(5.0);
    std::f64::consts::LN_2 - 2.0 * lambda * lambda + rest.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// Two samples of units that each have so many rows; with `alike`, a unit's rows are all in one cell.
    fn samples(dice: &mut Dice, units: [u64; 2], rows: u64, alike: bool) -> Cells {
        let mut cells = Cells::new(5);
        let mut unit = || {
            let mut counts = [0u64; 5];
            let mut cell = 0;
            for row in 0..rows {
                if row == 0 || !alike {
                    cell = [0.1, 0.3, 0.55, 0.8, 1.0]
                        .iter()
                        .position(|limit| dice.uniform() < *limit)
                        .unwrap_or(4);
                }
                counts[cell] += 1;
            }
            counts.into_iter().enumerate().filter(|(_, rows)| *rows > 0).collect::<Vec<_>>()
        };
        for _ in 0..units[0] {
            cells.add(&unit(), &[]);
        }
        for _ in 0..units[1] {
            cells.add(&[], &unit());
        }
        cells
    }

    /// Of a thousand pairs of equal samples: how many are significant at 5 %, how many indices exceed what 5 % exceed, and the mean
    /// index over its expectation.
    fn errors(rows: u64, alike: bool) -> (u32, u32, f64) {
        let mut dice = Dice::new(7);
        let (mut found, mut exceeded, mut ratio) = (0, 0, 0.0);
        for _ in 0..1000 {
            let distance = samples(&mut dice, [300, 200], rows, alike).distance().unwrap();
            found += u32::from(distance.p_value.get() < 0.05);
            exceeded += u32::from(distance.psi > distance.psi_exceeded(0.05));
            ratio += distance.psi / distance.psi_by_chance / 1000.0;
        }
        (found, exceeded, ratio)
    }

    #[test]
    fn equal_distributions_differ_by_chance_as_often_as_stated() {
        for (rows, alike) in [(1, false), (4, false), (4, true)] {
            let (found, exceeded, ratio) = errors(rows, alike);
            assert!((33..=68).contains(&exceeded), "{rows} {alike}: {exceeded} of 1000");
            assert!((33..=68).contains(&found), "{rows} {alike}: {found} of 1000");
            assert!((0.95..1.08).contains(&ratio), "{rows} {alike}: {ratio}");
        }
    }

    #[test]
    fn rows_of_a_unit_count_as_much_as_they_say() {
        let mut dice = Dice::new(3);
        let alike = samples(&mut dice, [2000, 2000], 4, true).distance().unwrap();
        assert!((3.7..4.4).contains(&alike.design_effect), "{alike:?}");
        let independent = samples(&mut dice, [2000, 2000], 1, false).distance().unwrap();
        assert!((independent.design_effect - 1.0).abs() < 1e-12, "{independent:?}");
    }

    #[test]
    fn units_in_both_samples_vary_together() {
        let mut apart = Cells::new(2);
        let mut together = Cells::new(2);
        for unit in 0..100u64 {
            let cell = usize::from(unit % 3 == 0);
            let later = if unit % 10 == 0 { 1 - cell } else { cell };
            together.add(&[(cell, 1)], &[(later, 1)]);
            apart.add(&[(cell, 1)], &[]);
            apart.add(&[], &[(later, 1)]);
        }
        let (together, apart) = (together.distance().unwrap(), apart.distance().unwrap());
        assert!((together.psi - apart.psi).abs() < 1e-15);
        assert!(together.psi_by_chance < 0.4 * apart.psi_by_chance, "{together:?} {apart:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_undefined() {
        let mut cells = Cells::new(3);
        cells.add(&[(0, 5)], &[(0, 1), (1, 1)]);
        assert_eq!(cells.distance().unwrap_err(), Undefined::TooFew);
        let mut cells = Cells::new(3);
        for _ in 0..3 {
            cells.add(&[(1, 1)], &[]);
            cells.add(&[], &[(1, 2)]);
        }
        assert_eq!(cells.distance().unwrap_err(), Undefined::ZeroVariance);
    }

    #[test]
    fn the_steps_of_two_samples_are_compared_at_ties_as_a_whole() {
        let d = kolmogorov_smirnov(&[1.0, 1.0, 1.0, 2.0], &[1.0, 2.0, 2.0, 2.0]);
        assert!((d - 0.5).abs() < 1e-15, "{d}");
        assert!(kolmogorov_smirnov(&[1.0, 1.0], &[1.0]).abs() < 1e-15);
        assert!((kolmogorov_smirnov(&[1.0, 2.0], &[3.0]) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn exceeded_distances_have_their_probability() {
        for tail in [0.5, 0.05, 1e-6] {
            let d = kolmogorov_exceeded(tail, [1000, 3000], 2.0);
            let p = kolmogorov_p(d, [1000, 3000], 2.0).get();
            assert!((p / tail - 1.0).abs() < 1e-9, "{tail} {p}");
        }
    }
}
