//! Several workers and one record each for candidate and baseline: races are lost and taken again.

use serde_json::json;
use sidetrack::breaker::{Counts, Ended, Event, State};
use sidetrack::decide::Gate;
use sidetrack::quantity::{Millis, Ppm, Timestamp};

use crate::proxy::{FAILED, OK, Proxy, START, Side, Traffic, rule};
use crate::random::Random;

fn contended(workers: usize, breaker: &serde_json::Value, seed: u64) -> Proxy {
    let mut proxy = Proxy::new(rule(breaker), workers, seed);
    proxy.contention = 0.5;
    proxy
}

#[test]
fn no_outcome_is_lost_or_counted_twice() {
    let mut lost = 0;
    for seed in 0..100 {
        let workers = 2 + usize::try_from(seed % 3).unwrap();
        let mut proxy = contended(
            workers,
            &json!({"error_rate": 100, "window": "1h", "consecutive_errors": 0}),
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
            };
            fed[side] = fed[side].plus(one);
            proxy.ended(worker, [Side::Baseline, Side::Candidate][side], ended, now);
            if random.chance(0.05) {
                proxy.tick(random.below(workers), now);
            }
        }
        let now = Timestamp::new(START + 5000);
        proxy.contention = 0.0;
        for worker in 0..workers {
            proxy.tick(worker, now);
        }
        let told = [Side::Baseline, Side::Candidate].map(|side| proxy.record(side).counts(now));
        assert_eq!(told, fed, "seed {seed}");
        assert!(proxy.events.is_empty());
        lost += proxy.races_lost;
    }
    println!("{lost} races lost");
    assert!(lost > 1000, "only {lost} races were lost: this shows nothing");
}

#[test]
fn workers_trip_once_and_agree_within_a_tick() {
    // O16, with ticks at random moments and half of all writes contended.
    for seed in 0..300 {
        let workers = 2 + usize::try_from(seed % 3).unwrap();
        let mut proxy = contended(workers, &json!({}), seed);
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
        assert_eq!(proxy.events.len(), 1, "seed {seed}: {:?}", proxy.events);
        assert_eq!(proxy.record(Side::Candidate).epoch(), 1);
    }
}

#[test]
fn workers_recover_once_and_agree_within_a_tick() {
    for seed in 0..100 {
        let workers = 2 + usize::try_from(seed % 3).unwrap();
        let mut proxy = contended(workers, &json!({}), seed);
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
            let before = proxy.events.len();
            let tick = usize::try_from(now / 10 % 10).unwrap();
            if tick < workers {
                proxy.tick(tick, Timestamp::new(now));
            }
            if proxy.events.len() != before {
                changed = Some(now);
            }
            // Whoever has had a tick since the last change knows of it.
            if changed.is_some_and(|changed| now - changed >= 100) {
                let shared = proxy.record(Side::Candidate).gate(&proxy.rule);
                assert!(
                    (0..workers).all(|worker| proxy.gate(worker) == shared),
                    "seed {seed} at {}",
                    now - START
                );
            }
        }
        let events: Vec<Event> = proxy.events.iter().map(|(_, _, event)| *event).collect();
        let share = |percent: u32| Event::Trying(Ppm::new(percent * 10_000).unwrap());
        assert_eq!(events[1..], [share(5), share(25), share(100), Event::Closed], "seed {seed}");
        assert!(matches!(proxy.state(), State::Closed(_)));
    }
}

#[test]
fn an_announcement_that_was_missed_is_made_up_for() {
    // A worker that configures while another one trips can read the record before and the announcement after. It must
    // learn the state even when its own requests never reach the candidate, or it would keep its gate for ever.
    for step in 0..4 {
        let mut proxy = Proxy::new(rule(&json!({})), 2, 5);
        let mut now = START;
        for _ in 0..5 {
            proxy.ended(0, Side::Candidate, FAILED, Timestamp::new(now));
        }
        let mut outcomes_of_stages = 0;
        while proxy.events.len() <= step {
            now += 100;
            if proxy.gate(0) != Gate::Open && outcomes_of_stages < 20 * step {
                proxy.ended(0, Side::Candidate, OK, Timestamp::new(now));
                outcomes_of_stages += 1;
            }
            proxy.tick(0, Timestamp::new(now));
            proxy.tick(1, Timestamp::new(now));
        }
        let before = proxy.gate(1);
        for _ in 0..20 {
            proxy.ended(0, Side::Candidate, OK, Timestamp::new(now));
        }
        while proxy.events.len() <= step + 1 {
            now += 100;
            proxy.tick(0, Timestamp::new(now));
        }
        proxy.miss_announcement(1);
        let mut waited = 0;
        while proxy.gate(1) != proxy.gate(0) {
            now += 100;
            waited += 100;
            proxy.tick(0, Timestamp::new(now));
            proxy.tick(1, Timestamp::new(now));
            assert!(waited <= 1100, "worker 1 is still {before:?}, worker 0 {:?}", proxy.gate(0));
        }
    }
}

#[test]
fn traffic_with_contention_behaves_as_without() {
    for seed in 0..20 {
        let proxy = contended(4, &json!({}), seed);
        let mut traffic = Traffic::new(proxy, 500.0, 0.5, Millis::new(100), seed);
        traffic.run(10_000.0, [0.01, 0.01], |_, _, _, _| {});
        assert_eq!(traffic.proxy.trips(), 0);
        traffic.run(15_000.0, [0.01, 1.0], |_, _, _, _| {});
        assert_eq!(traffic.proxy.trips(), 1);
        traffic.run(80_000.0, [0.01, 0.0], |_, _, _, _| {});
        assert!(matches!(traffic.proxy.state(), State::Closed(_)), "{:?}", traffic.proxy.events);
    }
}
