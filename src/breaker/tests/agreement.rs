//! One property of the agreement per test, with the other worker acting at the worst moment.

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};

use super::proxy::{
    EXPERIMENT, Ended, FAILED, OK, START, Side, begin, end_at_once, parse, plan, rule, uptime,
};
use super::store::{Interrupted, Memory, Moment};
use crate::breaker::{
    Breaker, Counts, End, Event, Fleet, Served, State, Store, Ticket, Transition,
};
use crate::decide::Gate;
use crate::names::shared::GENERATION;
use crate::plan::{ExperimentId, VariantId};
use crate::quantity::{Millis, Timestamp};

/// A moment after the start, in milliseconds.
const fn at(milliseconds: u64) -> Timestamp {
    Timestamp::new(START + milliseconds)
}

/// Random enough: opens for exactly `open_for`.
const fn jitter() -> u64 {
    100
}

fn load(memory: &Memory, breaker: &Value) -> Fleet {
    Fleet::load(&plan(breaker), memory, at(0))
}

/// A request of the current epoch ends.
fn end(
    fleet: &mut Fleet,
    store: &impl Store,
    side: Side,
    ended: Ended,
    now: Timestamp,
) -> Option<Transition> {
    let ticket = begin(fleet, side, None, now);
    end_at_once(fleet, store, ticket, ended, now, jitter)
}

fn fail(fleet: &mut Fleet, store: &impl Store, now: Timestamp) -> Option<Transition> {
    end(fleet, store, Side::Candidate, FAILED, now)
}

/// Opens the breaker by failures in a row.
fn trip(fleet: &mut Fleet, store: &impl Store, now: Timestamp) {
    let opened = (0..5).find_map(|_| fail(fleet, store, now));
    assert!(matches!(opened, Some(Transition { event: Event::Opened { .. }, .. })), "{opened:?}");
}

fn tick(fleet: &mut Fleet, store: &impl Store, now: Timestamp) -> Vec<Event> {
    fleet
        .tick(store, store.version(GENERATION), now, uptime(now), jitter)
        .iter()
        .map(|transition| transition.event)
        .collect()
}

fn gate(fleet: &Fleet) -> Gate {
    fleet.gate(EXPERIMENT, Side::Candidate.variant())
}

fn record(memory: &Memory, side: Side) -> Breaker {
    Breaker::decode(&memory.value(&side.key()).unwrap()).unwrap()
}

fn counts(memory: &Memory, side: Side, now: Timestamp) -> (u32, u32) {
    let Counts { requests, errors, .. } = record(memory, side).counts(now);
    (requests, errors)
}

#[test]
fn every_transition_reaches_an_idle_worker_on_its_next_tick() {
    let memory = Memory::default();
    let [mut busy, mut idle] = [(); 2].map(|()| load(&memory, &json!({})));
    let mut events = Vec::new();
    for now in (0..60_000).step_by(100).map(at) {
        if now == at(1500) {
            trip(&mut busy, &memory, now);
            events.push("opened");
        } else if gate(&busy) != Gate::Open {
            end(&mut busy, &memory, Side::Candidate, OK, now);
        }
        events.extend(tick(&mut busy, &memory, now).iter().map(|event| match event {
            Event::Opened { .. } => "opened",
            Event::Trying(..) => "trying",
            Event::Closed => "closed",
        }));
        assert_eq!(tick(&mut idle, &memory, now), [], "at {now}");
        assert_eq!(gate(&idle), gate(&busy), "at {now}, after {events:?}");
    }
    assert_eq!(events, ["opened", "trying", "trying", "trying", "closed"]);
}

