//! Tests of the core without a host. They need neither Envoy nor wasm, so they run in seconds.

mod golden;
mod properties;
