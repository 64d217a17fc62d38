//! The settings that decide which data are summed up: a verdict from a summary cannot change them any more.

use sidetrack::quantity::Millis;

use crate::analyze::Settings;
use crate::cap::Cap;
use crate::short::Short;
use crate::window::Window;

/// Which data are summed up, and how.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The trial; `None`: that of the experiment file.
    pub trial: Option<Short>,
    /// The time.
    pub window: Window,
    /// How long after a unit's first request in a phase its outcomes count.
    pub attribution: Option<Millis>,
    /// Caps of metrics.
    pub caps: Vec<Cap>,
    /// Leave out, for all variants, the minutes in which a breaker was open.
    pub exclude_breaker: bool,
}

impl Choices {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            trial: settings.trial,
            window: settings.window,
            attribution: settings.attribution,
            caps: settings.caps.clone(),
            exclude_breaker: settings.exclude_breaker,
        }
    }
}
