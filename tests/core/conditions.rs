//! Which experiment decides: each condition on its own, as the filter and as `explain` see it, and the slots of
//! a layer. The two take different ways through the experiments and must agree.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may stop")]

use serde_json::{Value, json};
use sidetrack::config;
use sidetrack::decide::{Decision, Gate, Outcome, Reason, Step, World, decide};
use sidetrack::draw::{Draw, Purpose};
use sidetrack::matching::Mismatch;
use sidetrack::plan::Plan;
use sidetrack::quantity::{Bucket, Timestamp};
use sidetrack::unit::UnitSource;

/// An experiment with these keys beside the usual ones.
fn experiment(name: &str, more: &Value) -> Value {
    let mut file = json!({
        "name": name, "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 50}],
    });
    file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    file
}

fn plan(experiments: &[Value]) -> Plan {
    let file = json!({ "experiments": experiments }).to_string();
    config::parse_json(file.as_bytes()).unwrap_or_else(|problems| panic!("{problems}\n{file}"))
}

/// What the filter decides, and the steps of whoever explains it.
fn decided<'p>(plan: &'p Plan, headers: &[(&str, &str)]) -> (Option<Decision>, Vec<Step<'p>>) {
    let request = headers.to_vec();
    let world = || World { now: Timestamp::new(0), entropy: || 0, gate: &|_, _| Gate::Closed };
    let decision = |outcome| match outcome {
        Outcome::Decided(decision) => Some(decision),
        Outcome::Unmatched | Outcome::Unread(..) => None,
        other => panic!("{other:?}"),
    };
    let mut steps = Vec::new();
    let found = decision(decide(plan, &request, &mut world(), &mut ()));
    let explained = decision(decide(plan, &request, &mut world(), &mut steps));
    let key = |decision: &Option<Decision>| {
        decision.map(|d| (d.experiment, d.assigned, d.served, d.reason, d.bucket))
    };
    assert_eq!(key(&found), key(&explained), "{headers:?}");
    (found, steps)
}

/// Asserts that these headers match, or which condition does not hold.
fn asks(rule: &Value, headers: &[(&str, &str)], mismatch: Option<Mismatch<'_>>) {
    let plan = plan(&[experiment("e", &json!({ "match": rule }))]);
    let mut all = vec![("x-user-id", "u")];
    all.extend(headers);
    let (decision, steps) = decided(&plan, &all);
    assert_eq!(decision.is_some(), mismatch.is_none(), "{rule} {headers:?}");
    match (steps.first(), mismatch) {
        (Some(Step::Match(_)), None) => {}
        (Some(Step::Mismatch(_, found)), Some(wanted)) => {
            assert_eq!(*found, wanted, "{rule} {headers:?}");
        }
        (found, wanted) => panic!("{rule} {headers:?}: {found:?}, not {wanted:?}"),
    }
}

#[test]
fn a_host_is_one_of_the_list() {
    let rule = json!({"hosts": ["a.example", "*.b.example"]});
    for host in
        ["a.example", "A.EXAMPLE", "a.example.", "a.example:80", "x.b.example", "X.y.B.example"]
    {
        asks(&rule, &[(":authority", host)], None);
    }
    for host in ["xa.example", "a.example.org", "b.example", "xb.example", ".b.example", ""] {
        asks(&rule, &[(":authority", host)], Some(Mismatch::Host));
    }
    asks(&rule, &[], Some(Mismatch::Host));
}

#[test]
fn a_path_is_compared_without_its_query() {
    let exact = json!({"path": {"exact": "/v1"}});
    for (path, matches) in
        [("/v1", true), ("/v1?x=/v2", true), ("/v1#x", true), ("/v1/", false), ("/v", false)]
    {
        asks(&exact, &[(":path", path)], (!matches).then_some(Mismatch::Path));
    }
    let prefix = json!({"path": {"prefix": "/v1"}});
    for (path, matches) in
        [("/v1", true), ("/v1/x", true), ("/v10", true), ("/v2?x=/v1", false), ("/V1", false)]
    {
        asks(&prefix, &[(":path", path)], (!matches).then_some(Mismatch::Path));
    }
    asks(&prefix, &[], Some(Mismatch::Path));
}

#[test]
fn a_method_is_one_of_the_list() {
    let rule = json!({"methods": ["POST", "PUT"]});
    for method in ["POST", "PUT"] {
        asks(&rule, &[(":method", method)], None);
    }
    for method in ["GET", "post", "POSTS", ""] {
        asks(&rule, &[(":method", method)], Some(Mismatch::Method));
    }
    asks(&rule, &[], Some(Mismatch::Method));
}

