//! The breaker on a real Envoy with two workers: how fast a failing candidate loses its traffic,
//! that it recovers, that the state survives updates and crashes of the filter, and what clients
//! see.
//!
//! One test at a time, because they measure time: `SIDETRACK_RUNS=10` repeats the measurements and
//! prints them.

mod abandoned;
mod answers;
mod bursts;
mod failover;
mod false_positives;
mod fault;
mod persistence;
mod recovery;
mod stand;
mod timing;
mod uploads;
mod users;

/// Tests that measure time must not run beside each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
