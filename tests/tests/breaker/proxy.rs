//! One candidate and one baseline on the workers of a proxy, put together as `filter/src/breakers.rs` does it: counts
//! stay with the worker until its tick, the shared records change by compare-and-swap, a number tells of transitions.

use serde_json::{Value, json};
use sidetrack::breaker::{Breaker, Counts, Ended, Event, LocalView, Rule, State, Streak};
use sidetrack::config;
use sidetrack::decide::Gate;
use sidetrack::plan::Plan;
use sidetrack::quantity::{Millis, Timestamp};

use crate::random::Random;

/// When a test begins: a multiple of every window's bucket.
pub(crate) const START: u64 = 1_800_000_000_000;

/// How often the filter takes a lost race again.
const TRIES: u32 = 8;

pub(crate) const OK: Ended = Ended { failed: false, slow: false };
pub(crate) const FAILED: Ended = Ended { failed: true, slow: false };

/// A plan with this breaker, and the file's own defaults for the rest.
pub(crate) fn plan(breaker: &Value) -> Plan {
    let file = json!({"experiments": [{
        "name": "breaker", "salt": "breaker-1", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 100}], "breaker": breaker,
    }]});
    config::parse_json(file.to_string().as_bytes())
        .unwrap_or_else(|problems| panic!("{problems}\n{file}"))
}

pub(crate) fn rule(breaker: &Value) -> Rule {
    Rule::new(&plan(breaker).experiments.first().unwrap().breaker)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Baseline = 0,
    Candidate = 1,
}

/// What all workers can read and write.
struct Shared {
    bytes: Vec<u8>,
    version: u32,
}

pub(crate) struct Worker {
    /// By [`Side`].
    pub(crate) watches: [LocalView; 2],
    outcomes: u64,
    generation: u32,
}

pub(crate) struct Proxy {
    pub(crate) rule: Rule,
    pub(crate) workers: Vec<Worker>,
    /// Every transition: when, on which worker, what.
    pub(crate) events: Vec<(Timestamp, usize, Event)>,
    /// How probable it is that another worker writes between a worker's reading and writing.
    pub(crate) contention: f64,
    pub(crate) races_lost: u32,
    records: [Shared; 2],
    generation: u32,
    random: Random,
}

impl Proxy {
    pub(crate) fn new(rule: Rule, workers: usize, seed: u64) -> Self {
        let fresh = Breaker::new(&rule, Timestamp::new(START));
        let watch = || LocalView::new(fresh.clone(), Timestamp::new(START));
        let worker = |_| Worker { watches: [watch(), watch()], outcomes: 0, generation: 0 };
        let record = || Shared { bytes: fresh.encode(), version: 1 };
        Self {
            workers: (0..workers).map(worker).collect(),
            events: Vec::new(),
            contention: 0.0,
            races_lost: 0,
            records: [record(), record()],
            generation: 0,
            random: Random::new(seed),
            rule,
        }
    }

    /// What every worker could read now.
    pub(crate) fn record(&self, side: Side) -> Breaker {
        Breaker::decode(&self.records[side as usize].bytes).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        self.record(Side::Candidate).state()
    }

    pub(crate) fn gate(&self, worker: usize) -> Gate {
        self.workers[worker].watches[Side::Candidate as usize].shared.gate(&self.rule)
    }

    pub(crate) fn epoch(&self, worker: usize, side: Side) -> u32 {
        self.workers[worker].watches[side as usize].shared.epoch()
    }

    /// A request ends that was decided a moment ago.
    pub(crate) fn ended(&mut self, worker: usize, side: Side, ended: Ended, now: Timestamp) {
        let epoch = self.epoch(worker, side);
        self.ended_of(worker, side, ended, epoch, now);
    }

    /// A request ends that was decided in this epoch.
    pub(crate) fn ended_of(
        &mut self,
        worker: usize,
        side: Side,
        ended: Ended,
        epoch: u32,
        now: Timestamp,
    ) {
        if !self.rule.is_active() {
            return;
        }
        let this = &mut self.workers[worker];
        this.outcomes += 1;
        this.watches[side as usize].local.count(ended, epoch, this.outcomes);
        if ended.failed && side == Side::Candidate {
            self.judge_streak(worker, now);
        }
    }

    pub(crate) fn tick(&mut self, worker: usize, now: Timestamp) {
        if !self.rule.is_active() {
            return;
        }
        let changed = self.workers[worker].generation != self.generation;
        self.workers[worker].generation = self.generation;
        let [baseline, _] = &self.workers[worker].watches;
        if !baseline.local.pending().is_empty() {
            self.sync(worker, Side::Baseline, now, |rule, record, new, _, _| {
                record.observe(rule, now, new);
                None
            });
        }
        let record = self.record(Side::Candidate);
        let [_, candidate] = &mut self.workers[worker].watches;
        if changed {
            candidate.adopt(record);
        }
        if candidate.is_due(&self.rule, now) {
            self.sync(worker, Side::Candidate, now, |rule, record, new, baseline, jitter| {
                record.advance(rule, now, new, || baseline.counts(now), jitter)
            });
        }
        self.workers[worker].watches[Side::Candidate as usize].local.count_wait(&self.rule);
        self.judge_streak(worker, now);
    }

