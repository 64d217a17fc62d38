//! The filter's own headers: clients cannot set them, and the filter sets only those that the file
//! asks for.

use serde_json::json;
use sidetrack_tests::world::Stage;

use super::*;

/// Every name that the filter owns, without the prefix.
const OWN: [&str; 13] = [
    "experiment",
    "variant",
    "assigned",
    "phase",
    "cluster",
    "mirror",
    "force",
    "token",
    "debug",
    "reason",
    "bucket",
    "breaker",
    "config",
];

/// The request with all of the filter's headers, each twice, as if a client could choose.
fn forged(request: Request, prefix: &str) -> Request {
    OWN.iter().fold(request, |request, name| {
        let value = if *name == "cluster" || *name == "mirror" { "new-cluster" } else { "forged" };
        // The first of a pair in capitals: names have no case.
        request
            .header(format!("{prefix}{name}").to_uppercase(), value)
            .header(format!("{prefix}{name}"), value)
    })
}

fn nothing_forged(exchange: &Exchange) {
    let up = exchange.model.iter().flat_map(|model| &model.headers);
    for (name, value) in up.chain(&exchange.response.headers) {
        assert!(value != b"forged", "{name} survived");
    }
}

pub(crate) async fn no_match_leaves_no_trace(stage: Stage) {
    let mut file = forecast_with(json!({"match": {
        "path": {"prefix": "/v2/models/forecast"},
        "hosts": ["models.test", "*.example.com", "Dotted.Test."],
        "methods": ["GET", "POST"],
        "headers": [{"name": "x-tenant", "exact": "acme"}, {"name": "x-region", "prefix": "eu-"},
                    {"name": "x-internal", "present": false}],
    }}));
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    let request = |method: &str, path: &str, host: &str, tenant: &str, region: &str| {
        let request = Request::new(method, path).header("host", host).header("x-tenant", tenant);
        request.header("x-region", region).header("x-user-id", "anna").header("x-ab-debug", "1")
    };
    for (method, path, host, region) in [
        ("GET", FORECAST, "models.test", "eu-1"),
        ("POST", FORECAST, "Models.Test:8080", "eu-"),
        ("GET", "/v2/models/forecaster?x", "a.b.example.com", "eu-1"),
        ("GET", FORECAST, "MODELS.test.", "eu-1"),
        ("GET", FORECAST, "a.example.com.:443", "eu-1"),
        ("GET", FORECAST, "dotted.test", "eu-1"),
    ] {
        let exchange = world.send(request(method, path, host, "acme", region)).await;
        assert_eq!(
            exchange.up("x-ab-experiment").as_deref(),
            Some("forecast-ab"),
            "{method} {path} {host}"
        );
    }
    for without in [
        request("PUT", FORECAST, "models.test", "acme", "eu-1"),
        request("GET", "/v2/models/fore", "models.test", "acme", "eu-1"),
        request("GET", "/V2/models/forecast", "models.test", "acme", "eu-1"),
        request("GET", FORECAST, "example.com", "acme", "eu-1"),
        request("GET", FORECAST, "models.test.evil", "acme", "eu-1"),
        request("GET", FORECAST, "models.test..", "acme", "eu-1"),
        request("GET", FORECAST, "models.test", "ACME", "eu-1"),
        request("GET", FORECAST, "models.test", "acme", "us-eu-"),
        request("GET", FORECAST, "models.test", "acme", "eu-1").header("x-internal", ""),
    ] {
        untouched(&world.send(without).await);
    }
    assert_eq!(counted(&world).await, 6);
    world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
}

/// Forged headers do not survive, whichever way a request takes through the filter.
pub(crate) async fn what_a_client_forges_does_not_survive(stage: Stage) {
    let mut file =
        forecast_with(json!({"missing_unit": "skip", "overrides": {"header": "x-ab-force"}}));
    let world = stage.start(&file).await;
    let old = user_of(&world, "old");
    let elsewhere = || Request::get("/elsewhere").header("x-user-id", &old);
    let forged = |request: Request| forged(request, "x-ab-");

    let matched = world.send(forged(by(&old))).await;
    told(&matched, "old");
    assert_eq!(matched.cluster(), Some("old-cluster"));
    nothing_forged(&matched);
    for exchange in
        [world.send(forged(elsewhere())).await, world.send(forged(Request::get(FORECAST))).await]
    {
        nothing_forged(&exchange);
        untouched(&exchange);
    }
    let overridden = world.send(forged(Request::get(FORECAST).header("x-ab-force", "new"))).await;
    told(&overridden, "new");
    nothing_forged(&overridden);

    file["experiments"][0]["enabled"] = json!(false);
    world.update(&file).await;
    let disabled = world.send(forged(by(&old))).await;
    told(&disabled, "old");
    assert_eq!(disabled.cluster(), Some("old-cluster"));
    nothing_forged(&disabled);

    world.update(&json!({"experiments": []})).await;
    let none = world.send(forged(by(&old))).await;
    nothing_forged(&none);
    untouched(&none);
}

