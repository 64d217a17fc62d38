//! Requests that wait for their bodies: for a unit, a condition, or a value that a variant sets.

use serde_json::{Value, json};
use sidetrack_proxy::stream::Action;

use crate::proxy::{Open, Proxy, file, host, with_settings};

/// The unit is in the body, and a forced unit shows that it was read.
fn body_file() -> Value {
    let file = file(&json!({
        "unit": [{"body": "/user"}],
        "variants": [{"name": "old"}, {"name": "new", "weight": 1}],
        "overrides": {"units": {"anna": "new"}},
    }));
    with_settings(file, &json!({"body_limit": "32B"}))
}

const BODY: &str = r#"{"user": "anna"}"#;

fn waiting_proxy() -> Proxy {
    Proxy::on(&host(&["SIDETRACK_WAIT_FOR_BODIES"]), &body_file())
}

fn post(proxy: &Proxy, length: usize) -> Open {
    proxy.open(&[("content-length", &length.to_string())])
}

/// As much of the body as the proxy has buffered.
fn arrive(request: &mut Open, body: &str, end: bool) -> Action {
    *request.call.body.borrow_mut() = body.into();
    request.stream.request_body(&request.call, body.len(), end)
}

#[test]
fn a_request_waits_until_its_body_is_complete() {
    let mut request = post(&waiting_proxy(), BODY.len());
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    assert!(request.sent("x-ab-variant").is_empty());
    assert_eq!(arrive(&mut request, &BODY[..7], false), Action::Pause);
    assert!(request.sent("x-ab-variant").is_empty());
    assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
    assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["new"], "decided once");
}

