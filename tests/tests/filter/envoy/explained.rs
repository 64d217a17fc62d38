//! What `sidetrack explain` prints about a request, and what model and client get from the proxy.

use std::collections::BTreeSet;

use sidetrack_tests::world::{Behavior, Exchange};

use super::*;

type Headers = BTreeSet<(String, String)>;

/// A client without an identifier gets a random one, so its value and its bucket are not compared.
fn comparable(name: &str, value: &str, is_minted: bool) -> (String, String) {
    let value = match name {
        "x-ab-bucket" if is_minted => "",
        _ => value,
    };
    let value = match value.strip_prefix("sid=").and_then(|rest| rest.split_once(';')) {
        Some((identity, attributes)) => {
            assert_eq!(identity.len(), 32, "{identity}");
            attributes
        }
        None => value,
    };
    (name.to_owned(), value.to_owned())
}

/// The headers below a title in what `explain` prints.
fn listed(text: &str, title: &str, is_minted: bool) -> Headers {
    let lines = text.lines().skip_while(|line| *line != title).skip(1);
    let headers = lines.take_while(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.trim().split_once(':').unwrap();
        comparable(name, value.trim(), is_minted)
    });
    headers.collect()
}

/// The headers that can only be the filter's.
fn of_filter(lines: &[(String, Vec<u8>)], is_minted: bool) -> Headers {
    let is_own = |name: &str| {
        name.starts_with("x-ab-") || ["x-version", "x-by", "set-cookie", "vary"].contains(&name)
    };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let own = lines.iter().filter(|(name, _)| is_own(name));
    own.map(|(name, value)| comparable(name, &text(value), is_minted)).collect()
}

fn file() -> Value {
    let variants = json!([
        {"name": "old", "cluster": "old-cluster", "request_headers": {"x-version": "1"}},
        {"name": "new", "cluster": "new-cluster", "weight": 50,
            "request_headers": {"x-version": "2"},
            "response_headers": {"x-by": "new", "set-cookie": "tried=1", "vary": "x-user-id"}},
    ]);
    let mut all = variants.clone();
    all[1]["weight"] = json!(100);
    let mut rolled = variants.clone();
    rolled[1].as_object_mut().unwrap().remove("weight");
    let unit = json!([{"header": "x-user-id"}]);
    json!({"settings": {"debug": "allowed"}, "experiments": [
        {"name": "split", "match": {"path": {"prefix": "/split"}}, "unit": unit, "baseline": "old",
            "variants": variants, "overrides": {"header": "x-ab-force"},
            "breaker": {"consecutive_errors": 5, "compare_to_baseline": false, "open_for": "1h",
                "max_open_for": "1h"}},
        {"name": "mint", "match": {"path": {"prefix": "/mint"}}, "baseline": "old",
            "unit": [{"cookie": "sid", "mint": {"max_age": "1d"}}], "variants": all},
        {"name": "rolled", "match": {"path": {"prefix": "/rolled"}}, "unit": unit, "baseline": "old",
            "variants": rolled, "rollout": {"start": "2026-01-01T00:00:00Z",
                "phases": [{"name": "all", "weights": {"new": 100}}]}},
        {"name": "off", "enabled": false, "match": {"path": {"prefix": "/off"}}, "unit": unit,
            "baseline": "old", "variants": variants},
    ]})
}

struct Explained {
    world: sidetrack_tests::world::World,
    path: tempfile::NamedTempFile,
}

impl Explained {
    /// Sends a request, and compares what it got with what `explain` says about it.
    async fn compare(&self, path: &str, headers: &[&str], options: &[&str]) -> Exchange {
        let file = self.path.path().display().to_string();
        let mut arguments = vec!["explain", &file, "--path", path];
        let mut request = Request::get(path);
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
            arguments.extend(["--header", header]);
        }
        arguments.extend(options);
        let text = sidetrack_command(&arguments).unwrap();
        let exchange = self.world.send(request).await;
        let is_minted = path == "/mint" && !headers.iter().any(|it| it.starts_with("cookie"));
        let model = exchange.model.as_ref().unwrap();
        let case = format!("{path} {headers:?}\n{text}");
        let [up, down] =
            [&model.headers, &exchange.response.headers].map(|lines| of_filter(lines, is_minted));
        assert_eq!(up, listed(&text, "to the model", is_minted), "{case}");
        assert_eq!(down, listed(&text, "to the client", is_minted), "{case}");
        exchange
    }
}

#[tokio::test]
async fn model_and_client_get_the_headers_that_the_command_explains() {
    // One worker: others serve the candidate until the first tick after its breaker has opened.
    run(Stage::new(Kind::Envoy).with_workers(1), |stage| async move {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(path.path(), file().to_string()).unwrap();
        let explained = Explained { world: stage.start(&file()).await, path };
        let mut variants = BTreeSet::new();
        for user in 0..8 {
            let user = format!("x-user-id: {user}");
            for path in ["/split", "/rolled", "/off", "/elsewhere"] {
                for headers in [&[&user[..]][..], &[&user, "x-ab-debug: 1"]] {
                    let exchange = explained.compare(path, headers, &[]).await;
                    variants.insert(exchange.down("x-ab-variant"));
                }
            }
        }
        assert_eq!(variants.len(), 3, "both variants, and none: {variants:?}");
        for headers in [
            &["x-ab-debug: 1"][..],
            &["x-ab-force: new", "x-ab-debug: 1"],
            &["x-user-id: 1", "x-ab-force: old"],
            &["x-user-id: 1", "x-ab-force: unknown", "x-ab-debug: 1"],
        ] {
            explained.compare("/split", headers, &[]).await;
        }
        for headers in [&[][..], &["x-ab-debug: 1"], &["cookie: sid=known", "x-ab-debug: 1"]] {
            let minted = explained.compare("/mint", headers, &[]).await;
            let cookies = minted.all_down("set-cookie");
            assert_eq!(cookies.len(), if headers.len() == 2 { 1 } else { 2 }, "{cookies:?}");
        }

        // The candidate fails until its breaker opens.
        let world = &explained.world;
        world.model("new-cluster", Behavior::Status(503));
        let mut user = 0;
        while world.metric("ab_test_breaker_state", &[("experiment", "split")]).await != Some(2) {
            assert!(user < 200, "the breaker does not open");
            world.send(Request::get("/split").header("x-user-id", user.to_string())).await;
            user += 1;
        }
        let mut moved = 0;
        for user in 0..8 {
            let user = format!("x-user-id: {user}");
            let headers = [&user[..], "x-ab-debug: 1"];
            let exchange = explained.compare("/split", &headers, &["--breaker", "new=open"]).await;
            moved += usize::from(exchange.down("x-ab-assigned").as_deref() == Some("new"));
        }
        assert!(moved > 0);
    })
    .await;
}
