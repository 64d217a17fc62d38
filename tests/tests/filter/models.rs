//! Models that are chosen in the body, as OpenAI-style servers and LoRA adapters do: one pool, two
//! names. On a real Envoy, the model gets exactly the bytes that it should, however they arrive.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_lab::{Answer, Client, Request};
use sidetrack_tests::fake_host::{Action, HeaderMap, Module, Proxy, Vm};
use sidetrack_tests::world::{Kind, Stage, World, run};

use super::bodies::{PATH, WAITS, Wire, echoing, upload};

/// The file's `body_limit`.
const LIMIT: usize = 4096;
const JSON: (&str, &str) = ("content-type", "application/json");

/// Two names of a model in one pool.
fn file() -> Value {
    json!({
        "experiments": [{
            "name": "adapters",
            "match": {"body": [{"pointer": "/model", "exact": "forecast"}]},
            "unit": [{"header": "x-user-id"}, {"body": "/user"}],
            "baseline": "old",
            "variants": [
                {"name": "old", "cluster": "pool", "body": {"/model": "forecast-lora-1"}},
                {"name": "new", "cluster": "pool", "weight": 50,
                 "body": {"/model": "forecast-lora-2", "/options/best_of": 2}},
            ],
        }],
        "settings": {"debug": "allowed", "body_limit": LIMIT},
    })
}

/// What a client asks, with everything that a serializer would change.
fn ask(model: &str, user: &str) -> String {
    format!(
        "{{\r\n  \"user\": \"{user}\", \"temperature\" : 1.50e-1,\t\"seed\": 12345678901234567890123,\n \
         \"model\" :\"{model}\", \"messages\":[{{\"role\":\"user\",\"content\":\"Zo\\u00eb \u{1f682}\"}}] ,\n \
         \"options\": {{ \"n\":1 }}, \"stream\":false }}\n"
    )
}

/// The same, so many bytes long.
fn ask_of(model: &str, user: &str, length: usize) -> String {
    let body = ask(model, user);
    body.replacen("Zo", &format!("{}Zo", "x".repeat(length - body.len())), 1)
}

/// What the model must get of it.
fn got(body: &str, variant: &str) -> String {
    match variant {
        "old" => body.replacen("\"forecast\"", "\"forecast-lora-1\"", 1),
        "new" => body.replacen("\"forecast\"", "\"forecast-lora-2\"", 1).replacen(
            "{ \"n\"",
            "{\"best_of\":2, \"n\"",
            1,
        ),
        _ => panic!("{variant}"),
    }
}

/// Asserts that the model got what its variant sets, and returns the variant.
fn check(world: &World, answer: &Answer, sent: &str) -> String {
    let variant = answer.header_text("x-ab-variant").unwrap_or_else(|| panic!("{answer:?}"));
    let expected = got(sent, &variant);
    assert_eq!(String::from_utf8_lossy(&answer.body), expected, "{answer:?}");
    let seen = world.real().stubs["pool"].requests().pop().unwrap();
    if let Some(length) = seen.header_text("content-length") {
        assert_eq!(length, expected.len().to_string());
    }
    for digest in ["digest", "content-digest", "content-md5", "repr-digest"] {
        assert_eq!(seen.header_text(digest), None, "{seen:?}");
    }
    variant
}

fn post(body: &str) -> Request {
    Request::post(PATH, body.to_owned())
        .header(JSON.0, JSON.1)
        .header("digest", "sha-256=AAAA")
        .header("content-digest", "sha-256=:AAAA:")
}

