//! Faults of the store and of workers: announcements that are lost, an unavailable store, crashes,
//! clocks that step.

use serde_json::json;

use super::proxy::{Ended, FAILED, OK, Proxy, START, Side};
use super::random::Random;
use crate::breaker::{Event, State};
use crate::decide::Gate;
use crate::names::shared::GENERATION;
use crate::quantity::Timestamp;

/// Ticks of all workers, every 100 ms, for so long; in between, one request on worker 0 that ends
/// well.
fn pass(proxy: &Proxy, now: &mut u64, milliseconds: u64) {
    for _ in 0..milliseconds / 100 {
        *now += 100;
        if proxy.gate(0) != Gate::Open {
            proxy.ended(0, Side::Candidate, OK, Timestamp::new(*now));
        }
        for worker in 0..proxy.workers() {
            proxy.tick(worker, Timestamp::new(*now));
        }
    }
}

/// Whether all workers let through what the shared record says.
fn is_agreed(proxy: &Proxy) -> bool {
    (0..proxy.workers()).all(|worker| proxy.gate(worker) == proxy.shared_gate())
}

#[test]
fn a_lost_announcement_is_made_up_for_within_a_second() {
    // The worker that made the transition could not announce it, or crashed before it did. The
    // others must learn the state even if they have no request of the candidate, or they would keep
    // their gate for ever.
    for transition in 0..5 {
        let proxy = Proxy::new(&json!({}), 2, 5);
        let mut now = START;
        let (mut waited, mut longest) = (0, 0);
        for tenth in 0..600 {
            now += 100;
            let is_lost = proxy.event_count() == transition;
            *proxy.memory.read_only.borrow_mut() = is_lost.then_some(GENERATION);
            if tenth == 15 {
                for _ in 0..5 {
                    proxy.ended(0, Side::Candidate, FAILED, Timestamp::new(now));
                }
            } else if proxy.gate(0) != Gate::Open {
                proxy.ended(0, Side::Candidate, OK, Timestamp::new(now));
            }
            proxy.tick(0, Timestamp::new(now));
            proxy.tick(1, Timestamp::new(now));
            waited = if is_agreed(&proxy) { 0 } else { waited + 100 };
            longest = longest.max(waited);
            assert!(waited <= 1000, "{:?} after {:?}", proxy.gate(1), proxy.events());
        }
        assert_eq!(proxy.event_count(), 5, "{:?}", proxy.events());
        // Worker 1 ends the waiting by itself.
        assert!(longest >= 100 || transition == 1, "{transition}: the announcement was not lost");
    }
}

#[test]
fn a_worker_without_a_store_opens_and_recovers_alone() {
    let proxy = Proxy::new(&json!({}), 1, 2);
    proxy.memory.set_down(true);
    proxy.reload(0, Timestamp::new(START));
    for _ in 0..5 {
        proxy.ended(0, Side::Candidate, FAILED, Timestamp::new(START));
    }
    assert_eq!(proxy.gate(0), Gate::Open);
    let mut now = START;
    pass(&proxy, &mut now, 60_000);
    let events = proxy.events();
    let events: Vec<&Event> = events.iter().map(|(_, _, event)| event).collect();
    let [
        Event::Opened { .. },
        Event::Trying(..),
        Event::Trying(..),
        Event::Trying(..),
        Event::Closed,
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(proxy.gate(0), Gate::Closed);
}

#[test]
fn workers_keep_their_state_while_the_store_is_down_and_agree_when_it_is_back() {
    for (fails, is_open) in [(false, true), (true, true)] {
        let proxy = Proxy::new(&json!({}), 2, 3);
        let mut now = START;
        for _ in 0..5 {
            proxy.ended(0, Side::Candidate, FAILED, Timestamp::new(now));
        }
        pass(&proxy, &mut now, 500);
        proxy.memory.set_down(true);
        if fails {
            for _ in 0..5 {
                proxy.ended(1, Side::Candidate, FAILED, Timestamp::new(now));
            }
        }
        pass(&proxy, &mut now, 10_000);
        assert_eq!([0, 1].map(|worker| proxy.gate(worker) == Gate::Open), [is_open; 2]);
        // Both end the waiting alone.
        pass(&proxy, &mut now, 25_000);
        assert!([0, 1].iter().all(|&worker| proxy.gate(worker) != Gate::Open));
        proxy.memory.set_down(false);
        pass(&proxy, &mut now, 100);
        assert!(is_agreed(&proxy), "{:?}, {:?}", proxy.gate(0), proxy.gate(1));
        pass(&proxy, &mut now, 20_000);
        assert!(matches!(proxy.state(), State::Closed(_)), "{:?}", proxy.events());
    }
}

/// What happens to the workers in one step.
fn disturb(proxy: &Proxy, random: &mut Random, now: &mut u64) {
    let worker = random.below(proxy.workers());
    match random.below(200) {
        0 => proxy.memory.set_down(true),
        1..=5 => proxy.memory.set_down(false),
        6..=7 => *proxy.memory.read_only.borrow_mut() = Some(GENERATION),
        8..=20 => *proxy.memory.read_only.borrow_mut() = None,
        21..=22 => proxy.reload(worker, Timestamp::new(*now)),
        23 => *now -= [100, 1500, 3_600_000][random.below(3)],
        24 => *now += [10_000, 40_000, 3_600_000][random.below(3)],
        25..=80 => proxy.tick(worker, Timestamp::new(*now)),
        _ => {
            *now += 20;
            let is_candidate = proxy.gate(worker) != Gate::Open && random.chance(0.5);
            let side = if is_candidate { Side::Candidate } else { Side::Baseline };
            // Phases in which the candidate fails.
            let bad = if (*now / 20_000).is_multiple_of(3) { 0.9 } else { 0.01 };
            let failed = is_candidate && random.chance(bad);
            proxy.ended(worker, side, Ended { failed, slow: false }, Timestamp::new(*now));
        }
    }
}

#[test]
fn after_any_faults_workers_agree_within_a_second_and_recover() {
    let (mut trips, mut conflicts) = (0, 0);
    for seed in 0..300 {
        let proxy = Proxy::new(&json!({}), 2 + usize::try_from(seed % 3).unwrap(), seed);
        let (mut random, mut now) = (Random::new(seed), START);
        for _ in 0..10 {
            proxy.set_contention(0.3);
            (0..500).for_each(|_| disturb(&proxy, &mut random, &mut now));
            proxy.memory.set_down(false);
            *proxy.memory.read_only.borrow_mut() = None;
            proxy.set_contention(0.0);
            pass(&proxy, &mut now, 1200);
            assert!(is_agreed(&proxy), "seed {seed}: {:?}", proxy.events());
        }
        (trips, conflicts) = (trips + proxy.trips(), conflicts + proxy.memory.conflicts.get());
        // The longest time that it can be open, and a minute for the three stages.
        pass(&proxy, &mut now, 330_000 + 60_000);
        assert!(matches!(proxy.state(), State::Closed(_)), "seed {seed}: {:?}", proxy.state());
        assert!(is_agreed(&proxy), "seed {seed}");
    }
    println!("{trips} trips, {conflicts} races lost");
    assert!(trips > 1000 && conflicts > 1000, "{trips} trips, {conflicts} races lost: too quiet");
}
