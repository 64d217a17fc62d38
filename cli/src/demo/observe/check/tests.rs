//! The checks on responses that are right, and on one mistake each.

use std::time::Duration;

use super::super::event_log::BreakerPhase;
use super::super::example::{BASELINE, CANDIDATE, Example, USER};
use super::{Check, all};
use crate::demo::input::Kind;

/// 30 users of the candidate with four requests each, and 70 of the baseline with one.
fn split() -> Example {
    let mut example = Example::new(Kind::Split);
    for (variant, count, requests) in [(CANDIDATE, 30, 4), (BASELINE, 70, 1)] {
        for user in example.users_of(variant, count) {
            (0..requests).for_each(|_| example.serve(user, variant));
        }
    }
    example
}

/// The candidate failed five times, its users got the baseline, and it recovered.
fn outage() -> Example {
    let mut example = Example::new(Kind::Outage);
    let users = example.users_of(CANDIDATE, 30);
    for user in &users {
        example.serve(*user, BASELINE);
    }
    example.scrape.variants[CANDIDATE].model += 5;
    example.scrape.variants[CANDIDATE].failures += 5;
    example.scrape.breaker.fallbacks = 30;
    example.scrape.breaker.trips = 1;
    example.events.last_after_fifth = Some(Duration::ZERO);
    let half_open = |share: &str| BreakerPhase::HalfOpen(share.to_owned());
    let phases = [
        BreakerPhase::Open,
        half_open("5"),
        half_open("25"),
        half_open("100"),
        BreakerPhase::Closed,
    ];
    for phase in phases {
        example.transition(3000, phase, "");
    }
    example.start_recovery();
    for user in users {
        example.serve(user, CANDIDATE);
    }
    for user in example.users_of(BASELINE, 70) {
        example.serve(user, BASELINE);
    }
    example
}

fn failed(example: &Example) -> Vec<Check> {
    all(&example.snapshot()).into_iter().filter(|check| !check.holds).collect()
}

#[track_caller]
fn fails(example: &Example, expected: &[&str]) {
    let failed = failed(example);
    let names: Vec<&str> = failed.iter().map(|check| check.name).collect();
    assert_eq!(names, expected, "{failed:#?}");
}

#[test]
fn correct_responses_pass_and_are_counted_by_user_and_by_request() {
    let example = split();
    assert!(failed(&example).is_empty(), "{:#?}", failed(&example));
    let client = example.snapshot().client;
    let counts =
        |variant: usize| (client.variants[variant].users, client.variants[variant].requests);
    assert_eq!((counts(BASELINE), counts(CANDIDATE)), ((70, 70), (30, 120)));
    assert_eq!((client.requests, client.returned, client.switched), (190, 30, 0));
    let findings: Vec<String> =
        all(&example.snapshot()).into_iter().map(|check| check.finding).collect();
    assert_eq!(
        findings,
        [
            "190 requests, 0 failed",
            "30 users returned, 0 of them switched variants",
            "user shares match the weights (chi-square p = 1.000)",
            "the core predicts the variant of 190 of 190 requests",
            "metrics 190, models 190, client 190",
        ]
    );
}

#[test]
fn a_split_against_the_weights_fails() {
    let mut example = Example::new(Kind::Split);
    for (variant, count) in [(CANDIDATE, 60), (BASELINE, 40)] {
        for user in example.users_of(variant, count) {
            example.serve(user, variant);
        }
    }
    fails(&example, &["split"]);
}

#[test]
fn a_user_who_switches_variants_fails() {
    let mut example = split();
    example.serve(USER, CANDIDATE);
    example.serve(USER, BASELINE);
    fails(&example, &["sticky", "predicted"]);
    let problem = example.snapshot().client.first_problem.unwrap();
    let expected = "user 4711 was served by model 1.0.0, which the core does not predict";
    assert_eq!(problem, expected);
}

#[test]
fn a_wrong_variant_header_fails() {
    let mut example = split();
    let mut answer = example.answer(CANDIDATE);
    answer.headers[1].1 = b"baseline-predictor".to_vec();
    example.record(USER, Ok(answer));
    example.scrape.variants[CANDIDATE].metrics += 1;
    example.scrape.variants[CANDIDATE].model += 1;
    fails(&example, &["predicted"]);
}

