//! Outages in a proxy with two workers that tick every 100 ms: those that the baseline shares, and
//! those it does not.

use crate::breaker::{Counts, Event, Kind};
use crate::quantity::Millis;
use serde_json::json;

use super::proxy::{Proxy, START, Side, median_and_max, rule};
use super::traffic::Traffic;

const TICK: Millis = Millis::new(100);

fn traffic(rate: f64, weight: f64, seed: u64) -> Traffic {
    Traffic::new(Proxy::new(&json!({}), 2, seed), rate, weight, TICK, seed)
}

/// The trips of a shared outage: (seed, ms since it began, what).
fn shared(rate: f64, weight: f64, bad: f64, seeds: u64, length: f64) -> Vec<(u64, f64, Event)> {
    let mut trips = Vec::new();
    for seed in 0..seeds {
        let mut traffic = traffic(rate, weight, seed);
        // Somewhere between two ticks and two buckets, so that the first moments differ.
        let begin = 33_000.0 + 3000.0 * traffic.random.fraction();
        traffic.run(begin, [0.01, 0.01]);
        assert_eq!(traffic.proxy.trips(), 0, "before it began");
        traffic.run(begin + length, [bad, bad]);
        if let Some((at, _, event)) = traffic.proxy.events().first() {
            trips.push((seed, f64::from(u32::try_from(at.get() - START).unwrap()) - begin, *event));
        }
    }
    println!(
        "shared outage to {:3.0} %, {rate} requests/s, candidate {:2.0} %: {} of {seeds} trip, {} by streak; first: {:?}",
        bad * 100.0,
        weight * 100.0,
        trips.len(),
        trips.iter().filter(|(_, _, event)| event.to_string().contains("in a row")).count(),
        trips
            .iter()
            .take(3)
            .map(|(seed, at, event)| format!("{seed} after {at} ms: {event}"))
            .collect::<Vec<_>>()
    );
    trips
}

#[test]
fn a_shared_outage_trips_nothing() {
    assert!(shared(100.0, 0.3, 1.0, 1000, 20_000.0).len() <= 1);
    assert!(shared(100.0, 0.9, 1.0, 1000, 20_000.0).len() <= 1);
}

#[test]
fn a_shared_outage_under_load_trips_nothing() {
    assert!(shared(500.0, 0.3, 1.0, 100, 20_000.0).is_empty());
    assert!(shared(500.0, 0.9, 1.0, 100, 20_000.0).is_empty());
}

#[test]
fn a_shared_partial_outage_seldom_trips() {
    // With a third of all requests failing, some streak of five is certain within seconds.
    for (bad, allowed) in [(0.1, 4), (0.3, 8), (0.5, 16)] {
        assert!(shared(100.0, 0.5, bad, 200, 40_000.0).len() <= allowed);
    }
    // Little traffic leaves little to compare with.
    assert!(shared(10.0, 0.3, 1.0, 500, 40_000.0).len() <= 10);
}

#[test]
fn a_candidate_that_fails_alone_is_left_within_a_second() {
    for (weight, baseline_bad) in [(0.3, 0.0), (0.9, 0.0), (0.3, 0.02), (0.99, 0.02), (1.0, 0.0)] {
        let (mut to_trip, mut to_last) = (Vec::new(), Vec::new());
        for seed in 0..200 {
            let mut traffic = traffic(500.0, weight, 7000 + seed);
            let begin = 5000.0 + 1000.0 * traffic.random.fraction();
            traffic.run(begin, [baseline_bad, 0.0]);
            let (mut failures, mut fifth, mut last) = (0, None, 0);
            traffic.run_until(begin + 5000.0, [baseline_bad, 1.0], |_, now, request| {
                if let Some((Side::Candidate, failed)) = request {
                    failures += u32::from(failed);
                    if failures == 5 && fifth.is_none() {
                        fifth = Some(now.get());
                    }
                    last = now.get();
                }
                false
            });
            let fifth = fifth.unwrap();
            assert_eq!(traffic.proxy.trips(), 1, "{:?}", traffic.proxy.events());
            let since = |time: u64| f64::from(u32::try_from(time.saturating_sub(fifth)).unwrap());
            to_trip.push(since(traffic.proxy.events()[0].0.get()));
            to_last.push(since(last));
        }
        let ((trip, trip_max), (last, last_max)) =
            (median_and_max(to_trip), median_and_max(to_last));
        println!(
            "500 requests/s, candidate {:3.0} % failing, baseline {:1.0} %: after its fifth failure the trip: median {trip} ms, \
             max {trip_max} ms; its last request: median {last} ms, max {last_max} ms",
            weight * 100.0,
            baseline_bad * 100.0,
        );
        assert!(trip_max < 1000.0 && last_max < 1000.0);
    }
}

#[test]
fn a_thin_baseline_that_fails_as_much_has_the_same_fault() {
    let rule = rule(&json!({}));
    let seen = |requests, errors| Counts { requests, errors, ..Counts::default() };
    for (candidate, baseline, is_shared) in [
        ((39, 39), (7, 7), true),
        ((34, 34), (2, 2), true),
        ((40, 20), (8, 4), true),
        // It fails less than the candidate, or a single time, which may be chance, or not at all.
        ((39, 39), (7, 4), false),
        ((39, 39), (7, 1), false),
        ((39, 39), (1, 1), false),
        ((39, 39), (7, 0), false),
        ((39, 39), (0, 0), false),
    ] {
        let [candidate_seen, baseline_seen] = [candidate, baseline].map(|(n, e)| seen(n, e));
        let found = rule.shares(Kind::Errors, candidate_seen, Some(baseline_seen));
        assert_eq!(found, is_shared, "{candidate:?}, {baseline:?}");
    }
}
