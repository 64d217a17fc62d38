//! The state of a breaker, as the filter's gauge reports it: read, named and colored in one place for all commands.

use serde::Serialize;
use sidetrack::names::breaker_state;

use crate::out::Ink;

/// The state of a candidate's breaker in one proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Breaker {
    /// The candidate serves its users.
    #[default]
    Closed,
    /// Some of its users test it.
    HalfOpen,
    /// The baseline serves them.
    Open,
}

impl Breaker {
    /// The state of a value of [`sidetrack::names::metric::BREAKER_STATE`].
    pub(crate) const fn of(gauge: u64) -> Self {
        match gauge {
            breaker_state::CLOSED => Self::Closed,
            breaker_state::HALF_OPEN => Self::HalfOpen,
            _ => Self::Open,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }

    /// Text in the color of the state.
    pub(crate) fn painted(self, text: &str, ink: Ink) -> String {
        match self {
            Self::Closed => ink.good(text).to_string(),
            Self::HalfOpen => ink.note(text).to_string(),
            Self::Open => ink.bad(text).to_string(),
        }
    }
}
