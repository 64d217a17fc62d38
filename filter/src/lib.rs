//! The Sidetrack filter: Envoy's callbacks on one side, the core's decision on the other.
//!
//! Nothing is decided here. [`root`] turns the plugin configuration into a runtime, [`stream`] asks the core about
//! each request and does what it says, [`breakers`] agrees with the other workers, [`metrics`] holds the ids of all series, and [`host`] is the only file that
//! calls Envoy. Whatever goes wrong, the request goes on: without the filter's headers it takes the route's own
//! default, which is the baseline.

#![cfg(target_family = "wasm")]
#![allow(missing_docs, reason = "the SDK's entry macro writes a public function")]

mod breakers;
mod headers;
mod host;
mod metrics;
mod root;
mod stream;

proxy_wasm::main! {{
    // First of all, so that a panic is logged before the module traps.
    host::log_to_envoy();
    proxy_wasm::set_root_context(|_| Box::new(root::Root::default()));
}}
