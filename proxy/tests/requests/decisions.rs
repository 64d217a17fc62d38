//! What a decision does to the headers of a request and of its response, and to the access log.

use serde_json::json;

use crate::proxy::{Proxy, file, host, with_settings};

const NONE: [String; 0] = [];

#[test]
fn a_request_gets_its_variant_and_the_response_reports_it() {
    let proxy = Proxy::new(&file(&json!({})));
    let request = proxy.send("anna", 200);
    assert_eq!(request.sent("x-ab-experiment"), ["e"]);
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
    assert_eq!(request.sent("x-ab-cluster"), ["new-cluster"]);
    assert_eq!(request.received("x-ab-experiment"), ["e"]);
    assert_eq!(request.received("x-ab-variant"), ["new"]);
    assert_eq!(request.received("x-ab-cluster"), NONE);
    assert_eq!(request.exposed(), [const { None }; 4]);
}

#[test]
fn routes_that_report_leave_only_the_variant_to_the_filter() {
    let host = host(&["SIDETRACK_ROUTES_TELL"]);
    let request = Proxy::on(&host, &file(&json!({}))).send("anna", 200);
    assert_eq!(request.sent("x-ab-variant"), ["new"]);
    assert_eq!(request.sent("x-ab-experiment"), NONE);
    assert!(request.call.response.borrow().is_empty());
}

#[test]
fn a_clients_own_headers_of_the_filter_are_removed() {
    let proxy = Proxy::new(&file(&json!({"match": {"path": {"prefix": "/infer"}}})));
    for (path, variant) in [("/infer", &["new"][..]), ("/other", &[])] {
        let mut request = proxy.open(&[
            ("x-user-id", "anna"),
            ("x-ab-cluster", "mine"),
            ("x-ab-variant", "mine"),
            ("x-other", "kept"),
        ]);
        request.call.request.borrow_mut()[2].1 = path.into();
        request.decide();
        assert_eq!(request.sent("x-ab-variant"), variant, "{path}");
        assert!(!request.sent("x-ab-cluster").contains(&"mine".to_owned()), "{path}");
        assert_eq!(request.sent("x-other"), ["kept"], "{path}");
    }
}

#[test]
fn a_request_that_no_experiment_matches_passes_untouched() {
    let mut proxy = Proxy::new(&file(&json!({"match": {"hosts": ["other.test"]}})));
    let request = proxy.send("anna", 200);
    assert_eq!(request.call.request.borrow().len(), 4);
    assert!(request.call.response.borrow().is_empty());
    proxy.run(std::time::Duration::from_secs(1));
    assert_eq!(proxy.requests("old"), [0, 0, 0]);
    assert_eq!(proxy.requests("new"), [0, 0, 0]);
}

#[test]
fn without_a_unit_the_baseline_serves_or_the_request_is_skipped() {
    for (skips, variant, served) in [(false, &["old"][..], 1), (true, &[], 0)] {
        let missing = if skips { "skip" } else { "baseline" };
        let mut proxy = Proxy::new(&file(&json!({"missing_unit": missing})));
        let mut request = proxy.open(&[]);
        request.decide();
        request.respond(200);
        request.end();
        assert_eq!(request.sent("x-ab-variant"), variant);
        assert_eq!(request.received("x-ab-variant"), variant);
        proxy.run(std::time::Duration::from_millis(100));
        assert_eq!(proxy.missing("absent"), 1, "{missing}");
        assert_eq!(proxy.requests("old"), [served, 0, 0], "{missing}");
    }
}

