//! Caps: a few units with very large values decide a mean. With a cap, the value of a unit counts at most as much as a
//! quantile of the values of all units, of all variants and phases together.
//!
//! It is one number for a metric: each variant's units count by the same rule, and a phase with few units is capped by
//! what the large ones show. The quantile is exact: all values are kept for it, 8 bytes for each unit in each phase, and
//! only while it is computed.

use std::str::FromStr;

use sidetrack::config::quantile;
use sidetrack::quantity::Ppm;

/// A metric and the quantile at which its values are capped, as the option writes it: `revenue=99.9%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The metric.
    pub metric: String,
    /// The quantile.
    pub quantile: Ppm,
}

impl FromStr for Cap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(metric, _)| !metric.is_empty());
        let parts = parts.and_then(|(metric, text)| Some((metric, quantile(text)?)));
        let (metric, quantile) = parts.ok_or_else(|| {
            format!(
                "\"{text}\" is not a cap; expected NAME=QUANTILE with a quantile above 50% and below \
                 100%, as in revenue=99.9%"
            )
        })?;
        Ok(Self { metric: metric.to_owned(), quantile })
    }
}

/// The smallest of the values that at least this share of them does not exceed (the inverse of the distribution
/// function; NumPy's `inverted_cdf`). `None` without values.
pub(crate) fn value(mut values: Vec<f64>, quantile: Ppm) -> Option<f64> {
    let count = u128::try_from(values.len()).unwrap_or(u128::MAX);
    let rank = (count * u128::from(quantile.get())).div_ceil(u128::from(Ppm::ALL.get()));
    let at = usize::try_from(rank).ok()?.checked_sub(1)?;
    (at < values.len()).then(|| *values.select_nth_unstable_by(at, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_written_as_name_and_quantile() {
        let cap: Cap = "revenue=99.9%".parse().unwrap();
        assert_eq!((cap.metric.as_str(), cap.quantile.get()), ("revenue", 999_000));
        for bad in ["revenue", "=99%", "revenue=", "revenue=99.9", "a=50%", "a=100%", "a=0.999"] {
            assert!(bad.parse::<Cap>().unwrap_err().contains("revenue=99.9%"), "{bad}");
        }
    }

    #[test]
    fn the_quantile_is_the_first_value_that_enough_do_not_exceed() {
        let of = |count: u32, ppm| {
            // In no order.
            let values = (0..count).map(|number| f64::from(number * 7919 % count + 1));
            value(values.collect(), Ppm::new(ppm).unwrap())
        };
        // numpy.quantile(range(1, n + 1), q, method="inverted_cdf")
        assert_eq!(of(1000, 999_000), Some(999.0));
        assert_eq!(of(1000, 990_000), Some(990.0));
        assert_eq!(of(1000, 990_001), Some(991.0));
        assert_eq!(of(999, 999_000), Some(999.0));
        assert_eq!(of(10, 900_000), Some(9.0));
        assert_eq!(of(10, 999_999), Some(10.0));
        assert_eq!(of(1, 990_000), Some(1.0));
        assert_eq!(of(0, 990_000), None);
        assert_eq!(value(vec![0.0; 5], Ppm::new(990_000).unwrap()), Some(0.0));
    }
}
