//! Single units, few units, many workers: who opens a breaker and who does not.

use serde_json::json;

use super::crowd::{Crowd, Fate, World};
use super::proxy::{Side, median_and_max};
use super::random::Random;
use crate::breaker::End;

/// Fails with this probability, at once.
fn flaky(random: &mut Random, bad: f64) -> Fate {
    if random.chance(bad) { Fate::bad(5) } else { Fate::good(20) }
}

/// The trips in ten minutes in which the first unit fails always, and the others seldom.
fn trips_of_one_client(crowd: Crowd, workers: usize, seeds: u64) -> usize {
    let trips = (0..seeds).map(|seed| {
        let mut world = World::new(&json!({}), workers, crowd, seed);
        world.run(5000, |_, _, _, _| Fate::good(20));
        world.run(600_000, |side, unit, _, random| {
            flaky(random, if unit == 0 && side == Side::Candidate { 1.0 } else { 0.01 })
        });
        if world.trips() > 0 {
            println!("{crowd:?}, seed {seed}: {:?}", world.events.first());
        }
        world.trips()
    });
    trips.sum()
}

#[test]
fn a_single_client_opens_nothing_for_the_others() {
    let batch = |batch, crowd| Crowd { batch, ..crowd };
    for workers in [1, 4] {
        // 2 % of the traffic, in bursts or not, up to nearly all of a small arm.
        for crowd in [
            batch(0.02, Crowd::new(1000, 50.0, 0.3)),
            batch(0.3, Crowd::new(1000, 50.0, 0.3)),
            batch(0.9, Crowd::new(1000, 50.0, 0.5)),
            batch(0.5, Crowd::new(20, 20.0, 0.9)),
        ] {
            let trips = trips_of_one_client(crowd, workers, 5);
            println!("{crowd:?}, {workers} workers: {trips} trips in 50 minutes");
            assert_eq!(trips, 0);
        }
    }
}

#[test]
fn a_client_that_always_fails_does_not_keep_a_healed_candidate_away() {
    for seed in 0..10 {
        let crowd = Crowd { batch: 0.3, ..Crowd::new(200, 100.0, 0.3) };
        let mut world = World::new(&json!({}), 2, crowd, seed);
        let client = |side, unit| if unit == 0 && side == Side::Candidate { 1.0 } else { 0.0 };
        world.run(5000, |_, _, _, _| Fate::good(20));
        world.run(30_000, |side, unit, _, random| flaky(random, client(side, unit)));
        assert_eq!(world.trips(), 0);
        world.run(5000, |side, _, _, random| {
            flaky(random, if side == Side::Candidate { 1.0 } else { 0.0 })
        });
        assert_eq!(world.trips(), 1);
        // With few units in a stage, it may fail the first recovery. The next has other units.
        world.run_until(
            200_000,
            |side, unit, _, random| flaky(random, client(side, unit)),
            World::is_closed,
        );
        assert!(world.is_closed() && world.trips() <= 2, "seed {seed}: {:?}", world.events);
    }
}

#[test]
fn sixteen_workers_trip_as_early_as_one() {
    // Failures and milliseconds from the first failure until the breaker opens.
    for rate in [2.0, 20.0, 200.0] {
        for workers in [1, 2, 8, 16] {
            let (mut failures, mut times) = (Vec::new(), Vec::new());
            for seed in 0..40 {
                let crowd = Crowd::new(1000, rate, 0.5);
                let mut world = World::new(&json!({}), workers, crowd, seed);
                world.run(60_000, |_, _, _, _| Fate::good(20));
                assert_eq!(world.trips(), 0);
                let (began, before) = (world.now, world.tally);
                world.run_until(
                    60_000,
                    |side, _, _, _| {
                        if side == Side::Candidate { Fate::bad(5) } else { Fate::good(20) }
                    },
                    |world| world.trips() > 0,
                );
                assert_eq!(world.trips(), 1, "{workers} workers, {rate} requests/s");
                failures
                    .push(f64::from(u32::try_from(world.tally.failed - before.failed).unwrap()));
                times.push(f64::from(u32::try_from(world.now - began).unwrap()));
            }
            let ((failures, most), (time, longest)) =
                (median_and_max(failures), median_and_max(times));
            println!(
                "{rate:3} requests/s, {workers:2} workers: {failures} failures (at most {most}), {time} ms \
                 (at most {longest})"
            );
            // Five, and those of the 300 ms in which workers report and the evidence settles.
            assert!(failures <= 8.0 + 0.3 * rate / 2.0, "{failures}");
        }
    }
}

#[test]
fn failures_among_many_workers_are_no_streak() {
    // Four in a hundred fail, on sixteen workers, so that each worker has few requests between two
    // ticks. Slow streams, too, of which none has ended for the first 15 s.
    for (rate, stream) in [(20.0, 0), (200.0, 0), (1000.0, 0), (100.0, 15_000)] {
        for seed in 0..3 {
            let breaker = json!({"error_rate": 50});
            let mut world = World::new(&breaker, 16, Crowd::new(1000, rate, 1.0), seed);
            world.run(120_000, |_, _, _, random| {
                if random.chance(0.04) {
                    Fate::bad(5)
                } else {
                    Fate::stream(stream, End::Completed)
                }
            });
            assert_eq!(world.trips(), 0, "{rate} requests/s, {stream} ms: {:?}", world.events);
        }
    }
}

