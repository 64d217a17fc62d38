//! The life of a request on a proxy in memory: no WebAssembly, no Envoy.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod bodies;
mod breakers;
mod counts;
mod decisions;
mod endings;
mod failures;
mod fake;
mod headers;
mod instances;
mod proxy;
mod updates;
