//! Tests of the filter: the shipped module, on wasmtime under a fake host and in a real Envoy.
//!
//! One module per subject. They are one binary because each further one links another copy of
//! wasmtime; to run one subject, pass its name: `cargo test --test filter bodies::`.

mod bodies;
mod cookies;
mod corpora;
mod dynamic;
mod endings;
mod envoy;
mod failures;
mod http3;
mod latency;
mod lived;
mod long;
mod models;
mod rendered;
mod rollouts;
mod scale;
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]
mod scenarios;
mod wasm;
