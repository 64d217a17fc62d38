//! A year of mixed faults, updates, restarts and shapes of traffic, a day at a time.
//!
//! `cargo test` plays two weeks of it, `SIDETRACK_LONG=1` the whole year. Each day has other
//! traffic and one fault. What must hold on every day:
//!
//! - Nothing wedges: after the fault, the candidate has its units back in bounded time.
//! - A candidate that fails alone trips, and then few requests fail.
//! - Without a fault of the candidate's own, it does not trip, but for a designed rate.
//! - What was before an update that disables the breaker does not count after it.

use serde_json::{Value, json};

use super::crowd::{Crowd, Fate, World};
use super::proxy::Side;
use super::random::Random;
use crate::breaker::End;
use crate::decide::Gate;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// What goes wrong on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The candidate's answers are bad.
    Dead,
    /// Every second answer of the candidate is bad.
    Half,
    /// The candidate does not answer.
    Hung,
    /// The candidate does not answer, and its clients leave early.
    Abandoned,
    /// The candidate's answers break off.
    Truncated,
    /// Both variants are dead.
    Shared,
    /// One request in seven fails, on both variants.
    SharedPart,
    /// Two clients in five leave early, on both variants.
    Impatient,
    /// The candidate fails for its first unit alone.
    Client,
    /// The candidate's first unit leaves at once, always.
    ImpatientClient,
}

const FAULTS: [Fault; 11] = [
    Fault::Nothing,
    Fault::Dead,
    Fault::Half,
    Fault::Hung,
    Fault::Abandoned,
    Fault::Truncated,
    Fault::Shared,
    Fault::SharedPart,
    Fault::Impatient,
    Fault::Client,
    Fault::ImpatientClient,
];

impl Fault {
    const fn is_the_candidates(self) -> bool {
        matches!(self, Self::Dead | Self::Half | Self::Hung | Self::Abandoned | Self::Truncated)
    }

    /// How long the candidate's requests may fail until it trips, in seconds.
    const fn seconds(self) -> u64 {
        match self {
            Self::Hung => 12,
            Self::Abandoned => 24,
            _ => 1,
        }
    }

    fn fate(self, side: Side, unit: usize, healthy: Fate, random: &mut Random) -> Fate {
        let is_candidate = side == Side::Candidate;
        match self {
            Self::Dead if is_candidate => Fate::bad(5),
            Self::Half if is_candidate && random.chance(0.5) => Fate::bad(5),
            Self::Hung if is_candidate => Fate::hang(15_000),
            Self::Abandoned if is_candidate => Fate::hang(2000),
            Self::Impatient if random.chance(0.4) => Fate::hang(1000),
            Self::ImpatientClient if is_candidate && unit == 0 => Fate::hang(50),
            Self::Truncated if is_candidate => Fate::stream(100, End::Failed),
            Self::Shared => Fate::bad(5),
            Self::SharedPart if random.chance(1.0 / 7.0) => Fate::bad(5),
            Self::Client if is_candidate && unit == 0 => Fate::bad(5),
            _ => healthy,
        }
    }
}

/// The traffic of a day.
#[derive(Clone, Copy, Debug)]
struct Shape {
    workers: usize,
    crowd: Crowd,
    /// How long a whole answer streams, in milliseconds.
    stream: u64,
    /// The share of requests that fail on a good day.
    noise: f64,
}

impl Shape {
    fn of(random: &mut Random) -> Self {
        let crowd = Crowd {
            units: [3, 10, 100, 1000][random.below(4)],
            rate: [2.0, 10.0, 50.0, 200.0][random.below(4)],
            weight: [0.1, 0.3, 0.9][random.below(3)],
            batch: [0.0, 0.0, 0.3][random.below(3)],
        };
        Self {
            workers: [1, 2, 4, 16][random.below(4)],
            crowd,
            stream: [0, 0, 500, 15_000][random.below(4)],
            noise: [0.0, 0.005, 0.02][random.below(3)],
        }
    }

    fn healthy(self, random: &mut Random) -> Fate {
        match random.chance(self.noise) {
            true => Fate::bad(5),
            false => Fate::stream(self.stream, End::Completed),
        }
    }
}

#[derive(Default, Debug)]
struct Year {
    days: usize,
    trips: usize,
    false_trips: usize,
    undetected: usize,
    /// Failures of the candidate after the first trip of its fault, and the milliseconds from the
    /// end of the fault until it has its units back: the most.
    failures: u64,
    back: u64,
}

