//! Sample-ratio mismatch: whether the sizes of the groups match the weights.
//!
//! It precedes all other tests. A group that lost units (to a crash, a bot filter, a breaker, a cache) is
//! not a random sample anymore, and its metrics reflect the loss. Counts are of units: requests of one
//! user are correlated, so a test on requests has false positives (25 to 71 percent in simulations, at a
//! level of 0.1 percent).

use crate::distribution::chi_square;
use crate::input::Invalid;
use crate::numeric::float;
use crate::numeric::gamma::{deviance, stirling_error};
use crate::result::{PValue, Test, Undefined};

/// The default level of a single look: a mismatch stops the analysis, so false positives must be rare.
///
/// Repeated every day, the fixed test finds a mismatch in 0.7 % of sound experiments within two weeks, and in 2 % within a year.
pub const LEVEL: f64 = 0.001;

/// The default level of the test that may be repeated: at most one sound experiment in a hundred is ever stopped, however long and often
/// it is looked at.
///
/// Daily looks stop 0.15 % within two weeks and 0.3 % within a year. It must be higher than `LEVEL` to find the same losses: at this level,
/// a mismatch must be 7 to 20 % larger than the smallest that a single look finds.
pub const ALWAYS_LEVEL: f64 = 0.01;

/// The configured shares of the units: at least two positive shares with a sum of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares(Vec<f64>);

impl Shares {
    /// Of fractions that sum to 1, or of percentages that sum to 100.
    ///
    /// # Errors
    /// A negative share or one that is not finite, fewer than two positive ones, another sum.
    pub fn new(shares: &[f64]) -> Result<Self, Invalid> {
        let shown = || shares.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        if let Some(bad) = shares.iter().find(|share| !(share.is_finite() && **share >= 0.0)) {
            return Err(Invalid::new(
                format!("{bad} in {}", shown()),
                "have shares of 0 or more",
                "",
            ));
        }
        if shares.iter().filter(|share| **share > 0.0).count() < 2 {
            let hint = "a single group cannot be compared";
            return Err(Invalid::new(shown(), "have at least two shares above 0", hint));
        }
        let sum: f64 = shares.iter().sum();
        let near = |whole: f64| (sum - whole).abs() <= 1e-6 * whole;
        if !near(1.0) && !near(100.0) {
            let hint = "give the share of each variant, the baseline first";
            return Err(Invalid::new(
                format!("{}, which sums to {sum}", shown()),
                "sum to 100 (percentages) or 1 (fractions)",
                hint,
            ));
        }
        Ok(Self(shares.iter().map(|share| share / sum).collect()))
    }

    /// The shares, as fractions.
    #[must_use]
    pub fn get(&self) -> &[f64] {
        &self.0
    }
}

/// Counts of units beside the shares they should have.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    expected: Vec<f64>,
    shares: Vec<f64>,
    observed: Vec<f64>,
    /// Somebody is in a group of share 0.
    uninvited: bool,
}

impl Counts {
    /// Puts both beside each other.
    ///
    /// # Errors
    /// Another number of counts than shares, no units at all, or 2^53 and more.
    pub fn new(shares: &Shares, observed: &[u64]) -> Result<Self, Invalid> {
        if observed.len() != shares.0.len() {
            let found = format!("{} counts for {} shares", observed.len(), shares.0.len());
            return Err(Invalid::new(
                found,
                "have one count for each share",
                "the count of a variant without units is 0",
            ));
        }
        let total = observed.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        let total = total.filter(|total| *total < 1 << 53);
        let Some(total) = total else {
            return Err(Invalid::new("2^53 units or more", "have fewer than 2^53 units", ""));
        };
        if total == 0 {
            return Err(Invalid::new("no units", "have at least one unit", ""));
        }
        let uninvited =
            shares.0.iter().zip(observed).any(|(share, count)| *share == 0.0 && *count > 0);
        let invited = || shares.0.iter().zip(observed).filter(|(share, _)| **share > 0.0);
        let counted: f64 = invited().map(|(_, count)| float(*count)).sum();
        Ok(Self {
            expected: invited().map(|(share, _)| share * counted).collect(),
            shares: invited().map(|(share, _)| *share).collect(),
            observed: invited().map(|(_, count)| float(*count)).collect(),
            uninvited,
        })
    }

    /// Pearson's chi-square test. A share of 0 gives no degree of freedom.
    #[must_use]
    pub fn test(&self) -> Test {
        let (statistic, df) = self.chi_square();
        judged(statistic, df)
    }

