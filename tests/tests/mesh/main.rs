//! Tests on a real mesh: API server, istiod, Istio's agent, Envoy. They need the programs of `scripts/setup.sh mesh`.
//!
//! `make test-mesh` runs all of them, `cargo test -p sidetrack-tests --test mesh split::` those of one module. Each test
//! begins with `Mesh::shared()`.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod changes;
mod forged;
mod outages;
mod split;
mod stand;
