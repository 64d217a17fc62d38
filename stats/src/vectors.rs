//! Raw data of several numbers per unit: means, and the sums of products of deviations, in one pass.
//!
//! As `accumulate`, with Welford's updates, each number counted from that of the first unit, and Chan, Golub & LeVeque's merge.

use crate::accumulate::Pairs;
use crate::input::Invalid;
use crate::numeric::float;

/// Means and products of deviations of `width` numbers per unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vectors {
    n: u64,
    origins: Vec<f64>,
    /// The means' distances from the origins.
    offsets: Vec<f64>,
    /// The lower triangle, row by row.
    products: Vec<f64>,
}

impl Vectors {
    /// Without units.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self {
            n: 0,
            origins: vec![0.0; width],
            offsets: vec![0.0; width],
            products: vec![0.0; width * (width + 1) / 2],
        }
    }

    /// Adds a unit's numbers; those beyond the width are left out.
    ///
    /// # Errors
    /// A number that is not finite, or beyond 1e150.
    pub fn add(&mut self, values: &[f64]) -> Result<(), Invalid> {
        if let Some(value) = values.iter().find(|value| value.is_nan() || value.abs() > 1e150) {
            let hint = "omit units without a value";
            return Err(Invalid::new(value.to_string(), "be a number up to 1e150", hint));
        }
        if self.n == 0 {
            self.origins.iter_mut().zip(values).for_each(|(origin, value)| *origin = *value);
        }
        self.n += 1;
        let n = float(self.n);
        let steps = self.origins.iter().zip(&mut self.offsets).zip(values);
        let steps: Vec<(f64, f64)> = steps
            .map(|((origin, offset), value)| {
                let before = value - origin - *offset;
                *offset += before / n;
                (before, value - origin - *offset)
            })
            .collect();
        let pairs = steps.iter().enumerate();
        let terms = pairs
            .flat_map(|(row, one)| steps.iter().take(row + 1).map(move |other| one.0 * other.1));
        self.products.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        Ok(())
    }

    /// Adds what another one of the same width saw.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            self.clone_from(other);
            return;
        }
        let (n1, n2) = (float(self.n), float(other.n));
        let width = self.origins.len();
        let steps: Vec<f64> =
            (0..width).map(|index| other.place(index, self) - self.place(index, self)).collect();
        let shared = n1 * n2 / (n1 + n2);
        let terms = steps.iter().enumerate();
        let terms = terms
            .flat_map(|(row, one)| steps.iter().take(row + 1).map(move |two| one * two * shared));
        let sums = self.products.iter_mut().zip(&other.products).zip(terms);
        sums.for_each(|((sum, more), term)| *sum += more + term);
        let offsets = self.offsets.iter_mut().zip(&steps);
        offsets.for_each(|(offset, step)| *offset += step * (n2 / (n1 + n2)));
        self.n += other.n;
    }

    /// A mean, seen from the origin of another one.
    fn place(&self, index: usize, from: &Self) -> f64 {
        let of = |list: &[f64]| list.get(index).copied().unwrap_or_default();
        (of(&self.origins) - of(&from.origins)) + of(&self.offsets)
    }

    /// Two of the numbers: what a table keeps. [`Vectors::set`] gives back the same bits.
    #[must_use]
    pub fn pair(&self, one: usize, other: usize) -> Pairs {
        let of = |list: &[f64], index: usize| list.get(index).copied().unwrap_or_default();
        let column =
            |at: usize| [of(&self.origins, at), of(&self.offsets, at), self.product(at, at)];
        let ([a, b, c], [d, e, f]) = (column(one), column(other));
        Pairs::of_parts(self.n, [a, b, c, d, e, f, self.product(one, other)])
    }

    /// Sets what [`Vectors::pair`] gave; all pairs together are the whole. A pair without units changes nothing.
    pub fn set(&mut self, one: usize, other: usize, pair: &Pairs) {
        if pair.count() == 0 {
            return;
        }
        let [origin, offset, .., product] = pair.parts();
        let (row, column) = (one.max(other), one.min(other));
        let put = |list: &mut [f64], index: usize, value: f64| {
            if let Some(slot) = list.get_mut(index) {
                *slot = value;
            }
        };
        self.n = pair.count();
        put(&mut self.origins, one, origin);
        put(&mut self.offsets, one, offset);
        put(&mut self.products, row * (row + 1) / 2 + column, product);
    }

    /// How many units.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.n
    }

    /// The mean of a number; 0 without units.
    #[must_use]
    pub fn mean(&self, index: usize) -> f64 {
        let of = |list: &[f64]| list.get(index).copied().unwrap_or_default();
        of(&self.origins) + of(&self.offsets)
    }

    /// The other mean of a number minus this one, without the digits that both have.
    #[must_use]
    pub fn difference(&self, other: &Self, index: usize) -> f64 {
        other.place(index, self) - self.place(index, self)
    }

    /// The sum over units of the product of the deviations of two numbers from their means.
    #[must_use]
    pub fn product(&self, one: usize, other: usize) -> f64 {
        let (row, column) = (one.max(other), one.min(other));
        self.products.get(row * (row + 1) / 2 + column).copied().unwrap_or_default()
    }

    /// The same of two linear combinations of the numbers.
    #[must_use]
    pub fn form(&self, one: &[f64], other: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (row, a) in one.iter().enumerate().filter(|(_, a)| **a != 0.0) {
            for (column, b) in other.iter().enumerate() {
                sum += a * b * self.product(row, column);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_pairs_and_keep_small_differences_of_large_numbers() {
        let value = |number: u32| {
            let (a, b) = (f64::from(number * 7919 % 101), f64::from(number * 31 % 17));
            [1e9 + a, b, a * b]
        };
        let (mut all, mut pairs) = (Vectors::new(3), Pairs::default());
        let mut parts = [Vectors::new(3), Vectors::new(3), Vectors::new(3)];
        for number in 0..500 {
            let [a, b, c] = value(number);
            all.add(&[a, b, c]).unwrap();
            pairs.add(a, b).unwrap();
            parts[if number < 100 { 0 } else { 1 }].add(&[a, b, c]).unwrap();
        }
        let mut merged = Vectors::new(3);
        parts.iter().for_each(|part| merged.merge(part));
        assert_eq!(merged.count(), 500);
        for sums in [&all, &merged] {
            assert!((sums.product(0, 1) / 499.0 - pairs.covariance()).abs() < 1e-9);
            assert!((sums.product(0, 0) / 499.0 - pairs.variances().0).abs() < 1e-9);
            assert!((sums.mean(0) - pairs.means().0).abs() < 1e-6);
            let form = sums.form(&[1.0, -2.0, 0.0], &[0.0, 1.0, 1.0]);
            let wanted = sums.product(0, 1) + sums.product(0, 2)
                - 2.0 * (sums.product(1, 1) + sums.product(1, 2));
            assert!((form - wanted).abs() < 1e-6 * wanted.abs());
        }
        assert!(all.add(&[f64::NAN, 0.0, 0.0]).is_err() && all.count() == 500);
        assert!(
            (parts[0].difference(&parts[1], 0) - (parts[1].mean(0) - parts[0].mean(0))).abs()
                < 1e-6
        );
    }
}
