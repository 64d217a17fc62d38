//! How hard it is to break: a real Envoy under a long load, under updates, with models that die, and with callers who
//! mean harm.
//!
//! `cargo test` runs a short form of each; `SIDETRACK_LONG=1`, which `make test-long` sets, runs the sizes that count.
//! Nothing here measures time: a busy machine takes longer and finds the same.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod callers;
mod flat;
mod frames;
mod outages;
mod soak;
mod stand;
mod updates;
