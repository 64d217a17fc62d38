//! The Sidetrack filter as a proxy-wasm module: Envoy's callbacks and host calls, translated for
//! `sidetrack-proxy`.
//!
//! [`abi`] exports the callbacks, [`table`] finds the context that a callback is for, [`envoy`]
//! implements the traits of `sidetrack-proxy` with [`headers`] and [`success`], and [`host`] makes
//! the host calls. The life of a request is in `proxy/`, the decision in the core.

#![cfg(target_family = "wasm")]

mod abi;
mod envoy;
mod headers;
mod host;
mod success;
mod table;
