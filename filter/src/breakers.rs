//! The breakers of all candidates on this worker, and how workers agree about them.
//!
//! Outcomes are counted here without a host call. On each tick, what is new goes into the shared record of the
//! variant by compare-and-swap, and the core judges the record; whoever's write succeeds has made the transition and
//! says so in log and metrics. A number that counts all transitions tells the other workers, each on its own tick,
//! that there is something to read.
//!
//! The records are shared data and not stats, because an operator's stats matcher may hide any stat, which then reads
//! zero for ever, and because only shared data has compare-and-swap.

use sidetrack::breaker::{Breaker, Counts, Ended, Event, Rule, Streak, Watch};
use sidetrack::decide::{Decision, Gate};
use sidetrack::names::shared;
use sidetrack::plan::{Experiment, Plan};
use sidetrack::quantity::Timestamp;

use crate::host::{self, Failed, Level};
use crate::metrics::Metrics;

/// How often a lost race is taken again before the outcomes wait for the next tick.
const TRIES: u32 = 8;

/// The breakers of a configuration.
pub(crate) struct Breakers {
    experiments: Vec<Trial>,
    /// The transitions of this proxy, as far as this worker has read them.
    generation: Option<(Vec<u8>, u32)>,
}

/// The variants of one experiment.
struct Trial {
    rule: Rule,
    baseline: usize,
    seats: Vec<Seat>,
    /// How many outcomes this worker has counted.
    outcomes: u64,
}

struct Seat {
    key: String,
    /// For the log.
    name: String,
    watch: Watch,
}

impl Breakers {
    /// The breakers of a plan as the proxy has them; new ones are created closed.
    pub(crate) fn new(plan: &Plan, metrics: &[Metrics], now: Timestamp) -> Self {
        // Read first, so that a transition while the records are read is noticed on the first tick.
        let generation = host::shared(shared::GENERATION);
        let trial = |(experiment, metrics)| Trial::new(experiment, metrics, now);
        let experiments = plan.experiments.iter().zip(metrics).map(trial).collect();
        Self { experiments, generation }
    }

    /// What a candidate may get.
    pub(crate) fn gate(&self, experiment: usize, variant: usize) -> Gate {
        let trial = self.experiments.get(experiment);
        let seat = trial.and_then(|trial| Some((trial, trial.seats.get(variant)?)));
        seat.map_or(Gate::Closed, |(trial, seat)| seat.watch.shared.gate(&trial.rule))
    }

    /// The epoch that an outcome of this request will count in.
    pub(crate) fn epoch(&self, decision: &Decision) -> u32 {
        let trial = self.experiments.get(decision.experiment);
        trial
            .and_then(|trial| trial.seats.get(decision.served))
            .map_or(0, |seat| seat.watch.shared.epoch())
    }

    /// Counts how a request ended.
    pub(crate) fn ended(
        &mut self,
        decision: &Decision,
        epoch: u32,
        ended: Ended,
        metrics: &Metrics,
    ) {
        let Some(trial) = self.experiments.get_mut(decision.experiment) else { return };
        if !trial.rule.is_active() {
            return;
        }
        trial.outcomes += 1;
        let Some(seat) = trial.seats.get_mut(decision.served) else { return };
        seat.watch.local.ended(ended, epoch, trial.outcomes);
        if ended.failed && decision.served != trial.baseline {
            trial.judge_streak(decision.served, crate::root::now(), metrics);
        }
    }

    /// Tells the other workers what is new, and learns what they decided.
    pub(crate) fn tick(&mut self, now: Timestamp, metrics: &[Metrics]) {
        let generation = host::shared(shared::GENERATION);
        let changed = generation != self.generation;
        self.generation = generation;
        for (trial, metrics) in self.experiments.iter_mut().zip(metrics) {
            if trial.rule.is_active() {
                trial.tick(now, changed, metrics);
            }
        }
    }
}

impl Trial {
    fn new(experiment: &Experiment, metrics: &Metrics, now: Timestamp) -> Self {
        let rule = Rule::new(&experiment.breaker);
        let seat = |variant: &sidetrack::plan::Variant| {
            let key = format!("{}{}.{}", shared::BREAKER, experiment.name, variant.name);
            let record = read(&key).map(|(record, _)| record);
            if record.is_none() {
                // The proxy's first VM configures alone, so this creates, and never overwrites what others count.
                host::set_shared(&key, &Breaker::new(&rule, now).encode(), 0).ok();
            }
            let watch = Watch::new(record.unwrap_or_else(|| Breaker::new(&rule, now)), now);
            Seat { key, name: format!("{}/{}", experiment.name, variant.name), watch }
        };
        let seats: Vec<Seat> = experiment.variants.iter().map(seat).collect();
        for (variant, seat) in seats.iter().enumerate() {
            metrics.breaker_state(variant, seat.watch.shared.code(&rule));
        }
        Self { rule, baseline: experiment.baseline, seats, outcomes: 0 }
    }

