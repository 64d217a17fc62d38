//! The interface of a store against the network: a real server in this process, and clients of it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod breakers;
mod corpora;
mod disk;
mod follow;
mod grpc;
mod openapi;
mod origin;
mod predictions;
mod served;
mod upkeep;