#[test]
fn an_overridden_request_is_served_and_counts_only_as_an_override() {
    let file = file(&json!({
        "variants": [{"name": "old"}, {"name": "new", "weight": 10}],
        "overrides": {"header": "x-ab-force"},
    }));
    let mut proxy = Proxy::new(&file);
    for is_logged in [true, false] {
        let mut request = proxy.open(&[("x-ab-force", "new")]);
        request.decide();
        assert_eq!(request.sent("x-ab-variant"), ["new"]);
        assert_eq!(request.sent("x-ab-force"), NONE);
        request.respond(500);
        if is_logged {
            request.log();
        }
        request.delete();
    }
    proxy.run(std::time::Duration::from_secs(1));
    assert_eq!(proxy.of_experiment("ab_test_overrides_total"), 2);
    assert_eq!(proxy.requests("new"), [0, 0, 0]);
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 0);
}

#[test]
fn a_mirrored_request_is_marked_and_counted() {
    let mut proxy = Proxy::new(&file(&json!({"mirror": {"cluster": "copies"}})));
    assert_eq!(proxy.send("anna", 200).sent("x-ab-mirror"), ["copies"]);
    proxy.run(std::time::Duration::from_millis(100));
    assert_eq!(proxy.of_experiment("ab_test_mirrored_total"), 1);
}

#[test]
fn a_random_assignment_draws_from_the_host() {
    let proxy = Proxy::new(&file(&json!({
        "assignment": "request_random",
        "variants": [{"name": "old"}, {"name": "new", "weight": 50}],
    })));
    let mut variants: Vec<String> = [0, u64::MAX]
        .iter()
        .flat_map(|&random| {
            proxy.host.0.random.set(random);
            proxy.send("anna", 200).sent("x-ab-variant")
        })
        .collect();
    variants.sort();
    assert_eq!(variants, ["new", "old"]);
}

#[test]
fn a_minted_cookie_is_secure_on_an_encrypted_connection() {
    let unit = json!([{"cookie": "sid", "mint": {"max_age": "1h"}}]);
    let proxy = Proxy::new(&file(&json!({"unit": unit})));
    proxy.host.0.random.set(7);
    for (scheme, is_secure) in [("http", false), ("https", true)] {
        let mut request = proxy.open(&[("x-forwarded-proto", scheme)]);
        request.decide();
        request.respond(200);
        let cookies = request.received("set-cookie");
        assert_eq!(cookies.len(), 1, "{scheme}");
        assert!(cookies[0].starts_with("sid="), "{cookies:?}");
        assert_eq!(cookies[0].contains("Secure"), is_secure, "{cookies:?}");
    }
}

#[test]
fn a_debug_response_explains_the_decision() {
    let file = with_settings(file(&json!({"breaker": {}})), &json!({"debug": "allowed"}));
    let proxy = Proxy::new(&file);
    let mut request = proxy.open(&[("x-user-id", "anna"), ("x-ab-debug", "1")]);
    request.decide();
    request.respond(200);
    assert_eq!(request.received("x-ab-reason"), ["hash"]);
    assert_eq!(request.received("x-ab-breaker"), ["closed"]);
}

#[test]
fn a_request_whose_headers_the_proxy_hides_passes_and_is_counted_at_once() {
    let proxy = Proxy::new(&file(&json!({})));
    let mut request = proxy.open(&[("x-user-id", "anna")]);
    request.call.hides_headers.set(true);
    request.decide();
    assert_eq!(request.sent("x-ab-variant"), NONE);
    assert_eq!(proxy.value("ab_test_undecided_total"), 1);
    request.respond(200);
    request.end();
    assert!(request.call.response.borrow().is_empty());
    proxy.send("anna", 200);
    assert_eq!(proxy.value("ab_test_undecided_total"), 1);
}

