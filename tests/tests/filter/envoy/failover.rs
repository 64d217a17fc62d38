//! Failover on a real Envoy: the baseline is not given the headers of the candidate.

use sidetrack_lab::{Behavior, Seen};

use super::*;

fn file() -> Value {
    forecast_with(json!({"variants": [
        {"name": "old", "cluster": "old-cluster", "request_headers": {"x-model-version": "1"}},
        {"name": "new", "cluster": "new-cluster", "weight": 30, "request_headers": {
            "x-model-version": "2", "x-lora": "new%2", "x-only": "new"}},
    ]}))
}

/// The headers by which a model may tell what it serves.
fn told(seen: &Seen) -> [Option<String>; 7] {
    ["experiment", "variant", "assigned", "cluster", "mirror"]
        .map(|name| format!("x-ab-{name}"))
        .iter()
        .map(String::as_str)
        .chain(["x-model-version", "x-only"])
        .map(|name| seen.header_text(name))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

#[tokio::test]
async fn the_baseline_gets_its_own_headers_on_the_second_attempt() {
    run(Stage::rendered(&["--failover"]), |stage| async move {
        let world = stage.start(&file()).await;
        let (old, new) = (user_of(&world, "old"), user_of(&world, "new"));
        let text = |text: &str| Some(text.to_owned());
        let own = [text("forecast-ab"), text("old"), None, None, None, text("1"), None];
        let stubs = &world.real().stubs;
        let client = Client::new(world.real().addr);
        client.send(by(&old)).await.unwrap();
        assert_eq!(told(&stubs["old-cluster"].requests()[0]), own);

        stubs["new-cluster"].set(Behavior::Status(503));
        let answer = client.send(by(&new)).await.unwrap();
        assert_eq!(answer.status, 200);
        let down = |name: &str| answer.header_text(name);
        assert_eq!((down("x-ab-variant"), down("x-ab-assigned")), (text("old"), text("new")));
        let (candidate, rescued) =
            (&stubs["new-cluster"].requests()[0], &stubs["old-cluster"].requests()[1]);
        let candidates =
            [text("forecast-ab"), text("new"), None, None, None, text("2"), text("new")];
        assert_eq!(told(candidate), candidates);
        assert_eq!(candidate.header_text("x-lora"), text("new%2"));
        let mut expected = own;
        expected[2] = text("new");
        assert_eq!(told(rescued), expected, "the baseline on the second attempt");
        assert_eq!(rescued.header_text("x-lora"), None);
        world.expect_metric("ab_test_fallbacks_total", &[("model_name", "new")], 1).await;
    })
    .await;
}