    fn tick(&mut self, now: Timestamp, changed: bool, metrics: &Metrics) {
        // The baseline first: a candidate is compared with what is known of it.
        if let Some(baseline) = self.seats.get_mut(self.baseline)
            && !baseline.watch.local.pending().is_empty()
        {
            let rule = &self.rule;
            baseline.sync(now, |record, new| {
                record.observe(rule, now, new);
                None
            });
        }
        for variant in 0..self.seats.len() {
            if variant == self.baseline {
                continue;
            }
            let Some(seat) = self.seats.get_mut(variant) else { continue };
            if changed && let Some((record, _)) = read(&seat.key) {
                seat.watch.adopt(record);
            }
            if seat.watch.is_due(&self.rule, now) {
                self.judge_rates(variant, now, metrics);
            }
            if let Some(seat) = self.seats.get_mut(variant) {
                seat.watch.local.look(&self.rule);
            }
            self.judge_streak(variant, now, metrics);
        }
    }

    fn judge_rates(&mut self, variant: usize, now: Timestamp, metrics: &Metrics) {
        let (rule, baseline) =
            (&self.rule, self.seats.get(self.baseline).map(|seat| seat.key.clone()));
        let counts = || {
            baseline.as_deref().and_then(read).map_or_else(Counts::default, |(b, _)| b.counts(now))
        };
        let jitter = host::random().unwrap_or_default();
        if let Some(seat) = self.seats.get_mut(variant) {
            let event =
                seat.sync(now, |record, new| record.advance(rule, now, new, counts, jitter));
            seat.announce(event, variant, rule, metrics);
        }
    }

    fn judge_streak(&mut self, variant: usize, now: Timestamp, metrics: &Metrics) {
        let (Some(seat), Some(baseline)) = (self.seats.get(variant), self.seats.get(self.baseline))
        else {
            return;
        };
        let used = baseline.watch.local.is_used();
        let Streak::Trips(failures) =
            seat.watch.local.streak(&self.rule, &baseline.watch.local, used)
        else {
            return;
        };
        let (rule, jitter) = (&self.rule, host::random().unwrap_or_default());
        if let Some(seat) = self.seats.get_mut(variant) {
            // Others may have gone on in the meantime; these failures say nothing about what they began.
            let epoch = seat.watch.shared.epoch();
            let event = seat.sync(now, |record, _| {
                let current = record.epoch() == epoch;
                current.then(|| record.trip_on_streak(rule, now, failures, jitter)).flatten()
            });
            seat.announce(event, variant, rule, metrics);
        }
    }
}

impl Seat {
    /// Changes the shared record, again and again until nobody else changed it in between. Outcomes of an epoch that
    /// is over are dropped. Without shared data the worker goes on by itself.
    fn sync(
        &mut self,
        now: Timestamp,
        change: impl Fn(&mut Breaker, Counts) -> Option<Event>,
    ) -> Option<Event> {
        for _ in 0..TRIES {
            let found = read(&self.key);
            let version = found.as_ref().map_or(0, |(_, version)| *version);
            if let Some((record, _)) = found {
                self.watch.adopt(record);
            }
            let mut record = self.watch.shared.clone();
            let event = change(&mut record, self.watch.local.pending());
            match host::set_shared(&self.key, &record.encode(), version) {
                Err(Failed::CONFLICT) => {}
                _ => {
                    self.watch.local.told();
                    self.watch.adopt(record);
                    self.watch.synced = now;
                    return event;
                }
            }
        }
        None
    }

    /// Says what happened, to people and to the other workers.
    fn announce(&self, event: Option<Event>, variant: usize, rule: &Rule, metrics: &Metrics) {
        let Some(event) = event else { return };
        host::log(Level::Warn, &format!("sidetrack: {}: {event}", self.name));
        metrics.breaker_event(variant, &event);
        metrics.breaker_state(variant, self.watch.shared.code(rule));
        // Any new value will do; each write has a new version.
        host::set_shared(shared::GENERATION, &self.watch.shared.epoch().to_le_bytes(), 0).ok();
    }
}

fn read(key: &str) -> Option<(Breaker, u32)> {
    let (bytes, version) = host::shared(key)?;
    Some((Breaker::decode(&bytes)?, version))
}

/// The state of a candidate in a word, for the debug header.
pub(crate) const fn word(gate: Gate) -> &'static str {
    match gate {
        Gate::Closed => "closed",
        Gate::HalfOpen(_) => "half-open",
        Gate::Open => "open",
    }
}
