//! The workers of a proxy with one candidate and one baseline. Each has the [`Fleet`] that ships.

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};

use super::random::Random;
use super::store::{Interrupted, Memory, Moment};
use crate::breaker::{Breaker, End, Event, Fleet, Rule, Served, State, Store, Ticket, Transition};
use crate::config;
use crate::decide::Gate;
use crate::names::shared;
use crate::plan::{ExperimentId, Plan, VariantId};
use crate::quantity::{Bucket, Millis, Timestamp};

/// When a test begins: a multiple of every window's bucket.
pub(crate) const START: u64 = 1_800_000_000_000;

/// The outcome of a request that ends at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

pub(crate) const OK: Ended = Ended { failed: false, slow: false };
pub(crate) const FAILED: Ended = Ended { failed: true, slow: false };

/// The monotonic clock at this moment.
pub(crate) const fn uptime(now: Timestamp) -> Millis {
    now.since(Timestamp::new(START))
}

pub(crate) const fn served(side: Side) -> Served {
    Served { experiment: EXPERIMENT, variant: side.variant() }
}

/// A request that begins at this moment.
pub(crate) fn begin(fleet: &mut Fleet, side: Side, unit: Option<Bucket>, now: Timestamp) -> Ticket {
    fleet.begin(served(side), unit, uptime(now), true)
}

/// A request that begins and ends at this moment. A slow one ends later by the uptime alone.
pub(crate) fn end_at_once(
    fleet: &mut Fleet,
    store: &impl Store,
    mut ticket: Ticket,
    ended: Ended,
    now: Timestamp,
    jitter: impl FnOnce() -> u64,
) -> Option<Transition> {
    if ended.slow {
        let over = fleet.slow_over(EXPERIMENT).unwrap_or_default() + Millis::new(1);
        let uptime = ticket.since + over;
        fleet.answered(&mut ticket, uptime);
    }
    let end = if ended.failed { End::Failed } else { End::Completed };
    fleet.ended(store, ticket, end, || now, jitter)
}

/// A plan with this breaker, and the file's own defaults for the rest.
pub(crate) fn plan(breaker: &Value) -> Plan {
    parse(&json!({"experiments": [{
        "name": "breaker", "salt": "breaker-1", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 100}], "breaker": breaker,
    }]}))
}

pub(crate) fn parse(file: &Value) -> Plan {
    config::parse_json(file.to_string().as_bytes())
        .unwrap_or_else(|problems| panic!("{problems}\n{file}"))
}

pub(crate) fn rule(breaker: &Value) -> Rule {
    Rule::new(&plan(breaker).experiments[EXPERIMENT].breaker)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Baseline = 0,
    Candidate = 1,
}

/// The only experiment.
pub(crate) const EXPERIMENT: ExperimentId = ExperimentId::new(0);

impl Side {
    pub(crate) const fn variant(self) -> VariantId {
        VariantId::new(self as usize)
    }

    /// The key of the record.
    pub(crate) fn key(self) -> String {
        format!("{}breaker.{}", shared::BREAKER, ["old", "new"][self as usize])
    }
}

pub(crate) struct Proxy {
    pub(crate) plan: Plan,
    pub(crate) rule: Rule,
    pub(crate) memory: Memory,
    workers: Vec<RefCell<Fleet>>,
    events: RefCell<Vec<(Timestamp, usize, Event)>>,
    /// How probable it is that another worker has its tick between a worker's reading and writing.
    contention: Cell<f64>,
    random: RefCell<Random>,
}

impl Proxy {
    pub(crate) fn new(breaker: &Value, workers: usize, seed: u64) -> Self {
        let (plan, memory) = (plan(breaker), Memory::default());
        let load = |_| RefCell::new(Fleet::load(&plan, &memory, Timestamp::new(START)));
        Self {
            rule: Rule::new(&plan.experiments[EXPERIMENT].breaker),
            workers: (0..workers).map(load).collect(),
            events: RefCell::default(),
            contention: Cell::new(0.0),
            random: RefCell::new(Random::new(seed)),
            plan,
            memory,
        }
    }

