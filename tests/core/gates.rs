//! What a breaker's gate, a mirror and a minted identity make of a decision, and the words of reports.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may stop")]

use std::cell::Cell;

use serde_json::{Value, json};
use sidetrack::config;
use sidetrack::decide::{Decision, Gate, Outcome, Reason, Step, World, decide};
use sidetrack::draw::{Draw, Purpose};
use sidetrack::plan::{Assignment, BreakerMode, MissingUnit, Plan};
use sidetrack::quantity::{Bucket, Ppm, Timestamp};
use sidetrack::unit::UnitSource;

/// Half-open, in the recovery from the first trip.
fn half_open(share: Ppm) -> Gate {
    Gate::HalfOpen { share, from: Bucket::default() }
}

fn plan(more: &Value) -> Plan {
    let mut file = json!({
        "name": "e", "salt": "s", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 50}],
    });
    file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let file = json!({ "experiments": [file] }).to_string();
    config::parse_json(file.as_bytes()).unwrap_or_else(|problems| panic!("{problems}\n{file}"))
}

/// The decision about a unit; random numbers are these, one after another.
fn decided(plan: &Plan, unit: &str, gate: Gate, random: &[u64]) -> (Decision, usize, bool) {
    let drawn = Cell::new(0);
    let entropy = || {
        drawn.set(drawn.get() + 1);
        random.get(drawn.get() - 1).copied().unwrap()
    };
    let headers = vec![("x-user-id", unit)];
    let mut steps = Vec::new();
    let mut world = World { now: Timestamp::new(0), entropy, gate: &|_, _| gate };
    let outcome = decide(plan, &headers, &mut world, &mut steps);
    let Outcome::Decided(decision) = outcome else { panic!("{outcome:?}") };
    (decision, drawn.get(), steps.iter().any(|step| matches!(step, Step::Gate(..))))
}

fn share(ppm: u32) -> Ppm {
    Ppm::new(ppm).unwrap()
}

/// A unit of the candidate (`arm1` below 500000) whose draw for this purpose is within these buckets.
fn unit_of(purpose: Purpose, from: u32, to: u32) -> String {
    let (arm, other) = (Draw::new(Purpose::Arm, "s"), Draw::new(purpose, "s"));
    let fits = |unit: &String| {
        let other = other.bucket(unit.as_bytes()).get();
        arm.bucket(unit.as_bytes()).get() < 500_000 && (from..to).contains(&other)
    };
    (0..5000).map(|number| format!("u{number}")).find(fits).unwrap()
}

#[test]
fn a_gate_lets_the_same_units_through() {
    let plan = plan(&json!({}));
    let experiment = plan.experiments.iter().next().unwrap();
    let [old, new] = [b"old", b"new"].map(|name| experiment.variant(name).unwrap());
    let probing = unit_of(Purpose::Probe, 40_000, 50_000);
    let waiting = unit_of(Purpose::Probe, 50_000, 60_000);
    let exact = Draw::new(Purpose::Probe, "s").bucket(probing.as_bytes()).get();
    for (unit, gate, served, reason) in [
        (&probing, Gate::Closed, new, Reason::Hash),
        (&probing, Gate::Open, old, Reason::BreakerOpen),
        (&probing, half_open(share(50_000)), new, Reason::Probe),
        (&waiting, half_open(share(50_000)), old, Reason::BreakerOpen),
        (&waiting, half_open(Ppm::ALL), new, Reason::Probe),
        (&probing, half_open(Ppm::ZERO), old, Reason::BreakerOpen),
        (&probing, half_open(share(exact)), old, Reason::BreakerOpen),
        (&probing, half_open(share(exact + 1)), new, Reason::Probe),
    ] {
        let (decision, drawn, asked) = decided(&plan, unit, gate, &[]);
        assert_eq!((decision.assigned, decision.served, decision.reason), (new, served, reason));
        assert_eq!((drawn, asked), (0, gate != Gate::Closed));
    }
    // The baseline's units never meet a gate.
    let arm = Draw::new(Purpose::Arm, "s");
    let is_old = |unit: &String| arm.bucket(unit.as_bytes()).get() >= 500_000;
    let unit = (0..1000).map(|number| number.to_string()).find(is_old).unwrap();
    let (decision, _, asked) = decided(&plan, &unit, Gate::Open, &[]);
    assert_eq!((decision.served, decision.reason, asked), (old, Reason::Hash, false));
}

