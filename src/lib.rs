//! Sidetrack's core: which version of a model a request gets, and why.
//!
//! The life of a request:
//!
//! 1. [`config::parse_json`] has turned the experiment file into a [`plan::Plan`], or into every problem it has.
//! 2. [`decide::decide`] finds the first experiment whose [`matching`] conditions hold,
//! 3. asks whether it is enabled and whether somebody overrides the draw,
//! 4. reads the [`unit`], [`draw`]s its bucket, and looks it up in the [`layout`] under the weights that the
//!    [`rollout`] has in force,
//! 5. asks the candidate's breaker, which may give the request to the baseline,
//! 6. and says who serves, who was assigned, and why;
//! 7. [`effects`] turn the decision into changes of headers.
//!
//! What does not exist here: a host, a clock, randomness, input or output. Time and entropy are arguments. After
//! the configuration is parsed nothing fails: every function is total. All arithmetic that touches an assignment
//! is of fixed width, so that a server and a wasm module agree to the bit.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod body;
pub mod breaker;
pub mod config;
pub mod decide;
pub mod draw;
pub mod effects;
pub mod exposure;
pub mod index;
pub mod layout;
pub mod matching;
pub mod names;
pub mod outcome;
pub mod plan;
pub mod quantity;
pub mod request;
pub mod rewrite;
pub mod rollout;
pub mod roster;
pub mod unit;
