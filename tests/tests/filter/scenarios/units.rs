//! Sources of the unit, and odd values that clients send.

use serde_json::json;
use sidetrack_tests::world::{Kind, Stage};

use super::*;

pub(crate) async fn without_a_unit_the_baseline_serves(stage: Stage) {
    let mut file = forecast();
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    for n in 1..=3 {
        let exchange = world.get(FORECAST, &[("x-ab-debug", "1")]).await;
        told(&exchange, "old");
        assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("missing_unit"));
        assert_eq!(exchange.down("x-ab-bucket"), None);
        world
            .expect_metric("ab_test_missing_unit_total", &[("experiment", "forecast-ab")], n)
            .await;
    }
    world
        .expect_metric("ab_test_requests_total", &[("model_name", "old"), ("status", "success")], 3)
        .await;
}

pub(crate) async fn without_a_unit_chance_decides(stage: Stage) {
    let mut file = forecast_with(json!({"missing_unit": "random"}));
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    let mut new = 0;
    for _ in 0..200 {
        let exchange = world.get(FORECAST, &[("x-ab-debug", "1")]).await;
        assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("random"));
        new += u32::from(exchange.up("x-ab-variant").as_deref() == Some("new"));
    }
    assert!((21..=99).contains(&new), "{new} of 200 is no 30 percent");
    world.expect_metric("ab_test_missing_unit_total", &[], 200).await;
    let exchange = world.send(by("anna").header("x-ab-debug", "1")).await;
    assert_eq!(
        exchange.down("x-ab-reason").as_deref(),
        Some("hash"),
        "who has a unit is drawn by it"
    );
    world.expect_metric("ab_test_missing_unit_total", &[], 200).await;
}

pub(crate) async fn without_a_unit_the_request_is_left_out(stage: Stage) {
    let world = stage.start(&forecast_with(json!({"missing_unit": "skip"}))).await;
    for n in 1..=3 {
        untouched(&world.get(FORECAST, &[("x-other", "1")]).await);
        world
            .expect_metric("ab_test_missing_unit_total", &[("experiment", "forecast-ab")], n)
            .await;
    }
    assert_eq!(counted(&world).await, 0);
    let request = by("anna");
    told(&world.send(request.clone()).await, &variant(&world, &request));
    assert_eq!(counted(&world).await, 1);
}

pub(crate) async fn the_first_source_with_a_value_wins(stage: Stage) {
    let world = stage.start(&forecast()).await;
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    let query = |user: &str| format!("{FORECAST}?a=b&user={user}");
    let cookie = |user: &str| format!("a=b; sid={user}; c=d");
    for (path, headers, expected) in [
        (query(&new), vec![], "new"),
        (query(&old), vec![("cookie", cookie(&new))], "new"),
        (query(&new), vec![("cookie", cookie(&old))], "old"),
        (query(&old), vec![("cookie", cookie(&old)), ("x-user-id", new.clone())], "new"),
        (query(&old), vec![("cookie", cookie(&old)), ("X-User-Id", new.clone())], "new"),
        (query(&new), vec![("cookie", "sid=".to_owned()), ("x-user-id", String::new())], "new"),
        (FORECAST.to_owned(), vec![("x-user-id", new.clone()), ("x-user-id", old.clone())], "new"),
        (FORECAST.to_owned(), vec![("x-user-id", old.clone()), ("x-user-id", new.clone())], "old"),
        (query(&format!("%{:02x}{}", new.as_bytes()[0], &new[1..])), vec![], "new"),
    ] {
        let exchange = world.get(&path, &headers).await;
        assert_eq!(exchange.up("x-ab-variant").as_deref(), Some(expected), "{path} {headers:?}");
    }
    world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
}

