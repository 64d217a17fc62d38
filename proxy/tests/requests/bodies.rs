//! Requests that wait for a body with their unit in it.

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
fn where_the_proxy_cannot_hold_headers_back_nothing_waits() {
    let mut request = post(&Proxy::new(&body_file()), BODY.len());
    assert_eq!(request.stream.request_headers(&request.call, false), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
    assert_eq!(arrive(&mut request, BODY, true), Action::Continue);
    assert_eq!(request.sent("x-ab-variant"), ["old"]);
}
