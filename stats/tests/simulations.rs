//! Error rates by simulation: thousands of experiments with fixed seeds. False positives, coverage
//! of the intervals, and the results of analyses that the command refuses.
//!
//! Each rate is compared with its nominal level with a margin of four standard errors, so a wrong
//! formula fails and an unlucky seed does not.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that fails may say so abruptly, and its counts are small"
)]

#[path = "simulations/fixed.rs"]
mod fixed;
#[path = "simulations/looking.rs"]
mod looking;
#[path = "simulations/models.rs"]
mod models;
#[path = "simulations/skewed.rs"]
mod skewed;
#[path = "simulations/traps.rs"]
mod traps;

use sidetrack_stats::input::{Fraction, Proportion};
use sidetrack_stats::result::{Comparison, Test};
use sidetrack_stats::score::Score;

use sidetrack_stats::dice::Dice;

const LEVEL: Fraction = Fraction::FIVE_PERCENT;

/// How often something happened.
fn rate(repetitions: u64, seed: u64, mut happens: impl FnMut(&mut Dice) -> bool) -> f64 {
    let hits = (0..repetitions)
        .filter(|number| happens(&mut Dice::new(seed.wrapping_add(*number))))
        .count();
    hits as f64 / repetitions as f64
}

/// The margin of a rate that should be `level`.
fn margin(level: f64, repetitions: u64) -> f64 {
    4.0 * (level * (1.0 - level) / repetitions as f64).sqrt()
}

#[track_caller]
fn is_nominal(name: &str, found: f64, level: f64, repetitions: u64) {
    println!("{name}: {found:.4}, nominal {level}");
    let margin = margin(level, repetitions);
    assert!((found - level).abs() <= margin, "{name}: {found}, nominal {level} ± {margin}");
}

#[track_caller]
fn is_at_most(name: &str, found: f64, level: f64, repetitions: u64) {
    println!("{name}: {found:.4}, at most {level}");
    let margin = margin(level, repetitions);
    assert!(found <= level + margin, "{name}: {found}, at most {level} + {margin}");
}

fn share(successes: u64, trials: u64) -> Proportion {
    Proportion::new(successes, trials).unwrap()
}

fn score(one: Proportion, two: Proportion) -> Score {
    Score::of_shares(&[(one, two)], 1.0).unwrap()
}

fn compare(one: Proportion, two: Proportion) -> Comparison {
    score(one, two).comparison(LEVEL)
}

fn test(one: Proportion, two: Proportion) -> Test {
    score(one, two).test().unwrap()
}