#[test]
fn a_transition_while_a_worker_loads_is_noticed_on_its_first_tick() {
    let memory = Memory::default();
    let other = RefCell::new(load(&memory, &json!({})));
    let interrupt = |moment: Moment<'_>| {
        if moment == Moment::Read(&Side::Candidate.key()) {
            trip(&mut other.borrow_mut(), &memory, at(0));
        }
    };
    let store = Interrupted { memory: &memory, interrupt };
    let mut fleet = Fleet::load(&plan(&json!({})), &store, at(0));
    assert_eq!(gate(&fleet), Gate::Closed, "it read the record before");
    tick(&mut fleet, &memory, at(100));
    assert_eq!(gate(&fleet), Gate::Open);
}

#[test]
fn a_transition_while_a_worker_adopts_is_noticed_on_its_next_tick() {
    let memory = Memory::default();
    let [mut fleet, mut other] = [(); 2].map(|()| load(&memory, &json!({})));
    trip(&mut other, &memory, at(0));
    let other = RefCell::new(other);
    let interrupt = |moment: Moment<'_>| {
        if moment == Moment::Read(&Side::Candidate.key()) {
            let events = tick(&mut other.borrow_mut(), &memory, at(30_000));
            assert!(matches!(events[..], [Event::Trying(..)]), "{events:?}");
        }
    };
    // Its own clock is a little behind, so it does not end the waiting by itself.
    tick(&mut fleet, &Interrupted { memory: &memory, interrupt }, at(500));
    assert_eq!(gate(&fleet), Gate::Open, "it read the record before");
    tick(&mut fleet, &memory, at(600));
    assert!(matches!(gate(&fleet), Gate::HalfOpen { .. }), "{:?}", gate(&fleet));
}

#[test]
fn a_lost_race_is_retried_at_once() {
    let memory = Memory::default();
    let [mut fleet, other] = [(); 2].map(|()| load(&memory, &json!({})));
    let other = RefCell::new(other);
    let races = Cell::new(1);
    let interrupt = |moment: Moment<'_>| {
        if moment == Moment::Write(&Side::Candidate.key()) && races.get() > 0 {
            races.set(races.get() - 1);
            end(&mut other.borrow_mut(), &memory, Side::Candidate, OK, at(0));
            tick(&mut other.borrow_mut(), &memory, at(0));
        }
    };
    let store = Interrupted { memory: &memory, interrupt };
    trip(&mut fleet, &store, at(0));
    assert_eq!((races.get(), memory.conflicts.get()), (0, 1));
    assert!(matches!(record(&memory, Side::Candidate).state(), State::Open(_)));
}

#[test]
fn outcomes_of_a_race_that_is_always_lost_wait_for_the_next_tick() {
    let breaker = json!({"error_rate": 100, "consecutive_errors": 0});
    let memory = Memory::default();
    let [mut fleet, other] = [(); 2].map(|()| load(&memory, &breaker));
    for _ in 0..7 {
        end(&mut fleet, &memory, Side::Candidate, OK, at(0));
        end(&mut fleet, &memory, Side::Baseline, FAILED, at(0));
    }
    let other = RefCell::new(other);
    let interrupt = |moment: Moment<'_>| {
        if matches!(moment, Moment::Write(_)) {
            for side in [Side::Baseline, Side::Candidate] {
                end(&mut other.borrow_mut(), &memory, side, OK, at(0));
            }
            tick(&mut other.borrow_mut(), &memory, at(0));
        }
    };
    memory.take_accesses();
    tick(&mut fleet, &Interrupted { memory: &memory, interrupt }, at(0));
    // Two records, eight attempts each; each attempt loses to two writes of the other worker.
    assert_eq!(memory.conflicts.get(), 16);
    assert_eq!(memory.take_accesses().1, 16 + 16 * 2);
    let before = [Side::Baseline, Side::Candidate].map(|side| counts(&memory, side, at(0)));
    assert_eq!(before, [(16, 0), (16, 0)], "only the other worker's outcomes");
    tick(&mut fleet, &memory, at(100));
    let after = [Side::Baseline, Side::Candidate].map(|side| counts(&memory, side, at(100)));
    assert_eq!(after, [(23, 7), (23, 0)]);
}