impl Year {
    fn day(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let shape = Shape::of(&mut random);
        let fault = FAULTS[random.below(FAULTS.len())];
        let breaker = [
            json!({}),
            json!({"slow": {"over": "1s", "rate": 5}}),
            json!({"window": "10s", "no_answer": {"after": "3s"}}),
            json!({"consecutive_errors": 0}),
        ][random.below(4)]
        .clone();
        let story = format!("day {seed}: {fault:?}, {breaker}, {shape:?}");
        let mut world = World::new(&breaker, shape.workers, shape.crowd, seed);
        self.days += 1;
        // A quiet night, and a good morning.
        world.rest(DAY / 3);
        world.run(2 * MINUTE, |_, _, _, random| shape.healthy(random));
        self.disturb(&mut world, &mut random, &breaker);
        world.run(MINUTE, |_, _, _, random| shape.healthy(random));
        let trips = world.trips();
        self.false_trips += trips;
        if trips > 0 {
            println!("{story}: before the fault: {:?}", world.events.first());
        }
        // The fault.
        let fate = |side, unit, _, random: &mut Random| {
            let healthy = shape.healthy(random);
            fault.fate(side, unit, healthy, random)
        };
        let length = 20_000 + MINUTE * u64::try_from(random.below(3)).unwrap();
        let end = world.now + length;
        // Of few units, one may well stand for all.
        let is_of_few = fault == Fault::Client && shape.crowd.units <= 10;
        let is_own = fault.is_the_candidates() || is_of_few;
        world.run_until(length, fate, |world| world.trips() > trips);
        let first = world.tally;
        if world.now < end {
            world.run(end - world.now, fate);
        }
        self.trips += world.trips() - trips;
        if is_own {
            let failures = world.tally.failed - first.failed;
            self.failures = self.failures.max(failures);
            // In each try: two failures of twenty requests, five in a row, or what comes until the
            // workers have agreed.
            let tries = u64::try_from(world.trips() - trips).unwrap().max(1);
            let most = tries * (40 + per_second(shape.crowd) * fault.seconds());
            if world.trips() > trips {
                assert!(failures <= most, "{story}: {failures} failures after {tries} trips");
            } else {
                // Too few requests to say. What few units abandon may be their own fault.
                self.undetected += 1;
                let is_hidden = fault == Fault::Abandoned
                    && (shape.crowd.units < 100 || length < 1000 * fault.seconds());
                assert!(
                    is_of_few || is_hidden || shape.crowd.rate < 50.0,
                    "{story}: no trip, {:?}",
                    world.tally
                );
            }
        } else {
            self.false_trips += world.trips() - trips;
            if world.trips() > trips {
                println!("{story}: {:?}", world.events);
            }
        }
        if random.chance(0.3) {
            self.disturb(&mut world, &mut random, &breaker);
        }
        // It is healed.
        let healed = world.now;
        if !world.is_closed() {
            world.run_until(
                3 * 60 * MINUTE,
                |_, _, _, random| shape.healthy(random),
                |world| world.is_closed(),
            );
        }
        assert!(world.is_closed(), "{story}: {:?}", world.record().state());
        self.back = self.back.max(world.now - healed);
        world.run(1000, |_, _, _, random| shape.healthy(random));
        let agreed = world.gates().all(|gate| gate == Gate::Closed);
        assert!(agreed || !world.is_closed(), "{story}");
        world.rest(DAY - world.now.min(DAY));
    }

    /// A configuration update, a crash, a breaker that is disabled for a while, or a new crowd.
    fn disturb(&mut self, world: &mut World, random: &mut Random, breaker: &Value) {
        match random.below(5) {
            0 => world.update(breaker),
            1 => world.crash(0),
            2 => {
                world.update(&json!({"mode": "disabled"}));
                world.run(20_000, |_, _, _, _| Fate::bad(5));
                world.update(breaker);
                assert!(world.is_closed());
                assert!(world.gates().all(|gate| gate == Gate::Closed));
            }
            3 => world.gather(world.crowd),
            _ => {}
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred")]
const fn per_second(crowd: Crowd) -> u64 {
    crowd.rate as u64
}

#[test]
#[expect(clippy::disallowed_methods, reason = "asks for the long form")]
fn a_year_of_faults() {
    let is_long = std::env::var_os("SIDETRACK_LONG").is_some();
    let mut year = Year::default();
    for seed in 0..if is_long { 365 } else { 40 } {
        year.day(seed);
    }
    println!("{year:?}");
    // A candidate without a fault of its own may lose its units for a while: in a shared outage of
    // which the baseline has no request in time to show it, or by a client that always fails and
    // the noise of others, among few requests.
    assert!(year.false_trips <= 1 + year.days / 12, "{year:?}");
    assert!(year.trips > year.days / 4, "{year:?}");
}
