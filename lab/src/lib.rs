//! A real Envoy, model stubs and a load generator on this machine, for `sidetrack demo` and for the tests.
//!
//! Everything listens on 127.0.0.1, on ports that the kernel chooses, so that any number of labs can run side by
//! side. Nothing here knows what Sidetrack decides: the lab carries traffic and remembers what it saw.
//!
//! - [`Envoy`] starts the binary that [`EnvoyBinary::find`] found, and answers questions through its admin port.
//! - [`ModelStub`] is a model server whose behaviour changes while it runs: it fails, stalls, resets, refuses.
//! - [`Client`] sends single requests, [`Load`] a steady stream of them, [`send_raw`] bytes that no client would.
//!
//! All of it runs on the caller's tokio runtime and stops when it is dropped.

mod client;
mod envoy;
mod load;
mod model;
mod raw;

pub use bytes::Bytes;
pub use client::{Answer, Client, Request};
pub use envoy::binary::{EnvoyBinary, validate};
pub use envoy::metrics::prometheus_value;
pub use envoy::{Envoy, EnvoyOptions};
pub use load::{Load, LoadOptions, MakeRequest, OnAnswer, Totals};
pub use model::record::Seen;
pub use model::{Behaviour, ModelStub};
pub use raw::send_raw;