#[test]
fn failures_are_not_responses() {
    let example = split();
    example.record(USER, Err(anyhow::anyhow!("connection refused")));
    fails(&example, &["answered"]);
    let mut answer = example.answer(CANDIDATE);
    answer.status = 503;
    example.record(USER, Ok(answer));
    let client = example.snapshot().client;
    assert_eq!((client.requests, client.failed, client.responses()), (192, 2, 190));
    let problem = client.first_problem.as_deref();
    assert_eq!(problem, Some("a request of user 4711 failed: connection refused"));
}

#[test]
fn one_request_that_a_counter_misses_fails() {
    for miss in [
        |example: &mut Example| example.scrape.variants[BASELINE].metrics -= 1,
        |example: &mut Example| example.scrape.variants[CANDIDATE].metrics += 1,
        |example: &mut Example| example.scrape.variants[CANDIDATE].model += 1,
        |example: &mut Example| example.scrape.breaker.fallbacks += 1,
    ] {
        let mut example = split();
        miss(&mut example);
        fails(&example, &["counted"]);
        // While requests are in flight, counters may differ.
        let mut snapshot = example.snapshot();
        snapshot.in_flight = 1;
        assert!(all(&snapshot).iter().all(|check| check.holds));
    }
}

#[test]
fn requests_of_others_are_counted_too() {
    let mut example = split();
    example.scrape.variants[BASELINE].metrics += 1;
    example.scrape.variants[BASELINE].model += 1;
    example.scrape.breaker.fallbacks += 1;
    // A request outside the experiment.
    example.scrape.variants[BASELINE].model += 1;
    assert!(all(&example.snapshot()).iter().all(|check| check.holds));
    // One request is one fallback at most.
    example.scrape.breaker.fallbacks += 1;
    fails(&example, &["counted"]);
}

#[test]
fn an_outage_that_ends_well_passes() {
    let example = outage();
    let checks = all(&example.snapshot());
    assert!(checks.iter().all(|check| check.holds), "{checks:#?}");
    let findings: Vec<&str> = checks.iter().map(|check| check.finding.as_str()).collect();
    assert_eq!(
        findings,
        [
            "130 requests, 0 failed",
            "the failing model received no request after its fifth failure",
            "1 trip: open, 5 %, 25 %, 100 %, closed",
            "the baseline kept 70 users and took over 30 of 30 others",
            "shares of 100 users match the weights (chi-square p = 1.000)",
            "metrics 130, models 130, client 130; fallbacks 30",
        ]
    );
}

#[test]
fn each_failure_of_the_breaker_is_found() {
    type Break = fn(&mut Example);
    let breaks: [(Break, &[&str]); 6] = [
        (|e| e.events.last_after_fifth = Some(Duration::from_millis(1001)), &["isolated"]),
        (|e| e.events.last_after_fifth = None, &["isolated"]),
        (|e| e.scrape.breaker.trips = 2, &["breaker"]),
        (|e| drop(e.events.transitions.remove(1)), &["breaker"]),
        (|e| e.events.transitions.clear(), &["breaker"]),
        // A user of the baseline gets the candidate.
        (|e| e.serve(e.users_of(BASELINE, 1)[0], CANDIDATE), &["fallback"]),
    ];
    for (index, (plant, expected)) in breaks.into_iter().enumerate() {
        let mut example = outage();
        plant(&mut example);
        let names: Vec<&str> = failed(&example).iter().map(|check| check.name).collect();
        assert_eq!(names, expected, "break {index}: {:#?}", failed(&example));
    }
}

#[test]
fn a_candidate_whose_users_still_get_the_baseline_has_not_recovered() {
    let mut example = outage();
    let user = example.users_of(CANDIDATE, 1)[0];
    example.serve(user, BASELINE);
    example.scrape.breaker.fallbacks += 1;
    fails(&example, &["recovered"]);
}

#[test]
fn an_interrupted_outage_has_only_the_checks_of_any_moment() {
    let example = outage();
    let mut snapshot = example.snapshot();
    snapshot.interrupted = true;
    let names: Vec<&str> = all(&snapshot).iter().map(|check| check.name).collect();
    assert_eq!(names, ["answered", "counted"]);
}
