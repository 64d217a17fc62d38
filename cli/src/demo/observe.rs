//! Observation: what clients, models and Envoy saw, the expected assignments, and the checks that compare them.

mod check;
mod client;
mod event_log;
#[cfg(test)]
pub(crate) mod example;
mod expected;
mod scrape;
mod snapshot;
mod timeline;

pub(crate) use check::{Check, all as checks};
pub(crate) use client::{Recorder, VariantStats};
pub(crate) use event_log::{BreakerPhase, EventLog};
pub(crate) use expected::Expected;
pub(crate) use scrape::Scrape;
pub(crate) use snapshot::{RateWindow, Snapshot, per_second};
pub(crate) use timeline::{SLICE, Slice};
