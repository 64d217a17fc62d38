//! What a page of another site can make a browser send to a store without a token.

use sidetrack_store::{Access, Limits};

use crate::served::{EXPERIMENT, JSON, Served};

const FLAG: &str = "/ofrep/v1/evaluate/flags/forecast";
const UNIT: &[u8] = br#"{"context": {"targetingKey": "u"}}"#;

#[test]
fn a_page_of_another_site_writes_nothing() {
    let served = Served::new();
    let from = |origin: &str, kind: &str| {
        served.send("POST", FLAG, &[("content-type", kind), ("origin", origin)], UNIT).status
    };
    // What a browser sends without asking first, and what it asks for.
    assert_eq!(served.post(FLAG, "text/plain", UNIT).status, 415);
    for origin in
        ["https://evil.example", "null", "http://192.0.2.7", "http://localhost.evil.example"]
    {
        assert_eq!(from(origin, JSON), 403, "{origin}");
    }
    let rows = r#"{"request_id": "a", "accuracy": 1}"#;
    let headers = [("content-type", JSON), ("origin", "https://evil.example")];
    assert_eq!(served.send("POST", "/v1/outcomes", &headers, rows.as_bytes()).status, 403);
    // Pages of this machine, and clients that are no browser.
    for origin in [served.url.as_str(), "http://localhost:3000", "http://[::1]:3000"] {
        assert_eq!(from(origin, "application/json; charset=utf-8"), 200, "{origin}");
    }
    assert_eq!(served.post(FLAG, JSON, UNIT).status, 200);
}

#[test]
fn evaluations_count_as_records() {
    let access = Access { max_rate: Some(1), ..Access::local() };
    let served = Served::with(&[EXPERIMENT], Limits::default(), access);
    let statuses: Vec<u16> = (0..4).map(|_| served.post(FLAG, JSON, UNIT).status).collect();
    assert!(statuses.starts_with(&[200, 200]) && statuses.contains(&429), "{statuses:?}");
}
