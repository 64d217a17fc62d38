//! Repeated headers, as a real Envoy hands them to the filter.

use std::fs;

use serde_json::{Value, json};
use sidetrack_lab::Request;
use sidetrack_tests::world::{Kind, Stage, run, sidetrack_command};

use crate::scenarios::forecast_with;

/// Envoy joins repeated values of some headers and keeps those of others apart; `explain` draws the
/// unit that the filter draws.
#[tokio::test]
async fn repeated_headers_are_the_unit_that_the_command_explains() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let joined = [
            "accept",
            "accept-encoding",
            "authorization",
            "cache-control",
            "grpc-timeout",
            "if-match",
            "origin",
            "referer",
            "user-agent",
            "via",
            "x-client-trace-id",
            "x-envoy-attempt-count",
            "x-envoy-external-address",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
        ];
        let apart =
            ["accept-language", "cookie", "forwarded", "x-api-key", "x-real-ip", "x-user-id"];
        let world = stage.start(&forecast_with(json!({"unit": [{"header": "x-user-id"}]}))).await;
        for name in joined.into_iter().chain(apart) {
            let mut file = forecast_with(json!({"unit": [{"header": name}], "match": {}}));
            file["settings"] = json!({"debug": "allowed"});
            world.update(&file).await;
            let request = Request::get("/").header(name, "a").header(name, "b");
            let answer = world.send(request.header("x-ab-debug", "1")).await;
            let path = tempfile::NamedTempFile::new().unwrap();
            fs::write(path.path(), file.to_string()).unwrap();
            let [one, two] = ["a", "b"].map(|value| format!("{name}: {value}"));
            let path = path.path().display().to_string();
            let explained = sidetrack_command(&[
                "explain", &path, "--json", "--header", &one, "--header", &two,
            ])
            .unwrap();
            let explained: Value = serde_json::from_str(&explained).unwrap();
            let unit: &[u8] = if apart.contains(&name) { b"a" } else { b"a,b" };
            let bucket = world.plan().experiments.first().unwrap().arm.bucket(unit);
            assert_eq!(answer.down("x-ab-bucket"), Some(bucket.to_string()), "{name}");
            assert_eq!(explained["bucket"], bucket.get(), "{name}");
        }
    })
    .await;
}
