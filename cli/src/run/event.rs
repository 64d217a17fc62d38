//! What happens while an experiment runs, each with its time.

use serde::Serialize;

use crate::moment;
use crate::words::plain;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Event {
    /// RFC 3339.
    pub(super) at: String,
    #[serde(rename = "event")]
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A file is in force.
    InForce,
    /// An edit has problems. The last good file stays in force.
    Rejected,
    /// A breaker changed its state.
    Breaker,
    /// A service does not accept connections, or does so again.
    Endpoint,
    /// The store cannot go on, or does so again.
    Store,
    /// Envoy exited, or could not be started.
    Stopped,
    /// Envoy runs again.
    Restarted,
}

impl Event {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { at: moment::now().to_string(), kind, text: plain(&text.into()) }
    }

    /// `15:04:05`, in UTC.
    pub(super) fn clock(&self) -> &str {
        self.at.split_once('T').map_or("", |(_, time)| time.trim_end_matches('Z'))
    }
}
