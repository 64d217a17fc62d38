//! Filter state for the access log: values of a decision that stay inside the proxy.
//!
//! Envoy reads `wasm.sidetrack.exposure` as `%FILTER_STATE(wasm.sidetrack.exposure:PLAIN)%`. A header
//! prefix other than the default is a part of the key.

use sidetrack::decide::{Decision, Step, Trace};
use sidetrack::exposure::Exposures;
use sidetrack::names::filter_state;
use sidetrack::plan::{Experiment, ExposureUnit};
use sidetrack::unit::minted_text;

use crate::host::Exchange;

/// The keys of a plugin's filter state.
pub(crate) struct Keys {
    exposure: String,
    rescued: String,
}

impl Keys {
    pub(crate) fn new(header_prefix: &str) -> Self {
        let [exposure, rescued] = [filter_state::EXPOSURE, filter_state::RESCUED]
            .map(|key| filter_state::of(key, header_prefix));
        Self { exposure, rescued }
    }

    /// Writes for the access log that the baseline answered a request that its candidate failed.
    pub(crate) fn write_rescued(&self, exchange: &impl Exchange) {
        exchange.write_filter_state(&self.rescued, b"true");
    }
}

/// The unit of a request, kept from its decision if the access log shows it.
pub(crate) struct Exposure {
    shown: ExposureUnit,
    unit: Option<Vec<u8>>,
}

impl Exposure {
    pub(crate) const fn new(shown: ExposureUnit) -> Self {
        Self { shown, unit: None }
    }

    /// Writes the decision for the access log.
    pub(crate) fn write(
        self,
        exchange: &impl Exchange,
        keys: &Keys,
        experiment: &Experiment,
        exposures: &Exposures,
        decision: &Decision,
    ) {
        let unit = self.unit.and_then(|unit| match self.shown {
            ExposureUnit::None => None,
            ExposureUnit::Plain if core::str::from_utf8(&unit).is_ok() => Some(unit),
            // The access log would change bytes that are not text, so that two units look the same.
            ExposureUnit::Plain | ExposureUnit::Digest => {
                Some(experiment.exposure.pseudonym(&unit).into_bytes())
            }
        });
        let text = exposures.text(decision, unit.as_deref());
        exchange.write_filter_state(&keys.exposure, &text);
    }
}

impl<'p> Trace<'p> for Exposure {
    fn step(&mut self, step: impl FnOnce() -> Step<'p>) {
        if self.shown == ExposureUnit::None {
            return;
        }
        match step() {
            Step::Unit(_, unit) => self.unit = Some(unit),
            Step::Minted(_, identity) => self.unit = Some(minted_text(identity).into_bytes()),
            _ => {}
        }
    }

    /// `false`: the decision visits only the experiments that may match, and skips steps about the
    /// others.
    fn listens(&self) -> bool {
        false
    }
}
