//! All observations at one moment: the only input of the checks and of the drawing.

use std::collections::VecDeque;
use std::time::Duration;

use sidetrack::plan::{Experiment, Plan};
use sidetrack::quantity::Ppm;

use super::client::ClientStats;
use super::event_log::Events;
use super::expected::Expected;
use super::scrape::Scrape;
use crate::demo::input::Kind;

/// The state of a scenario at one moment.
pub(crate) struct Snapshot<'a> {
    pub(crate) kind: Kind,
    pub(crate) plan: &'a Plan,
    pub(crate) experiment: &'a Experiment,
    /// The declared share of each variant.
    pub(crate) targets: Vec<Ppm>,
    pub(crate) expected: &'a Expected,
    /// The time since the start, and the total time if it is known.
    pub(crate) elapsed: Duration,
    pub(crate) length: Option<Duration>,
    /// A signal ended the scenario early.
    pub(crate) interrupted: bool,
    /// The description of the current step.
    pub(crate) step: &'static str,
    /// Requests per second: of the last two seconds or, at the end, on average; and the configured rate.
    pub(crate) rate: f64,
    pub(crate) target_rate: u32,
    pub(crate) client: ClientStats,
    pub(crate) scrape: Scrape,
    pub(crate) events: Events,
    /// By how many requests two counters may differ: the requests in flight, 0 at the end.
    pub(crate) in_flight: u64,
}

impl Snapshot<'_> {
    /// Whether Envoy's metrics, the models and the client counted the same requests for each variant.
    /// A request that failed at one model and succeeded at the other by failover arrived at both;
    /// Envoy counts it for the last one. Requests that someone else sends to the demo's port reach
    /// metrics and models, but not the client; those outside the experiment only reach the
    /// baseline's model.
    pub(crate) fn counts_agree(&self) -> bool {
        let near = |count: u64, other: u64| count.abs_diff(other) <= self.in_flight;
        let (counts, clients) = (&self.scrape.variants, &self.client.variants);
        let mut from_others = 0_u64;
        let agree =
            self.experiment.variants.ids().zip(counts.iter().zip(clients)).all(|(id, it)| {
                let (counts, client) = it;
                let sent = client.requests + client.failed;
                from_others += counts.metrics.saturating_sub(sent);
                let (arrived, counted) =
                    (counts.model + client.failed, counts.metrics + counts.failures);
                counts.metrics + self.in_flight >= sent
                    && (near(arrived, counted)
                        || (id == self.experiment.baseline && arrived > counted))
            });
        let fallbacks = self.scrape.breaker.fallbacks;
        let least = self.client.fallbacks.saturating_sub(self.in_flight);
        let most = self.client.fallbacks + self.in_flight + from_others;
        agree && counts.len() == clients.len() && (least..=most).contains(&fallbacks)
    }

    /// Whether the load generator misses its rate by more than 10 %: this machine is then the bottleneck.
    pub(crate) fn is_starved(&self) -> bool {
        self.elapsed >= Duration::from_secs(2) && self.rate < 0.9 * f64::from(self.target_rate)
    }
}

/// The request rate of the last two seconds.
pub(crate) struct RateWindow {
    samples: VecDeque<(Duration, u64)>,
}

impl RateWindow {
    pub(crate) fn new() -> Self {
        Self { samples: VecDeque::from([(Duration::ZERO, 0)]) }
    }

    /// Adds a count and returns the requests per second.
    pub(crate) fn rate(&mut self, elapsed: Duration, requests: u64) -> f64 {
        self.samples.push_back((elapsed, requests));
        let is_old = |sample: Option<&(Duration, u64)>| {
            sample.is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= Duration::from_secs(2))
        };
        while self.samples.len() > 2 && is_old(self.samples.get(1)) {
            self.samples.pop_front();
        }
        let first = self.samples.front().copied().unwrap_or_default();
        per_second(requests.saturating_sub(first.1), elapsed.saturating_sub(first.0))
    }
}

/// Requests per second; 0 for a time of 0.
#[expect(clippy::cast_precision_loss, reason = "for display")]
pub(crate) fn per_second(requests: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { requests as f64 / time.as_secs_f64() }
}
