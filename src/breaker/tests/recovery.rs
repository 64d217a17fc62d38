//! The way back: stages, who takes part in them, and how long a candidate waits before.

use std::collections::BTreeSet;

use crate::breaker::local::{LocalOutcomes, Verdict};
use crate::breaker::ticket::Request;
use crate::breaker::{Breaker, Counts, Event, Rule, Served, State, first_probe};
use crate::decide::{Gate, Outcome, Reason, World, decide};
use crate::quantity::{Millis, Ppm, Timestamp};
use serde_json::json;

use super::proxy::{EXPERIMENT, START, Side, plan, rule};
use super::script::{Row, play, run};

/// Opens, waits, and returns the breaker at its first stage.
fn half_open(rule: &Rule) -> (Breaker, Timestamp) {
    let mut breaker = Breaker::new(rule, Timestamp::new(START));
    breaker.trip_on_streak(rule, Timestamp::new(START), 5, 100);
    let now = breaker.wakes_at().unwrap();
    assert_eq!(
        advance(&mut breaker, rule, now, 0, 0),
        Some(Event::Trying(Ppm::new(50_000).unwrap(), 1))
    );
    (breaker, now)
}

fn advance(
    breaker: &mut Breaker,
    rule: &Rule,
    now: Timestamp,
    requests: u32,
    errors: u32,
) -> Option<Event> {
    let new = Counts { requests, errors, ..Counts::default() };
    breaker.advance(rule, now, &new.into(), || None, 100)
}

fn length(event: Option<Event>) -> Millis {
    let Some(Event::Opened { length, .. }) = event else { panic!("{event:?} does not open") };
    length
}

#[test]
fn stages_are_judged_after_min_requests() {
    let row = |name, script| Row { name, differs: "", breaker: json!({}), script };
    play(&[
        row("nineteen are too few", "5F@0 open @33 5% 19S 5% @36 5% S 25%"),
        row(
            "each stage begins at zero",
            "5F@0 open @33 5% 20S 25% 19S 25% S 100% 19S 100% S closed #0 trips=1",
        ),
        row("one of twenty passes", "5F@0 open @33 5% F 19S 25% F 19S 100% F 19S closed trips=1"),
        row(
            "the second failure of the first twenty fails early",
            "5F@0 open @33 5% F 5% F open trips=2 errors",
        ),
        row("in the last stage too", "5F@0 open @33 5% 20S 25% 20S 100% 10S F 100% F open trips=2"),
        row("as many at once as there are", "5F@0 open @33 5% 60S 3F 25%"),
        row("above the limit of more than twenty", "5F@0 open @33 5% 55S 3F open"),
        row(
            "what was decided in the stage before does not count in the next",
            "5F@0 open @33 5% 20S 25% late:40S 25% late:40F 25% trips=1",
        ),
        row(
            "failures in a row open at once",
            "5F@0 open @33 5% 20S 25% F F F F F open streak trips=2",
        ),
        row(
            "the old failures are forgotten",
            "5F@0 open @33 5% 20S 25% 20S 100% 20S closed S F closed @60 closed trips=1",
        ),
    ]);
}

#[test]
fn a_thousand_units_in_flight_use_nothing_up() {
    // Without permits: all of them count until the stage is over, the rest is dropped, and nobody
    // waits for them.
    let proxy = run(&json!({}), "5F@0 open @33 5% 20S 5%").err();
    assert!(proxy.is_some_and(|error| error.contains("it is 25%")));
    let mut script = "5F@0 open @33 5% 20S 25% late:980S 25% 20S 100% 20S closed #0".to_owned();
    run(&json!({}), &script).unwrap();
    script += " late:980F closed #0 trips=1";
    run(&json!({}), &script).unwrap();
}

