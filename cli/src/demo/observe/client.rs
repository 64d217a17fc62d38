//! The client's view: every response is classified and counted once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use sidetrack::plan::Plan;
use sidetrack_lab::{Answer, Request};

use super::expected::decide_locally;
use super::timeline::{Recovery, Slice, Timeline};
use crate::demo::input::Visit;

/// The counters of the client, shared by all connections.
pub(crate) struct Recorder {
    plan: Plan,
    /// The model names (`x-model`) in the order of the variants.
    models: Vec<String>,
    /// Whether the baseline may serve a candidate's users; they still count as the candidate's.
    allows_fallback: bool,
    state: Mutex<State>,
}

struct State {
    stats: ClientStats,
    users: HashMap<u64, User>,
    timeline: Timeline,
    latency: Option<Histogram<u32>>,
}

#[derive(Default)]
struct User {
    variant: usize,
    returned: bool,
    switched: bool,
    fell_back: bool,
}

/// The counts so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientStats {
    /// All requests: responses and failures.
    pub(crate) requests: u64,
    /// Requests without a response, with a status other than 200, or with a response that is not from a model.
    pub(crate) failed: u64,
    /// In the order of the variants.
    pub(crate) variants: Vec<VariantStats>,
    /// Users with more than one request.
    pub(crate) returned: u64,
    /// Users who were served by another variant than before.
    pub(crate) switched: u64,
    /// Responses from a variant that the core does not predict, or with another name in `x-ab-variant`.
    pub(crate) unexpected: u64,
    /// Allowed responses from the baseline to a candidate's users.
    pub(crate) fallbacks: u64,
    /// Users with such a response.
    pub(crate) fallback_users: u64,
    /// Responses by time.
    pub(crate) slices: Vec<Slice>,
    /// Responses since the recovery, if it has begun.
    pub(crate) recovery: Option<Recovery>,
    /// The first failure or unexpected response.
    pub(crate) first_problem: Option<String>,
    /// The median latency.
    pub(crate) p50: Duration,
    /// The 99th percentile of the latency.
    pub(crate) p99: Duration,
}

/// The counts of one variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VariantStats {
    /// Responses from its model.
    pub(crate) requests: u64,
    /// Failures with its name in `x-ab-variant`.
    pub(crate) failed: u64,
    /// Users by the variant of their first response or, after a fallback, by the assigned variant.
    pub(crate) users: u64,
}

/// The variant whose model responded, and whether `x-ab-variant` agrees.
struct Served {
    variant: usize,
    label_agrees: bool,
}

impl ClientStats {
    /// All users.
    pub(crate) fn users(&self) -> u64 {
        self.variants.iter().map(|variant| variant.users).sum()
    }

    /// All responses from models.
    pub(crate) fn responses(&self) -> u64 {
        self.variants.iter().map(|variant| variant.requests).sum()
    }
}

impl Recorder {
    pub(crate) fn new(plan: Plan, models: Vec<String>, allows_fallback: bool) -> Self {
        let variants = vec![VariantStats::default(); models.len()];
        let state = State {
            stats: ClientStats { variants, ..ClientStats::default() },
            users: HashMap::new(),
            timeline: Timeline::start(models.len()),
            // Microseconds up to a minute, to three digits: valid constants.
            latency: Histogram::new_with_bounds(1, 60_000_000, 3).ok(),
        };
        Self { plan, models, allows_fallback, state: Mutex::new(state) }
    }

