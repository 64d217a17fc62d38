//! Weights for a bandit: each variant gets the probability that it is the best, above a floor.
//!
//! Thompson sampling without the sampling: no draw per request in a proxy, but weights per batch, which the hash then turns into
//! assignments. So users keep their variant while weights are constant, and every weight can be recomputed and explained.
//!
//! Tests that assume fixed weights are invalid for such data: see `trap`, and compare each batch
//! separately (`score::Score::of_shares`).

use crate::distribution::beta::Beta;
use crate::input::{Invalid, Proportion};
use crate::numeric::float;
use crate::posterior::best;

/// The successes and failures of each variant, with discounting of old ones.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    arms: Vec<(f64, f64)>,
    discount: f64,
}

impl State {
    /// Nothing is known of so many variants. `discount` is how much a batch counts one batch later: 1 forgets nothing; 0.95 halves
    /// what is known in 13.5 batches, for rewards that drift (Raj & Kalyani, arXiv 1707.09727).
    ///
    /// # Errors
    /// Fewer than two variants; a discount that is not above 0 and at most 1.
    pub fn new(arms: usize, discount: f64) -> Result<Self, Invalid> {
        if arms < 2 {
            return Err(Invalid::new(format!("{arms} variants"), "be two or more", ""));
        }
        if !(discount > 0.0 && discount <= 1.0) {
            return Err(Invalid::new(
                format!("discount {discount}"),
                "be above 0 and at most 1",
                "1 keeps the full weight of old batches",
            ));
        }
        Ok(Self { arms: vec![(0.0, 0.0); arms], discount })
    }

    /// Takes a batch in: of each variant what it got, `None` for nothing. What was known is discounted, in empty batches too.
    ///
    /// A batch contains only outcomes whose time to arrive is over; a pending outcome is not a failure.
    ///
    /// # Errors
    /// Another number of variants.
    pub fn batch(&mut self, outcomes: &[Option<Proportion>]) -> Result<(), Invalid> {
        if outcomes.len() != self.arms.len() {
            let found = format!("{} outcomes for {} variants", outcomes.len(), self.arms.len());
            return Err(Invalid::new(found, "have one outcome for each variant", ""));
        }
        for (arm, outcome) in self.arms.iter_mut().zip(outcomes) {
            let (successes, failures) =
                outcome.map_or((0.0, 0.0), |data| (data.x(), data.n() - data.x()));
            *arm = (self.discount * arm.0 + successes, self.discount * arm.1 + failures);
        }
        Ok(())
    }

    /// The posteriors, after a uniform prior.
    #[must_use]
    pub fn posteriors(&self) -> Vec<Beta> {
        self.arms
            .iter()
            .map(|(successes, failures)| Beta::UNIFORM.plus(*successes, *failures))
            .collect()
    }

    /// How many units each variant has, old ones counting less.
    #[must_use]
    pub fn units(&self) -> Vec<f64> {
        self.arms.iter().map(|(successes, failures)| successes + failures).collect()
    }
}

/// How probabilities become weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// No variant gets less: 0.05 is the usual choice; with less there is too little to compare.
    pub floor: f64,
    /// Below so many units of any variant, all get the same.
    pub warm_up: f64,
    /// The largest change of a weight in one step; 1 means no limit. It protects capacity.
    pub step: f64,
    /// Whether the smallest share is the best one: errors.
    pub lowest: bool,
}

/// The next weights, which sum to one; `current` are those in force.
///
/// The floor is added, `w = f + (1 − k f) P`, not clipped to: clipping and scaling again distorts the ratios of the others.
///
/// # Errors
/// A floor that k variants cannot all have, a step that is not above 0 and at most 1, another number of current weights.
pub fn weights(state: &State, rule: Rule, current: &[f64]) -> Result<Vec<f64>, Invalid> {
    let count = state.arms.len();
    let k = float(count as u64);
    if !(rule.floor >= 0.0 && rule.floor * k < 1.0) {
        let found = format!("a floor of {} for {count} variants", rule.floor);
        return Err(Invalid::new(
            found,
            "be 0 or more, and less than 1 for all variants together",
            "5 % is 0.05",
        ));
    }
    if !(rule.step > 0.0 && rule.step <= 1.0) {
        return Err(Invalid::new(
            format!("a step of {}", rule.step),
            "be above 0 and at most 1",
            "1 means no limit",
        ));
    }
    let sum: f64 = current.iter().sum();
    if current.len() != count
        || current.iter().any(|w| w.is_nan() || *w < 0.0)
        || (sum - 1.0).abs() > 1e-6
    {
        let found = format!("{} weights that sum to {sum}", current.len());
        return Err(Invalid::new(found, "have a weight for each variant, with a sum of 1", ""));
    }
    let goal: Vec<f64> = if state.units().iter().any(|units| *units < rule.warm_up) {
        vec![1.0 / k; count]
    } else {
        let best = best(&state.posteriors(), rule.lowest);
        let whole: f64 = best.iter().sum();
        best.iter().map(|p| rule.floor + (1.0 - k * rule.floor) * p / whole).collect()
    };
    // All move by the same part of their way, so that they still sum to one.
    let far = goal.iter().zip(current).map(|(goal, now)| (goal - now).abs()).fold(0.0, f64::max);
    let part = if far > rule.step { rule.step / far } else { 1.0 };
    Ok(goal.iter().zip(current).map(|(goal, now)| now + part * (goal - now)).collect())
}

impl Default for Rule {
    /// A floor of 5 percent, 100 units before the first move, no limit to a step, more is better.
    fn default() -> Self {
        Self { floor: 0.05, warm_up: 100.0, step: 1.0, lowest: false }
    }
}
