//! `sidetrack serve` and `sidetrack store` from outside: a real process, over HTTP and gRPC, killed and restarted.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails may say so abruptly"
)]

#[path = "store/access.rs"]
mod access;
#[path = "store/breakers.rs"]
mod breakers;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/damage.rs"]
mod damage;
#[path = "store/days.rs"]
mod days;
#[path = "store/follow.rs"]
mod follow;
#[path = "store/interface.rs"]
mod interface;
#[path = "store/openfeature.rs"]
mod openfeature;
#[path = "store/server.rs"]
mod server;
#[path = "store/traffic.rs"]
mod traffic;
#[path = "store/verdict.rs"]
mod verdict;
