//! The ways in which a model fails, and how fast the breaker must react to each.

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_lab::{Behavior, ModelStub};

const STREAM: Duration = Duration::from_secs(15);
const NO_ANSWER_AFTER: Duration = Duration::from_secs(2);

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Status503,
    Refused,
    Reset,
    Truncated,
    /// Responses slower than `slow.over`.
    Slow,
    /// No response, with `slow`.
    Hung,
    /// No response, with `no_answer`.
    Unanswered,
    /// A status in the trailers.
    Grpc,
    /// The same to callers who speak grpc-web.
    GrpcWeb,
    /// Half of the responses fail, where long streams and four percent of failures went before.
    Streams,
}

/// How long callers wait for a whole answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Callers {
    Patient,
    /// They give up after 300 ms.
    Impatient,
}

/// What callers speak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Grpc,
    GrpcWeb,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::Status503,
        Self::Refused,
        Self::Reset,
        Self::Truncated,
        Self::Slow,
        Self::Hung,
        Self::Unanswered,
        Self::Grpc,
        Self::GrpcWeb,
        Self::Streams,
    ];

    /// What the models do before the fault.
    pub(crate) fn health(self) -> Behavior {
        match self {
            Self::Grpc | Self::GrpcWeb => Behavior::GrpcStatus(0),
            Self::Streams => Behavior::Stream(STREAM, 25),
            _ => Behavior::Healthy,
        }
    }

    pub(crate) async fn begin(self, model: &ModelStub) {
        match self {
            Self::Status503 => model.set(Behavior::Status(503)),
            Self::Refused => model.refuse().await,
            Self::Reset => model.set(Behavior::Reset),
            Self::Truncated => model.set(Behavior::Truncate),
            Self::Slow => model.set(Behavior::Delay(Duration::from_millis(250))),
            Self::Hung | Self::Unanswered => model.set(Behavior::Hang),
            Self::Grpc | Self::GrpcWeb => model.set(Behavior::GrpcStatus(14)),
            Self::Streams => model.set(Behavior::Stream(STREAM, 2)),
        }
    }

    pub(crate) fn breaker(self) -> Value {
        match self {
            Self::Slow => json!({"slow": {"over": "150ms", "rate": 5}}),
            Self::Hung => json!({"slow": {"over": "200ms", "rate": 5}}),
            Self::Unanswered => json!({"no_answer": {"after": "2s"}}),
            _ => json!({}),
        }
    }

    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Self::Grpc => Protocol::Grpc,
            Self::GrpcWeb => Protocol::GrpcWeb,
            _ => Protocol::Http1,
        }
    }

    /// How long a request has been with the candidate when its failure can be known.
    pub(crate) const fn known_after(self) -> Duration {
        match self {
            Self::Slow => Duration::from_millis(150),
            Self::Hung => Duration::from_millis(200),
            Self::Unanswered => NO_ANSWER_AFTER,
            _ => Duration::ZERO,
        }
    }

    /// The longest time from the fifth failure to the last request that reaches the candidate.
    pub(crate) const fn limit(self) -> Duration {
        match self {
            Self::Hung | Self::Unanswered | Self::Streams => Duration::from_secs(3),
            _ => Duration::from_secs(1),
        }
    }

    /// How long the healthy traffic lasts: the streams have to show that they trip nothing.
    pub(crate) const fn warm_up(self) -> Duration {
        Duration::from_secs(if let Self::Streams = self { 9 } else { 2 })
    }

    /// The most requests that are in flight.
    pub(crate) const fn connections(self, callers: Callers) -> usize {
        match (self, callers) {
            (Self::Streams, Callers::Patient) => 700,
            (Self::Hung | Self::Unanswered, Callers::Patient) => 1500,
            _ => 256,
        }
    }

    /// Requests per second: of whole streams, six hundred are in flight.
    pub(crate) const fn rate(self, callers: Callers) -> f64 {
        if let (Self::Streams, Callers::Patient) = (self, callers) { 40.0 } else { 600.0 }
    }

    /// How long these callers wait.
    pub(crate) const fn patience(self, callers: Callers) -> Duration {
        match (self, callers) {
            (_, Callers::Impatient) => Duration::from_millis(300),
            (Self::Streams, _) => Duration::from_secs(30),
            _ => Duration::from_secs(10),
        }
    }
}