pub(crate) async fn the_body_may_hold_the_unit(stage: Stage) {
    let unit = json!([{"header": "x-user-id"}, {"body": "/user/id"}]);
    let mut file = forecast_with(json!({"unit": unit}));
    file["settings"] = json!({"body_limit": "4KiB", "debug": "allowed"});
    let world = stage.start(&file).await;
    let post = |body: String| {
        Request::post(FORECAST, body)
            .header("content-type", "application/json")
            .header("x-ab-debug", "1")
    };
    let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
    for user in [&old, &new, "4711", "Zo\u{eb}"] {
        let as_header = decision(&world, &by(user));
        let literal = if user == "4711" { user.to_owned() } else { json!(user).to_string() };
        let body = format!(
            r#"{{"inputs": [1, 2], "user": {{"id": {literal}}}, "pad": "{}"}}"#,
            "x".repeat(1000)
        );
        let exchange = world.send(post(body)).await;
        told(&exchange, &variant(&world, &by(user)));
        assert_eq!(
            exchange.down("x-ab-bucket"),
            as_header.bucket.map(|bucket| bucket.to_string()),
            "{user}"
        );
    }
    told(
        &world
            .send(post(json!({"user": {"id": &new}}).to_string()).header("x-user-id", &old))
            .await,
        "old",
    );
    world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
    let late = json!({"pad": "x".repeat(5000), "user": {"id": &new}}).to_string();
    for (n, body) in
        (1..).zip(["{", "[]", r#"{"user": 1}"#, r#"{"user": {"id": ""}}"#, "not json", &late])
    {
        let exchange = world.send(post(body.to_owned())).await;
        assert_eq!(
            exchange.down("x-ab-reason").as_deref(),
            Some("missing_unit"),
            "{}",
            &body[..body.len().min(40)]
        );
        told(&exchange, "old");
        world.expect_metric("ab_test_missing_unit_total", &[], n).await;
    }
}

/// Whatever a client sends is a unit, drawn as the recipe says, or no unit; never an error.
pub(crate) async fn broken_units_are_units_or_nothing(stage: Stage) {
    let mut file = forecast();
    file["settings"] = json!({"debug": "allowed"});
    let world = stage.start(&file).await;
    let mut requests: Vec<Request> = Vec::new();
    for unit in [
        &b"\xff\xfe\x80"[..],
        b"caf\xe9",
        b"\xf0\x9f\x9a\x82",
        b"\xed\xa0\x80",
        b"a\tb",
        b"'\"\\;,=%00",
        b"\xc3(",
    ] {
        requests.push(Request::get(FORECAST).header("x-user-id", unit));
        requests.push(Request::get(FORECAST).header("cookie", [b"sid=", unit].concat()));
    }
    for cookie in [
        "sid",
        "=",
        ";;;",
        "sid=;sid=1",
        "=sid; sid =x; sid",
        "sid=a=b=c",
        "sid=\"",
        " ; sid=1;",
        "SID=1",
    ] {
        requests.push(Request::get(FORECAST).header("cookie", cookie));
    }
    requests.push(Request::get(FORECAST).header("cookie", "a=1").header("cookie", "sid=2"));
    for query in [
        "?user=%",
        "?user=%4",
        "?user=%zz",
        "?user=%ff%00",
        "?user",
        "?user=",
        "?&&&=&user=1",
        "??user=1",
        "?user=a+b",
        "?user=1?user=2",
        "?us%65r=1",
        "?user%3d1",
        "?user=%25%32%35",
    ] {
        requests.push(Request::get(format!("{FORECAST}{query}")));
    }
    for empties in [vec![""], vec!["", ""], vec!["", "second"], vec!["first", ""]] {
        requests.push(
            empties.iter().fold(Request::get(FORECAST), |r, value| r.header("x-user-id", value)),
        );
    }
    let mut missing = 0;
    for request in requests {
        let request = request.header("x-ab-debug", "1");
        let expected = decision(&world, &request);
        let exchange = world.send(request.clone()).await;
        assert_eq!(exchange.status(), 200, "{request:?}");
        told(&exchange, &variant(&world, &request));
        assert_eq!(
            exchange.down("x-ab-reason").as_deref(),
            Some(expected.reason.as_str()),
            "{request:?}"
        );
        let bucket = expected.bucket.map(|bucket| bucket.to_string());
        assert_eq!(exchange.down("x-ab-bucket"), bucket, "{request:?}");
        missing += u64::from(expected.missing.is_some());
    }
    assert!(missing > 5, "only {missing}");
    world.expect_metric("ab_test_missing_unit_total", &[], missing).await;
}

/// Values up to what Envoy takes, 60 KiB of headers in all; beyond that Envoy itself says no.
pub(crate) async fn huge_and_strange_values_harm_nobody(stage: Stage) {
    let world = stage.start(&forecast()).await;
    let new = user_of(&world, "new");
    for size in [1_000, 8_000, 30_000, 50_000] {
        let long = "x".repeat(size);
        let path = format!("{FORECAST}?pad={}&user={new}", "p".repeat(size.min(20_000)));
        for request in [
            by(&long),
            Request::get(FORECAST).header("cookie", format!("a={long}; sid={new}")),
            Request::get(FORECAST).header("cookie", format!("sid={long}")),
            by(&new).header("x-ab-force", &long),
            by(&new).header("x-ab-token", &long).header("x-ab-debug", "x"),
            by(&new).header("x-other", &long),
            by(&new).header("x-other", vec![0xff; size]),
            Request::get(path),
        ] {
            let exchange = world.send(request.clone()).await;
            assert_eq!(exchange.status(), 200, "{size}");
            told(&exchange, &variant(&world, &request));
        }
    }
    let many = (0..80).fold(by(&new), |request, n| request.header("x-user-id", n.to_string()));
    told(&world.send(many).await, "new");
    let cookies = "; sid".repeat(4_000);
    told(&world.send(Request::get(FORECAST).header("cookie", &cookies)).await, "old");

    for size in [62_000, 100_000] {
        let exchange = world.send(by(&"x".repeat(size))).await;
        match world.kind() {
            // The fake host has no limit.
            Kind::InProcess => assert_eq!(exchange.status(), 200),
            Kind::Envoy => assert_eq!((exchange.status(), exchange.cluster()), (431, None)),
        }
        told(&world.send(by(&new)).await, "new");
    }
}
