//! What is known at a moment of an act: the view and the checks look at nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use super::chronicle::Chronicle;
use super::ledger::Sums;
use super::oracle::Explained;
use super::readings::{Breaker, Counted};
use super::stage::Stage;

/// A moment of an act.
pub(super) struct Sight<'s> {
    pub(super) stage: &'s Stage,
    pub(super) explained: &'s Explained,
    /// How long the act has been going on, and how long it will, when that is known.
    pub(super) elapsed: Duration,
    pub(super) length: Option<Duration>,
    /// The act was ended before its time.
    pub(super) cut: bool,
    /// What goes on, in a few words.
    pub(super) now: &'static str,
    /// Requests per second, lately or, in the end, in all; and how many there should be.
    pub(super) rate: f64,
    pub(super) asked: u32,
    /// What the client saw.
    pub(super) sums: Sums,
    /// What the others counted, by variant.
    pub(super) counted: Vec<Counted>,
    pub(super) breaker: Breaker,
    pub(super) chronicle: Chronicle,
    /// How many answers may be missing in one count and not in another: none in the end.
    pub(super) under_way: u64,
}

impl Sight<'_> {
    /// Whether Envoy's metrics, the models and the client counted the same, for each variant. A request that a model
    /// failed and failover saved arrived at two models; Envoy counts it for the one that answered, or answered last.
    pub(super) fn counts_agree(&self) -> bool {
        let near = |count: u64, client: u64| count.abs_diff(client) <= self.under_way;
        near(self.breaker.fallbacks, self.sums.lent)
            && self.counted.len() == self.sums.variants.len()
            && self.counted.iter().zip(&self.sums.variants).all(|(counted, share)| {
                near(counted.metrics, share.requests + share.failed)
                    && near(counted.model, share.requests + counted.failures)
            })
    }

    /// How many requests models have failed.
    pub(super) fn failures(&self) -> u64 {
        self.counted.iter().map(|counted| counted.failures).sum()
    }

    /// Whether there are far fewer requests than there should be: what is measured then is this machine.
    pub(super) fn is_starved(&self) -> bool {
        self.elapsed >= Duration::from_secs(2) && self.rate < 0.9 * f64::from(self.asked)
    }
}

/// The rate of the last seconds.
pub(super) struct Pace {
    samples: VecDeque<(Duration, u64)>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { samples: VecDeque::from([(Duration::ZERO, 0)]) }
    }

    /// Takes a count and gives the requests per second.
    pub(super) fn at(&mut self, elapsed: Duration, requests: u64) -> f64 {
        self.samples.push_back((elapsed, requests));
        while self.samples.len() > 2
            && self
                .samples
                .get(1)
                .is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= Duration::from_secs(2))
        {
            self.samples.pop_front();
        }
        let first = self.samples.front().copied().unwrap_or_default();
        per_second(requests.saturating_sub(first.1), elapsed.saturating_sub(first.0))
    }
}

/// Requests per second; 0 in no time.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn per_second(requests: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { requests as f64 / time.as_secs_f64() }
}
