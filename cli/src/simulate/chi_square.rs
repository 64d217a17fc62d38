//! Pearson's chi-square test of counts against shares.

use sidetrack::quantity::Ppm;

/// A test's outcome.
pub(crate) struct Test {
    pub(crate) statistic: f64,
    pub(crate) df: u32,
    /// The upper tail; `None` with less than one degree of freedom.
    pub(crate) p_value: Option<f64>,
}

/// Compares counts with the shares they should have. Only shares above zero count.
pub(crate) fn test(counts: &[(u64, Ppm)]) -> Test {
    let expected_any = || counts.iter().filter(|(_, share)| *share > Ppm::ZERO);
    let sum = float(expected_any().map(|(count, _)| count).sum());
    let df = u32::try_from(expected_any().count()).unwrap_or(u32::MAX).saturating_sub(1);
    if df == 0 || sum == 0.0 {
        return Test { statistic: 0.0, df, p_value: None };
    }
    let term = |(count, share): &(u64, Ppm)| {
        let expected = sum * share.fraction();
        (float(*count) - expected).powi(2) / expected
    };
    let statistic: f64 = expected_any().map(term).sum();
    // The regularised upper incomplete gamma function: Q(df/2, x/2).
    let p_value = if statistic > 0.0 {
        statrs::function::gamma::checked_gamma_ur(f64::from(df) / 2.0, statistic / 2.0).ok()
    } else {
        Some(1.0)
    };
    Test { statistic, df, p_value }
}

/// A count as a float: exact below 2^53, which no simulation reaches.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(counts: &[(u64, u32)]) -> Vec<(u64, Ppm)> {
        counts
            .iter()
            .map(|&(count, percent)| (count, Ppm::new(percent * 10_000).unwrap()))
            .collect()
    }

    fn p(counts: &[(u64, u32)]) -> f64 {
        test(&shares(counts)).p_value.unwrap()
    }

    #[test]
    fn p_values_are_those_of_the_closed_forms() {
        // One degree of freedom: erfc(sqrt(x/2)). Two: exp(-x/2). Both from Python's math module.
        assert!((p(&[(320, 30), (680, 70)]) - 0.167_546_277_488_617_75).abs() < 1e-12);
        assert!((p(&[(60, 50), (25, 30), (15, 20)]) - 0.129_812_176_855_437_94).abs() < 1e-12);
        assert!((p(&[(300, 30), (700, 70)]) - 1.0).abs() < 1e-12);
        assert!(p(&[(400, 30), (600, 70)]) < 1e-10);
    }

    #[test]
    fn weights_of_zero_have_no_degree_of_freedom() {
        assert_eq!(test(&shares(&[(30, 30), (70, 70), (0, 0)])).df, 1);
        let nobody_to_compare = test(&shares(&[(100, 100), (0, 0)]));
        assert_eq!((nobody_to_compare.df, nobody_to_compare.p_value), (0, None));
    }
}