#[test]
fn a_random_request_is_drawn_anew_for_the_candidate_and_for_its_gate() {
    let plan = plan(&json!({"assignment": "request_random"}));
    let low = 0;
    // The middle of all draws is bucket 500000, the first one of the baseline.
    let middle = 1 << 63;
    let probe = half_open(share(250_000));
    for (gate, random, reason) in [
        (Gate::Closed, &[low][..], Reason::Random),
        (Gate::Open, &[low], Reason::BreakerOpen),
        (probe, &[low, low], Reason::Probe),
        (probe, &[low, middle], Reason::BreakerOpen),
        (probe, &[middle], Reason::Random),
    ] {
        let (decision, drawn, _) = decided(&plan, "u", gate, random);
        assert_eq!((decision.reason, drawn), (reason, random.len()), "{gate:?} {random:?}");
    }
}

#[test]
fn a_mirror_gets_its_percent_of_the_units() {
    let of = |percent: u32, unit: &str, more: &Value| {
        let mut file = json!({"mirror": {"cluster": "shadow", "percent": percent}});
        file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        decided(&plan(&file), unit, Gate::Closed, &[0]).0.mirror
    };
    let (low, high) =
        (unit_of(Purpose::Mirror, 290_000, 300_000), unit_of(Purpose::Mirror, 300_000, 310_000));
    assert_eq!((of(30, &low, &json!({})), of(30, &high, &json!({}))), (true, false));
    assert!(of(100, &high, &json!({})) && !of(0, &low, &json!({})));
    // Without a unit, only a mirror of everything gets a copy.
    assert!(of(100, "", &json!({})) && !of(99, "", &json!({})));
    let random = json!({"assignment": "request_random"});
    assert_eq!((of(30, &low, &random), of(30, &high, &random)), (true, false));
    assert!(!decided(&plan(&json!({})), &low, Gate::Closed, &[]).0.mirror);
}

#[test]
fn a_minted_identity_has_both_random_numbers() {
    let cookie = json!({"unit": [{"cookie": "sid", "mint": {"max_age": "1d"}}]});
    let (decision, drawn, _) = decided(&plan(&cookie), "u", Gate::Closed, &[0xabc, 0xdef]);
    assert_eq!((decision.minted, drawn), (Some(0xabc << 64 | 0xdef), 2));
    let bucket = Draw::new(Purpose::Arm, "s").bucket(b"0000000000000abc0000000000000def");
    assert_eq!((decision.bucket, decision.reason), (Some(bucket), Reason::Hash));
    assert_eq!(decision.unit_source, Some(0));
    let both =
        json!({"unit": [{"header": "x-user-id"}, {"cookie": "sid", "mint": {"max_age": "1d"}}]});
    let (decision, drawn, _) = decided(&plan(&both), "u", Gate::Closed, &[]);
    assert_eq!((decision.minted, decision.unit_source, drawn), (None, Some(0), 0));
}

#[test]
fn words_are_those_of_the_contract() {
    for (reason, word) in [
        (Reason::Hash, "hash"),
        (Reason::Random, "random"),
        (Reason::Override, "override"),
        (Reason::Disabled, "disabled"),
        (Reason::MissingUnit, "missing_unit"),
        (Reason::Excluded, "excluded"),
        (Reason::NotStarted, "not_started"),
        (Reason::BreakerOpen, "breaker_open"),
        (Reason::Probe, "probe"),
    ] {
        assert_eq!((reason.as_str(), reason.to_string().as_str()), (word, word));
    }
    let gates = [Gate::Closed, half_open(Ppm::ZERO), Gate::Open];
    assert_eq!(gates.map(Gate::as_str), ["closed", "half-open", "open"]);
    let words = |words: &[&'static str]| words.join(" ");
    let of = MissingUnit::ALL.iter().map(|choice| choice.as_str()).collect::<Vec<_>>();
    assert_eq!(words(&of), "baseline random skip");
    let of = Assignment::ALL.iter().map(|choice| choice.as_str()).collect::<Vec<_>>();
    assert_eq!(words(&of), "user_hash request_random");
    let of = BreakerMode::ALL.iter().map(|choice| choice.as_str()).collect::<Vec<_>>();
    assert_eq!(words(&of), "enforce dry_run disabled");
    let name = || "n".to_owned();
    let sources = [
        UnitSource::Header(name()),
        UnitSource::Cookie(name()),
        UnitSource::Query(name()),
        UnitSource::Body(name()),
    ];
    assert_eq!(
        sources.map(|source| source.to_string()),
        ["header n", "cookie n", "query n", "body n"]
    );
}
