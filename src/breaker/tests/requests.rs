//! One request from its decision to its end: what it counts for, and when.

use serde_json::{Value, json};

use super::proxy::{EXPERIMENT, START, Side, begin, plan, uptime};
use super::store::Memory;
use crate::breaker::{Breaker, Counts, End, Event, Fleet, State, Store as _, Ticket, Why};
use crate::decide::Gate;
use crate::names::shared::GENERATION;
use crate::quantity::Timestamp;

/// One worker whose clock and uptime run together.
struct Worker {
    fleet: Fleet,
    memory: Memory,
    now: u64,
    events: Vec<Event>,
}

impl Worker {
    fn new(breaker: &Value) -> Self {
        let memory = Memory::default();
        let fleet = Fleet::load(&plan(breaker), &memory, Timestamp::new(START));
        Self { fleet, memory, now: 0, events: Vec::new() }
    }

    fn at(&self) -> Timestamp {
        Timestamp::new(START + self.now)
    }

    /// Passes this time, with a tick every 100 ms.
    fn pass(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 100 {
            self.now += 100;
            let now = self.at();
            let made = self.fleet.tick(
                &self.memory,
                self.memory.version(GENERATION),
                now,
                uptime(now),
                || 100,
            );
            self.events.extend(made.iter().map(|transition| transition.event));
        }
    }

    fn begin(&mut self, side: Side) -> Ticket {
        let now = self.at();
        begin(&mut self.fleet, side, None, now)
    }

    fn answered(&mut self, mut ticket: Ticket) -> Ticket {
        let now = uptime(self.at());
        self.fleet.answered(&mut ticket, now);
        ticket
    }

    fn ended(&mut self, ticket: Ticket, end: End) {
        let now = self.at();
        let made = self.fleet.ended(&self.memory, ticket, end, || now, || 100);
        self.events.extend(made.map(|transition| transition.event));
    }

    /// Requests, errors and slow ones in the window.
    fn counts(&mut self) -> (u32, u32, u32) {
        self.pass(100);
        let bytes = self.memory.value(&Side::Candidate.key()).unwrap();
        let Counts { requests, errors, slow, .. } =
            Breaker::decode(&bytes).unwrap().counts(self.at());
        (requests, errors, slow)
    }

    fn gate(&self) -> Gate {
        self.fleet.gate(EXPERIMENT, Side::Candidate.variant())
    }
}

#[test]
fn a_stream_succeeds_at_its_headers_and_fails_when_it_breaks_off() {
    let mut worker = Worker::new(&json!({}));
    let stream = worker.begin(Side::Candidate);
    assert_eq!(worker.counts(), (0, 0, 0));
    let stream = worker.answered(stream);
    assert_eq!(worker.counts(), (1, 0, 0));
    worker.pass(15_000);
    worker.ended(stream, End::Failed);
    assert_eq!(worker.counts(), (1, 1, 0), "the same request");
    for end in [End::Completed, End::Unknown] {
        let stream = worker.begin(Side::Candidate);
        let stream = worker.answered(stream);
        worker.ended(stream, end);
    }
    assert_eq!(worker.counts(), (3, 1, 0));
    // Without headers, a client that leaves says nothing.
    let left = worker.begin(Side::Candidate);
    worker.ended(left, End::Unknown);
    let completed = worker.begin(Side::Candidate);
    worker.ended(completed, End::Completed);
    let failed = worker.begin(Side::Candidate);
    worker.ended(failed, End::Failed);
    assert_eq!(worker.counts(), (5, 2, 0));
}

#[test]
fn a_stream_that_outlives_the_window_brings_its_request_back_when_it_fails() {
    let mut worker = Worker::new(&json!({}));
    let stream = worker.begin(Side::Candidate);
    let stream = worker.answered(stream);
    worker.pass(60_000);
    assert_eq!(worker.counts(), (0, 0, 0));
    worker.ended(stream, End::Failed);
    assert_eq!(worker.counts(), (1, 1, 0));
}

