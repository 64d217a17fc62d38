//! Means, shares and quantiles of rows that come in units: intervals as wide as the number of units makes them.

use crate::accumulate::Pairs;
use crate::distribution::normal;
use crate::input::{Fraction, Invalid};
use crate::numeric::float;
use crate::ratio;
use crate::result::{Interval, Undefined};

/// A value and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimated {
    /// The value, per row.
    pub value: f64,
    /// Its interval at the level.
    pub interval: Interval,
}

/// The mean per row, from each unit's sum and number of rows. The interval is the delta method's, by the normal distribution.
///
/// # Errors
/// `TooFew` below two units, `ZeroBaseline` without rows.
pub fn mean(units: &Pairs, alpha: Fraction) -> Result<Estimated, Undefined> {
    let ratio = ratio::ratio(units)?;
    let half = normal::quantile(alpha.get() / 2.0) * ratio.variance.sqrt();
    Ok(Estimated { value: ratio.value, interval: Interval::around(ratio.value, half) })
}

/// A share of rows, from each unit's number of such rows and of all rows. The interval is Wilson's (1927) for as many
/// independent rows as have the variance of the units; if the rows do not vary, for as many as there are units.
///
/// # Errors
/// As for [`mean`].
pub fn share(units: &Pairs, alpha: Fraction) -> Result<Estimated, Undefined> {
    let ratio = ratio::ratio(units)?;
    let p = ratio.value.clamp(0.0, 1.0);
    let plain = p * (1.0 - p);
    let rows = float(units.count()) * units.means().1;
    let size = if ratio.variance > 0.0 && plain > 0.0 {
        (plain / ratio.variance).min(rows)
    } else {
        float(units.count())
    };
    let z = normal::quantile(alpha.get() / 2.0);
    let (square, scale) = (z * z, 1.0 + z * z / size);
    let center = (p + square / (2.0 * size)) / scale;
    let half = z / scale * (plain / size + square / (4.0 * size * size)).sqrt();
    let interval = Interval { low: (center - half).max(0.0), high: (center + half).min(1.0) };
    Ok(Estimated { value: p, interval })
}

/// The quantile of `values`, each with the number of its unit from 0 to below `units`, in ascending order. The interval is
/// Woodruff's (1952): that of the share below the value, carried back through the distribution.
///
/// # Errors
/// `TooFew` below two units or without values.
pub fn quantile(
    values: &[(f64, u32)],
    units: usize,
    quantile: Fraction,
    alpha: Fraction,
) -> Result<Estimated, Undefined> {
    let n = float(values.len() as u64);
    let at = |share: f64| {
        let rank = (share.clamp(0.0, 1.0) * n).ceil().max(1.0);
        let mut low = 0usize;
        let mut high = values.len();
        // The smallest rank that is not below; a binary search, since ranks are whole.
        while low + 1 < high {
            let middle = low.midpoint(high);
            if float(middle as u64) < rank { low = middle } else { high = middle }
        }
        values.get(low).map(|(value, _)| *value)
    };
    let value = at(quantile.get()).ok_or(Undefined::TooFew)?;
    let mut below = vec![(0.0, 0.0); units];
    for &(one, unit) in values {
        if let Some((under, all)) = below.get_mut(unit as usize) {
            *under += f64::from(u8::from(one <= value));
            *all += 1.0;
        }
    }
    let pairs = pairs(below).map_err(|_| Undefined::TooFew)?;
    let share = share(&pairs, alpha)?;
    let (low, high) = (share.interval.low - share.value, share.interval.high - share.value);
    let q = quantile.get();
    let interval = Interval {
        low: at(q + low).ok_or(Undefined::TooFew)?,
        high: at(q + high).ok_or(Undefined::TooFew)?,
    };
    Ok(Estimated { value, interval })
}

/// Units with their sums and numbers of rows; those without rows do not count.
///
/// # Errors
/// A sum that is not finite.
pub fn pairs(units: impl IntoIterator<Item = (f64, f64)>) -> Result<Pairs, Invalid> {
    let mut all = Pairs::default();
    for (sum, rows) in units {
        if rows > 0.0 {
            all.add(sum, rows)?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    const ALPHA: f64 = 0.05;

    fn alpha() -> Fraction {
        Fraction::new(ALPHA).unwrap()
    }

    /// Rows of units that differ: each unit's own level, and one to six rows.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "up to six")]
    fn crowd(dice: &mut Dice) -> Vec<(f64, u32)> {
        let mut rows = Vec::new();
        for unit in 0..200 {
            let own = dice.normal();
            for _ in 0..=(dice.uniform() * 6.0) as u32 {
                rows.push((own + 0.5 * dice.normal(), unit));
            }
        }
        rows.sort_by(|one, other| one.0.total_cmp(&other.0));
        rows
    }

    fn by_unit(rows: &[(f64, u32)], of: impl Fn(f64) -> f64) -> Pairs {
        let mut units = vec![(0.0, 0.0); 200];
        for (value, unit) in rows {
            units[*unit as usize].0 += of(*value);
            units[*unit as usize].1 += 1.0;
        }
        pairs(units).unwrap()
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut dice = Dice::new(5);
        let mut held = [0u32; 4];
        // The deviation of a row is √1.25.
        let ninth = 1.281_551_565_544_600_5 * 1.25f64.sqrt();
        for _ in 0..1000 {
            let rows = crowd(&mut dice);
            let holds = |found: Estimated, truth: f64| {
                u32::from((found.interval.low..=found.interval.high).contains(&truth))
            };
            held[0] += holds(mean(&by_unit(&rows, |x| x), alpha()).unwrap(), 0.0);
            let high = by_unit(&rows, |x| f64::from(u8::from(x > ninth)));
            held[1] += holds(share(&high, alpha()).unwrap(), 0.1);
            let of = |q| quantile(&rows, 200, Fraction::new(q).unwrap(), alpha()).unwrap();
            held[2] += holds(of(0.5), 0.0);
            held[3] += holds(of(0.9), ninth);
        }
        assert!(held.iter().all(|held| (925..=975).contains(held)), "{held:?}");
    }

    #[test]
    fn a_share_without_variance_has_an_interval() {
        let all = pairs((0..20).map(|_| (3.0, 3.0))).unwrap();
        let found = share(&all, alpha()).unwrap();
        assert!((found.interval.low - 0.838_9).abs() < 1e-3, "{found:?}");
        assert!((found.interval.high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let rows: Vec<(f64, u32)> = (0..10).map(|row| (f64::from(row), row)).collect();
        let at = |q: f64| quantile(&rows, 10, Fraction::new(q).unwrap(), alpha()).unwrap().value;
        assert_eq!([at(0.05), at(0.1), at(0.11), at(0.5), at(0.99)], [0.0, 0.0, 1.0, 4.0, 9.0]);
    }
}
