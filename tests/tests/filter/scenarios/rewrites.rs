//! Changes of a variant: the request's path, and response headers in addition to the model's own.

use serde_json::json;
use sidetrack_tests::world::Stage;

use super::*;

/// The path that the model received, and the client's path in `x-envoy-original-path`.
fn path(exchange: &Exchange) -> (&str, Option<String>) {
    let received = exchange.model.as_ref().unwrap();
    (&received.path, exchange.up("x-envoy-original-path"))
}

pub(crate) async fn a_variant_has_its_own_path(stage: Stage) {
    let change = json!({"replace_prefix": ["/v2/models/forecast", "/v2/models/forecast-v2"]});
    let file = forecast_with(json!({
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": 30, "path": change},
        ],
        "overrides": {"header": "x-ab-force"},
    }));
    let world = stage.start(&file).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    for (sent, changed) in [
        (FORECAST, "/v2/models/forecast-v2/infer"),
        ("/v2/models/forecast", "/v2/models/forecast-v2"),
        (
            "/v2/models/forecast/infer?user=1&back=/v2/models/forecast",
            "/v2/models/forecast-v2/infer?user=1&back=/v2/models/forecast",
        ),
        ("/v2/models/forecaster?", "/v2/models/forecast-v2er?"),
    ] {
        let by = |user: &str| Request::get(sent).header("x-user-id", user);
        for request in [by(&new), by(&old).header("x-ab-force", "new")] {
            let exchange = world.send(request).await;
            told(&exchange, "new");
            assert_eq!(exchange.cluster(), Some("new-cluster"));
            assert_eq!(path(&exchange), (changed, Some(sent.to_owned())));
        }
        let exchange = world.send(by(&old)).await;
        told(&exchange, "old");
        assert_eq!(exchange.cluster(), Some("old-cluster"));
        assert_eq!(path(&exchange), (sent, None));
    }
    let elsewhere = Request::get("/elsewhere").header("x-user-id", &new);
    assert_eq!(path(&world.send(elsewhere).await), ("/elsewhere", None));
}

pub(crate) async fn a_path_with_another_beginning_stays(stage: Stage) {
    let change = json!({"replace_prefix": ["/v2/models/forecast/infer", "/infer"]});
    let file = forecast_with(json!({"variants": [
        {"name": "old", "path": change},
        {"name": "new", "weight": 30},
    ]}));
    let world = stage.start(&file).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    let send =
        |path: &'static str, user: &str| world.send(Request::get(path).header("x-user-id", user));
    // These variants have no clusters: routes follow x-ab-variant, whatever the path.
    let exchange = send(FORECAST, &old).await;
    assert_eq!(exchange.cluster(), Some("old"));
    assert_eq!(path(&exchange), ("/infer", Some(FORECAST.to_owned())));
    let exchange = send("/v2/models/forecast/ready", &old).await;
    assert_eq!(exchange.cluster(), Some("old"));
    assert_eq!(path(&exchange), ("/v2/models/forecast/ready", None));
    let exchange = send(FORECAST, &new).await;
    assert_eq!(exchange.cluster(), Some("new"));
    assert_eq!(path(&exchange), (FORECAST, None));
}

pub(crate) async fn cookies_and_vary_are_added_to_those_of_the_model(stage: Stage) {
    let headers =
        json!({"set-cookie": "arm=new; Path=/", "vary": "x-user-id", "x-served-by": "the new one"});
    let file = forecast_with(json!({"variants": [
        {"name": "old", "cluster": "old-cluster"},
        {"name": "new", "cluster": "new-cluster", "weight": 30, "response_headers": headers},
    ]}));
    let world = stage.start(&file).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    for cluster in ["old-cluster", "new-cluster"] {
        let of_the_model = [
            ("set-cookie", "session=1"),
            ("set-cookie", "theme=dark"),
            ("vary", "accept"),
            ("x-served-by", "a model"),
        ];
        world.model_responds_with(cluster, &of_the_model);
    }
    let exchange = world.send(by(&new)).await;
    let cookies = ["session=1", "theme=dark", "arm=new; Path=/"];
    assert_eq!(exchange.all_down("set-cookie"), cookies);
    assert_eq!(exchange.all_down("vary").join(",").replace(' ', ""), "accept,x-user-id");
    assert_eq!(exchange.all_down("x-served-by"), ["the new one"], "others are replaced");
    let exchange = world.send(by(&old)).await;
    assert_eq!(exchange.all_down("set-cookie"), ["session=1", "theme=dark"]);
    assert_eq!(exchange.all_down("vary"), ["accept"]);
}