    pub(crate) fn set_contention(&self, probability: f64) {
        self.contention.set(probability);
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Every transition: when, by which worker, what.
    pub(crate) fn events(&self) -> Vec<(Timestamp, usize, Event)> {
        self.events.borrow().clone()
    }

    pub(crate) fn event_count(&self) -> usize {
        self.events.borrow().len()
    }

    pub(crate) fn trips(&self) -> usize {
        let events = self.events.borrow();
        events.iter().filter(|(_, _, event)| matches!(event, Event::Opened { .. })).count()
    }

    /// What every worker could read now.
    pub(crate) fn record(&self, side: Side) -> Breaker {
        Breaker::decode(&self.memory.value(&side.key()).unwrap()).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        self.record(Side::Candidate).state()
    }

    pub(crate) fn gate(&self, worker: usize) -> Gate {
        self.workers[worker].borrow().gate(EXPERIMENT, Side::Candidate.variant())
    }

    /// What the shared record lets through.
    pub(crate) fn shared_gate(&self) -> Gate {
        self.record(Side::Candidate).gate(&self.rule)
    }

    pub(crate) fn epoch(&self, worker: usize, side: Side) -> u32 {
        self.workers[worker].borrow().epoch(EXPERIMENT, side.variant())
    }

    /// Loads the configuration again on this worker.
    pub(crate) fn reload(&self, worker: usize, now: Timestamp) {
        *self.workers[worker].borrow_mut() = Fleet::load(&self.plan, &self.memory, now);
    }

    /// A request ends that was decided a moment ago.
    pub(crate) fn ended(&self, worker: usize, side: Side, ended: Ended, now: Timestamp) {
        self.ended_of(worker, side, ended, self.epoch(worker, side), now);
    }

    /// A request ends that was decided in this epoch.
    pub(crate) fn ended_of(
        &self,
        worker: usize,
        side: Side,
        ended: Ended,
        epoch: u32,
        now: Timestamp,
    ) {
        let interrupt = |moment: Moment<'_>| self.interrupt(worker, now, moment);
        let store = Interrupted { memory: &self.memory, interrupt };
        let jitter = || self.random.borrow_mut().next();
        let transition = {
            let fleet = &mut self.workers[worker].borrow_mut();
            let is_current = epoch == fleet.epoch(EXPERIMENT, side.variant());
            let mut ticket = fleet.begin(served(side), None, uptime(now), is_current);
            if !is_current {
                fleet.decide_in(&mut ticket, epoch);
            }
            end_at_once(fleet, &store, ticket, ended, now, jitter)
        };
        self.keep(worker, now, transition);
    }

    pub(crate) fn tick(&self, worker: usize, now: Timestamp) {
        let interrupt = |moment: Moment<'_>| self.interrupt(worker, now, moment);
        let store = Interrupted { memory: &self.memory, interrupt };
        let jitter = || self.random.borrow_mut().next();
        let transitions = self.workers[worker].borrow_mut().tick(
            &store,
            store.version(shared::GENERATION),
            now,
            uptime(now),
            jitter,
        );
        self.keep(worker, now, transitions);
    }

    fn keep(
        &self,
        worker: usize,
        now: Timestamp,
        transitions: impl IntoIterator<Item = Transition>,
    ) {
        for Transition { experiment, variant, event } in transitions {
            assert_eq!((experiment, variant), (EXPERIMENT, Side::Candidate.variant()), "{event}");
            self.events.borrow_mut().push((now, worker, event));
        }
    }

    /// Perhaps another worker has its tick, whole, before this worker writes.
    fn interrupt(&self, worker: usize, now: Timestamp, moment: Moment<'_>) {
        let contention = self.contention.get();
        if contention == 0.0 || !matches!(moment, Moment::Write(_)) {
            return;
        }
        let other = {
            let mut random = self.random.borrow_mut();
            let other =
                (worker + 1 + random.below(self.workers.len().max(2) - 1)) % self.workers.len();
            (random.chance(contention) && other != worker).then_some(other)
        };
        if let Some(other) = other {
            self.contention.set(0.0);
            self.tick(other, now);
            self.contention.set(contention);
        }
    }
}

/// The middle of what was measured, and its largest.
pub(crate) fn median_and_max(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[values.len() - 1])
}
