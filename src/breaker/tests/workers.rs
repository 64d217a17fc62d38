//! Contention of several workers: half of all writes lose a race.

use crate::breaker::{Counts, Event, State};
use crate::decide::Gate;
use crate::quantity::{Millis, Ppm, Timestamp};
use serde_json::json;

use super::proxy::{Ended, FAILED, OK, Proxy, START, Side};
use super::random::Random;
use super::traffic::Traffic;

fn contended(workers: usize, breaker: &serde_json::Value, seed: u64) -> Proxy {
    let proxy = Proxy::new(breaker, workers, seed);
    proxy.set_contention(0.5);
    proxy
}

#[test]
fn no_outcome_is_lost_or_counted_twice() {
    let mut lost = 0;
    for seed in 0..100 {
        let workers = 2 + usize::try_from(seed % 3).unwrap();
        let proxy = contended(
            workers,
            &json!({
                "error_rate": 100, "slow": {"over": "1s", "rate": 100}, "window": "1h",
                "consecutive_errors": 0,
            }),
            seed,
        );
        let mut random = Random::new(seed);
        let mut fed = [Counts::default(); 2];
        for millisecond in 0..5000 {
            let now = Timestamp::new(START + millisecond);
            let (worker, side) = (random.below(workers), random.below(2));
            let ended = Ended { failed: random.chance(0.3), slow: random.chance(0.2) };
            let one = Counts {
                requests: 1,
                errors: u32::from(ended.failed),
                slow: u32::from(ended.slow),
                ..Counts::default()
            };
            fed[side] = fed[side].plus(one);
            proxy.ended(worker, [Side::Baseline, Side::Candidate][side], ended, now);
            if random.chance(0.05) {
                proxy.tick(random.below(workers), now);
            }
        }
        let now = Timestamp::new(START + 5000);
        proxy.set_contention(0.0);
        for worker in 0..workers {
            proxy.tick(worker, now);
        }
        let shared = [Side::Baseline, Side::Candidate].map(|side| proxy.record(side).counts(now));
        assert_eq!(shared, fed, "seed {seed}");
        assert!(proxy.events().is_empty());
        lost += proxy.memory.conflicts.get();
    }
    println!("{lost} races lost");
    assert!(lost > 1000, "only {lost} races were lost: this shows nothing");
}

#[test]
fn workers_trip_once_and_agree_within_a_tick() {
    // O16, with ticks at random moments and half of all writes contended.
    for seed in 0..300 {
        let workers = 2 + usize::try_from(seed % 3).unwrap();
        let proxy = contended(workers, &json!({}), seed);
        let now = Timestamp::new(START + 1000);
        for failure in 0..5 {
            for worker in 0..2 {
                // As if all were in flight when the first worker trips.
                proxy.ended_of(
                    worker,
                    Side::Candidate,
                    FAILED,
                    0,
                    Timestamp::new(now.get() + failure),
                );
            }
        }
        for worker in 0..workers {
            proxy.tick(worker, Timestamp::new(now.get() + 100));
            assert_eq!(proxy.gate(worker), Gate::Open, "seed {seed}, worker {worker}");
        }
        assert_eq!(proxy.events().len(), 1, "seed {seed}: {:?}", proxy.events());
        assert_eq!(proxy.record(Side::Candidate).epoch(), 1);
    }
}

#[test]
fn workers_recover_once_and_agree_within_a_tick() {
    for seed in 0..100 {
        let workers = 2 + usize::try_from(seed % 3).unwrap();
        let proxy = contended(workers, &json!({}), seed);
        let mut random = Random::new(seed);
        for _ in 0..5 {
            proxy.ended(0, Side::Candidate, FAILED, Timestamp::new(START));
        }
        let mut changed = None;
        for now in (START..START + 60_000).step_by(10) {
            let worker = random.below(workers);
            if proxy.gate(worker) != Gate::Open {
                proxy.ended(worker, Side::Candidate, OK, Timestamp::new(now));
            }
            let before = proxy.events().len();
            let tick = usize::try_from(now / 10 % 10).unwrap();
            if tick < workers {
                proxy.tick(tick, Timestamp::new(now));
            }
            if proxy.events().len() != before {
                changed = Some(now);
            }
            // All workers have had a tick since.
            if changed.is_some_and(|changed| now - changed >= 100) {
                let shared = proxy.shared_gate();
                assert!(
                    (0..workers).all(|worker| proxy.gate(worker) == shared),
                    "seed {seed} at {}",
                    now - START
                );
            }
        }
        let events: Vec<Event> = proxy.events().iter().map(|(_, _, event)| *event).collect();
        let share = |percent: u32| Event::Trying(Ppm::new(percent * 10_000).unwrap(), 1);
        assert_eq!(events[1..], [share(5), share(25), share(100), Event::Closed], "seed {seed}");
        assert!(matches!(proxy.state(), State::Closed(_)));
    }
}

#[test]
fn traffic_with_contention_behaves_as_without() {
    for seed in 0..20 {
        let proxy = contended(4, &json!({}), seed);
        let mut traffic = Traffic::new(proxy, 500.0, 0.5, Millis::new(100), seed);
        traffic.run(10_000.0, [0.01, 0.01]);
        assert_eq!(traffic.proxy.trips(), 0);
        traffic.run(15_000.0, [0.01, 1.0]);
        assert_eq!(traffic.proxy.trips(), 1);
        traffic.run(80_000.0, [0.01, 0.0]);
        assert!(matches!(traffic.proxy.state(), State::Closed(_)), "{:?}", traffic.proxy.events());
    }
}
