//! The ways in which a model fails.

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_lab::{Behavior, ModelStub};

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Status503,
    Refused,
    Reset,
    Slow,
    GrpcTrailers,
}

pub(crate) const SLOW_OVER: Duration = Duration::from_millis(150);

impl Fault {
    pub(crate) async fn begin(self, model: &ModelStub) {
        match self {
            Self::Status503 => model.set(Behavior::Status(503)),
            Self::Refused => model.refuse().await,
            Self::Reset => model.set(Behavior::Reset),
            Self::Slow => model.set(Behavior::Delay(Duration::from_millis(250))),
            Self::GrpcTrailers => model.set(Behavior::GrpcStatus(14)),
        }
    }

    pub(crate) fn breaker(self) -> Value {
        match self {
            Self::Slow => json!({"slow": {"over": "150ms", "rate": 5}}),
            _ => json!({}),
        }
    }
}
