//! What does not enforce, and the bare rate.

use crate::breaker::{Breaker, Counts, Event, Fleet};
use crate::decide::Gate;
use crate::quantity::Timestamp;
use serde_json::json;

use super::proxy::{FAILED, Proxy, START, Side, plan, rule};

#[test]
fn a_dry_run_tells_of_a_crossing_once_and_lets_everything_through() {
    let proxy = Proxy::new(&json!({"mode": "dry_run"}), 1, 3);
    for millisecond in (0..3_600_000_u64).step_by(100) {
        let now = Timestamp::new(START + millisecond);
        proxy.ended(0, Side::Candidate, FAILED, now);
        proxy.tick(0, now);
        assert_eq!(proxy.gate(0), Gate::Closed);
        assert_eq!(proxy.record(Side::Candidate).code(&proxy.rule), 0);
    }
    let events = proxy.events();
    let opened = events.iter().filter_map(|(at, _, event)| match event {
        Event::Opened { length, would, .. } => Some((at.get(), length.get(), *would)),
        _ => None,
    });
    let opened: Vec<_> = opened.collect();
    // A failing hour: told again after 30, 60, 120, 240 and then every 300 seconds.
    assert!((13..=17).contains(&opened.len()), "{opened:?}");
    assert!(opened.iter().all(|&(_, _, would)| would));
    for pair in opened.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= pair[0].1, "{pair:?}");
    }
    assert!(!proxy.events().iter().any(|(_, _, event)| matches!(event, Event::Trying(..))));
}

#[test]
fn a_dry_run_tells_once_of_a_crossing_that_ends() {
    let proxy = Proxy::new(&json!({"mode": "dry_run"}), 1, 3);
    for millisecond in (0..600_000_u64).step_by(100) {
        let now = Timestamp::new(START + millisecond);
        let ended = if millisecond < 20_000 { FAILED } else { super::proxy::OK };
        proxy.ended(0, Side::Candidate, ended, now);
        proxy.tick(0, now);
    }
    let events = proxy.events();
    let [(_, _, Event::Opened { would: true, .. }), (_, _, Event::Closed)] = events[..] else {
        panic!("{events:?}");
    };
}

#[test]
fn disabled_is_disabled() {
    let proxy = Proxy::new(&json!({"mode": "disabled"}), 1, 3);
    for millisecond in (0..60_000_u64).step_by(100) {
        let now = Timestamp::new(START + millisecond);
        proxy.ended(0, Side::Candidate, FAILED, now);
        proxy.tick(0, now);
        assert_eq!(proxy.gate(0), Gate::Closed);
    }
    assert!(proxy.events().is_empty());
    // A record that was open under another mode keeps nothing away either.
    let mut open = Breaker::new(&proxy.rule, Timestamp::new(START));
    open.trip_on_streak(&rule(&json!({})), Timestamp::new(START), 5, 0);
    assert_eq!((open.gate(&proxy.rule), open.code(&proxy.rule)), (Gate::Closed, 0));
    assert_eq!(open.gate(&rule(&json!({"mode": "dry_run"}))), Gate::Closed);
    assert_eq!(open.gate(&rule(&json!({}))), Gate::Open);
}

/// A breaker that has just opened for five minutes.
fn opened() -> Proxy {
    let breaker = json!({"open_for": "5m", "compare_to_baseline": false});
    let proxy = Proxy::new(&breaker, 1, 3);
    proxy.tick(0, Timestamp::new(START));
    for _ in 0..20 {
        proxy.ended(0, Side::Candidate, FAILED, Timestamp::new(START));
    }
    proxy.tick(0, Timestamp::new(START));
    assert_eq!(proxy.gate(0), Gate::Open);
    proxy
}

#[test]
fn a_breaker_that_no_worker_has_watched_starts_closed() {
    for (away, gate) in [(9_999, Gate::Open), (10_000, Gate::Closed)] {
        let proxy = opened();
        proxy.reload(0, Timestamp::new(START + away));
        assert_eq!((proxy.gate(0), proxy.shared_gate()), (gate, gate), "after {away} ms");
    }
}

#[test]
fn a_breaker_that_was_disabled_starts_closed() {
    let proxy = opened();
    let now = Timestamp::new(START + 1000);
    let disabled = plan(&json!({"mode": "disabled"}));
    drop(Fleet::load(&disabled, &proxy.memory, now));
    proxy.reload(0, now);
    assert_eq!((proxy.gate(0), proxy.shared_gate()), (Gate::Closed, Gate::Closed));
}

/// Whether so many errors and slow answers of so many requests trip.
fn trips(rule: &crate::breaker::Rule, counts: Counts) -> bool {
    let mut breaker = Breaker::new(rule, Timestamp::new(START));
    breaker.advance(rule, Timestamp::new(START), &counts.into(), || None, 0).is_some()
}

#[test]
fn the_bare_rate_trips_exactly_above_its_limit() {
    // 5 percent is 1/20, 0.0001 percent is 1/1000000, 12.3456 percent is 7716/62500.
    for (percent, (above, of)) in [
        ("5", (1_u64, 20_u64)),
        ("0.0001", (1, 1_000_000)),
        ("12.3456", (7716, 62_500)),
        ("0", (0, 1)),
        ("100", (1, 1)),
    ] {
        let limit: serde_json::Value = percent.parse().unwrap();
        let rule = rule(&json!({
            "error_rate": limit, "slow": {"over": "1s", "rate": limit}, "confidence": 0, "min_requests": 20,
        }));
        for requests in 0..=2000_u32 {
            // All counts around the limit, and a few far from it.
            let at = u32::try_from(u64::from(requests) * above / of).unwrap();
            let near = at.saturating_sub(2)..=(at + 2).min(requests);
            for count in near.chain([0, requests / 2, requests]) {
                let expected =
                    requests >= 20 && u64::from(count) * of > u64::from(requests) * above;
                let errors = Counts { requests, errors: count, ..Counts::default() };
                let slow = Counts { requests, slow: count, ..Counts::default() };
                assert_eq!(trips(&rule, errors), expected, "{percent} %: {errors:?}");
                assert_eq!(trips(&rule, slow), expected, "{percent} %: {slow:?}");
            }
        }
    }
}

#[test]
fn five_percent_of_every_count_up_to_two_thousand() {
    let rule = rule(&json!({"confidence": 0, "min_requests": 20}));
    for requests in 20..=2000_u32 {
        // Beyond a fifth every answer is the same; the one below shows it to be monotone.
        for errors in 0..=requests.min(requests / 5 + 1) {
            let counts = Counts { requests, errors, ..Counts::default() };
            assert_eq!(trips(&rule, counts), 20 * errors > requests, "{counts:?}");
        }
    }
}
