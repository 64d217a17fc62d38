//! The circuit breaker's core, without a host: on a clock of our own, with workers of our own.
//!
//! [`proxy`] puts the core together as the filter does, and [`script`] feeds it from a line of text. Everything is
//! seeded, so a test passes always or never. The numbers of the simulations: `cargo test … -- --nocapture`.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

#[path = "breaker/clock.rs"]
mod clock;
#[path = "breaker/modes.rs"]
mod modes;
#[path = "breaker/noise.rs"]
mod noise;
#[path = "breaker/outage.rs"]
mod outage;
#[path = "breaker/own.rs"]
mod own;
#[path = "breaker/proxy.rs"]
mod proxy;
#[path = "breaker/published.rs"]
mod published;
#[path = "breaker/random.rs"]
mod random;
#[path = "breaker/recovery.rs"]
mod recovery;
#[path = "breaker/script.rs"]
mod script;
#[path = "breaker/workers.rs"]
mod workers;
