//! The inputs of the demo: scenarios, traffic, signals.

mod scenario;
mod traffic;

pub(crate) use scenario::{Kind, OPEN_FOR, Scenario, Step, Until};
pub(crate) use traffic::{PATH, Source, Visit};