#[test]
fn every_header_must_hold() {
    let tenant = |rule: Value| {
        let mut header = json!({"name": "x-tenant"});
        header.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        json!({ "headers": [header] })
    };
    let no = Some(Mismatch::Header("x-tenant"));
    let exact = tenant(json!({"exact": "acme"}));
    asks(&exact, &[("x-tenant", "acme")], None);
    asks(&exact, &[("x-tenant", "acme"), ("x-tenant", "other")], None);
    for headers in
        [&[("x-tenant", "acme2")][..], &[("x-tenant", "other"), ("x-tenant", "acme")], &[]]
    {
        asks(&exact, headers, no);
    }
    let prefix = tenant(json!({"prefix": "ac"}));
    asks(&prefix, &[("x-tenant", "acme")], None);
    asks(&prefix, &[("x-tenant", "bacme")], no);
    let present = tenant(json!({"present": true}));
    asks(&present, &[("x-tenant", "")], None);
    asks(&present, &[], no);
    let absent = tenant(json!({"present": false}));
    asks(&absent, &[], None);
    asks(&absent, &[("x-tenant", "")], no);
    let both = json!({"headers": [{"name": "x-one", "exact": "1"}, {"name": "x-tenant", "exact": "acme"}]});
    asks(&both, &[("x-one", "1"), ("x-tenant", "acme")], None);
    asks(&both, &[("x-one", "1")], no);
    asks(&both, &[("x-tenant", "acme")], Some(Mismatch::Header("x-one")));
}

#[test]
fn the_first_experiment_whose_conditions_hold_decides() {
    let of = |rule: Value| json!({ "match": rule });
    let plan = plan(&[
        experiment("host", &of(json!({"hosts": ["a.example"], "methods": ["POST"]}))),
        experiment("path", &of(json!({"path": {"prefix": "/v1"}}))),
        experiment("both", &of(json!({"hosts": ["*.example"], "path": {"exact": "/v2"}}))),
        experiment("rest", &json!({})),
    ]);
    for (host, path, method, name) in [
        ("a.example", "/v1", "POST", "host"),
        ("a.example", "/v1", "GET", "path"),
        ("a.example", "/v2", "GET", "both"),
        ("a.example", "/v3", "GET", "rest"),
        ("b.org", "/v2", "POST", "rest"),
    ] {
        let request =
            [(":authority", host), (":path", path), (":method", method), ("x-user-id", "u")];
        let (decision, _) = decided(&plan, &request);
        let experiment = decision.unwrap().experiment;
        assert_eq!(plan.experiments[experiment].name, name, "{host} {path} {method}");
    }
}

/// Experiments of one layer: the percent slots of each, and whether it is enabled.
fn layer(experiments: &[(&str, u32, u32, bool)]) -> Plan {
    let of = |(name, from, to, enabled): &(&str, u32, u32, bool)| {
        let slots = json!({"name": "l", "from": from, "to": to});
        experiment(name, &json!({"layer": slots, "enabled": enabled}))
    };
    plan(&experiments.iter().map(of).collect::<Vec<_>>())
}

/// A unit whose slot in the layer is within these percent.
fn unit_in(from: u32, to: u32) -> String {
    let draw = Draw::new(Purpose::Layer, "l");
    let is_in = |unit: &String| {
        let bucket: Bucket = draw.bucket(unit.as_bytes());
        (from * 10_000..to * 10_000).contains(&bucket.get())
    };
    (0..1000).map(|number| format!("u{number}")).find(is_in).unwrap()
}

#[test]
fn a_layer_leaves_a_unit_to_the_experiment_of_its_slot() {
    let of = |plan: &Plan, unit: &str| {
        let decision = decided(plan, &[("x-user-id", unit)]).0.unwrap();
        (plan.experiments[decision.experiment].name.clone(), decision.reason)
    };
    let (low, middle, high) = (unit_in(0, 30), unit_in(30, 60), unit_in(60, 100));
    let named = |name: &str, reason| (name.to_owned(), reason);
    let open = layer(&[("a", 0, 30, true), ("b", 30, 60, true)]);
    assert_eq!(of(&open, &low), named("a", Reason::Hash));
    assert_eq!(of(&open, &middle), named("b", Reason::Hash));
    assert_eq!(of(&open, &high), named("a", Reason::Excluded), "the first that left it out");
    // A disabled experiment takes no unit from the others, and says more than one that left the unit out.
    let half = layer(&[("a", 0, 30, true), ("b", 30, 60, false), ("c", 60, 70, true)]);
    assert_eq!(of(&half, &low), named("a", Reason::Hash));
    assert_eq!(of(&half, &unit_in(60, 70)), named("c", Reason::Hash));
    assert_eq!(of(&half, &unit_in(70, 100)), named("b", Reason::Disabled));
    let closed = layer(&[("a", 0, 30, false), ("b", 30, 60, false)]);
    assert_eq!(of(&closed, &high), named("a", Reason::Disabled), "the first of them");
}

