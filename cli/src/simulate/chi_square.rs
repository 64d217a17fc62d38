//! Pearson's chi-square test of simulated counts against the shares of the file.

use sidetrack::quantity::Ppm;
use sidetrack_stats::srm::{Counts, Shares};

/// The result of a test.
pub(crate) struct Test {
    pub(crate) statistic: f64,
    pub(crate) df: u32,
    /// The upper tail; `None` with less than one degree of freedom.
    pub(crate) p_value: Option<f64>,
}

/// Compares counts with their shares. Shares of zero add no degree of freedom.
pub(crate) fn test(counts: &[(u64, Ppm)]) -> Test {
    let positive = counts.iter().filter(|(_, share)| *share > Ppm::ZERO).count();
    let df = u32::try_from(positive).unwrap_or(u32::MAX).saturating_sub(1);
    let shares: Vec<f64> = counts.iter().map(|(_, share)| share.fraction()).collect();
    let units: Vec<u64> =
        counts.iter().map(|(units, share)| if *share > Ppm::ZERO { *units } else { 0 }).collect();
    let test = Shares::new(&shares).and_then(|shares| Counts::new(&shares, &units));
    match test.map(|counts| counts.test()) {
        Ok(test) => Test { statistic: test.statistic, df, p_value: Some(test.p.get()) },
        // Fewer than two variants have a share, or no units were drawn.
        Err(_) => Test { statistic: 0.0, df, p_value: None },
    }
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
        let nothing_to_compare = test(&shares(&[(100, 100), (0, 0)]));
        assert_eq!((nothing_to_compare.df, nothing_to_compare.p_value), (0, None));
    }
}
