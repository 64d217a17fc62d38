//! Units from verified tokens at a waypoint.

use serde_json::json;
use sidetrack_lab::Request;
use sidetrack_tests::istio::{Golden, Release};
use sidetrack_tests::token::Keys;

use super::running::{Running, users};
use super::{Case, ENHANCED};

/// The key in `tests/golden/istio/newest/given/keys.jwks`.
const KEYS: Keys = Keys::Secret(b"the secret of the issuer, 32 bytes or more");

/// Tokens are verified, and requests without one are rejected, before the filter decides.
#[test]
fn the_waypoint_verifies_tokens_before_the_filter() {
    let golden = Golden::read(Release::Newest, "waypoint-jwt").unwrap();
    let manager = golden.manager(Case::waypoint("").entry).unwrap();
    let filters = manager["http_filters"].as_array().unwrap();
    let place = |part: &str| {
        let is_it = |filter: &serde_json::Value| filter["name"].as_str().unwrap().contains(part);
        filters.iter().position(is_it).unwrap_or_else(|| panic!("no {part}: {filters:?}"))
    };
    assert!(place("jwt_authn") < place("rbac"), "{filters:?}");
    assert!(place("rbac") < place("sidetrack"), "{filters:?}");
    let guard = manager["early_header_mutation_extensions"].to_string();
    assert!(guard.contains("x-user-id"), "a client's own unit is not removed: {guard}");
}

#[tokio::test]
async fn the_token_is_the_unit_at_a_waypoint() {
    let running = Running::start(Case::waypoint("waypoint-jwt"), true).await;
    let assigned = running.assigned("financial-ab-test");
    let candidate = assigned.iter().find(|(_, variant)| *variant == ENHANCED).unwrap().0;
    let request =
        |header: &str, value: &str| -> Request { running.request(candidate).header(header, value) };
    for user in users().iter().take(100) {
        let token = KEYS.bearer(&json!({"sub": user}));
        let answer = running.client.send(request("authorization", &token)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header_text("x-ab-variant").as_ref(), Some(&assigned[user]), "{user}");
    }
    let none = running.client.send(running.request(candidate)).await.unwrap();
    assert_eq!(none.status, 403, "{}", none.text());
    let stranger = Keys::Secret(b"another secret").bearer(&json!({"sub": candidate}));
    let refused = running.client.send(request("authorization", &stranger)).await.unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text());
}
