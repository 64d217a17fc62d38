//! Long tests: a real Envoy under a long load, under updates, with models that fail, and with
//! hostile clients.
//!
//! `cargo test` runs a short form of each; `SIDETRACK_LONG=1`, which `make test-long` sets, runs
//! the full size. Nothing here measures time: on a busy machine, the tests take longer and give the
//! same results.

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
mod held;
mod outages;
mod soak;
mod stand;
mod updates;
mod walk;
