//! Requests that take time, of many units, on several workers that tick at their own moments.
//!
//! A test describes the traffic as a [`Crowd`] and how each request fares as a function; the
//! [`World`] runs the shipped fleets on it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_json::Value;

use super::proxy::{EXPERIMENT, START, Side, plan, served};
use super::random::Random;
use super::store::Memory;
use crate::breaker::{Breaker, End, Event, Fleet, State, Store as _, Ticket};
use crate::decide::Gate;
use crate::names::shared::GENERATION;
use crate::plan::Plan;
use crate::quantity::{Bucket, Millis, Timestamp};

/// How long a request takes to its response headers, if there are any, and to its end, in
/// milliseconds, and how it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) headers: Option<u64>,
    pub(crate) end: u64,
    pub(crate) how: End,
}

impl Fate {
    /// A whole answer.
    pub(crate) const fn good(time: u64) -> Self {
        Self { headers: Some(time), end: time, how: End::Completed }
    }

    /// A bad answer.
    pub(crate) const fn bad(time: u64) -> Self {
        Self { headers: None, end: time, how: End::Failed }
    }

    /// A stream that lasts so long, or breaks off then.
    pub(crate) const fn stream(length: u64, how: End) -> Self {
        Self { headers: Some(20), end: 20 + length, how }
    }

    /// No answer, until the client gives up.
    pub(crate) const fn hang(patience: u64) -> Self {
        Self { headers: None, end: patience, how: End::Abandoned }
    }
}

/// Who asks: so many units, at so many requests per second together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) units: usize,
    pub(crate) rate: f64,
    /// The candidate's share of units.
    pub(crate) weight: f64,
    /// The share of requests that come from the first unit, which is the candidate's.
    pub(crate) batch: f64,
}

impl Crowd {
    pub(crate) const fn new(units: usize, rate: f64, weight: f64) -> Self {
        Self { units, rate, weight, batch: 0.0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    bucket: Bucket,
    probe: Bucket,
    is_candidates: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Headers(usize),
    End(usize),
}

struct Flight {
    worker: usize,
    /// The worker's configuration at the time; requests end in the one that they began in.
    version: usize,
    ticket: Ticket,
    fate: Fate,
}

/// What the tests count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Requests of the candidate's units.
    pub(crate) assigned: u64,
    /// Those that the candidate served.
    pub(crate) served: u64,
    /// Those of them that failed.
    pub(crate) failed: u64,
}

pub(crate) struct World {
    plan: Plan,
    pub(crate) memory: Memory,
    workers: Vec<Fleet>,
    /// The fleets of the configurations before, by version and worker.
    retired: Vec<Fleet>,
    version: usize,
    ticks: Vec<u64>,
    /// The time between two ticks of a worker.
    period: u64,
    units: Vec<Unit>,
    pub(crate) crowd: Crowd,
    pub(crate) random: Random,
    /// Milliseconds since the start.
    pub(crate) now: u64,
    arrival: f64,
    steps: BinaryHeap<Reverse<(u64, Step)>>,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    pub(crate) events: Vec<(u64, Event)>,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(breaker: &Value, workers: usize, crowd: Crowd, seed: u64) -> Self {
        let (plan, memory, mut random) = (plan(breaker), Memory::default(), Random::new(seed));
        let load = |_| Fleet::load(&plan, &memory, Timestamp::new(START));
        let fleets = (0..workers).map(load).collect();
        let ticks = (0..workers).map(|_| u64::try_from(random.below(100)).unwrap()).collect();
        let mut world = Self {
            workers: fleets,
            retired: Vec::new(),
            version: 0,
            ticks,
            period: 100,
            units: Vec::new(),
            crowd,
            random,
            now: 0,
            arrival: 0.0,
            steps: BinaryHeap::new(),
            flights: Vec::new(),
            free: Vec::new(),
            events: Vec::new(),
            tally: Tally::default(),
            plan,
            memory,
        };
        world.gather(crowd);
        world
    }

    /// Other people come from now on.
    pub(crate) fn gather(&mut self, crowd: Crowd) {
        self.crowd = crowd;
        let units = 0..crowd.units.max(1);
        self.units = units
            .map(|number| Unit {
                bucket: Bucket::from_draw(self.random.next()),
                probe: Bucket::from_draw(self.random.next()),
                is_candidates: number == 0 || self.random.chance(crowd.weight),
            })
            .collect();
    }

    pub(crate) fn at(&self) -> Timestamp {
        Timestamp::new(START + self.now)
    }

    pub(crate) fn record(&self) -> Breaker {
        Breaker::decode(&self.memory.value(&Side::Candidate.key()).unwrap()).unwrap()
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.record().state(), State::Closed(_))
    }

