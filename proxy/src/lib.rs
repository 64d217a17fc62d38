//! The life of a request in a proxy, for any host: what the adapters of Sidetrack share.
//!
//! Nothing here knows the interface of a proxy, and nothing reads a clock, randomness or the environment: an adapter
//! hands all of that in.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod configuration;
