//! Clocks that step, and records that are not ours: nothing panics, nothing is shortened, nothing
//! waits for ever.

use crate::breaker::{Breaker, Counts, Event, Rule, State, Store};
use crate::decide::Gate;
use crate::quantity::{Millis, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::json;

use super::proxy::{FAILED, Proxy, START, Side, rule};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Default::default()
    }
}

fn tick(breaker: &mut Breaker, rule: &Rule, now: u64) -> Option<Event> {
    breaker.advance(rule, Timestamp::new(now), &Counts::default().into(), || None, 100)
}

#[test]
fn a_clock_set_back_keeps_the_remaining_time() {
    let rule = rule(&json!({}));
    for (step, after) in
        [(60_000, 20_000), (3_600_000, 29_900), (60_000, 0), (1_500, 10_000), (START, 12_300)]
    {
        let mut breaker = Breaker::new(&rule, Timestamp::new(START));
        breaker.trip_on_streak(&rule, Timestamp::new(START), 5, 100);
        for now in (START..=START + after).step_by(100) {
            assert_eq!(tick(&mut breaker, &rule, now), None);
        }
        let mut now = START + after - step;
        let remaining = 30_000 - after;
        for waited in (0..remaining).step_by(100) {
            assert_eq!(tick(&mut breaker, &rule, now), None, "{step} back, {waited} ms later");
            assert_eq!(breaker.wakes_at(), Some(Timestamp::new(now + remaining - waited)));
            now += 100;
        }
        assert!(
            matches!(tick(&mut breaker, &rule, now), Some(Event::Trying(..))),
            "{step} back: late"
        );
    }
}

#[test]
fn readings_in_the_wrong_order_are_no_step() {
    let rule = rule(&json!({}));
    let mut breaker = Breaker::new(&rule, Timestamp::new(START));
    breaker.trip_on_streak(&rule, Timestamp::new(START + 5000), 5, 100);
    let until = breaker.wakes_at();
    for now in [4001, 5000, 4500, 5500, 4500, 6000, 5000] {
        assert_eq!(tick(&mut breaker, &rule, START + now), None);
        assert_eq!(breaker.wakes_at(), until);
    }
}

#[test]
fn a_clock_set_back_forgets_no_trip_and_grants_no_health() {
    let rule = rule(&json!({"max_open_for": "24h"}));
    let mut breaker = Breaker::new(&rule, Timestamp::new(START));
    breaker.trip_on_streak(&rule, Timestamp::new(START), 5, 100);
    let mut now = breaker.wakes_at().unwrap().get();
    tick(&mut breaker, &rule, now);
    let good = Counts { requests: 20, ..Counts::default() };
    for _ in 0..3 {
        breaker.advance(&rule, Timestamp::new(now), &good.into(), || None, 100);
    }
    assert!(matches!(breaker.state(), State::Closed(_)), "{:?}", breaker.state());
    // 50 s of health, an hour back, 5 s of health: not a minute yet.
    tick(&mut breaker, &rule, now + 50_000);
    now = now + 50_000 - 3_600_000;
    tick(&mut breaker, &rule, now);
    let opened = breaker.trip_on_streak(&rule, Timestamp::new(now + 5000), 5, 100);
    assert!(
        matches!(opened, Some(Event::Opened { length, .. }) if length == Millis::new(60_000)),
        "{opened:?}"
    );
}

#[test]
fn workers_keep_the_remaining_time_over_a_step_back() {
    for (step, after) in [(60_000, 20_000), (3_600_000, 29_900), (1_500, 10_000), (START, 12_300)] {
        let proxy = Proxy::new(&json!({}), 2, 1);
        for _ in 0..5 {
            proxy.ended(0, Side::Candidate, FAILED, Timestamp::new(START));
        }
        let State::Open(until) = proxy.state() else { panic!("{:?}", proxy.state()) };
        let length = until.get() - START;
        let mut opened_up = None;
        for passed in (0..=60_000).step_by(100) {
            let clock = if passed <= after { START + passed } else { START + passed - step };
            for worker in 0..2 {
                proxy.tick(worker, Timestamp::new(clock));
            }
            if proxy.gate(1) != Gate::Open {
                opened_up.get_or_insert(passed);
            }
            assert_eq!(proxy.gate(0), proxy.gate(1), "{step} back, {passed} ms later");
        }
        // A step is noticed within a second, which then does not count.
        let opened_up = opened_up.unwrap_or(u64::MAX);
        let expected = length..=length + 1200;
        assert!(expected.contains(&opened_up), "{step} back: {opened_up}, not {expected:?}");
        assert_eq!(proxy.trips(), 1);
    }
}

/// A breaker whose open time comes from a rule that allowed more.
#[test]
fn a_record_keeps_a_candidate_away_no_longer_than_this_rule_allows() {
    let long = rule(&json!({"open_for": "24h", "max_open_for": "7d"}));
    let mut breaker = Breaker::new(&long, Timestamp::new(START));
    breaker.trip_on_streak(&long, Timestamp::new(START), 5, 200);
    assert_eq!(breaker.wakes_at(), Some(Timestamp::new(START + 95_040_000)));
    let proxy = Proxy::new(&json!({}), 1, 1);
    proxy.memory.swap(&Side::Candidate.key(), &breaker.encode(), 0).unwrap();
    proxy.reload(0, Timestamp::new(START));
    assert_eq!(proxy.gate(0), Gate::Open);
    // The longest time of this rule, and a second until the worker looks.
    let limit = 330_000 + 1200;
    let passed = (0..=limit).step_by(100).find(|passed| {
        proxy.tick(0, Timestamp::new(START + passed));
        proxy.gate(0) != Gate::Open
    });
    assert!(passed.is_some(), "still open: {:?}", proxy.state());
}