#[test]
fn the_access_log_gets_reason_bucket_and_unit_where_it_is_written() {
    let host = host(&["SIDETRACK_EXPOSURES"]);
    let proxy = |unit: &str| {
        Proxy::on(&host, &with_settings(file(&json!({})), &json!({"exposure_unit": unit})))
    };
    let some = |text: &str| Some(text.to_owned());
    let [reason, bucket, unit, rescued] = proxy("plain").send("anna", 200).exposed();
    assert_eq!([reason, unit, rescued], [some("hash"), some("anna"), None]);
    assert!(bucket.is_some_and(|bucket| bucket.parse::<u32>().unwrap() < 1_000_000));
    let [_, _, unit, _] = proxy("digest").send("anna", 200).exposed();
    assert_eq!(unit.as_ref().map(String::len), Some(32));
    let [_, _, default, _] = Proxy::on(&host, &file(&json!({}))).send("anna", 200).exposed();
    assert_eq!(default, unit);
    let [reason, _, unit, _] = proxy("none").send("anna", 200).exposed();
    assert_eq!([reason, unit], [some("hash"), None]);
    let mut request = proxy("plain").open(&[]);
    request.decide();
    assert_eq!(request.exposed(), [some("missing_unit"), None, None, None]);
}

/// For proxies that pass no environment to a filter.
#[test]
fn the_file_says_in_place_of_the_environment_what_the_proxy_does() {
    let exposed = |variables: &[&'static str], settings: serde_json::Value| {
        let file = with_settings(file(&json!({})), &settings);
        Proxy::on(&host(variables), &file).send("anna", 200).exposed()[0].is_some()
    };
    let variable = ["SIDETRACK_EXPOSURES"];
    assert!(exposed(&[], json!({"proxy": {"exposures": true}})));
    assert!(!exposed(&variable, json!({"proxy": {"exposures": false}})), "the file wins");
    assert!(exposed(&variable, json!({"proxy": {"routes_clean": true}})), "the file says nothing");
    assert!(!exposed(&[], json!({})));

    let cleaned = |variables: &[&'static str], settings: serde_json::Value| {
        let file = with_settings(file(&json!({})), &settings);
        let mut request = Proxy::on(&host(variables), &file).open(&[("x-user-id", "anna")]);
        request.decide();
        request.call.response.borrow_mut().push(("x-ab-reason".to_owned(), "forged".to_owned()));
        request.respond(200);
        let response = request.call.response.borrow();
        !response.iter().any(|(name, _)| name == "x-ab-reason")
    };
    assert!(cleaned(&[], json!({})));
    assert!(!cleaned(&[], json!({"proxy": {"routes_clean": true}})));
    assert!(!cleaned(&["SIDETRACK_ROUTES_CLEAN"], json!({})));
    assert!(cleaned(&["SIDETRACK_ROUTES_CLEAN"], json!({"proxy": {"routes_clean": false}})));
}

/// The log would change bytes that are not text.
#[test]
fn a_plain_unit_that_is_not_text_is_logged_as_its_digest() {
    let host = host(&["SIDETRACK_EXPOSURES"]);
    let logged = |shown: &str, value: &str| {
        let file = file(&json!({"unit": [{"query": "user"}]}));
        let proxy = Proxy::on(&host, &with_settings(file, &json!({"exposure_unit": shown})));
        let mut request = proxy.open(&[]);
        let path = (":path".to_owned(), format!("/?user={value}"));
        request.call.request.borrow_mut().insert(0, path);
        request.decide();
        request.exposed()[2].clone().unwrap()
    };
    assert_eq!(logged("plain", "%C3%A4"), "ä");
    for bytes in ["%FF", "%C3", "a%FE"] {
        assert_eq!(logged("plain", bytes), logged("digest", bytes));
    }
    assert_ne!(logged("plain", "%FF"), logged("plain", "%FE"));
}

#[test]
fn the_access_log_gets_a_minted_unit() {
    let host = host(&["SIDETRACK_EXPOSURES"]);
    let unit = json!([{"cookie": "sid", "mint": {"max_age": "1h"}}]);
    let file = with_settings(file(&json!({"unit": unit})), &json!({"exposure_unit": "plain"}));
    let mut request = Proxy::on(&host, &file).open(&[]);
    request.decide();
    request.respond(200);
    let unit = request.exposed()[2].clone().unwrap();
    assert!(request.received("set-cookie")[0].starts_with(&format!("sid={unit};")));
}