    fn judge_streak(&mut self, worker: usize, now: Timestamp) {
        let [baseline, candidate] = &self.workers[worker].watches;
        let Streak::Trips(failures) = candidate.local.streak(&self.rule, &baseline.local) else {
            return;
        };
        let epoch = candidate.shared.epoch();
        self.sync(worker, Side::Candidate, now, |rule, record, _, _, jitter| {
            let current = record.epoch() == epoch;
            current.then(|| record.trip_on_streak(rule, now, failures, jitter)).flatten()
        });
    }

    fn sync(
        &mut self,
        worker: usize,
        side: Side,
        now: Timestamp,
        change: impl Fn(&Rule, &mut Breaker, Counts, &Breaker, u64) -> Option<Event>,
    ) {
        let jitter = self.random.next();
        for _ in 0..TRIES {
            let version = self.records[side as usize].version;
            let mut record = self.record(side);
            self.workers[worker].watches[side as usize].adopt(record.clone());
            let pending = self.workers[worker].watches[side as usize].local.pending();
            let event =
                change(&self.rule, &mut record, pending, &self.record(Side::Baseline), jitter);
            if self.random.chance(self.contention) {
                self.interrupt(worker, now);
            }
            let shared = &mut self.records[side as usize];
            if shared.version != version {
                self.races_lost += 1;
                continue;
            }
            *shared = Shared { bytes: record.encode(), version: version + 1 };
            let watch = &mut self.workers[worker].watches[side as usize];
            watch.local.clear_pending();
            watch.adopt(record);
            watch.synced = now;
            if let Some(event) = event {
                self.events.push((now, worker, event));
                self.generation += 1;
            }
            return;
        }
    }

    /// Another worker has its tick, whole, in the middle of this one's.
    fn interrupt(&mut self, worker: usize, now: Timestamp) {
        let other =
            (worker + 1 + self.random.below(self.workers.len().max(2) - 1)) % self.workers.len();
        if other != worker {
            let contention = core::mem::take(&mut self.contention);
            self.tick(other, now);
            self.contention = contention;
        }
    }

    /// A worker begins with the latest announcement, and with the record from before it.
    pub(crate) fn miss_announcement(&mut self, worker: usize) {
        self.workers[worker].generation = self.generation;
    }

    pub(crate) fn trips(&self) -> usize {
        self.events.iter().filter(|(_, _, event)| matches!(event, Event::Opened { .. })).count()
    }
}

/// Random requests on a proxy, each worker with ticks at its own moments.
pub(crate) struct Traffic {
    pub(crate) proxy: Proxy,
    pub(crate) random: Random,
    /// Milliseconds since the start.
    pub(crate) time: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// The candidate's share of units.
    pub(crate) weight: f64,
    /// When each worker has its next tick.
    ticks: Vec<u64>,
    tick: u64,
}

impl Traffic {
    pub(crate) fn new(proxy: Proxy, rate: f64, weight: f64, tick: Millis, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let phase = |_| u64::try_from(random.below(usize::try_from(tick.get()).unwrap())).unwrap();
        let ticks = (0..proxy.workers.len()).map(phase).collect();
        Self { proxy, random, time: 0.0, rate, weight, ticks, tick: tick.get() }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few hours in milliseconds"
    )]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::new(START + self.time as u64)
    }

    /// Lets requests come until `end`, in milliseconds; `bad` is each side's probability to fail. `seen` hears of each
    /// request.
    pub(crate) fn run(
        &mut self,
        end: f64,
        bad: [f64; 2],
        mut seen: impl FnMut(&Proxy, Timestamp, Side, bool),
    ) {
        loop {
            let arrival = self.time + self.random.gap(self.rate);
            let stop = arrival.min(end);
            self.tick_until(stop);
            self.time = stop;
            if arrival >= end {
                return;
            }
            let worker = self.random.below(self.proxy.workers.len());
            let drawn = self.random.chance(self.weight);
            let passes = drawn
                && match self.proxy.gate(worker) {
                    Gate::Closed => true,
                    Gate::Open => false,
                    Gate::HalfOpen(share) => self.random.chance(share.fraction()),
                };
            let side = if passes { Side::Candidate } else { Side::Baseline };
            let failed = self.random.chance(bad[side as usize]);
            let now = self.now();
            self.proxy.ended(worker, side, Ended { failed, slow: false }, now);
            seen(&self.proxy, now, side, failed);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hours in milliseconds")]
    fn tick_until(&mut self, time: f64) {
        loop {
            let (worker, &at) = self.ticks.iter().enumerate().min_by_key(|(_, at)| **at).unwrap();
            if at as f64 > time {
                return;
            }
            self.proxy.tick(worker, Timestamp::new(START + at));
            self.ticks[worker] += self.tick;
        }
    }
}

/// The middle of what was measured, and its largest.
pub(crate) fn median_and_max(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[values.len() - 1])
}
