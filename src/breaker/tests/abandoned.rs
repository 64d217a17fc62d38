//! Requests that clients abandon before a response: they open the breaker of a candidate that
//! hangs, and not of one whose clients are impatient, whatever their reason.

use serde_json::json;

use super::crowd::{Crowd, Fate, World};
use super::proxy::{Side, median_and_max};
use super::random::Random;
use crate::breaker::{Event, Kind, Why};

const MINUTE: u64 = 60_000;

/// An answer after about `latency`, up to twice as long, for a client that leaves after `patience`.
fn answer(random: &mut Random, latency: u64, patience: u64) -> Fate {
    let takes =
        latency / 2 + u64::try_from(random.below(usize::try_from(latency).unwrap())).unwrap();
    let takes = if random.chance(0.1) { takes * 2 } else { takes };
    if takes > patience { Fate::hang(patience) } else { Fate::good(takes) }
}

fn is_abandoned(event: &Event) -> bool {
    matches!(event, Event::Opened { why: Why::Rate { kind: Kind::Abandoned, .. }, .. })
}

/// Seconds from the beginning of a hang until the breaker opens, by what clients abandon.
fn times_to_trip(crowd: Crowd, workers: usize, patience: u64, hung: f64) -> Vec<f64> {
    let times = (0..40).map(|seed| {
        let mut world = World::new(&json!({}), workers, crowd, seed);
        world.run(MINUTE, |_, _, _, random| answer(random, 100, patience));
        assert_eq!(world.trips(), 0, "{crowd:?} before the hang");
        let began = world.now;
        world.run_until(
            5 * MINUTE,
            |side, _, _, random| {
                if side == Side::Candidate && random.chance(hung) {
                    Fate::hang(patience)
                } else {
                    answer(random, 100, patience)
                }
            },
            |world| world.trips() > 0,
        );
        match world.events.first() {
            Some((at, event)) if is_abandoned(event) => {
                f64::from(u32::try_from(at - began).unwrap()) / 1000.0
            }
            None => f64::INFINITY,
            other => panic!("{other:?}"),
        }
    });
    times.collect()
}

#[test]
fn a_candidate_that_hangs_trips_although_its_clients_leave_early() {
    for crowd in [Crowd::new(100, 20.0, 0.5), Crowd::new(1000, 200.0, 0.1)] {
        for workers in [1, 8] {
            for (patience, hung, within) in
                [(500, 1.0, 16.0), (3000, 1.0, 20.0), (9000, 1.0, 28.0), (3000, 0.5, 40.0)]
            {
                let times = times_to_trip(crowd, workers, patience, hung);
                let (median, most) = median_and_max(times);
                println!(
                    "{crowd:?}, {workers} workers, {hung} of the requests hang, clients leave \
                     after {patience} ms: open after {median} s, {most} s at most"
                );
                assert!(most < within, "{most} s");
            }
        }
    }
}

/// The trips in ten minutes with these fates, over 10 seeds.
fn trips(crowd: Crowd, fate: impl Fn(Side, usize, u64, &mut Random) -> Fate) -> usize {
    let trips = (0..10).map(|seed| {
        let mut world = World::new(&json!({}), 2, crowd, seed);
        world.run(10 * MINUTE, &fate);
        if world.trips() > 0 {
            println!("{crowd:?}, seed {seed}: {:?}", world.events.first());
        }
        world.trips()
    });
    trips.sum()
}

const CROWDS: [Crowd; 4] = [
    Crowd::new(7, 2.0, 0.5),
    Crowd::new(20, 10.0, 0.3),
    Crowd::new(1000, 100.0, 0.5),
    Crowd::new(1000, 100.0, 0.05),
];

#[test]
fn clients_that_leave_both_variants_open_nothing() {
    for crowd in CROWDS {
        for leaves in [0.05, 0.3, 0.7, 1.0] {
            let trips = trips(crowd, |_, _, _, random| {
                if random.chance(leaves) { Fate::hang(800) } else { answer(random, 200, 5000) }
            });
            assert_eq!(trips, 0, "{crowd:?}, {leaves} leave");
        }
    }
}

#[test]
fn an_impatient_unit_opens_nothing_for_the_others() {
    for crowd in CROWDS {
        for batch in [0.05, 0.3, 0.9] {
            let trips = trips(Crowd { batch, ..crowd }, |_, unit, _, random| {
                if unit == 0 { Fate::hang(50) } else { answer(random, 200, 5000) }
            });
            assert_eq!(trips, 0, "{crowd:?}, {batch} of the requests");
        }
    }
}

/// A slower candidate loses more of its clients. That is for `slow` to limit, and for the analysis.
#[test]
fn a_slower_candidate_that_loses_some_clients_keeps_its_units() {
    for crowd in CROWDS {
        let trips = trips(crowd, |side, _, _, random| {
            let leaves = if side == Side::Candidate { 0.1 } else { 0.01 };
            if random.chance(leaves) { Fate::hang(1000) } else { answer(random, 900, 5000) }
        });
        assert_eq!(trips, 0, "{crowd:?}");
    }
}

/// A load balancer restarts once a minute: all clients leave at the same moment. The candidate
/// takes 3 s to answer and the baseline 0.3 s, so most of the requests that are lost are its.
#[test]
fn clients_that_leave_at_the_same_moment_open_nothing() {
    for crowd in CROWDS {
        let trips = trips(crowd, |side, _, now, random| {
            let latency = if side == Side::Candidate { 3000 } else { 300 };
            let left = MINUTE - now % MINUTE;
            answer(random, latency, left)
        });
        assert_eq!(trips, 0, "{crowd:?}");
    }
}

/// Without a baseline to compare with, a request that is abandoned says nothing.
#[test]
fn without_a_comparison_nothing_opens() {
    let hangs = |side, _, _, random: &mut Random| match side {
        Side::Candidate => Fate::hang(1000),
        Side::Baseline => answer(random, 100, 5000),
    };
    assert_eq!(trips(Crowd::new(1000, 100.0, 1.0), hangs), 0);
    for off in [json!({"compare_to_baseline": false}), json!({"no_answer": {"after": "0s"}})] {
        let mut world = World::new(&off, 2, Crowd::new(1000, 100.0, 0.5), 1);
        world.run(5 * MINUTE, hangs);
        assert_eq!(world.trips(), 0, "{off}");
    }
}

/// The recovery of a candidate that still hangs fails by what its clients abandon, and it ends
/// when the candidate answers.
#[test]
fn a_recovery_fails_while_the_candidate_hangs_and_ends_when_it_answers() {
    for seed in 0..10 {
        let mut world = World::new(&json!({}), 4, Crowd::new(1000, 200.0, 0.5), seed);
        let hangs = |side, _, _, random: &mut Random| match side {
            Side::Candidate => Fate::hang(2000),
            Side::Baseline => answer(random, 100, 2000),
        };
        world.run(3 * MINUTE, hangs);
        assert!(world.trips() >= 2, "seed {seed}: {:?}", world.events);
        assert!(world.tally.served * 3 < world.tally.assigned, "{:?}", world.tally);
        world.run_until(10 * MINUTE, |_, _, _, random| answer(random, 100, 2000), World::is_closed);
        assert!(world.is_closed(), "seed {seed}: {:?}", world.events);
    }
}
