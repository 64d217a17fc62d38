//! The life of a request in a proxy, for any host: what the adapters of Sidetrack share.
//!
//! An adapter implements the traits of [`host`], keeps one [`Instance`](instance::Instance) for
//! each plugin configuration on a worker and one [`Stream`](stream::Stream) for each request, and
//! calls them when the proxy calls it. Nothing here knows the interface of a proxy, and nothing
//! reads a clock, randomness or the environment except through those traits. Whatever fails, the
//! request continues: without the filter's headers it takes the baseline's route.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arrived;
mod breakers;
pub mod configuration;
mod ending;
mod exposure;
mod failures;
mod gauges;
mod grpc;
mod held;
pub mod host;
pub mod instance;
mod latency;
mod metrics;
mod plugins;
mod prefixes;
mod roster;
mod runtime;
mod series;
pub mod stream;

pub use runtime::Runtime;