    pub(crate) fn trips(&self) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::Opened { .. })).count()
    }

    /// Loads a configuration on all workers. The requests that are under way end in the one
    /// before, which is retired.
    pub(crate) fn update(&mut self, breaker: &Value) {
        self.plan = plan(breaker);
        for worker in 0..self.workers.len() {
            let new = Fleet::load(&self.plan, &self.memory, self.at());
            let mut old = core::mem::replace(&mut self.workers[worker], new);
            old.retire();
            self.retired.push(old);
        }
        self.version += 1;
    }

    /// A worker's filter crashes, and starts again without its requests.
    pub(crate) fn crash(&mut self, worker: usize) {
        self.workers[worker] = Fleet::load(&self.plan, &self.memory, self.at());
        for flight in &mut self.flights {
            if flight.as_ref().is_some_and(|flight| flight.worker == worker) {
                *flight = None;
            }
        }
    }

    /// Lets this time pass, in milliseconds, without requests and with few ticks.
    pub(crate) fn rest(&mut self, time: u64) {
        let crowd = self.crowd;
        (self.crowd.rate, self.period) = (0.0, 10_000);
        self.run(time, |_, _, _, _| Fate::good(1));
        (self.crowd, self.period) = (crowd, 100);
        self.ticks.iter_mut().for_each(|tick| *tick = (*tick).min(self.now + 100));
        self.arrival = as_time(self.now);
    }

    /// What each worker lets through.
    pub(crate) fn gates(&self) -> impl Iterator<Item = Gate> {
        self.workers.iter().map(|fleet| fleet.gate(EXPERIMENT, Side::Candidate.variant()))
    }

    /// Runs for this time, in milliseconds. `fate` gets the side that serves a request, the number
    /// of its unit and the time since the start.
    pub(crate) fn run(&mut self, time: u64, fate: impl Fn(Side, usize, u64, &mut Random) -> Fate) {
        self.run_until(time, fate, |_| false);
    }

    /// As [`Self::run`], but stops when `is_done` says so after a request or a tick.
    pub(crate) fn run_until(
        &mut self,
        time: u64,
        fate: impl Fn(Side, usize, u64, &mut Random) -> Fate,
        is_done: impl Fn(&Self) -> bool,
    ) {
        let end = self.now + time;
        let mut events = self.events.len();
        while !(self.events.len() > events && is_done(self)) {
            events = self.events.len();
            let (worker, tick) = self.next_tick();
            let step = self.steps.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
            let arrival = if self.crowd.rate > 0.0 { as_millis(self.arrival) } else { u64::MAX };
            let next = tick.min(step).min(arrival);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next;
            if step == next {
                self.step();
            } else if arrival == next {
                self.arrival += self.random.gap(self.crowd.rate);
                self.begin(&fate);
            } else {
                self.tick(worker);
            }
        }
    }

    fn next_tick(&self) -> (usize, u64) {
        self.ticks.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap()
    }

    fn tick(&mut self, worker: usize) {
        let (now, random) = (self.at(), &mut self.random);
        self.ticks[worker] = self.now + self.period;
        let uptime = Millis::new(self.now);
        let made = self.workers[worker].tick(
            &self.memory,
            self.memory.version(GENERATION),
            now,
            uptime,
            || random.next(),
        );
        self.events.extend(made.iter().map(|transition| (self.now, transition.event)));
    }

    fn begin(&mut self, fate: &impl Fn(Side, usize, u64, &mut Random) -> Fate) {
        let worker = self.random.below(self.workers.len());
        let is_batch = self.random.chance(self.crowd.batch);
        let number = if is_batch { 0 } else { self.random.below(self.units.len()) };
        let unit = self.units[number];
        let fleet = &mut self.workers[worker];
        let passes = unit.is_candidates
            && match fleet.gate(EXPERIMENT, Side::Candidate.variant()) {
                Gate::Closed => true,
                Gate::Open => false,
                Gate::HalfOpen { share, from } => unit.probe.distance_from(from) < share.get(),
            };
        let side = if passes { Side::Candidate } else { Side::Baseline };
        let fate = fate(side, number, self.now, &mut self.random);
        self.tally.assigned += u64::from(unit.is_candidates);
        if side == Side::Candidate {
            self.tally.served += 1;
            self.tally.failed += u64::from(fate.how != End::Completed);
        }
        let ticket = fleet.begin(served(side), Some(unit.bucket), Millis::new(self.now), true);
        let flight = Flight { worker, version: self.version, ticket, fate };
        let place = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        self.flights[place] = Some(flight);
        if let Some(headers) = fate.headers {
            self.steps.push(Reverse((self.now + headers, Step::Headers(place))));
        }
        self.steps.push(Reverse((self.now + fate.end, Step::End(place))));
    }

    fn step(&mut self) {
        let Some(Reverse((_, step))) = self.steps.pop() else { return };
        let (now, uptime) = (self.at(), Millis::new(self.now));
        let (Step::Headers(place) | Step::End(place)) = step;
        let is_end = matches!(step, Step::End(_));
        if is_end {
            self.free.push(place);
        }
        let Some(mut flight) = self.flights[place].take() else { return };
        let fleet = if flight.version == self.version {
            &mut self.workers[flight.worker]
        } else {
            &mut self.retired[flight.version * self.workers.len() + flight.worker]
        };
        if is_end {
            let random = &mut self.random;
            let made =
                fleet.ended(&self.memory, flight.ticket, flight.fate.how, || now, || random.next());
            self.events.extend(made.map(|transition| (self.now, transition.event)));
        } else {
            fleet.answered(&mut flight.ticket, uptime);
            self.flights[place] = Some(flight);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a year in milliseconds")]
pub(crate) const fn as_time(milliseconds: u64) -> f64 {
    milliseconds as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a year in milliseconds"
)]
const fn as_millis(time: f64) -> u64 {
    time as u64
}