#[test]
fn trailers_complete_a_body() {
    let mut request = post(&waiting_proxy(), BODY.len());
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    assert_eq!(arrive(&mut request, BODY, false), Action::Pause);
    assert_eq!(request.stream.request_trailers(&request.call), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
}

#[test]
fn a_body_above_the_limit_is_not_awaited_and_not_read() {
    let proxy = waiting_proxy();
    let mut request = post(&proxy, 33);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
    // The announced length was wrong.
    let mut request = post(&proxy, 32);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    let body = format!("{BODY:33}");
    assert_eq!(arrive(&mut request, &body[..32], false), Action::Pause);
    assert_eq!(arrive(&mut request, &body, false), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
    // A body of the limit's size is read.
    let mut request = post(&proxy, 32);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    assert_eq!(arrive(&mut request, &body[..32], true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
}

#[test]
fn a_body_that_a_condition_needs_and_that_is_too_large_is_counted() {
    let condition = json!({"match": {"body": [{"pointer": "/user", "exact": "anna"}]}});
    let file = with_settings(file(&condition), &json!({"body_limit": "32B"}));
    let mut proxy = Proxy::on(&host(&["SIDETRACK_WAIT_FOR_BODIES"]), &file);
    let mut request = post(&proxy, 33);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Continue);
    assert!(request.sent("x-ab-variant").is_empty());
    proxy.filter.tick();
    assert_eq!(proxy.missing("body_too_large"), 1);
}

#[test]
fn a_request_without_a_body_or_a_length_continues() {
    let proxy = waiting_proxy();
    let mut request = post(&proxy, BODY.len());
    assert_eq!(request.stream.request_headers(&request.call, true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
    let mut request = proxy.open(&[]);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
}

#[test]
fn chunks_of_a_json_document_are_awaited_up_to_the_limit() {
    let mut proxy = waiting_proxy();
    let json = [("content-type", "application/json")];
    let mut request = proxy.open(&json);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    assert_eq!(arrive(&mut request, &BODY[..7], false), Action::Pause);
    assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
    let mut request = proxy.open(&json);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    assert_eq!(arrive(&mut request, &format!("{BODY:33}"), false), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
    proxy.filter.tick();
    assert_eq!(proxy.missing("body_too_large"), 1);
}

#[test]
fn a_body_that_follows_an_answer_is_not_awaited() {
    let length = BODY.len().to_string();
    for late in [("expect", "100-continue"), ("upgrade", "websocket"), (":method", "CONNECT")] {
        let mut request = waiting_proxy().open(&[("content-length", &length)]);
        // The first value of a header counts.
        request.call.request.borrow_mut().insert(0, (late.0.into(), late.1.into()));
        assert_eq!(request.stream.request_headers(&request.call, false), Action::Continue);
        assert_eq!(request.sent("x-ab-variant"), ["old"]);
    }
}

/// A variant that sets the model in the body.
fn editing_proxy() -> Proxy {
    let file = file(&json!({
        "match": {"body": [{"pointer": "/model", "prefix": "m"}]},
        "variants": [{"name": "old"}, {"name": "new", "weight": 100, "body": {"/model": "m-two"}}],
    }));
    Proxy::on(&host(&["SIDETRACK_WAIT_FOR_BODIES"]), &file)
}

const ASKED: &str = r#"{ "model": "m", "n": 1.0 }"#;
const EDITED: &str = r#"{ "model": "m-two", "n": 1.0 }"#;

#[test]
fn a_variant_sets_a_value_and_the_headers_of_the_body_follow() {
    let proxy = editing_proxy();
    let length = ASKED.len().to_string();
    let digests = [("digest", "a"), ("content-digest", "b"), ("content-md5", "c")];
    let headers = [("x-user-id", "anna"), ("content-length", &length), ("x-other-digest", "d")];
    let mut request = proxy.open(&[&headers[..], &digests].concat());
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    assert_eq!(arrive(&mut request, ASKED, true), Action::Continue);
    assert_eq!(request.call.body.borrow().as_slice(), EDITED.as_bytes());
    assert_eq!(request.sent("content-length"), [EDITED.len().to_string()]);
    assert!(digests.iter().all(|(name, _)| request.sent(name).is_empty()));
    assert_eq!(request.sent("x-other-digest"), ["d"]);

    // Chunks have no length, and trailers may have the digest.
    let mut request = proxy.open(&[("x-user-id", "anna"), ("content-type", "application/json")]);
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    assert_eq!(arrive(&mut request, ASKED, false), Action::Pause);
    let trailers = [("content-digest", "b"), ("x-checksum", "c")];
    let pairs = trailers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    request.call.trailers.borrow_mut().extend(pairs);
    assert_eq!(request.stream.request_trailers(&request.call), Action::Continue);
    assert_eq!(request.call.body.borrow().as_slice(), EDITED.as_bytes());
    assert!(request.sent("content-length").is_empty());
    assert_eq!(*request.call.trailers.borrow(), [("x-checksum".to_owned(), "c".to_owned())]);
}

#[test]
fn a_body_that_nothing_changes_keeps_its_headers_and_trailers() {
    let proxy = editing_proxy();
    let length = ASKED.len().to_string();
    let headers = [("x-user-id", "anna"), ("content-length", length.as_str()), ("digest", "a")];
    for keeps_body in [true, false] {
        let mut request = proxy.open(&headers);
        request.call.keeps_body.set(keeps_body);
        request.call.trailers.borrow_mut().push(("digest".to_owned(), "b".to_owned()));
        let other = ASKED.replace("\"m\"", "\"x\"");
        let body = if keeps_body { ASKED } else { &other };
        assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
        assert_eq!(arrive(&mut request, body, false), Action::Pause);
        assert_eq!(request.stream.request_trailers(&request.call), Action::Continue);
        assert_eq!(request.call.body.borrow().as_slice(), body.as_bytes());
        assert_eq!(request.sent("x-ab-variant").is_empty(), !keeps_body);
        assert_eq!(
            (request.sent("content-length"), request.sent("digest")),
            (vec![length.clone()], vec!["a".to_owned()])
        );
        assert_eq!(request.call.trailers.borrow().len(), 1);
    }
}

#[test]
fn too_many_waiting_bodies_are_not_awaited() {
    let mut file = body_file();
    file["settings"]["body_limit"] = json!("16MiB");
    let mut proxy = Proxy::on(&host(&["SIDETRACK_WAIT_FOR_BODIES"]), &file);
    let large = (16 << 20).to_string();
    let open = || {
        let mut request = proxy.open(&[("content-length", &large)]);
        let action = request.stream.request_headers(&request.call, false);
        (request, action)
    };
    // The headers count too, so there is no room for sixteen.
    let mut waiting: Vec<Open> = (0..15)
        .map(|_| open())
        .map(|(request, action)| {
            assert_eq!(action, Action::Pause);
            request
        })
        .collect();
    let (request, action) = open();
    assert_eq!((action, request.sent("x-ab-variant")), (Action::Continue, vec!["old".to_owned()]));
    // One that is decided, and one whose client leaves, make room.
    assert_eq!(arrive(&mut waiting[0], BODY, true), Action::Continue);
    assert_eq!(open().1, Action::Pause);
    waiting.pop();
    assert_eq!(open().1, Action::Pause);
    proxy.filter.tick();
    assert_eq!(proxy.missing("too_many_held"), 1);
}

#[test]
fn large_headers_of_waiting_requests_are_bounded() {
    let proxy = waiting_proxy();
    let large = "x".repeat(1 << 20);
    let open = || {
        let length = BODY.len().to_string();
        let mut request = proxy.open(&[("content-length", &length), ("x-large", &large)]);
        let action = request.stream.request_headers(&request.call, false);
        (request, action)
    };
    let waiting: Vec<_> = (0..300).map(|_| open()).collect();
    let paused = waiting.iter().filter(|(_, action)| *action == Action::Pause).count();
    assert_eq!(paused, 255);
    drop(waiting);
    assert_eq!(open().1, Action::Pause);
}

#[test]
fn a_request_whose_headers_are_gone_continues() {
    let proxy = waiting_proxy();
    let mut request = post(&proxy, BODY.len());
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    request.call.hides_headers.set(true);
    assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
    assert!(request.sent("x-ab-variant").is_empty());
    assert_eq!(proxy.value("ab_test_undecided_total"), 1);
}

#[test]
fn where_the_proxy_cannot_hold_headers_back_nothing_waits() {
    let mut request = post(&Proxy::new(&body_file()), BODY.len());
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
    assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
}

/// Requests that wait while their candidate is taken out of the experiment.
#[test]
fn the_newest_configuration_decides_a_request_that_has_waited() {
    let changed = |more: &Value| {
        let mut file = body_file();
        for (key, value) in more.as_object().unwrap() {
            file["experiments"][0][key] = value.clone();
        }
        file
    };
    let cases = [
        ("the kill switch", changed(&json!({"enabled": false})), Some("old")),
        ("no override", changed(&json!({"overrides": {"units": {}}})), Some("old")),
        ("a unit in a header", changed(&json!({"unit": [{"header": "x-user-id"}]})), Some("old")),
        ("another match", changed(&json!({"match": {"path": {"exact": "/other"}}})), None),
        ("no experiments", json!({"experiments": []}), None),
        ("another file", changed(&json!({"name": "f", "enabled": false})), Some("new")),
    ];
    for (case, file, variant) in cases {
        let proxy = waiting_proxy();
        let mut request = post(&proxy, BODY.len());
        assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
        let update = proxy.instance(&file.to_string());
        assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
        assert_eq!(request.sent("x-ab-variant"), Vec::from_iter(variant), "{case}");
        request.respond(200);
        request.end();
        drop(update);
    }
}

/// Its counts are those of the configuration that decided it.
#[test]
fn a_request_that_has_waited_counts_for_the_newest_configuration() {
    let proxy = waiting_proxy();
    let mut request = post(&proxy, BODY.len());
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    let variants =
        json!([{"name": "old"}, {"name": "new", "weight": 1}, {"name": "newer", "weight": 1}]);
    let mut file = body_file();
    file["experiments"][0]["variants"] = variants;
    file["experiments"][0]["overrides"] = json!({"units": {"anna": "newer"}});
    let mut update = proxy.instance(&file.to_string());
    assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["newer"]);
    request.respond(200);
    request.end();
    update.tick();
    assert_eq!(proxy.of_experiment("ab_test_overrides_total"), 1);
}

/// The body is complete by the old limit, by the new one, or by both.
#[test]
fn a_request_that_has_waited_has_the_newest_limit() {
    let limited =
        |limit: &str| with_settings(body_file(), &json!({"body_limit": limit})).to_string();
    let long = format!("{BODY:40}");
    let cases = [
        // The new limit is lower.
        ("8B", &BODY[..7], false, None),
        ("8B", BODY, false, Some("old")),
        ("8B", BODY, true, Some("old")),
        // The new limit is higher.
        ("64B", BODY, true, Some("new")),
        ("64B", &long[..], true, Some("new")),
        ("64B", &long[..33], false, Some("old")),
        ("64B", &long[..32], false, None),
    ];
    for (limit, body, end, variant) in cases {
        let proxy = waiting_proxy();
        let mut request = proxy.open(&[("content-type", "application/json")]);
        assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
        let update = proxy.instance(&limited(limit));
        let action = arrive(&mut request, body, end);
        let expected = if variant.is_some() { Action::Continue } else { Action::Pause };
        assert_eq!(action, expected, "{limit}, {body}, {end}");
        assert_eq!(request.sent("x-ab-variant"), Vec::from_iter(variant), "{limit}, {body}, {end}");
        drop(update);
    }
}

#[test]
fn a_newer_configuration_of_another_plugin_decides_nothing() {
    let proxy = waiting_proxy();
    let mut request = post(&proxy, BODY.len());
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Pause);
    let mut file = body_file();
    file["experiments"][0]["enabled"] = json!(false);
    let other = proxy.plugin("other", &file.to_string());
    assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
    drop(other);
}