/// All of the filter's headers, as a model sends them that returns what it received.
const FORGED: [(&str, &str); 13] = [
    ("x-ab-experiment", "forged"),
    ("x-ab-variant", "forged"),
    ("x-ab-assigned", "forged"),
    ("x-ab-phase", "forged"),
    ("x-ab-cluster", "forged"),
    ("x-ab-mirror", "forged"),
    ("x-ab-force", "forged"),
    ("x-ab-token", "forged"),
    ("x-ab-debug", "forged"),
    ("x-ab-reason", "forged"),
    ("x-ab-bucket", "forged"),
    ("x-ab-breaker", "forged"),
    ("x-ab-config", "forged"),
];

/// Forged headers of a model do not reach the caller, whichever way a request takes through the
/// filter.
pub(crate) async fn what_a_model_forges_does_not_come_back(stage: Stage) {
    let mut file =
        forecast_with(json!({"missing_unit": "skip", "overrides": {"header": "x-ab-force"}}));
    let world = stage.start(&file).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    for cluster in ["old-cluster", "new-cluster"] {
        world.model_responds_with(cluster, &FORGED);
    }
    for settings in [json!({}), json!({"response_headers": false}), json!({"debug": "allowed"})] {
        file["settings"] = settings;
        world.update(&file).await;
        for request in [
            by(&old),
            by(&new),
            by(&new).header("x-ab-debug", "1"),
            by(&old).header("x-ab-force", "new"),
            Request::get(FORECAST),
            Request::get("/elsewhere").header("x-user-id", &old),
        ] {
            nothing_forged(&world.send(request).await);
        }
    }
    world.update(&json!({"experiments": []})).await;
    let outside = world.send(by(&old)).await;
    nothing_forged(&outside);
    untouched(&outside);
}

pub(crate) async fn another_header_prefix(stage: Stage) {
    let mut file = forecast_with(json!({"overrides": {"header": "x-trial-force"}}));
    file["settings"] = json!({"header_prefix": "x-trial-", "debug": "allowed"});
    let world = stage.start(&file).await;
    let old = user_of(&world, "old");
    let exchange = world
        .send(by(&old).header("x-trial-debug", "1").header("x-ab-variant", "the caller's"))
        .await;
    assert_eq!(exchange.up("x-trial-variant").as_deref(), Some("old"));
    assert_eq!(exchange.down("x-trial-variant").as_deref(), Some("old"));
    assert_eq!(exchange.down("x-trial-reason").as_deref(), Some("hash"));
    assert_eq!(
        exchange.up("x-ab-variant").as_deref(),
        Some("the caller's"),
        "no longer the filter's header"
    );
    assert_eq!(exchange.down("x-ab-variant"), None);
    let exchange = world.send(by(&old).header("x-trial-force", "new")).await;
    assert_eq!(exchange.up("x-trial-variant").as_deref(), Some("new"));
    assert_eq!(exchange.cluster(), Some("new-cluster"));
    let exchange = world.send(forged(by(&old), "x-trial-")).await;
    nothing_forged(&exchange);
    assert_eq!(exchange.cluster(), Some("old-cluster"));
}

pub(crate) async fn the_caller_need_not_be_told(stage: Stage) {
    let variants = json!([
        {"name": "old", "cluster": "old-cluster"},
        {"name": "new", "cluster": "new-cluster", "weight": 30, "response_headers": {"x-served-by": "new"}},
    ]);
    let mut file = forecast_with(json!({"variants": variants}));
    file["settings"] = json!({"response_headers": false, "debug": "allowed"});
    let world = stage.start(&file).await;
    let new = user_of(&world, "new");
    let exchange = world.send(by(&new)).await;
    assert_eq!(exchange.up("x-ab-variant").as_deref(), Some("new"));
    assert_eq!((exchange.down("x-ab-variant"), exchange.down("x-ab-experiment")), (None, None));
    assert_eq!(
        exchange.down("x-served-by").as_deref(),
        Some("new"),
        "what the variant declares is not the filter's"
    );
    let exchange = world.send(by(&new).header("x-ab-debug", "1")).await;
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("hash"));
    assert_eq!(exchange.down("x-ab-variant"), None);
}