    /// Whether a group of share 0 has units: no test is needed.
    #[must_use]
    pub const fn has_uninvited(&self) -> bool {
        self.uninvited
    }

    /// Whether a group should have fewer than five units, so that the test is rough.
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        self.expected.iter().any(|expected| *expected < 5.0)
    }

    fn chi_square(&self) -> (f64, f64) {
        let pairs = self.expected.iter().zip(&self.observed);
        let statistic =
            pairs.map(|(expected, observed)| (observed - expected).powi(2) / expected).sum();
        (statistic, float(self.expected.len() as u64) - 1.0)
    }
}

impl Counts {
    /// The logarithm of the evidence against the shares: the mean of Bayes factors by `PRIORS`.
    fn ln_evidence(&self) -> f64 {
        ln_sum(&PRIORS.map(|(units, part)| part.ln() + self.ln_bayes_factor(units)))
    }

    /// ln B(prior + n) − ln B(prior) − Σ n ln share, with Stirling's formula, whose large terms meet in the deviances.
    fn ln_bayes_factor(&self, prior: f64) -> f64 {
        let total: f64 = prior + self.observed.iter().sum::<f64>();
        let mut ln =
            0.5 * (total.ln() - prior.ln()) + stirling_error(prior) - stirling_error(total);
        for (share, observed) in self.shares.iter().zip(&self.observed) {
            let (before, after) = (prior * share, prior * share + observed);
            let expected = total * share;
            ln += deviance(expected, after - expected) - 0.5 * (after.ln() - before.ln());
            ln += stirling_error(after) - stirling_error(before);
        }
        ln
    }
}

/// `ln Σ e^x`.
fn ln_sum(terms: &[f64]) -> f64 {
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + terms.iter().map(|ln| (ln - top).exp()).sum::<f64>().ln()
}

fn judged(statistic: f64, df: f64) -> Test {
    Test { statistic, df: Some(df), p: PValue::of_ln(chi_square::ln_upper(statistic, df)) }
}

/// Several phases: each against its own weights, statistics and degrees of freedom added.
///
/// # Errors
/// `TooFew` without phases.
pub fn over_phases(phases: &[Counts]) -> Result<Test, Undefined> {
    if phases.is_empty() {
        return Err(Undefined::TooFew);
    }
    let (mut statistic, mut df) = (0.0, 0.0);
    for phase in phases {
        let (more, freedom) = phase.chi_square();
        statistic += more;
        df += freedom;
    }
    Ok(judged(statistic, df))
}

/// The test that may be repeated as often as one likes while units arrive: the probability that it ever falls below a level, without a
/// mismatch, is at most that level, at any sample size.
///
/// In each phase, the evidence is the Bayes factor of Dirichlet priors around the shares against the shares themselves (Lindon & Malek,
/// "Anytime-valid inference for multinomial count data", NeurIPS 2022). Phases are independent, so the product of their Bayes factors is
/// evidence against all. A mismatch in one phase must not be diluted by sound ones, so only one half of the stake is on the product; the
/// other half is spread over single phases, `1/(k (k + 1))` on the k-th, and needs no number of phases in advance. The p-value is one
/// over the sum.
///
/// # Errors
/// `TooFew` without phases.
pub fn always_valid(phases: &[Counts]) -> Result<PValue, Undefined> {
    if phases.is_empty() {
        return Err(Undefined::TooFew);
    }
    let half = -std::f64::consts::LN_2;
    let each: Vec<f64> = phases.iter().map(Counts::ln_evidence).collect();
    // What is staked on phases that have not begun keeps its value.
    let unused = half - float(phases.len() as u64 + 1).ln();
    let mut stakes = vec![half + each.iter().sum::<f64>(), unused];
    for (index, ln) in each.iter().enumerate() {
        let k = float(index as u64 + 1);
        stakes.push(half + ln - (k * (k + 1.0)).ln());
    }
    Ok(PValue::of_ln(-ln_sum(&stakes)))
}

/// How sure the priors are that the shares are right, in units, and the part of the stake on each.
///
/// The authors' own code has one of 10000 units, which finds large mismatches of small experiments late: 10000 units must deviate by
/// 4.5 standard errors there, and by 3.7 here; a million units by 3.7 there, and by 4.1 here (at `ALWAYS_LEVEL`). The second one is for
/// gross mismatches of a few dozen units.
const PRIORS: [(f64, f64); 2] = [(1000.0, 0.9), (10.0, 0.1)];
