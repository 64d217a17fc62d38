//! Internal redirects, which experiments do not support: the filter notices them.

use super::plugins::{bootstrap, client, manager, models, on_path, start};
use super::*;
use sidetrack_lab::Behavior;

#[tokio::test]
async fn an_internal_redirect_is_reported() {
    let models = models().await;
    let mut rendered = bootstrap(&on_path("first", "/", 100), &models);
    let manager = manager(&mut rendered["static_resources"]["listeners"][0]);
    for route in manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap() {
        route["route"]["internal_redirect_policy"] = json!({"max_internal_redirects": 1});
    }
    let envoy = start(&rendered).await;
    let client = client(&envoy, "predictors").await;
    let get = || client.send(Request::get("/x").header("x-user-id", "1"));
    assert_eq!(get().await.unwrap().status, 200);
    let reports = || envoy.log().matches("Envoy redirects requests of experiments").count();
    assert_eq!(reports(), 0, "{}", envoy.log());
    models[1].set(Behavior::Status(302));
    models[1].respond_with(&[("location", "http://models.test/elsewhere")]);
    for _ in 0..3 {
        // The second pass is not redirected again.
        assert_eq!(get().await.unwrap().status, 302);
    }
    assert_eq!(reports(), 1, "{}", envoy.log());
    envoy.stop().await.unwrap();
}