    /// Counts the result of a request.
    pub(crate) fn record(&self, visit: &Visit, request: &Request, result: &anyhow::Result<Answer>) {
        let assigned = decide_locally(&self.plan, request).map(|decision| decision.served.index());
        let served = match result {
            Ok(answer) => self.served(answer),
            Err(error) => Err(format!("{error:#}")),
        };
        let mut state = self.lock();
        state.stats.requests += 1;
        if let Some(latency) = &mut state.latency {
            let micros = result.as_ref().map(|answer| answer.elapsed.as_micros());
            latency.saturating_record(micros.unwrap_or_default().try_into().unwrap_or(u64::MAX));
        }
        match served {
            Ok(served) => self.count_response(&mut state, visit.user, &served, assigned),
            Err(problem) => {
                let named = result.as_ref().ok().and_then(|answer| self.named(answer));
                state.count_failure(visit.user, named, &problem);
            }
        }
    }

    fn count_response(
        &self,
        state: &mut State,
        user: u64,
        served: &Served,
        assigned: Option<usize>,
    ) {
        let State { stats, users, timeline, .. } = state;
        let baseline = self.plan.experiments.first().map(|experiment| experiment.baseline.index());
        let variant = served.variant;
        let is_fallback = self.allows_fallback && assigned != baseline && Some(variant) == baseline;
        // The variant that the user belongs to.
        let home = assigned.filter(|_| is_fallback).unwrap_or(variant);
        timeline.record(user, variant, home, baseline);
        if let Some(counts) = stats.variants.get_mut(variant) {
            counts.requests += 1;
        }
        if !served.label_agrees || assigned != Some(home) {
            stats.unexpected += 1;
            let model = self.models.get(variant).map_or("?", String::as_str);
            stats.first_problem.get_or_insert_with(|| {
                format!("user {user} was served by model {model}, which the core does not predict")
            });
        }
        let is_new = !users.contains_key(&user);
        let known = users.entry(user).or_insert_with(|| User { variant: home, ..User::default() });
        stats.fallbacks += u64::from(is_fallback);
        stats.fallback_users += u64::from(is_fallback && !known.fell_back);
        known.fell_back |= is_fallback;
        if is_new {
            if let Some(counts) = stats.variants.get_mut(home) {
                counts.users += 1;
            }
            return;
        }
        stats.returned += u64::from(!known.returned);
        known.returned = true;
        if known.variant != home && !known.switched {
            known.switched = true;
            stats.switched += 1;
            stats.first_problem.get_or_insert_with(|| format!("user {user} switched variants"));
        }
    }

    fn served(&self, answer: &Answer) -> Result<Served, String> {
        if answer.status != 200 {
            return Err(format!("status {}", answer.status));
        }
        let model = answer.header_text("x-model").unwrap_or_default();
        let variant = self.models.iter().position(|name| *name == model);
        let variant = variant
            .ok_or_else(|| format!("the response is not from a model: {}", answer.text()))?;
        Ok(Served { variant, label_agrees: self.named(answer) == Some(variant) })
    }

    /// The variant that `x-ab-variant` names.
    fn named(&self, answer: &Answer) -> Option<usize> {
        let name = answer.header(&self.plan.settings.headers.variant)?;
        Some(self.plan.experiments.first()?.variant(name)?.index())
    }

    /// Starts the separate counts of the recovery.
    pub(crate) fn start_recovery(&self) {
        self.lock().timeline.start_recovery();
    }

    /// The counts so far.
    pub(crate) fn stats(&self) -> ClientStats {
        let state = self.lock();
        let quantile = |quantile| {
            let latency = state.latency.as_ref();
            Duration::from_micros(latency.map_or(0, |latency| latency.value_at_quantile(quantile)))
        };
        ClientStats {
            p50: quantile(0.5),
            p99: quantile(0.99),
            slices: state.timeline.slices(),
            recovery: state.timeline.recovery(),
            ..state.stats.clone()
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count_failure(&mut self, user: u64, named: Option<usize>, problem: &str) {
        let stats = &mut self.stats;
        stats.failed += 1;
        if let Some(variant) = named.and_then(|named| stats.variants.get_mut(named)) {
            variant.failed += 1;
        }
        stats
            .first_problem
            .get_or_insert_with(|| format!("a request of user {user} failed: {problem}"));
    }
}
