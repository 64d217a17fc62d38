//! The answers that clients got, with their times.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::stand::CANDIDATE;

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
    pub(crate) fn failed(&self) -> bool {
        self.status >= 500
            || self.status == 0
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

    /// When the candidate's fifth failure was answered, and when the last request was sent that it
    /// served.
    pub(crate) fn fifth_failure_and_last_request(&self) -> Result<(Instant, Instant)> {
        let of_candidate = self.all().into_iter().filter(|seen| seen.variant == CANDIDATE);
        let of_candidate: Vec<Seen> = of_candidate.collect();
        let mut failures: Vec<Instant> =
            of_candidate.iter().filter(|seen| seen.failed()).map(|seen| seen.answered).collect();
        failures.sort();
        let fifth = *failures.get(4).context("fewer than five failures")?;
        let sent = of_candidate.iter().map(|seen| seen.sent).max();
        Ok((fifth, sent.context("nothing reached the candidate")?))
    }

    /// The answers to requests that were sent after this moment.
    pub(crate) fn sent_after(&self, moment: Instant) -> Vec<Seen> {
        self.all().into_iter().filter(|seen| seen.sent > moment).collect()
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
