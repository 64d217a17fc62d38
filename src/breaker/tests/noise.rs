//! False positives of a healthy candidate, and the time to detect a bad one.
//!
//! Random arrivals on one worker that ticks each second, so that weeks pass in seconds.

use serde_json::json;

use super::proxy::{FAILED, OK, Proxy, START, Side, median_and_max};
use super::traffic::Traffic;
use crate::breaker::{Event, Why};
use crate::quantity::{Millis, Timestamp};

/// A share of a handful of requests says nothing. 20 requests are needed by default.
#[test]
fn few_requests_have_no_rate() {
    for (requests, trips) in [(3, 0), (19, 0), (20, 1)] {
        let proxy = Proxy::new(&json!({"confidence": 0}), 1, 1);
        let at = |ms| Timestamp::new(START + ms);
        for number in 0..requests {
            let ended = if number % 3 == 1 { FAILED } else { OK };
            for (side, ended) in [(Side::Baseline, OK), (Side::Candidate, ended)] {
                proxy.ended(0, side, ended, at(number));
            }
        }
        proxy.tick(0, at(1000));
        assert_eq!(proxy.trips(), trips, "{requests} requests");
    }
}

/// Traffic of so many requests per second to the baseline and to the candidate.
fn traffic(compare: bool, [baseline, candidate]: [f64; 2], seed: u64) -> Traffic {
    let proxy = Proxy::new(&json!({"compare_to_baseline": compare}), 1, seed);
    let rate = baseline + candidate;
    Traffic::new(proxy, rate, candidate / rate, Millis::new(1000), seed)
}

fn healthy_days(compare: bool) {
    let days = 30.0;
    let mut traffic = traffic(compare, [5.0, 5.0], 1);
    traffic.run(days * 86_400_000.0, [0.02, 0.02]);
    let events = traffic.proxy.events();
    println!(
        "{days} healthy days, 2 % errors, 5 requests/s, compared: {compare}: {} trips: {events:?}",
        traffic.proxy.trips()
    );
    assert!(traffic.proxy.trips() <= 1, "{events:?}");
}

#[test]
fn a_healthy_candidate_keeps_its_units_for_weeks() {
    healthy_days(true);
}

#[test]
fn a_healthy_candidate_without_comparison_keeps_its_units_for_weeks() {
    healthy_days(false);
}

#[test]
fn a_step_is_detected() {
    const SEEDS: u64 = 200;
    for (bad, median_allowed) in [(0.1, 100.0), (0.2, 20.0), (0.5, 8.0), (1.0, 3.0)] {
        for (candidate, baseline) in [(5.0, 5.0), (1.5, 3.5), (20.0, 20.0), (1.0, 1.0), (0.2, 0.0)]
        {
            for compare in [true, false] {
                let mut streaks = 0;
                let times = (0..SEEDS).map(|seed| {
                    let mut traffic = traffic(compare, [baseline, candidate], 1000 + seed);
                    assert!(!traffic.run_to_event(60_000.0, [0.02, 0.0]), "before the step");
                    let is_detected = traffic.run_to_event(660_000.0, [0.02, bad]);
                    if let [(_, _, Event::Opened { why: Why::Streak(_), .. })] =
                        traffic.proxy.events()[..]
                    {
                        streaks += 1;
                    }
                    if is_detected { (traffic.time - 60_000.0) / 1000.0 } else { f64::INFINITY }
                });
                let (median, max) = median_and_max(times.collect());
                println!(
                    "step 0 → {:3.0} %, {candidate:4} + {baseline:3} requests/s, compared: {compare:5}: \
                     median {median:6.1} s, max {max:6.1} s, {:3} % by streak",
                    bad * 100.0,
                    streaks * 100 / SEEDS
                );
                if candidate >= 5.0 {
                    assert!(median < median_allowed, "{bad}: {median} s");
                }
            }
        }
    }
}
