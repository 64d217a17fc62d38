//! The answers that clients got, with their times.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

/// What callers saw.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<Seen>>>);

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
    pub(crate) status: u16,
    pub(crate) grpc: Option<String>,
    pub(crate) variant: String,
}

impl Seen {
    pub(crate) fn failed(&self, slow_over: Option<Duration>) -> bool {
        let slow = slow_over.is_some_and(|over| self.answered - self.sent > over);
        self.status >= 500
            || self.status == 0
            || slow
            || self.grpc.as_deref().is_some_and(|status| status != "0")
    }
}

impl Answers {
    pub(crate) fn take(&self, answer: Result<sidetrack_lab::Answer>) {
        let answered = Instant::now();
        let seen = match answer {
            Ok(answer) => Seen {
                sent: answered.checked_sub(answer.elapsed).unwrap_or(answered),
                answered,
                status: answer.status,
                grpc: answer
                    .trailer("grpc-status")
                    .map(|status| String::from_utf8_lossy(status).into_owned()),
                variant: answer.header_text("x-ab-variant").unwrap_or_default(),
            },
            Err(_) => {
                Seen { sent: answered, answered, status: 0, grpc: None, variant: String::new() }
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
