//! Whether several independent differences are the same: an effect that depends on the segment (an interaction).
//!
//! Cochran's Q is the sum of squared deviations from the common difference, each over its variance (Cochran, Biometrics 1954); with as
//! many degrees of freedom as there are differences, less one, it is a chi-square.

use crate::distribution::chi_square;
use crate::numeric::float;
use crate::result::{Estimate, PValue, Test, Undefined};

/// Cochran's Q of independent differences, for a single look. [`crate::sequential::ConfidenceSequence::p_of_chi_square`] is for any number
/// of looks.
///
/// # Errors
/// `TooFew` below two differences with a variance above 0.
pub fn heterogeneity(differences: &[Estimate]) -> Result<Test, Undefined> {
    let known = || differences.iter().filter(|estimate| estimate.variance > 0.0);
    let count = known().count();
    if count < 2 {
        return Err(Undefined::TooFew);
    }
    let weight: f64 = known().map(|estimate| estimate.variance.recip()).sum();
    let common =
        known().map(|estimate| estimate.difference / estimate.variance).sum::<f64>() / weight;
    let statistic: f64 =
        known().map(|estimate| (estimate.difference - common).powi(2) / estimate.variance).sum();
    let df = float(count as u64 - 1);
    let p = PValue::of_ln(chi_square::ln_upper(statistic, df));
    Ok(Test { statistic, df: Some(df), p })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn estimate(difference: f64, variance: f64) -> Estimate {
        Estimate { difference, variance, df: None }
    }

    #[test]
    fn q_is_that_of_another_implementation() {
        // statsmodels.stats.meta_analysis.combine_effects([0.1, 0.3, -0.05], [0.01, 0.02, 0.005]): q, and scipy's chi2.sf(q, 2).
        let found =
            heterogeneity(&[estimate(0.1, 0.01), estimate(0.3, 0.02), estimate(-0.05, 0.005)]);
        let found = found.unwrap();
        assert!((found.statistic - 5.357_142_857_142_857).abs() < 1e-12, "{found:?}");
        assert!((found.p.get() - 0.068_661_171_513_084_98).abs() < 1e-10, "{}", found.p.get());
        assert_eq!(found.df, Some(2.0));
    }

    #[test]
    fn equal_differences_have_no_heterogeneity_and_one_has_no_test() {
        let equal = heterogeneity(&[estimate(0.2, 0.01), estimate(0.2, 0.5)]).unwrap();
        assert!(equal.statistic.abs() < 1e-15 && (equal.p.get() - 1.0).abs() < 1e-12);
        let single = heterogeneity(&[estimate(0.2, 0.01), estimate(0.9, 0.0)]);
        assert_eq!(single, Err(Undefined::TooFew));
    }
}
