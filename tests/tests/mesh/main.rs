//! Tests on a real mesh: API server, istiod, Istio's agent, Envoy. They need the programs of `scripts/setup.sh mesh`.
//!
//! `make test-mesh` runs all of them, `cargo test --test mesh split::` those of one module. Each test begins with
//! `Mesh::shared()`, except those of `goldens` and `corpora`, which only run istiod's code, and `collector`.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod admission;
mod advance;
mod alerts;
mod bodies;
mod changes;
mod collector;
mod corpora;
mod delivery;
mod envoy_gateway;
mod forged;
mod gateway_api;
mod goldens;
mod helm;
mod hosts;
mod identity;
mod modules;
mod mtls;
mod otlp;
mod outages;
mod plugin;
mod random;
mod readme;
mod server;
mod split;
mod stand;
mod timeouts;
mod traces;