#[tokio::test]
async fn two_names_in_one_pool_over_http1_and_http2() {
    run(Stage::rendered(&["--upstream-protocol", "client"]), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let addr = world.real().addr;
        let mut counts = [0; 2];
        for client in [Client::new(addr), Client::http2(addr)] {
            for user in 0..40 {
                let user = format!("user-{user}");
                let body = match user.len() % 2 {
                    0 => ask("forecast", &user),
                    _ => ask_of("forecast", &user, LIMIT),
                };
                let answer = client.send(post(&body)).await.unwrap();
                counts[usize::from(check(&world, &answer, &body) == "new")] += 1;
                assert_eq!(answer.header_text("x-model").as_deref(), Some("pool"));
            }
            // Other models are none of the experiment's business.
            let other = ask("other", "user-1");
            let answer = client.send(post(&other)).await.unwrap();
            assert_eq!(answer.header_text("x-ab-variant"), None);
            assert_eq!(answer.body, other.as_bytes());
            let seen = world.real().stubs["pool"].requests().pop().unwrap();
            assert_eq!(seen.header_text("digest").as_deref(), Some("sha-256=AAAA"));
        }
        assert!(counts.iter().all(|&count| count > 20), "{counts:?}");
        for (variant, count) in ["old", "new"].into_iter().zip(counts) {
            world.expect_metric("ab_test_requests_total", &[("model_name", variant)], count).await;
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_in_chunks_and_with_trailers() {
    run(Stage::rendered(&["--upstream-protocol", "client"]), |stage| async move {
        let world = echoing(&stage, &file()).await;
        for (user, length) in
            [("user-1", 400), ("user-2", LIMIT), ("user-3", LIMIT), ("user-4", 900)]
        {
            let body = ask_of("forecast", user, length);
            let mut wire = Wire::open(&world).await;
            wire.begin("content-type: application/json\r\ntransfer-encoding: chunked\r\n").await;
            for chunk in body.as_bytes().chunks(body.len().div_ceil(3)) {
                wire.write([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
                    .await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            wire.write("0\r\n\r\n").await;
            check(&world, &wire.answer().await, &body);

            let pieces: Vec<&[u8]> = body.as_bytes().chunks(body.len().div_ceil(3)).collect();
            let trailers = [("content-digest", "sha-256=:AAAA:"), ("x-checksum", "4711")];
            for (length, trailers) in
                [(None, &[][..]), (Some(body.len()), &trailers), (None, &trailers)]
            {
                let answer = upload(&world, length, &[JSON], &pieces, trailers).await;
                check(&world, &answer, &body);
                let kept: Vec<&str> = answer.trailers.iter().map(|(name, _)| &**name).collect();
                assert_eq!(kept, if trailers.is_empty() { vec![] } else { vec!["x-checksum"] });
            }
        }
        world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_body_that_cannot_be_edited_gets_the_baseline_as_it_is() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let mut file = file();
        file["experiments"][0].as_object_mut().unwrap().remove("match");
        file["experiments"][0]["variants"][1]["weight"] = json!(100);
        let world = echoing(&stage, &file).await;
        let client = Client::new(world.real().addr);
        let body = ask("forecast", "user-1");
        let cases = [
            (ask_of("forecast", "user-1", LIMIT + 1), None, "body_too_large"),
            (ask_of("forecast", "user-1", 300_000), None, "body_too_large"),
            (body.clone(), Some(("content-encoding", "gzip")), "body_unreadable"),
            (body.replace("false }", "false"), None, "body_unreadable"),
        ];
        let mut counts = std::collections::BTreeMap::new();
        for (body, header, reason) in cases {
            let request = post(&body).header("x-user-id", "user-1").header("x-ab-debug", "1");
            let request =
                header.into_iter().fold(request, |it, (name, value)| it.header(name, value));
            let answer = client.send(request).await.unwrap();
            assert_eq!(
                answer.header_text("x-ab-reason").as_deref(),
                Some("missing_unit"),
                "{reason}"
            );
            assert_eq!(answer.header_text("x-ab-variant").as_deref(), Some("old"), "{reason}");
            assert!(answer.body == body.as_bytes(), "{reason}: the body changed");
            let seen = world.real().stubs["pool"].requests().pop().unwrap();
            assert_eq!(seen.header_text("digest").as_deref(), Some("sha-256=AAAA"), "{reason}");
            *counts.entry(reason).or_insert(0) += 1;
        }
        // The baseline sets what it can.
        let other = body.replace("\"options\"", "\"other\"");
        let answer = client.send(post(&other).header("x-ab-debug", "1")).await.unwrap();
        assert_eq!(answer.header_text("x-ab-reason").as_deref(), Some("missing_unit"));
        assert_eq!(check(&world, &answer, &other), "old");
        counts.insert("absent", 1);
        // Chunks up to the limit are waited for; beyond it all of them go on.
        let large = ask_of("forecast", "user-1", 50_000);
        let pieces: Vec<&[u8]> = large.as_bytes().chunks(1000).collect();
        let answer = upload(&world, None, &[JSON], &pieces, &[]).await;
        assert_eq!(answer.header_text("x-ab-variant").as_deref(), Some("old"));
        assert!(answer.body == large.as_bytes());
        *counts.entry("body_too_large").or_insert(0) += 1;
        for (reason, count) in counts {
            world.expect_metric("ab_test_missing_unit_total", &[("reason", reason)], count).await;
        }
        let answer = client.send(post(&body)).await.unwrap();
        assert_eq!(check(&world, &answer, &body), "new");
    })
    .await;
}

/// Where Envoy itself does not answer `Expect: 100-continue`, the client waits for the model.
#[tokio::test]
async fn a_client_that_waits_for_the_model_does_not_hang() {
    let proxied = |bootstrap: String| {
        let prefix = "          stat_prefix: predictors\n";
        assert!(bootstrap.contains(prefix));
        bootstrap.replace(prefix, &format!("{prefix}          proxy_100_continue: true\n"))
    };
    run(Stage::changed(proxied), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let body = ask("forecast", "user-1");
        let mut wire = Wire::open(&world).await;
        let length = body.len();
        wire.begin(&format!("content-length: {length}\r\nexpect: 100-continue\r\n")).await;
        // The model asks for the body, or answers without it.
        assert!(wire.head().await.starts_with("HTTP/1.1 "));
    })
    .await;
}

// ---- Callback by callback

/// A worker with this file, and the time that a client takes for its bodies.
fn worker() -> (Proxy, Vm) {
    let proxy = Proxy::new(Module::sidetrack());
    proxy.set_environment(WAITS.0, WAITS.1);
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure(file().to_string()).unwrap(), "{}", proxy.log_text());
    (proxy, vm)
}

#[test]
fn held_requests_keep_no_headers_in_the_vm() {
    let (_proxy, vm) = worker();
    let pad = "p".repeat(3900);
    let mut lines: Vec<(&str, &str)> =
        vec![(":method", "POST"), (":path", PATH), (":authority", "models.test")];
    lines.extend([("content-length", "100"), ("content-type", "application/json")]);
    lines.extend([("x-pad", pad.as_str()); 14]);
    let before = vm.memory_bytes();
    let held: Vec<_> = (0..2000)
        .map(|_| {
            let stream = vm.stream();
            let headers = lines.iter().copied().collect::<HeaderMap>();
            assert_eq!(stream.request_headers(headers, false).unwrap(), Action::Pause);
            stream
        })
        .collect();
    let grown = vm.memory_bytes() - before;
    assert!(grown < 2 << 20, "2000 held requests of 55 KB took {grown} bytes");
    for stream in held {
        stream.finish().unwrap();
    }
}
