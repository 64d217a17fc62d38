//! The statistics of A/B tests: what a difference between two variants is worth, and how many units it takes to know.
//!
//! Pure functions without input or output, clock or chance, independent of the routing core. Callers
//! convert their data to checked values (`input`, `accumulate`) and use one module per question:
//!
//! | question | module |
//! |---|---|
//! | are the groups as large as they should be? | `srm` |
//! | is the candidate better: shares, means, ratios? | `score`, `means`, `ratio`, with `accumulate` for raw data |
//! | with less noise, by what was known before? | `cuped` |
//! | over several phases of a rollout, when the same units come again? | `strata` |
//! | while the data still come in? | `sequential`, `group_sequential` |
//! | how probable is it that it is better, and what may a choice cost? | `posterior`, `normals` |
//! | for many metrics at once? | `multiplicity` |
//! | is the effect the same in all segments? | `heterogeneity` |
//! | how many units does it take? | `power` |
//! | which weights should a bandit set? | `bandit` |
//! | of rows that come in units: means, shares, quantiles | `clustered` |
//! | do two distributions differ by more than chance? | `drift` |
//! | which analyses are invalid? | `trap` |
//! | how often do they err? | `dice`, for simulations |
//!
//! Three rules hold everywhere. Inputs are checked once, by constructors with precise errors, so all other
//! functions are total. Undefined values are `Undefined` with a reason, never NaN. A p-value is stored as
//! a logarithm, so 1e−400 is possible.
//!
//! docs/statistics.md has each formula, its source, and why it was chosen. What is deliberately absent: Wald intervals, pooling over
//! phases, and statistics by simulation (every integral is a quadrature, so the same data give the same answer).

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod accumulate;
pub mod bandit;
pub mod belief;
pub mod clustered;
pub mod cuped;
pub mod dice;
pub mod distribution;
pub mod drift;
pub mod group_sequential;
pub mod heterogeneity;
pub mod input;
pub mod linearized;
pub mod means;
pub mod multiplicity;
pub mod normals;
pub mod posterior;
pub mod power;
pub mod ratio;
pub mod result;
pub mod score;
pub mod sequential;
pub mod srm;
pub mod strata;
pub mod trap;
pub mod vectors;

mod numeric;

pub use numeric::float;
