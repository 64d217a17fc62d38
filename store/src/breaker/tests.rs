use std::time::Duration;

use super::*;

const VALID: Duration = Duration::from_secs(600);

fn reading(proxy: &str, state: BreakerState, trips: u64) -> BreakerReading {
    BreakerReading {
        proxy: proxy.to_owned(),
        experiment: "forecast".to_owned(),
        variant: "fancy".to_owned(),
        state,
        trips,
    }
}

/// The state that begins and the trips, of a reading a second after the last one.
fn take(observed: &mut Observed, second: i64, readings: &[BreakerReading]) -> Vec<(Breakers, u64)> {
    let changes = observed.take(readings, second * 1000, VALID);
    changes.into_iter().filter_map(|change| change.begins).collect()
}

const fn proxies(closed: u32, half_open: u32, open: u32) -> Breakers {
    Breakers { closed, half_open, open }
}

#[test]
fn states_of_proxies_are_counted_and_trips_are_differences() {
    use BreakerState::{Closed, HalfOpen, Open};
    let mut observed = Observed::default();
    // What happened before the first reading is not counted.
    let first = [reading("a", Closed, 7), reading("b", Open, 3)];
    assert_eq!(take(&mut observed, 0, &first), [(proxies(1, 0, 1), 0)]);
    assert_eq!(observed.of("forecast").unwrap()["fancy"].worst(), Open);
    assert_eq!(take(&mut observed, 1, &first), []);
    // A trip and its recovery between two readings leave the same states.
    let tripped = [reading("a", Closed, 8), reading("b", Open, 3)];
    assert_eq!(take(&mut observed, 2, &tripped), [(proxies(1, 0, 1), 1)]);
    let half = [reading("a", Closed, 8), reading("b", HalfOpen, 3)];
    assert_eq!(take(&mut observed, 3, &half), [(proxies(1, 1, 0), 0)]);
    // `b` is missing in one reading; `a` began again and tripped twice; `c` is new.
    assert_eq!(take(&mut observed, 4, &half[..1]), [(proxies(1, 0, 0), 0)]);
    let later = [reading("a", Open, 2), reading("b", HalfOpen, 3), reading("c", Open, 1)];
    assert_eq!(take(&mut observed, 5, &later), [(proxies(0, 1, 2), 3)]);
}

#[test]
fn a_state_that_lasts_is_extended_once_a_minute() {
    let mut observed = Observed::default();
    let readings = [reading("a", BreakerState::Open, 1)];
    let mut changes = Vec::new();
    for second in 0..150 {
        changes.extend(observed.take(&readings, second * 1000, VALID));
    }
    let kinds: Vec<(bool, bool)> =
        changes.iter().map(|change| (change.begins.is_some(), change.extends)).collect();
    assert_eq!(kinds, [(true, false), (false, true), (false, true)]);
}

#[test]
fn after_a_gap_the_state_is_unknown_and_begins_anew() {
    let mut observed = Observed::default();
    let readings = [reading("a", BreakerState::Open, 1)];
    observed.take(&readings, 0, Duration::ZERO);
    std::thread::sleep(Duration::from_millis(2));
    assert!(observed.of("forecast").is_none());
    let changes = observed.take(&readings, 1000, VALID);
    assert_eq!(changes.len(), 1);
    assert!(!changes[0].extends && changes[0].begins == Some((proxies(0, 0, 1), 0)));
    assert!(observed.of("forecast").is_some());
}