#[test]
fn ten_units_have_their_healed_candidate_back() {
    let mut slowest = 0;
    for seed in 0..40 {
        let mut world = World::new(&json!({}), 2, Crowd::new(10, 150.0, 1.0), seed);
        world.run(10_000, |_, _, _, _| Fate::good(20));
        world.run(
            2000,
            |side, _, _, _| {
                if side == Side::Candidate { Fate::bad(5) } else { Fate::good(20) }
            },
        );
        assert_eq!(world.trips(), 1);
        let opened = world.events[0].0;
        world.run_until(120_000, |_, _, _, _| Fate::good(20), World::is_closed);
        slowest = slowest.max(world.now - opened);
        assert!(world.is_closed() && world.trips() == 1, "seed {seed}: {:?}", world.events);
    }
    println!("ten units, 150 requests/s: closed {slowest} ms after the trip at the latest");
    // 33 s at most, two stages that find no unit, and their requests.
    assert!(slowest <= 33_000 + 2 * 5000 + 3000, "{slowest} ms");
}

#[test]
fn both_failing_after_a_shared_outage_is_no_reason_to_stay_open() {
    let mut hours = 0;
    let mut trips = 0;
    for seed in 0..6 {
        let mut world = World::new(&json!({}), 2, Crowd::new(1000, 100.0, 0.3), seed);
        world.run(60_000, |_, _, _, random| flaky(random, 0.15));
        world.run(2000, |_, _, _, _| Fate::bad(5));
        world.run(3_538_000, |_, _, _, random| flaky(random, 0.15));
        assert!(world.is_closed(), "seed {seed}: {:?}", world.events);
        (hours, trips) = (hours + 1, trips + world.trips());
    }
    println!("both at 15 %, an outage of 2 s: {trips} trips in {hours} hours");
    assert!(trips <= hours, "{trips}");
}

#[test]
fn a_shared_fault_of_few_units_and_many_trips_nothing() {
    // Three units of the candidate's are too few for caps, seven of the baseline's are not.
    for seed in 0..20 {
        let mut world = World::new(&json!({}), 2, Crowd::new(10, 200.0, 0.3), seed);
        world.run(90_000, |_, _, _, random| flaky(random, 0.15));
        assert_eq!(world.trips(), 0, "seed {seed}: {:?}", world.events);
    }
}

#[test]
fn a_trip_in_a_shared_fault_ends_like_any_other() {
    // The candidate fails alone for a moment, while both are at 15 %.
    for seed in 0..20 {
        let mut world = World::new(&json!({}), 2, Crowd::new(1000, 100.0, 0.3), seed);
        world.run(40_000, |_, _, _, random| flaky(random, 0.15));
        world.run(
            3000,
            |side, _, _, random| {
                if side == Side::Candidate { Fate::bad(5) } else { flaky(random, 0.15) }
            },
        );
        assert_eq!(world.trips(), 1, "seed {seed}: {:?}", world.events);
        world.run(70_000, |_, _, _, random| flaky(random, 0.15));
        assert!(world.is_closed() && world.trips() == 1, "seed {seed}: {:?}", world.events);
    }
}

#[test]
fn a_hung_candidate_trips_within_the_limit_and_three_seconds() {
    for (breaker, limit) in [
        (json!({"slow": {"over": "200ms", "rate": 5}}), 200),
        (json!({}), 10_000),
        (json!({"no_answer": {"after": "2s"}}), 2000),
    ] {
        for workers in [2, 16] {
            for patience in [limit + 100, limit + 1000, 60_000] {
                let mut worst = 0;
                for seed in 0..5 {
                    let crowd = Crowd::new(1000, 500.0, 0.3);
                    let mut world = World::new(&breaker, workers, crowd, seed);
                    world.run(40_000, |_, _, _, _| Fate::good(20));
                    assert_eq!(world.trips(), 0);
                    let began = world.now;
                    world.run_until(
                        limit + 10_000,
                        |side, _, _, _| match side {
                            Side::Candidate => Fate::hang(patience),
                            Side::Baseline => Fate::good(20),
                        },
                        |world| world.trips() > 0,
                    );
                    assert_eq!(world.trips(), 1, "{breaker}, {patience} ms");
                    worst = worst.max(world.now - began);
                }
                println!(
                    "hung, {breaker}, {workers} workers, clients leave after {patience} ms: open after {worst} ms"
                );
                assert!(worst <= limit + 3000, "{worst} ms");
            }
        }
    }
}

#[test]
fn answers_that_break_off_trip() {
    for workers in [2, 16] {
        // After a moment: within a second of the fifth break. After 15 s: by rate.
        for (length, limit) in [(50, 1000), (500, 1000), (15_000, 6000)] {
            let mut worst = 0;
            for seed in 0..5 {
                let mut world = World::new(&json!({}), workers, Crowd::new(1000, 500.0, 0.3), seed);
                world.run(40_000, |_, _, _, _| Fate::stream(length, End::Completed));
                assert_eq!(world.trips(), 0);
                let began = world.now;
                world.run_until(
                    60_000,
                    |side, _, _, _| match side {
                        Side::Candidate => Fate::stream(length, End::Failed),
                        Side::Baseline => Fate::stream(length, End::Completed),
                    },
                    |world| world.trips() > 0,
                );
                assert_eq!(world.trips(), 1);
                worst = worst.max(world.now - began - length);
            }
            println!(
                "answers that break off after {length} ms, {workers} workers: open {worst} ms after the first break"
            );
            assert!(worst <= limit, "{worst} ms");
        }
    }
}
