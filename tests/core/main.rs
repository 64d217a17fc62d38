//! Tests of the core without a host. They need neither Envoy nor wasm, so they run in seconds.

mod conditions;
mod gates;
mod golden;
mod properties;
mod quantities;
mod rewrites;
