//! What is fuzzed, a file for each target: bytes go in, and a panic is a bug.
//!
//! `make fuzz` runs each target for a while, guided by the branches that it reaches. What it once found interesting lies
//! in `corpus/`, and `tests/tests/filter/corpora.rs` runs these same files over it in every `cargo test`, without a fuzzer.

pub mod body;
pub mod config;
pub mod decision;
#[cfg(feature = "filter")]
pub mod filter;
pub mod request;
pub mod sound;
pub mod store;