#[test]
fn a_streak_of_an_earlier_epoch_opens_nothing() {
    let memory = Memory::default();
    let [mut slow, mut other] = [(); 2].map(|()| load(&memory, &json!({})));
    for _ in 0..4 {
        assert_eq!(fail(&mut slow, &memory, at(0)), None);
    }
    trip(&mut other, &memory, at(0));
    assert!(matches!(tick(&mut other, &memory, at(30_000))[..], [Event::Trying(..)]));
    // This worker has not had its tick: its streak is complete, but the candidate has gone on.
    let before = record(&memory, Side::Candidate);
    assert_eq!(fail(&mut slow, &memory, at(30_000)), None);
    assert_eq!(record(&memory, Side::Candidate), before);
    assert_eq!(gate(&slow), gate(&other), "it has learned the state on this occasion");
    for _ in 0..4 {
        assert_eq!(fail(&mut slow, &memory, at(30_000)), None, "the streak began anew");
    }
    assert!(fail(&mut slow, &memory, at(30_000)).is_some());
}

#[test]
fn what_was_counted_before_a_transition_is_dropped_after_it() {
    let memory = Memory::default();
    let [mut fleet, mut other] = [(); 2].map(|()| load(&memory, &json!({})));
    let late: Vec<Ticket> =
        (0..20).map(|_| begin(&mut fleet, Side::Candidate, None, at(0))).collect();
    for _ in 0..4 {
        fail(&mut fleet, &memory, at(0));
    }
    trip(&mut other, &memory, at(0));
    tick(&mut other, &memory, at(30_000));
    assert!(tick(&mut fleet, &memory, at(30_000)).is_empty());
    for ticket in late {
        assert_eq!(fleet.ended(&memory, ticket, End::Failed, || at(30_000), jitter), None);
    }
    assert!(tick(&mut fleet, &memory, at(30_100)).is_empty());
    let State::HalfOpen(0, seen) = record(&memory, Side::Candidate).state() else { panic!() };
    assert!(seen.is_empty(), "{seen:?}");
    // Nor does the streak go on.
    assert_eq!(fail(&mut fleet, &memory, at(30_100)), None);
}

#[test]
fn a_candidate_is_compared_with_the_baseline_of_all_workers() {
    let breaker = json!({"consecutive_errors": 0});
    let memory = Memory::default();
    let [mut one, mut other] = [(); 2].map(|()| load(&memory, &breaker));
    for _ in 0..30 {
        end(&mut one, &memory, Side::Baseline, FAILED, at(0));
        fail(&mut other, &memory, at(0));
    }
    assert_eq!(tick(&mut one, &memory, at(0)), []);
    assert_eq!(tick(&mut other, &memory, at(0)), [], "the baseline has the same fault");
    assert_eq!(counts(&memory, Side::Baseline, at(0)), (30, 30));
    // On one worker, in one tick: the baseline's outcomes come first.
    let memory = Memory::default();
    let mut alone = load(&memory, &breaker);
    for _ in 0..30 {
        fail(&mut alone, &memory, at(0));
        end(&mut alone, &memory, Side::Baseline, FAILED, at(0));
    }
    assert_eq!(tick(&mut alone, &memory, at(0)), []);
}

#[test]
fn a_reload_finds_what_the_workers_share_and_writes_nothing() {
    let memory = Memory::default();
    let mut fleet = load(&memory, &json!({}));
    end(&mut fleet, &memory, Side::Candidate, OK, at(0));
    tick(&mut fleet, &memory, at(0));
    trip(&mut fleet, &memory, at(0));
    let values = || memory.keys().into_iter().map(|key| memory.value(&key)).collect::<Vec<_>>();
    let before = values();
    memory.take_accesses();
    let mut reloaded = load(&memory, &json!({}));
    assert_eq!(memory.take_accesses(), (3, 0), "reads the announcement and two records");
    assert_eq!(gate(&reloaded), Gate::Open);
    assert_eq!(reloaded.epoch(EXPERIMENT, Side::Candidate.variant()), 1);
    assert_eq!(values(), before);
    // The rest of the time is kept.
    assert_eq!(tick(&mut reloaded, &memory, at(29_900)), []);
    assert!(matches!(tick(&mut reloaded, &memory, at(30_000))[..], [Event::Trying(..)]));
}