#[test]
fn a_layer_ends_where_another_one_begins() {
    let of = |name: &str, layer: &str, from: u32, to: u32| {
        experiment(name, &json!({"layer": {"name": layer, "from": from, "to": to}}))
    };
    let plan = plan(&[of("a", "l", 0, 30), of("m", "m", 0, 100), of("b", "l", 30, 60)]);
    let name = |unit: &str| {
        let decision = decided(&plan, &[("x-user-id", unit)]).0.unwrap();
        plan.experiments[decision.experiment].name.clone()
    };
    assert_eq!([name(&unit_in(0, 30)), name(&unit_in(30, 60))], ["a", "b"]);
    assert_eq!(name(&unit_in(60, 100)), "a");
}

#[test]
fn only_a_bucket_of_the_units_own_hash_identifies_it() {
    let unit = |more: &Value, headers: &[(&str, &str)]| {
        let plan = plan(&[experiment("e", more)]);
        let decision = decided(&plan, headers).0.unwrap();
        (decision.unit(&plan.experiments[decision.experiment]), decision.bucket)
    };
    let bucket = Draw::new(Purpose::Arm, "e").bucket(b"u");
    assert_eq!(unit(&json!({}), &[("x-user-id", "u")]), (Some(bucket), Some(bucket)));
    assert_eq!(unit(&json!({}), &[]), (None, None));
    let random = json!({"missing_unit": "random"});
    assert_eq!(unit(&random, &[("x-user-id", "u")]).0, Some(bucket));
    let (none, drawn) = unit(&random, &[]);
    assert!(none.is_none() && drawn.is_some());
    let (none, drawn) = unit(&json!({"assignment": "request_random"}), &[("x-user-id", "u")]);
    assert!(none.is_none() && drawn.is_some());
}

#[test]
fn a_span_ends_before_the_next_one_begins() {
    let variants = json!([
        {"name": "old"}, {"name": "b", "weight": 10, "reserve": 20}, {"name": "c", "weight": 0},
        {"name": "d", "weight": 30},
    ]);
    let plan = plan(&[experiment("e", &json!({ "variants": variants }))]);
    let experiment = plan.experiments.iter().next().unwrap();
    let span_of = |bucket: u32| {
        let (span, offset) = experiment.layout.span_of(Bucket::new(bucket).unwrap())?;
        Some((
            experiment.variants[span.variant].name.as_str(),
            span.start,
            span.width.get(),
            offset,
        ))
    };
    assert_eq!(span_of(0), Some(("b", 0, 200_000, 0)));
    assert_eq!(span_of(199_999), Some(("b", 0, 200_000, 199_999)));
    assert_eq!(span_of(200_000), Some(("d", 200_000, 300_000, 0)));
    assert_eq!(span_of(499_999), Some(("d", 200_000, 300_000, 299_999)));
    assert_eq!([span_of(500_000), span_of(999_999)], [None, None]);
}

#[test]
fn the_short_forms_of_the_hash_are_its_beginning() {
    let hash = plan(&[experiment("e", &json!({}))]).hash;
    let text = hash.to_string();
    assert_eq!(text.len(), 64);
    assert_eq!(hash.short(), text[..8]);
    assert_eq!(format!("{:08x}", hash.first_32_bits()), text[..8]);
}

#[test]
fn requests_wait_only_for_bodies_that_an_experiment_reads() {
    for (more, reads) in [
        (json!({}), false),
        (json!({"unit": [{"header": "u"}, {"body": "/user"}]}), true),
        (json!({"match": {"body": [{"pointer": "/model", "exact": "m"}]}}), true),
        (
            json!({"variants": [{"name": "old"}, {"name": "new", "weight": 50, "body": {"/model": "m"}}]}),
            true,
        ),
    ] {
        assert_eq!(plan(&[experiment("e", &more)]).reads_bodies(), reads, "{more}");
        assert_eq!(
            plan(&[experiment("e", &more), experiment("f", &json!({}))]).reads_bodies(),
            reads
        );
    }
}

#[test]
fn an_escape_in_a_query_is_any_byte_in_either_case() {
    let source = UnitSource::Query("u".to_owned());
    for byte in 0..=u8::MAX {
        for target in [format!("/?u=%{byte:02x}"), format!("/?u=%{byte:02X}")] {
            let request = vec![(":path", target.as_str())];
            assert_eq!(source.read(&request).as_deref(), Some(&[byte][..]), "{target}");
        }
    }
}
