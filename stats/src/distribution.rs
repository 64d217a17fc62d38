//! The distributions that tests and intervals need: tails in logarithms, and quantiles of a tail.
//!
//! Tails, never `1 − cdf`: a p-value of 1e−40 is not zero. Quantiles take the tail's probability for the same reason.

pub mod beta;
pub mod chi_square;
pub mod normal;
pub mod student;
