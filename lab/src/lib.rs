//! A real Envoy, model stubs and a load generator on this machine, for `sidetrack demo` and the tests.
//!
//! All parts listen on 127.0.0.1, by default on ports that the kernel chooses, so any number of labs run side by side.
//! The lab carries traffic and records it; it contains no logic of Sidetrack.
//!
//! | task | item |
//! |---|---|
//! | find the Envoy program, validate a configuration | [`EnvoyBinary::find`], [`validate`] |
//! | choose a port | [`first_free_port`] |
//! | start Envoy with a rendered bootstrap, stop or restart it | [`Envoy::start`], [`Envoy::stop`], [`Envoy::restart`] |
//! | read its admin interface | [`Envoy::admin_get`], [`Envoy::listener_port`], [`Envoy::version`] |
//! | read its statistics as typed values | [`Envoy::scrape`], [`Scrape::count`] |
//! | follow its log, or the configuration file of a user | [`LineReader`], [`FileWatch`] |
//! | explain why it failed | [`Envoy::log_tail`], [`Envoy::report`] |
//! | run a model server that fails, stalls, resets or refuses | [`ModelStub`] |
//! | send requests: one, a steady stream, raw bytes | [`Client`], [`Load`], [`send_raw`] |
//!
//! Everything runs on the caller's tokio runtime and stops when it is dropped, at the latest when the process dies.

mod client;
mod envoy;
mod follow;
mod load;
mod model;
mod ports;
mod raw;

pub use bytes::Bytes;
pub use client::{Answer, Client, Request};
pub use envoy::binary::{EnvoyBinary, validate};
pub use envoy::metrics::{Scrape, prometheus_value};
pub use envoy::{Envoy, EnvoyOptions, Guard};
pub use follow::{FileWatch, LineReader};
pub use load::{Load, LoadOptions, MakeRequest, OnAnswer, Totals};
pub use model::record::Seen;
pub use model::{Behavior, ModelStub};
pub use ports::first_free_port;
pub use raw::send_raw;
