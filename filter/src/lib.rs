//! The Sidetrack filter: Envoy's callbacks on one side, the core's decision on the other.
//!
//! Nothing is decided here. [`abi`] is what Envoy calls, [`root`] turns the plugin configuration into a runtime, [`stream`] asks the core about
//! each request and does what it says, [`breakers`] agrees with the other workers, [`metrics`] holds the ids of all series, and [`host`] is the only file that
//! calls Envoy. Whatever goes wrong, the request goes on: without the filter's headers it takes the route's own
//! default, which is the baseline.

#![cfg(target_family = "wasm")]

mod abi;
mod breakers;
mod ending;
mod exposure;
mod failures;
mod headers;
mod host;
mod latency;
mod metrics;
mod root;
mod series;
mod stream;

/// What `sidetrack package` knows the module by: a custom section of this name that holds the version. Proxies skip it.
#[expect(
    unsafe_code,
    reason = "naming a section counts as unsafe; nothing else in the module uses the name"
)]
#[used]
#[unsafe(link_section = "sidetrack")]
static MARK: [u8; VERSION.len()] = match VERSION.as_bytes().first_chunk() {
    Some(version) => *version,
    None => [0; VERSION.len()],
};

/// A module that crashes on demand says so, and is never packaged.
const VERSION: &str = if cfg!(feature = "crash-on-demand") {
    concat!(env!("CARGO_PKG_VERSION"), "+crash-on-demand")
} else {
    env!("CARGO_PKG_VERSION")
};