#[test]
fn slow_is_counted_while_the_request_waits_and_once() {
    let mut worker = Worker::new(&json!({"slow": {"over": "1s", "rate": 100}}));
    let waits = worker.begin(Side::Candidate);
    worker.pass(1000);
    assert_eq!(worker.counts(), (1, 0, 1), "as soon as it is slow");
    worker.pass(3000);
    let waits = worker.answered(waits);
    worker.ended(waits, End::Completed);
    assert_eq!(worker.counts(), (1, 0, 1), "once");
    for (end, expected) in
        [(End::Unknown, (2, 0, 2)), (End::Completed, (3, 0, 3)), (End::Failed, (4, 1, 4))]
    {
        let ticket = worker.begin(Side::Candidate);
        worker.pass(2000);
        worker.ended(ticket, end);
        assert_eq!(worker.counts(), expected, "{end:?}");
    }
    // Between two ticks.
    let ticket = worker.begin(Side::Candidate);
    worker.pass(1000);
    worker.now += 50;
    let ticket = worker.answered(ticket);
    worker.now -= 50;
    assert_eq!(worker.counts(), (5, 1, 5));
    worker.ended(ticket, End::Completed);
    // In time, with a body that takes longer.
    let ticket = worker.begin(Side::Candidate);
    worker.pass(900);
    let ticket = worker.answered(ticket);
    worker.pass(5000);
    worker.ended(ticket, End::Completed);
    assert_eq!(worker.counts(), (6, 1, 5));
}

#[test]
fn a_request_without_an_answer_fails_once_whatever_follows() {
    let mut worker = Worker::new(&json!({"no_answer": {"after": "2s"}, "consecutive_errors": 0}));
    for (failures, end) in (1..).zip([End::Unknown, End::Failed, End::Completed]) {
        let waits = worker.begin(Side::Candidate);
        worker.pass(1900);
        assert_eq!(worker.counts(), (failures, failures, 0), "after 2 s");
        let waits = if end == End::Completed { worker.answered(waits) } else { waits };
        worker.ended(waits, end);
        assert_eq!(worker.counts(), (failures, failures, 0), "{end:?} counts nothing more");
    }
    let mut worker = Worker::new(&json!({"no_answer": {"after": "0s"}}));
    let waits = worker.begin(Side::Candidate);
    worker.pass(60_000);
    assert_eq!(worker.counts(), (0, 0, 0), "0s turns it off");
    worker.ended(waits, End::Unknown);
}

#[test]
fn the_time_of_the_upload_is_not_the_variants() {
    let breaker = json!({"slow": {"over": "1s", "rate": 100}, "no_answer": {"after": "2s"}});
    let mut worker = Worker::new(&breaker);
    let upload = |worker: &mut Worker| {
        let served = super::proxy::served(Side::Candidate);
        let now = uptime(worker.at());
        worker.fleet.begin(served, None, now, false)
    };
    let mut ticket = upload(&mut worker);
    worker.pass(30_000);
    assert_eq!(worker.counts(), (0, 0, 0));
    let now = uptime(worker.at());
    worker.fleet.uploaded(&mut ticket, now);
    worker.pass(900);
    let ticket = worker.answered(ticket);
    worker.ended(ticket, End::Completed);
    assert_eq!(worker.counts(), (1, 0, 0));
    // From the end of the upload on, it counts.
    let mut ticket = upload(&mut worker);
    let now = uptime(worker.at());
    worker.fleet.uploaded(&mut ticket, now);
    worker.pass(3000);
    assert_eq!(worker.counts(), (2, 1, 1));
    worker.ended(ticket, End::Unknown);
    // An answer before the upload's end is in time.
    let ticket = upload(&mut worker);
    worker.pass(3000);
    let mut ticket = worker.answered(ticket);
    worker.fleet.uploaded(&mut ticket, uptime(Timestamp::new(START + worker.now)));
    worker.pass(3000);
    worker.ended(ticket, End::Completed);
    assert_eq!(worker.counts(), (3, 1, 1));
}

#[test]
fn an_upload_that_stalls_is_abandoned_once() {
    let mut worker = Worker::new(&json!({"no_answer": {"after": "2s"}}));
    let upload = |worker: &mut Worker| {
        let now = uptime(worker.at());
        worker.fleet.begin(super::proxy::served(Side::Candidate), None, now, false)
    };
    let abandoned = |worker: &mut Worker| {
        worker.pass(100);
        let bytes = worker.memory.value(&Side::Candidate.key()).unwrap();
        Breaker::decode(&bytes).unwrap().counts(worker.at()).abandoned
    };
    let ticket = upload(&mut worker);
    worker.pass(1900);
    assert_eq!(abandoned(&mut worker), 0);
    worker.pass(300);
    assert_eq!(abandoned(&mut worker), 1);
    worker.pass(5000);
    worker.ended(ticket, End::Abandoned);
    assert_eq!(abandoned(&mut worker), 1, "once");
    // It is slow, and goes on.
    let mut ticket = upload(&mut worker);
    for _ in 0..10 {
        worker.pass(1500);
        worker.fleet.progressed(&ticket);
    }
    // Its answer takes as long again.
    let now = uptime(worker.at());
    worker.fleet.uploaded(&mut ticket, now);
    worker.pass(1500);
    let ticket = worker.answered(ticket);
    worker.ended(ticket, End::Completed);
    assert_eq!((abandoned(&mut worker), worker.counts()), (1, (1, 0, 0)));
    // What has been answered already is not abandoned.
    let ticket = upload(&mut worker);
    let ticket = worker.answered(ticket);
    worker.pass(5000);
    worker.ended(ticket, End::Abandoned);
    assert_eq!(abandoned(&mut worker), 1);
}