#[test]
fn keys_and_layout_of_the_records_stay() {
    // A proxy keeps its records while the module is replaced, so another name or layout forgets
    // every open breaker.
    let memory = Memory::default();
    let mut fleet = load(&memory, &json!({"slow": {"over": "1s", "rate": 5}}));
    let names = ["sidetrack.1.breaker.breaker.new", "sidetrack.1.breaker.breaker.old"];
    assert_eq!(memory.keys(), names);
    let failed = Ended { failed: true, slow: true };
    end(&mut fleet, &memory, Side::Candidate, failed, at(0));
    tick(&mut fleet, &memory, at(0));
    let long = |number: u64| number.to_le_bytes();
    let short = |number: u32| number.to_le_bytes();
    let free = [short(u32::MAX - 1).as_slice(), &[0; 60]].concat();
    let mut closed = vec![3, 0, 0, 0, 0, 0, 0, 0];
    closed.extend([START, START, 3000].map(long).concat());
    // No trips, no stage.
    closed.extend([0; 28]);
    closed.extend(long(START / 3000));
    // The bucket of this number is the first of ten.
    assert_eq!(START / 3000 % 10, 0);
    closed.extend([1, 1, 1, 0].map(short).concat());
    closed.extend([0; 9 * 16]);
    // The period before and the present one.
    closed.extend([1, 1, 1, 0, 0, 0, 0, 0].map(short).concat());
    // The request without a unit, with one failure and one slow answer.
    closed.extend(short(u32::MAX));
    closed.extend([[1, 0].as_slice(), &[0; 18], &[1, 0], &[0; 18], &[0; 20]].concat());
    closed.extend(free.repeat(4));
    // The units seen.
    closed.extend([u32::MAX - 1, 0].map(short).concat().repeat(4));
    closed.extend([u32::MAX, u32::try_from(START / 3000).unwrap()].map(short).concat());
    // The streak: no success, a failure after 1 s.
    closed.extend([0; 20]);
    let failure = [long(1001).as_slice(), &short(u32::MAX)].concat();
    closed.extend(failure);
    closed.extend([long(0).as_slice(), &short(u32::MAX)].concat().repeat(7));
    closed.extend([1, 0, 0, 0, 0, 0, 0, 0, 0]);
    // One outcome, a failure, and an answer after 1 s.
    closed.extend([1, 0, 0, 0, 1]);
    closed.extend(long(1001));
    assert_eq!(memory.value(names[0]), Some(closed.clone()));
    assert_eq!(memory.value(GENERATION), None);
    trip(&mut fleet, &memory, at(0));
    let open = memory.value(names[0]).unwrap();
    assert_eq!(open[..8], [3, 1, 0, 1, 1, 0, 0, 0]);
    assert_eq!(open[16..24], long(START + 30_000));
    assert_eq!(open[32..36], short(1));
    assert!(memory.value(GENERATION).is_some());
    assert!(matches!(tick(&mut fleet, &memory, at(30_000))[..], [Event::Trying(..)]));
    let trying = memory.value(names[0]).unwrap();
    assert_eq!(trying[..8], [3, 2, 0, 1, 2, 0, 0, 0]);
}