#[test]
fn a_window_without_width_at_the_end_of_all_time_has_counts() {
    let mut bytes = Breaker::new(&rule(&json!({})), Timestamp::new(START)).encode();
    // Behind version, state, stage, level, epoch, clock and time.
    bytes[24..32].fill(0);
    let breaker = Breaker::decode(&bytes).unwrap();
    assert!(breaker.counts(Timestamp::new(u64::MAX)).is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Forward(u64),
    Back(u64),
    Told(u32, u32, u32),
    Streak,
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..5000).prop_map(Step::Forward),
        2 => (0_u64..700_000).prop_map(Step::Forward),
        1 => (0_u64..2000).prop_map(Step::Back),
        1 => (0_u64..u64::MAX).prop_map(Step::Back),
        1 => (START..u64::MAX).prop_map(Step::Forward),
        4 => (0_u32..300, 0_u32..300, 0_u32..300).prop_map(|(n, e, s)| Step::Told(n, e.min(n), s.min(n))),
        4 => (0_u32..300).prop_map(|n| Step::Told(n, 0, 0)),
        1 => Just(Step::Told(u32::MAX, u32::MAX, u32::MAX)),
        1 => Just(Step::Streak),
        1 => Just(Step::Reload),
    ]
}

/// Anything, and also what differs from a record in a few bytes.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let record = (vec(step(), 0..10), vec((0_usize..400, any::<u8>()), 0..6), 0_usize..3).prop_map(
        |(steps, changes, cut)| {
            let rule = rule(&json!({}));
            let (mut breaker, mut now) = (Breaker::new(&rule, Timestamp::new(START)), START);
            for step in steps {
                walk(&mut breaker, &rule, &mut now, &step, 7);
            }
            let mut bytes = breaker.encode();
            for (at, value) in changes {
                let length = bytes.len();
                bytes[at % length] = value;
            }
            bytes.truncate(bytes.len() - cut / 2);
            bytes
        },
    );
    prop_oneof![1 => vec(any::<u8>(), 0..400), 4 => record]
}

fn walk(
    breaker: &mut Breaker,
    rule: &Rule,
    now: &mut u64,
    step: &Step,
    jitter: u64,
) -> Option<Event> {
    let mut new = Counts::default();
    match *step {
        Step::Forward(by) => *now = now.saturating_add(by),
        Step::Back(by) => *now = now.saturating_sub(by),
        Step::Told(requests, errors, slow) => {
            new = Counts { requests, errors, slow, ..Counts::default() };
        }
        Step::Streak => return breaker.trip_on_streak(rule, Timestamp::new(*now), 5, jitter),
        Step::Reload => *breaker = Breaker::decode(&breaker.encode()).unwrap(),
    }
    breaker.advance(rule, Timestamp::new(*now), &new.into(), || None, jitter)
}

/// Whether it becomes half-open within the longest time that the rule allows, on a clock that only
/// goes forward.
fn opens_up(mut breaker: Breaker, rule: &Rule, now: u64) -> bool {
    // A second for readings in the wrong order.
    let end = now.saturating_add(330_000 + 1000);
    tick(&mut breaker, rule, now);
    tick(&mut breaker, rule, end);
    !matches!(breaker.state(), State::Open(_))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_walks_keep_the_invariants(steps in vec(step(), 1..60), jitter in any::<u64>(), slow in any::<bool>()) {
        let breaker = if slow { json!({"slow": {"over": "200ms", "rate": 5}}) } else { json!({"confidence": 0}) };
        let rule = rule(&breaker);
        let (mut breaker, mut now) = (Breaker::new(&rule, Timestamp::new(START)), START);
        for step in &steps {
            let epoch = breaker.epoch();
            let event = walk(&mut breaker, &rule, &mut now, step, jitter);
            prop_assert_eq!(breaker.epoch(), epoch + u32::from(event.is_some()));
            prop_assert_eq!(Breaker::decode(&breaker.encode()), Some(breaker.clone()));
            match breaker.state() {
                State::Open(until) => {
                    prop_assert_eq!(breaker.wakes_at(), Some(until));
                    // At the end of all time there is no later moment.
                    prop_assert!(until.get() > now || now > u64::MAX - 1000);
                    prop_assert!(until.get() - now <= 331_000, "{} ms to wait", until.get() - now);
                }
                State::Closed(_) => prop_assert_eq!(breaker.wakes_at(), None),
                State::HalfOpen(stage, seen) => {
                    prop_assert_eq!(breaker.wakes_at(), None);
                    prop_assert!(stage < 3 && seen.requests < 20);
                }
            }
            if let Some(Event::Opened { length, .. }) = event {
                prop_assert!((27_000..=330_000).contains(&length.get()));
            }
            prop_assert!(now > u64::MAX - 400_000 || opens_up(breaker.clone(), &rule, now));
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_harmless(bytes in bytes(), steps in vec(step(), 1..10), jitter in any::<u64>()) {
        if let Some(mut breaker) = Breaker::decode(&bytes) {
            prop_assert!(breaker.encode().len() == bytes.len());
            let rule = rule(&json!({}));
            for now in [0, START, u64::MAX] {
                let _ = breaker.counts(Timestamp::new(now));
                breaker.clone().observe(&rule, Timestamp::new(now), &Counts::default().into());
                breaker.clone().trip_on_streak(&rule, Timestamp::new(now), 5, jitter);
            }
            let mut now = START;
            for step in &steps {
                walk(&mut breaker, &rule, &mut now, step, jitter);
                prop_assert!(now > u64::MAX - 400_000 || opens_up(breaker.clone(), &rule, now), "{:?} at {}", breaker, now);
            }
        }
    }
}