#[test]
fn good_headers_do_not_end_a_streak_and_a_whole_answer_does() {
    // Answers that break off at once.
    let mut worker = Worker::new(&json!({}));
    for failures in 1..=5 {
        assert!(worker.events.is_empty(), "after {failures}");
        let ticket = worker.begin(Side::Candidate);
        let ticket = worker.answered(ticket);
        worker.ended(ticket, End::Failed);
    }
    assert!(
        matches!(worker.events[..], [Event::Opened { why: Why::Streak(5), .. }]),
        "{:?}",
        worker.events
    );
    // Whole answers in between.
    let mut worker = Worker::new(&json!({}));
    for _ in 0..20 {
        for end in [End::Failed, End::Failed, End::Failed, End::Failed, End::Completed] {
            let ticket = worker.begin(Side::Candidate);
            worker.ended(ticket, end);
        }
    }
    assert!(worker.events.is_empty());
}

#[test]
fn answers_that_stream_hold_a_streak_back() {
    // One request in 25 fails at once, and the others stream for 15 s.
    let mut worker = Worker::new(&json!({}));
    let mut streams = std::collections::VecDeque::new();
    for number in 0..3000_u64 {
        worker.pass(100);
        let ticket = worker.begin(Side::Candidate);
        if number % 25 == 3 {
            worker.ended(ticket, End::Failed);
        } else {
            let ticket = worker.answered(ticket);
            streams.push_back((worker.now + 15_000, ticket));
        }
        while streams.front().is_some_and(|(end, _)| *end <= worker.now) {
            let (_, ticket) = streams.pop_front().unwrap();
            worker.ended(ticket, End::Completed);
        }
    }
    assert!(worker.events.is_empty(), "{:?}", worker.events);
    // Then all fail at once. The streams from before do not hide it.
    let before = worker.now;
    for _ in 0..20 {
        worker.pass(100);
        if worker.gate() == Gate::Open {
            break;
        }
        let ticket = worker.begin(Side::Candidate);
        worker.ended(ticket, End::Failed);
    }
    assert!(worker.now - before <= 1000, "{} ms", worker.now - before);
}

#[test]
fn a_retired_fleet_writes_and_judges_nothing_and_follows_the_others() {
    let memory = Memory::default();
    let now = Timestamp::new(START);
    let [mut old, mut new] = [(); 2].map(|()| Fleet::load(&plan(&json!({})), &memory, now));
    let tickets: Vec<Ticket> =
        (0..10).map(|_| begin(&mut old, Side::Candidate, None, now)).collect();
    old.retire();
    memory.take_accesses();
    for ticket in tickets {
        assert_eq!(old.ended(&memory, ticket, End::Failed, || now, || 100), None);
    }
    let waits = begin(&mut old, Side::Candidate, None, now);
    for tenth in 1..300 {
        let now = Timestamp::new(START + tenth * 100);
        assert!(old.tick(&memory, memory.version(GENERATION), now, uptime(now), || 100).is_empty());
    }
    assert_eq!(memory.take_accesses().1, 0, "no writes");
    let _ = old.ended(&memory, waits, End::Failed, || now, || 100);
    for _ in 0..5 {
        let ticket = begin(&mut new, Side::Candidate, None, now);
        let _ = new.ended(&memory, ticket, End::Failed, || now, || 100);
    }
    assert!(old.tick(&memory, memory.version(GENERATION), now, uptime(now), || 100).is_empty());
    assert_eq!(old.gate(EXPERIMENT, Side::Candidate.variant()), Gate::Open);
    // What is due by the clock is the others' to do; it follows within a second.
    let later = Timestamp::new(START + 60_000);
    assert!(old.tick(&memory, memory.version(GENERATION), later, uptime(later), || 100).is_empty());
    let record = Breaker::decode(&memory.value(&Side::Candidate.key()).unwrap()).unwrap();
    assert!(matches!(record.state(), State::Open(_)));
}