#[test]
fn the_random_number_varies_how_long_the_breaker_is_open() {
    let length = |breaker: Value, number: u64| {
        let memory = Memory::default();
        let mut fleet = load(&memory, &breaker);
        let mut events = Vec::new();
        let tickets: Vec<Ticket> =
            (0..50).map(|_| begin(&mut fleet, Side::Candidate, None, at(0))).collect();
        for ticket in tickets {
            events.extend(fleet.ended(&memory, ticket, End::Failed, || at(0), || number));
        }
        events.extend(
            fleet.tick(&memory, memory.version(GENERATION), at(0), Millis::ZERO, || number),
        );
        let [Transition { event: Event::Opened { length, .. }, .. }] = events[..] else {
            panic!("{events:?}")
        };
        length
    };
    for breaker in [json!({}), json!({"consecutive_errors": 0})] {
        assert_eq!(length(breaker.clone(), 0), Millis::new(27_000));
        assert_eq!(length(breaker, 200), Millis::new(33_000));
    }
}

#[test]
fn a_streak_waits_three_seconds_for_a_baseline_that_is_silent() {
    let memory = Memory::default();
    let mut fleet = load(&memory, &json!({}));
    end(&mut fleet, &memory, Side::Baseline, OK, at(0));
    for _ in 0..5 {
        assert_eq!(fail(&mut fleet, &memory, at(0)), None);
    }
    let opened = (1..=100).find(|tenth| !tick(&mut fleet, &memory, at(tenth * 100)).is_empty());
    assert_eq!(opened, Some(31));
    // One that has never had a request in this epoch is not waited for.
    let memory = Memory::default();
    trip(&mut load(&memory, &json!({})), &memory, at(0));
}

#[test]
fn each_breaker_is_its_own() {
    let experiment = |name: &str, mode: &str| {
        json!({
            "name": name, "salt": name, "unit": [{"header": "x-user-id"}], "baseline": "b",
            "variants": [{"name": "a", "weight": 10}, {"name": "b"}, {"name": "c", "weight": 20}],
            "breaker": {"mode": mode},
        })
    };
    let file = parse(&json!({"experiments": [
        experiment("one", "enforce"), experiment("two", "disabled"), experiment("three", "enforce"),
    ]}));
    let memory = Memory::default();
    let [mut one, mut other] = [(); 2].map(|()| Fleet::load(&file, &memory, at(0)));
    let mut places: Vec<(ExperimentId, VariantId)> = file
        .experiments
        .entries()
        .flat_map(|(id, experiment)| experiment.variants.ids().map(move |variant| (id, variant)))
        .collect();
    // A baseline that has failed would excuse its candidates.
    places.sort_by_key(|&(id, variant)| variant == file.experiments[id].baseline);
    let closed_except = |fleet: &Fleet, open: &[(ExperimentId, VariantId)]| {
        for &(experiment, variant) in &places {
            let is_open = open.contains(&(experiment, variant));
            let expected = if is_open { (Gate::Open, 2) } else { (Gate::Closed, 0) };
            let found = (fleet.gate(experiment, variant), fleet.code(experiment, variant));
            assert_eq!(found, expected, "{experiment:?} {variant:?}");
            assert_eq!(fleet.epoch(experiment, variant), u32::from(is_open));
        }
    };
    let mut open = Vec::new();
    for &(experiment, variant) in &places {
        let plan = &file.experiments[experiment];
        let trips = plan.name != "two" && variant != plan.baseline;
        let mut transitions = Vec::new();
        let mut end = |variant, end| {
            let ticket = one.begin(Served { experiment, variant }, None, Millis::ZERO, true);
            one.ended(&memory, ticket, end, || at(0), jitter)
        };
        for _ in 0..5 {
            transitions.extend(end(variant, End::Failed));
            // Judged against a baseline that works.
            if variant != plan.baseline {
                assert_eq!(end(plan.baseline, End::Completed), None);
            }
        }
        let found: Vec<_> = transitions.iter().map(|t| (t.experiment, t.variant)).collect();
        assert_eq!(found, if trips { vec![(experiment, variant)] } else { vec![] });
        open.extend(found);
        closed_except(&one, &open);
        assert_eq!(
            other.tick(&memory, memory.version(GENERATION), at(0), Millis::ZERO, jitter),
            []
        );
        closed_except(&other, &open);
    }
    assert_eq!(open.len(), 4);
    // What is due by itself names its place as well.
    let due =
        one.tick(&memory, memory.version(GENERATION), at(30_000), Millis::new(30_000), jitter);
    assert_eq!(due.iter().map(|t| (t.experiment, t.variant)).collect::<Vec<_>>(), open);
}

