//! Overrides, tokens, layers, and hosts through the index: what a client may ask for, and what it gets.

mod bodies;

use super::*;
use crate::config::parse_json;

/// A plan with one experiment; `more` are further keys of it, `settings` those of the file.
fn plan(candidate: &str, more: &str, settings: &str) -> Plan {
    let text = format!(
        r#"{{"experiments": [{{"name": "e", "unit": [{{"header": "u"}}], "baseline": "old",
        "variants": [{{"name": "old"}}, {{"name": "new"{candidate}}}]{more}}}], "settings": {{{settings}}}}}"#
    );
    parse_json(text.as_bytes()).unwrap()
}

fn decided(plan: &Plan, gate: Gate, headers: &[(&str, &str)]) -> Decision {
    let mut world = World { now: Timestamp::new(0), entropy: || 0, gate: &|_, _| gate };
    match decide(plan, &headers.to_vec(), &mut world, &mut ()) {
        Outcome::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

/// The name of the variant that is served.
fn served(plan: &Plan, gate: Gate, headers: &[(&str, &str)]) -> String {
    let experiment = plan.experiments.first().unwrap();
    experiment.variants[decided(plan, gate, headers).served].name.clone()
}

/// SHA-256 of `test`, in hexadecimal.
const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A text whose SHA-256 equals that of `test` in these bytes, and differs elsewhere.
fn near_token(bytes: core::ops::Range<usize>) -> String {
    let right = sha256(b"test");
    (0..10_000_000u32)
        .map(|number| number.to_string())
        .find(|text| sha256(text.as_bytes())[bytes.clone()] == right[bytes.clone()])
        .unwrap()
}

#[test]
fn only_a_guarded_override_reaches_a_candidate_without_traffic() {
    let unguarded = r#", "overrides": {"header": "x-ab-force", "units": {"qa": "new"}}"#;
    let guarded = format!(
        r#", "overrides": {{"header": "x-ab-force", "token_sha256": "{DIGEST}", "units": {{"qa": "new"}}}}"#
    );
    let rollout = r#", "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [{"name": "p", "weights": {"new": 5}}]}"#;
    let weight = |percent: u32| format!(r#", "weight": {percent}"#);
    for (why, candidate, more, gate, reachable) in [
        ("weight 5", weight(5), "", Gate::Closed, true),
        ("weight 0", weight(0), "", Gate::Closed, false),
        ("open breaker", weight(5), "", Gate::Open, false),
        ("before the rollout", String::new(), rollout, Gate::Closed, false),
        ("disabled", weight(5), r#", "enabled": false"#, Gate::Closed, false),
    ] {
        let expected = if reachable { "new" } else { "old" };
        let (by_header, by_unit) = ([("u", "1"), ("x-ab-force", "new")], [("u", "qa")]);
        let with_token = [("u", "1"), ("x-ab-force", "new"), ("x-ab-token", "test")];
        let open = plan(&candidate, &format!("{more}{unguarded}"), "");
        assert_eq!(served(&open, gate, &by_header), expected, "{why}: header");
        assert_eq!(served(&open, gate, &by_unit), expected, "{why}: unit");
        let closed = plan(&candidate, &format!("{more}{guarded}"), "");
        assert_eq!(served(&closed, gate, &with_token), "new", "{why}: header and token");
        assert_eq!(served(&closed, gate, &by_unit), expected, "{why}: unit beside a token");
    }
}

#[test]
fn an_override_names_its_variant_letter_by_letter() {
    let plan = plan(r#", "weight": 0.0001"#, r#", "overrides": {"header": "x-ab-force"}"#, "");
    assert_eq!(served(&plan, Gate::Closed, &[("u", "1"), ("x-ab-force", "new")]), "new");
    for name in ["NEW", "New", "new ", " new", "ne", "newer", "", "e/new", "*"] {
        let decision = decided(&plan, Gate::Closed, &[("u", "1"), ("x-ab-force", name)]);
        assert_eq!(decision.reason, Reason::Hash, "{name:?}");
    }
}

#[test]
fn every_byte_of_a_tokens_digest_counts() {
    let near = [0..1, 0..2, 31..32, 15..17].map(near_token);
    let wrong = near.iter().map(String::as_str).chain(["", "TEST", "test ", "test1", DIGEST]);
    let settings = format!(r#""debug": {{"token_sha256": "{DIGEST}"}}"#);
    let overrides =
        format!(r#", "overrides": {{"header": "x-ab-force", "token_sha256": "{DIGEST}"}}"#);
    let plan = plan(r#", "weight": 0.0001"#, &overrides, &settings);
    let asked =
        |token| [("u", "1"), ("x-ab-force", "new"), ("x-ab-debug", "1"), ("x-ab-token", token)];
    for token in wrong {
        let decision = decided(&plan, Gate::Closed, &asked(token));
        assert!(decision.reason == Reason::Hash && !decision.explain, "{token:?}");
    }
    let decision = decided(&plan, Gate::Closed, &asked("test"));
    assert!(decision.reason == Reason::Override && decision.explain);
}

#[test]
fn the_explanation_is_for_requests_that_may_and_do_ask() {
    for (debug, expected) in [("denied", false), ("allowed", true)] {
        let plan = plan(r#", "weight": 5"#, "", &format!(r#""debug": "{debug}""#));
        let explain = |headers: &[(&str, &str)]| decided(&plan, Gate::Closed, headers).explain;
        assert_eq!(explain(&[("u", "1"), ("x-ab-debug", "1")]), expected);
        assert!(!explain(&[("u", "1"), ("x-ab-debug", "")]));
        assert!(!explain(&[("u", "1")]));
    }
}

#[test]
fn a_suffix_matches_hosts_of_any_depth_through_the_index() {
    let plan = plan(r#", "weight": 5"#, r#", "match": {"hosts": ["*.example.com"]}"#, "");
    let matches = |host: &str| {
        let headers = vec![(":authority", host), (":path", "/"), ("u", "1")];
        let gate = |_, _| Gate::Closed;
        let mut world = World { now: Timestamp::new(0), entropy: || 0, gate: &gate };
        decide(&plan, &headers, &mut world, &mut ()) != Outcome::Unmatched
    };
    assert!(matches("a.example.com") && matches("a.b.example.com") && matches("a.b.c.example.com"));
    assert!(!matches("example.com") && !matches("a.example.org"));
}

#[test]
fn an_override_header_of_another_prefix_is_removed_too() {
    let overrides = r#", "overrides": {"header": "x-team-choice"}"#;
    let plan = plan(r#", "weight": 5"#, overrides, "");
    let sent = [b"x-team-choice".as_slice()];
    let removed = crate::effects::removals(&plan.settings.headers, sent.into_iter());
    assert!(removed.iter().any(|name| name == "x-team-choice"));
}

#[test]
fn a_disabled_experiment_leaves_the_others_of_its_layer_alone() {
    let experiment = |name: &str, enabled: bool, from: u32| {
        format!(
            r#"{{"name": "{name}", "enabled": {enabled}, "unit": [{{"header": "u"}}], "baseline": "old",
            "layer": {{"name": "l", "from": {from}, "to": {}}},
            "variants": [{{"name": "old"}}, {{"name": "new", "weight": 100}}]}}"#,
            from + 50
        )
    };
    let (first, second) = (experiment("first", false, 0), experiment("second", true, 50));
    let plan = parse_json(format!(r#"{{"experiments": [{first}, {second}]}}"#).as_bytes()).unwrap();
    let reasons = |experiment: usize, reason: Reason| {
        let of = |unit: u32| decided(&plan, Gate::Closed, &[("u", &unit.to_string())]);
        let is = |it: &Decision| it.experiment.index() == experiment && it.reason == reason;
        (0..100).map(of).filter(is).count()
    };
    let (taken, left) = (reasons(1, Reason::Hash), reasons(0, Reason::Disabled));
    assert!(taken > 30 && left > 30 && taken + left == 100, "{taken} and {left}");
}