#[test]
fn whoever_tried_at_five_percent_tries_at_every_stage() {
    let plan = plan(&json!({}));
    let served = |share: Option<u32>, trip: u32| -> BTreeSet<u32> {
        let gate = share.map_or(Gate::Open, |share| Gate::HalfOpen {
            share: Ppm::new(share).unwrap(),
            from: first_probe(trip),
        });
        let takes = |unit: &u32| {
            let unit = format!("user-{unit}");
            let mut world = World {
                now: Timestamp::new(START),
                entropy: || panic!("no chance"),
                gate: &|_, _| gate,
            };
            let request = vec![("x-user-id", unit.as_bytes())];
            let Outcome::Decided(decision) = decide(&plan, &request, &mut world, &mut ()) else {
                panic!()
            };
            assert_eq!(decision.assigned.index(), 1);
            let expected =
                if decision.served.index() == 1 { Reason::Probe } else { Reason::BreakerOpen };
            assert_eq!(decision.reason, expected);
            decision.served.index() == 1
        };
        (0..40_000).filter(takes).collect()
    };
    let (none, five, quarter, all) = (
        served(None, 1),
        served(Some(50_000), 1),
        served(Some(250_000), 1),
        served(Some(1_000_000), 1),
    );
    assert!(none.is_empty());
    assert!(five.is_subset(&quarter) && quarter.is_subset(&all));
    // Within five standard deviations of 2000 and 10 000.
    assert!(five.len().abs_diff(2000) < 218, "{}", five.len());
    assert!(quarter.len().abs_diff(10_000) < 433, "{}", quarter.len());
    assert_eq!(all.len(), 40_000);
    // The next recovery tries other units, and twenty of them reach all units.
    let mut seen = five;
    for trip in 2..=20 {
        let (next, next_quarter) = (served(Some(50_000), trip), served(Some(250_000), trip));
        assert!(next.is_subset(&next_quarter));
        assert!(next.is_disjoint(&seen), "trip {trip}");
        let before = served(Some(250_000), trip - 1);
        assert!(next_quarter.is_disjoint(&before), "trip {trip}");
        seen.extend(next);
    }
    assert_eq!(seen, all);
}

#[test]
fn without_traffic_a_stage_waits_and_nothing_is_wedged() {
    let rule = rule(&json!({}));
    let (mut breaker, began) = half_open(&rule);
    let epoch = breaker.epoch();
    for second in 0..3600 {
        let now = Timestamp::new(began.get() + second * 1000);
        assert_eq!(advance(&mut breaker, &rule, now, 0, 0), None);
        assert_eq!(breaker.wakes_at(), None, "nothing to wake for");
    }
    assert_eq!((breaker.state(), breaker.epoch()), (State::HalfOpen(0, Counts::default()), epoch));
    let now = Timestamp::new(began.get() + 3_600_000);
    for expected in
        [Event::Trying(Ppm::new(250_000).unwrap(), 1), Event::Trying(Ppm::ALL, 1), Event::Closed]
    {
        assert_eq!(advance(&mut breaker, &rule, now, 20, 0), Some(expected));
    }
}

#[test]
fn an_earlier_epoch_counts_for_nothing() {
    let (rule, baseline) = (rule(&json!({})), LocalOutcomes::new(0));
    let mut local = LocalOutcomes::new(0);
    let served = Served { experiment: EXPERIMENT, variant: Side::Candidate.variant() };
    let request = |epoch| Request::new(served, epoch, None);
    let fail = |local: &mut LocalOutcomes, epoch, number| {
        local.fail(&rule, true, &mut request(epoch), Millis::ZERO, number);
    };
    local.enter_epoch(3);
    for (number, epoch) in (1..).zip([2, 4, 0, u32::MAX].repeat(50)) {
        fail(&mut local, epoch, number);
        local.answer(&mut request(epoch), Millis::ZERO, number);
        local.be_slow(&mut request(epoch), Millis::ZERO);
        local.complete(&mut request(epoch), Millis::ZERO, number);
    }
    assert!(local.news.is_empty() && local.news.answered == Millis::ZERO);
    assert_eq!(local.judge(&rule, true, &baseline, || None, Millis::ZERO), Verdict::Short);
    local.complete(&mut request(3), Millis::ZERO, 201);
    assert_eq!(local.news.counts.requests, 1);
    // A new epoch drops what was not told, and begins the streak anew.
    for number in 202..206 {
        fail(&mut local, 3, number);
    }
    local.enter_epoch(4);
    assert!(local.news.is_empty());
    fail(&mut local, 4, 206);
    assert_eq!(local.judge(&rule, true, &baseline, || None, Millis::ZERO), Verdict::Short);
}