#[test]
fn a_baseline_is_never_judged() {
    let memory = Memory::default();
    let mut fleet = load(&memory, &json!({"compare_to_baseline": false}));
    for _ in 0..50 {
        assert_eq!(end(&mut fleet, &memory, Side::Baseline, FAILED, at(0)), None);
    }
    assert_eq!(tick(&mut fleet, &memory, at(100)), []);
    assert_eq!(record(&memory, Side::Baseline).epoch(), 0);
}

#[test]
fn a_worker_accesses_the_store_no_more_than_it_must() {
    let memory = Memory::default();
    let mut fleet = load(&memory, &json!({}));
    assert_eq!(memory.take_accesses(), (3, 2), "reads all and creates two records");
    let random = Cell::new(0);
    let jitter = || {
        random.set(random.get() + 1);
        jitter()
    };
    let tick = |fleet: &mut Fleet, now| {
        assert!(
            fleet.tick(&memory, memory.version(GENERATION), now, uptime(now), jitter).is_empty()
        );
        memory.take_accesses()
    };
    assert_eq!((tick(&mut fleet, at(100)), random.take()), ((1, 0), 0), "nothing is new");
    for side in [Side::Candidate, Side::Baseline, Side::Candidate] {
        end(&mut fleet, &memory, side, OK, at(100));
    }
    fail(&mut fleet, &memory, at(100));
    assert_eq!(memory.take_accesses(), (0, 0), "a request costs nothing");
    assert_eq!((tick(&mut fleet, at(200)), random.take()), ((3, 2), 1), "each record once");
    assert_eq!(tick(&mut fleet, at(1100)), (1, 0), "nothing is new");
    assert_eq!(tick(&mut fleet, at(1200)), (2, 1), "once a second in any case");
    let mut disabled = load(&memory, &json!({"mode": "disabled"}));
    memory.take_accesses();
    fail(&mut disabled, &memory, at(0));
    assert_eq!(tick(&mut disabled, at(5000)), (1, 0));
}

#[test]
fn a_record_that_cannot_be_read_is_replaced() {
    let memory = Memory::default();
    let mut fleet = load(&memory, &json!({}));
    trip(&mut fleet, &memory, at(0));
    for bytes in [&b"?"[..], &[2; 240], &[1, 7]] {
        memory.swap(&Side::Candidate.key(), bytes, 0).unwrap();
        // The worker goes on with what it knows, and shares that.
        assert_eq!(tick(&mut fleet, &memory, at(1000)), []);
        assert_eq!(gate(&fleet), Gate::Open);
        memory.swap(GENERATION, b"news", 0).unwrap();
        assert_eq!(tick(&mut fleet, &memory, at(2000)), []);
        assert!(matches!(record(&memory, Side::Candidate).state(), State::Open(_)));
        memory.swap(&Side::Candidate.key(), bytes, 0).unwrap();
        // A worker that knows nothing starts closed.
        assert_eq!(gate(&load(&memory, &json!({}))), Gate::Closed);
        let closed = Breaker::new(&rule(&json!({})), at(0));
        assert_eq!(record(&memory, Side::Candidate), closed);
        let mut bytes = memory.value(&Side::Candidate.key()).unwrap();
        bytes.truncate(20);
        memory.swap(&Side::Candidate.key(), &bytes, 0).unwrap();
        tick(&mut fleet, &memory, at(3000));
        assert!(matches!(record(&memory, Side::Candidate).state(), State::Open(_)));
    }
}
