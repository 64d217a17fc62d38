//! Conditions on bodies, and values that variants set in them: when a request waits, and what it gets.

use core::cell::Cell;

use super::super::*;
use crate::config::parse_json;

/// A request with a body.
struct Post<'a>(&'a [(&'a str, &'a str)], Body<'a>);

impl Request for Post<'_> {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.values(name)
    }

    fn body(&self) -> Body<'_> {
        self.1
    }
}

const USER: &[(&str, &str)] = &[(":path", "/v1/chat"), (":method", "POST"), ("u", "1")];
/// No user.
const ANYONE: &[(&str, &str)] = &[(":path", "/v1/chat"), (":method", "POST")];

/// The variants of a model that is chosen in the body; all units get the candidate.
const EDITS: &str =
    r#"[{"name": "old"}, {"name": "new", "weight": 100, "body": {"/model": "m-2"}}]"#;
const PLAIN: &str = r#"[{"name": "old"}, {"name": "new", "weight": 100}]"#;

fn experiment(name: &str, variants: &str, more: &str) -> String {
    format!(
        r#"{{"name": "{name}", "unit": [{{"header": "u"}}], "baseline": "old", "variants": {variants}{more}}}"#
    )
}

fn plan(experiments: &[String]) -> Plan {
    parse_json(format!(r#"{{"experiments": [{}]}}"#, experiments.join(",")).as_bytes()).unwrap()
}

fn outcome(plan: &Plan, headers: &[(&str, &str)], body: Body<'_>) -> Outcome {
    let drawn = Cell::new(false);
    let entropy = || {
        drawn.set(true);
        0
    };
    let mut world = World { now: Timestamp::new(0), entropy, gate: &|_, _| Gate::Closed };
    let outcome = decide(plan, &Post(headers, body), &mut world, &mut ());
    if matches!(outcome, Outcome::NeedsBody(_)) {
        assert!(!drawn.get(), "a draw before the body is there is repeated, and selects twice");
    }
    outcome
}

fn decided(
    plan: &Plan,
    headers: &[(&str, &str)],
    body: Body<'_>,
) -> (String, Reason, Option<Missing>) {
    match outcome(plan, headers, body) {
        Outcome::Decided(it) => {
            let experiment = &plan.experiments[it.experiment];
            let served = &experiment.variants[it.served].name;
            (format!("{}/{served}", experiment.name), it.reason, it.missing)
        }
        other => panic!("{other:?}"),
    }
}

fn waits(plan: &Plan, headers: &[(&str, &str)]) -> bool {
    matches!(outcome(plan, headers, Body::Pending), Outcome::NeedsBody(_))
}

#[test]
fn only_a_request_that_meets_the_other_conditions_waits() {
    let condition = r#", "match": {"path": {"prefix": "/v1"}, "methods": ["POST"],
        "body": [{"pointer": "/model", "exact": "m"}, {"pointer": "/n", "present": true}]}"#;
    let plan = plan(&[experiment("m", PLAIN, condition), experiment("rest", PLAIN, "")]);
    assert!(waits(&plan, USER));
    for other in [[(":path", "/v2"), (":method", "POST")], [(":path", "/v1"), (":method", "GET")]] {
        assert!(!waits(&plan, &other), "{other:?}");
    }
    for (body, expected) in [
        (Body::Whole(br#"{"model": "m", "n": 0}"#), "m/new"),
        (Body::Whole(br#"{"model": "m"}"#), "rest/new"),
        (Body::Whole(br#"{"model": "x", "n": 0}"#), "rest/new"),
        (Body::Whole(b"model=m"), "rest/new"),
        (Body::Absent, "rest/new"),
        (Body::Unread(Unread::TooLarge), "rest/new"),
    ] {
        assert_eq!(decided(&plan, USER, body).0, expected, "{body:?}");
    }
}

#[test]
fn all_variants_need_a_body_that_can_be_edited() {
    let weights = [0, 100];
    for weight in weights {
        let variants = EDITS.replace("100", &weight.to_string());
        let plan = plan(&[experiment("e", &variants, "")]);
        assert!(waits(&plan, USER), "both groups wait");
        let (served, ..) = decided(&plan, USER, Body::Whole(br#"{"model": "m"}"#));
        assert_eq!(served, if weight == 0 { "e/old" } else { "e/new" });
        for (body, missing) in [
            (Body::Absent, Missing::Absent),
            (Body::Whole(b"[]"), Missing::Absent),
            (Body::Whole(b"{"), Missing::BodyUnreadable),
            (Body::Unread(Unread::TooLarge), Missing::BodyTooLarge),
            (Body::Unread(Unread::Compressed), Missing::BodyUnreadable),
            (Body::Unread(Unread::Grpc), Missing::BodyUnreadable),
            (Body::Unread(Unread::Endless), Missing::BodyUnreadable),
            (Body::Unread(Unread::NotAwaited), Missing::BodyUnreadable),
            (Body::Unread(Unread::TooManyHeld), Missing::TooManyHeld),
        ] {
            let expected = ("e/old".to_owned(), Reason::MissingUnit, Some(missing));
            assert_eq!(decided(&plan, USER, body), expected, "{body:?}");
        }
    }
}

/// A condition on a body that is not read leaves the request out, and says why. What another
/// experiment takes counts there.
#[test]
fn a_condition_on_a_body_that_is_not_read_is_counted() {
    let condition = r#", "match": {"body": [{"pointer": "/model", "exact": "m"}]}"#;
    let elsewhere =
        r#", "match": {"path": {"prefix": "/v2"}, "body": [{"pointer": "/model", "exact": "m"}]}"#;
    let first = experiment("e", PLAIN, condition);
    let plans = [
        plan(std::slice::from_ref(&first)),
        plan(&[experiment("x", PLAIN, elsewhere), first.clone()]),
    ];
    for (at, plan) in plans.iter().enumerate() {
        for (unread, missing) in [
            (Unread::TooLarge, Missing::BodyTooLarge),
            (Unread::Compressed, Missing::BodyUnreadable),
            (Unread::Endless, Missing::BodyUnreadable),
            (Unread::NotAwaited, Missing::BodyUnreadable),
            (Unread::TooManyHeld, Missing::TooManyHeld),
        ] {
            let expected = Outcome::Unread(ExperimentId::new(at), missing);
            assert_eq!(outcome(plan, USER, Body::Unread(unread)), expected);
        }
        for body in
            [Body::Unread(Unread::Grpc), Body::Absent, Body::Whole(b"{}"), Body::Whole(b"{")]
        {
            assert_eq!(outcome(plan, USER, body), Outcome::Unmatched, "{body:?}");
        }
    }
    let both = plan(&[first, experiment("other", PLAIN, "")]);
    assert_eq!(decided(&both, USER, Body::Unread(Unread::TooLarge)).0, "other/new");
}

#[test]
fn missing_unit_holds_for_such_bodies_but_never_serves_a_candidate() {
    for (policy, skips) in [("random", false), ("skip", true)] {
        let more = format!(r#", "missing_unit": "{policy}""#);
        let plan = plan(&[experiment("e", EDITS, &more)]);
        let large = outcome(&plan, USER, Body::Unread(Unread::TooLarge));
        let skipped = matches!(large, Outcome::Skipped(_, Missing::BodyTooLarge));
        assert_eq!(skipped, skips, "{policy}: {large:?}");
        if !skips {
            assert_eq!(decided(&plan, USER, Body::Absent).0, "e/old");
            assert_eq!(decided(&plan, ANYONE, Body::Whole(b"{}")).1, Reason::Random);
        }
    }
}

#[test]
fn requests_without_a_draw_wait_for_the_baselines_values_alone() {
    let baseline = EDITS.replace(r#""old""#, r#""old", "body": {"/model": "m-1"}"#);
    for (variants, disabled_waits) in [(EDITS, false), (&*baseline, true)] {
        let plan = plan(&[experiment("e", variants, r#", "enabled": false"#)]);
        assert_eq!(waits(&plan, USER), disabled_waits);
        // Such a baseline serves bodies that it cannot edit, too.
        assert_eq!(decided(&plan, USER, Body::Absent).1, Reason::Disabled);
    }
}

#[test]
fn a_body_decides_about_an_experiment_only_inside_its_slots() {
    let slot =
        |from: u32, to: u32| format!(r#", "layer": {{"name": "l", "from": {from}, "to": {to}}}"#);
    let plan =
        plan(&[experiment("a", EDITS, &slot(0, 50)), experiment("b", PLAIN, &slot(50, 100))]);
    let mut served = Vec::new();
    for user in 0..20 {
        let user = user.to_string();
        let headers = [("u", user.as_str())];
        let (with, ..) = decided(&plan, &headers, Body::Whole(b"{}"));
        let (without, ..) = decided(&plan, &headers, Body::Absent);
        assert_eq!(waits(&plan, &headers), with == "a/new", "{with}");
        assert_eq!(without, if with == "a/new" { "a/old" } else { "b/new" });
        served.push(with);
    }
    assert!(served.iter().any(|it| it == "a/new") && served.iter().any(|it| it == "b/new"));
    // Without a unit the slot is drawn at random, once the body is there.
    let random = r#", "missing_unit": "random""#;
    let plan = self::plan(&[experiment("a", EDITS, &format!("{random}{}", slot(0, 50)))]);
    assert!(waits(&plan, ANYONE));
}

#[test]
fn an_override_reaches_a_variant_that_can_edit_the_body() {
    let overrides = r#", "overrides": {"header": "x-ab-force", "units": {"qa": "new"}}"#;
    let plan = plan(&[experiment("e", EDITS, overrides)]);
    for headers in [&[("u", "1"), ("x-ab-force", "new")][..], &[("u", "qa")]] {
        assert!(waits(&plan, headers));
        assert_eq!(decided(&plan, headers, Body::Whole(b"{}")).1, Reason::Override);
        let unfit = decided(&plan, headers, Body::Whole(b"[]"));
        assert_eq!(unfit, ("e/old".to_owned(), Reason::MissingUnit, Some(Missing::Absent)));
    }
    assert!(!waits(&plan, &[("u", "1"), ("x-ab-force", "old")]));
}

#[test]
fn the_reason_without_a_unit_is_the_bodys_where_the_unit_is_in_it() {
    let unit = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}, {"body": "/u"}],
        "baseline": "old", "variants": [{"name": "old"}, {"name": "new", "weight": 100}]}]}"#;
    let plan = parse_json(unit.as_bytes()).unwrap();
    let missing = |body| decided(&plan, ANYONE, body).2;
    assert_eq!(missing(Body::Whole(br#"{"u": 1}"#)), None);
    assert_eq!(missing(Body::Whole(b"{}")), Some(Missing::Absent));
    assert_eq!(missing(Body::Whole(b"{")), Some(Missing::BodyUnreadable));
    assert_eq!(missing(Body::Unread(Unread::TooLarge)), Some(Missing::BodyTooLarge));
    let header = self::plan(&[experiment("e", PLAIN, "")]);
    assert_eq!(decided(&header, ANYONE, Body::Unread(Unread::TooLarge)).2, Some(Missing::Absent));
}