#[test]
fn outcomes_while_open_do_not_prolong_it() {
    let rule = rule(&json!({}));
    let mut breaker = Breaker::new(&rule, Timestamp::new(START));
    breaker.trip_on_streak(&rule, Timestamp::new(START), 5, 100);
    let until = breaker.wakes_at().unwrap();
    assert_eq!(until, Timestamp::new(START + 30_000));
    for now in (START..until.get()).step_by(100) {
        assert_eq!(advance(&mut breaker, &rule, Timestamp::new(now), 50, 50), None);
        assert_eq!(breaker.trip_on_streak(&rule, Timestamp::new(now), 5, 100), None);
    }
    assert_eq!(breaker.wakes_at(), Some(until));
    // At the moment itself, even a worker that still tells of failures only ends it.
    assert_eq!(
        advance(&mut breaker, &rule, until, 50, 50),
        Some(Event::Trying(Ppm::new(50_000).unwrap(), 1))
    );
    assert_eq!(breaker.state(), State::HalfOpen(0, Counts::default()));
}

#[test]
fn each_failed_recovery_waits_twice_as_long_up_to_the_limit() {
    let rule = rule(&json!({}));
    for jitter in [0, 37, 100, 163, 200, 201, u64::MAX] {
        let mut breaker = Breaker::new(&rule, Timestamp::new(START));
        let mut opened = breaker.trip_on_streak(&rule, Timestamp::new(START), 5, jitter);
        for expected in [30, 60, 120, 240, 300, 300, 300] {
            let thousandths = 900 + jitter % 201;
            assert_eq!(length(opened), Millis::new(expected * thousandths));
            let now = breaker.wakes_at().unwrap();
            assert!(matches!(advance(&mut breaker, &rule, now, 0, 0), Some(Event::Trying(..))));
            let new = Counts { requests: 2, errors: 2, ..Counts::default() };
            opened = breaker.advance(&rule, now, &new.into(), || None, jitter);
        }
    }
}

#[test]
fn jitter_fills_ten_percent_on_both_sides() {
    let rule = rule(&json!({}));
    let lengths: BTreeSet<u64> = (0..1000)
        .map(|jitter| {
            let mut breaker = Breaker::new(&rule, Timestamp::new(START));
            length(breaker.trip_on_streak(&rule, Timestamp::new(START), 5, jitter)).get()
        })
        .collect();
    assert_eq!(
        (lengths.first(), lengths.last(), lengths.len()),
        (Some(&27_000), Some(&33_000), 201)
    );
}

/// A breaker after so many trips in a row, just closed again.
fn recovered(rule: &Rule, trips: u32) -> (Breaker, Timestamp) {
    let mut breaker = Breaker::new(rule, Timestamp::new(START));
    let mut now = Timestamp::new(START);
    for _ in 0..trips {
        breaker.trip_on_streak(rule, now, 5, 100);
        now = breaker.wakes_at().unwrap();
        advance(&mut breaker, rule, now, 0, 0);
    }
    for _ in 0..3 {
        advance(&mut breaker, rule, now, 20, 0);
    }
    assert!(matches!(breaker.state(), State::Closed(_)), "{:?}", breaker.state());
    (breaker, now)
}

#[test]
fn each_period_of_health_forgets_one_trip() {
    // open_for below a minute: a period is a minute; above: open_for.
    for (open_for, period) in [("30s", 60_000), ("90s", 90_000)] {
        let rule = rule(&json!({"open_for": open_for, "max_open_for": "24h"}));
        let base = if open_for == "30s" { 30_000 } else { 90_000 };
        for healthy in 0..6 {
            for (rest, forgotten) in [(0, healthy), (period - 1, healthy)] {
                let (mut breaker, closed) = recovered(&rule, 4);
                let now = Timestamp::new(closed.get() + u64::from(healthy) * period + rest);
                let level = 4_u32.saturating_sub(forgotten);
                let opened = breaker.trip_on_streak(&rule, now, 5, 100);
                assert_eq!(
                    length(opened),
                    Millis::new(base << level),
                    "{healthy} periods and {rest} ms"
                );
            }
        }
    }
}

#[test]
fn time_without_health_forgets_nothing() {
    let rule = rule(&json!({"max_open_for": "24h"}));
    let (mut breaker, began) = half_open(&rule);
    let now = Timestamp::new(began.get() + 86_400_000);
    assert_eq!(length(advance(&mut breaker, &rule, now, 2, 2)), Millis::new(60_000));
}

#[test]
fn a_long_outage_is_forgotten_as_fast_as_a_short_one() {
    // The wait stops growing at the fifth trip, so the ones after it must not have to be forgotten
    // one by one.
    let rule = rule(&json!({}));
    let (mut breaker, closed) = recovered(&rule, 300);
    let now = Timestamp::new(closed.get() + 5 * 60_000);
    assert_eq!(length(breaker.trip_on_streak(&rule, now, 5, 100)), Millis::new(30_000));
}
