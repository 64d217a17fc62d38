//! What the access log is told of a decision beside the headers: filter state, which stays inside the proxy.
//!
//! Envoy names it `wasm.sidetrack.reason` and so on; a log line reads it as `%FILTER_STATE(wasm.sidetrack.reason:PLAIN)%`.

use sidetrack::decide::{Decision, Step, Trace};
use sidetrack::names::filter_state;
use sidetrack::plan::{Experiment, ExposureUnit};
use sidetrack::unit::minted_text;

use crate::host;

/// Hears of the unit while a request is decided, when the log wants it.
pub(crate) struct Exposure {
    wanted: ExposureUnit,
    unit: Option<Vec<u8>>,
}

impl Exposure {
    pub(crate) const fn new(wanted: ExposureUnit) -> Self {
        Self { wanted, unit: None }
    }

    /// Tells the log. A host that refuses has a log that says less; the request is not concerned.
    pub(crate) fn tell(&self, experiment: &Experiment, decision: &Decision) {
        host::set_property(filter_state::REASON, decision.reason.as_str().as_bytes()).ok();
        if let Some(bucket) = decision.bucket {
            host::set_property(filter_state::BUCKET, bucket.to_string().as_bytes()).ok();
        }
        if let Some(unit) = &self.unit {
            match self.wanted {
                ExposureUnit::None => Ok(()),
                ExposureUnit::Plain => host::set_property(filter_state::UNIT, unit),
                ExposureUnit::Digest => host::set_property(
                    filter_state::UNIT,
                    experiment.exposure.pseudonym(unit).as_bytes(),
                ),
            }
            .ok();
        }
    }
}

/// Tells the log that the baseline answered what the candidate had failed.
pub(crate) fn tell_rescued() {
    host::set_property(filter_state::RESCUED, b"true").ok();
}

impl<'p> Trace<'p> for Exposure {
    fn step(&mut self, step: impl FnOnce() -> Step<'p>) {
        if self.wanted == ExposureUnit::None {
            return;
        }
        match step() {
            Step::Unit(_, unit) => self.unit = Some(unit),
            Step::Minted(_, identity) => self.unit = Some(minted_text(identity).into_bytes()),
            _ => {}
        }
    }

    /// As far as the decision is concerned nobody does: it asks only the experiments that may match.
    fn listens(&self) -> bool {
        false
    }
}
