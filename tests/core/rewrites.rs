//! A variant's values in the body of a request, and the headers that a new body requires.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may stop")]

use serde_json::json;
use sidetrack::config;
use sidetrack::decide::{Gate, Outcome, World, decide};
use sidetrack::effects::{Effects, Op, Reporter};
use sidetrack::quantity::Timestamp;
use sidetrack::request::{Body, Request};

/// A request with a body.
struct Post<'a>(Vec<(&'a str, &'a str)>, Body<'a>);

impl Request for Post<'_> {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.values(name)
    }

    fn body(&self) -> Body<'_> {
        self.1
    }
}

/// The body that the model gets, if it is another one.
fn new_body(edits: &serde_json::Value, body: Body<'_>) -> Option<String> {
    let file = json!({"experiments": [{
        "name": "e", "unit": [{"header": "u"}], "baseline": "old",
        "variants": [{"name": "old"}, {"name": "new", "weight": 100, "body": edits}],
    }]});
    let plan = config::parse_json(file.to_string().as_bytes()).unwrap();
    let request = Post(vec![("u", "1"), (":method", "POST"), (":path", "/")], body);
    let mut world = World { now: Timestamp::new(0), entropy: || 0, gate: &|_, _| Gate::Closed };
    let outcome = decide(&plan, &request, &mut world, &mut ());
    let Outcome::Decided(decision) = outcome else { panic!("{outcome:?}") };
    let body = Effects::new(&plan, decision, Reporter::Filter).new_body(&request);
    body.map(|body| String::from_utf8(body).unwrap())
}

#[test]
fn only_a_variant_with_values_changes_the_body() {
    let model = json!({"/model": "m-2"});
    let text = Body::Whole(br#"{ "model": "m-1", "n": 1.50 }"#);
    assert_eq!(new_body(&model, text).as_deref(), Some(r#"{ "model": "m-2", "n": 1.50 }"#));
    assert_eq!(new_body(&json!({}), text), None);
    // The baseline serves what cannot be edited, and has no values.
    for body in [Body::Absent, Body::Whole(b"[1]"), Body::Whole(b"{")] {
        assert_eq!(new_body(&model, body), None, "{body:?}");
    }
}

#[test]
fn a_new_body_has_another_length_and_no_old_digest() {
    let changes = |headers: &[(&str, &str)]| {
        let mut changes = Vec::new();
        Effects::on_new_body(&headers.to_vec(), 17, |effect| {
            let value = String::from_utf8(effect.value.to_vec()).unwrap();
            changes.push((effect.op, effect.name.to_owned(), value));
        });
        changes
    };
    assert_eq!(changes(&[("u", "1")]), []);
    let length = (Op::Set, "content-length".to_owned(), "17".to_owned());
    assert_eq!(changes(&[("content-length", "5")]), [length]);
    let removed = |name: &str| (Op::Remove, name.to_owned(), String::new());
    assert_eq!(changes(&[("content-digest", "x")]), [removed("content-digest")]);
}
