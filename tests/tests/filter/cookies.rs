//! Minted cookies: a client without an identifier gets an identity and keeps it.

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sidetrack::decide::{Decision, Outcome};
use sidetrack_lab::{Client, Request};
use sidetrack_tests::fake_host::{HeaderMap, Module, Proxy, Reply, Vm};
use sidetrack_tests::world::{Exchange, Kind, Stage, World, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PATH: &str = "/shop";

/// Two candidates; callers by header, else by a cookie that is minted.
fn file() -> Value {
    json!({
        "experiments": [{
            "name": "cookies",
            "match": {"path": {"prefix": PATH}},
            "unit": [{"header": "x-user-id"}, {"cookie": "sid", "mint": {"max_age": "30d"}}, {"query": "u"}],
            "baseline": "old",
            "variants": [
                {"name": "old", "cluster": "old-cluster"},
                {"name": "new", "cluster": "new-cluster", "weight": 30},
                {"name": "other", "cluster": "other-cluster", "weight": 20},
            ],
        }],
        "settings": {"debug": "allowed"},
    })
}

/// The file with its experiment changed.
fn file_with(changes: Value) -> Value {
    let mut file = file();
    for (key, value) in changes.as_object().unwrap() {
        file["experiments"][0][key] = value.clone();
    }
    file
}

fn anonymous() -> Request {
    Request::get(PATH).header("x-ab-debug", "1")
}

/// The values of all `set-cookie` headers that came back.
fn cookies(exchange: &Exchange) -> Vec<String> {
    let found = exchange.response.headers.iter().filter(|(name, _)| name == "set-cookie");
    found.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
}

/// The identity in a cookie that was set just as the documentation says.
fn identity(cookie: &str) -> String {
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax");
    let identity = pair.strip_prefix("sid=").unwrap();
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(identity.len() == 32 && identity.bytes().all(is_hex), "{identity}");
    identity.to_owned()
}

/// Comes back with a cookie, as a browser with several.
fn with(identity: &str) -> Request {
    anonymous().header("cookie", format!("theme=dark; sid={identity}; a=b"))
}

fn decided(world: &World, request: &Request) -> Decision {
    match world.decided(request) {
        Outcome::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

/// Asserts that the exchange is what the core decides about this identity.
fn is_of(world: &World, exchange: &Exchange, identity: &str) {
    let decision = decided(world, &with(identity));
    let variant = world.plan().experiments.first().unwrap().variants[decision.served].name.clone();
    assert_eq!(exchange.status(), 200);
    assert_eq!(exchange.down("x-ab-variant"), Some(variant));
    assert_eq!(exchange.down("x-ab-bucket"), decision.bucket.map(|bucket| bucket.to_string()));
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("hash"));
}

async fn callers_keep_what_they_got(stage: Stage) {
    let world = stage.start(&file()).await;
    let (mut identities, mut counts) = (BTreeSet::new(), [0_u64; 3]);
    for n in 0..500 {
        let exchange = world.send(anonymous()).await;
        let set = cookies(&exchange);
        assert_eq!(set.len(), 1, "{set:?}");
        let identity = identity(&set[0]);
        is_of(&world, &exchange, &identity);
        let variant = exchange.down("x-ab-variant").unwrap();
        counts[["old", "new", "other"].iter().position(|name| *name == variant).unwrap()] += 1;
        if n % 10 == 0 {
            for _ in 0..3 {
                let again = world.send(with(&identity)).await;
                is_of(&world, &again, &identity);
                assert_eq!(
                    (again.down("x-ab-variant").as_ref(), cookies(&again)),
                    (Some(&variant), vec![])
                );
            }
        }
        assert!(identities.insert(identity), "two callers have the same identity");
    }
    // With two degrees of freedom a fair draw exceeds 27.6 once in a million.
    let chi2: f64 = counts
        .iter()
        .zip([250.0, 150.0, 100.0])
        .map(|(&count, expected)| (count as f64 - expected).powi(2) / expected)
        .sum();
    assert!(chi2 < 27.6, "{counts:?}");
    world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
    world.expect_metric("ab_test_requests_total", &[], 650).await;
}

async fn nothing_is_minted_where_nothing_is_needed(stage: Stage) {
    let world = stage.start(&file()).await;
    for request in [
        anonymous().header("x-user-id", "anna"),
        anonymous().header("x-user-id", "anna").header("cookie", "sid="),
        anonymous().header("cookie", "sid=of-somebody-else"),
        Request::get(format!("{PATH}?u=anna")).header("x-ab-debug", "1"),
    ] {
        let exchange = world.send(request).await;
        assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("hash"));
        assert_eq!(cookies(&exchange), Vec::<String>::new());
    }
    // Nothing matched.
    let exchange = world.get("/elsewhere", &[("x-ab-debug", "1")]).await;
    assert_eq!((exchange.trace_of("x-ab-"), cookies(&exchange)), (vec![], vec![]));
    // An empty cookie is none.
    let exchange = world.send(anonymous().header("cookie", "sid=; sid=second")).await;
    is_of(&world, &exchange, &identity(&cookies(&exchange)[0]));

    world.update(&file_with(json!({"enabled": false}))).await;
    let exchange = world.send(anonymous()).await;
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("disabled"));
    assert_eq!(cookies(&exchange), Vec::<String>::new());
    // Each request is drawn separately, so no identity is needed.
    world.update(&file_with(json!({"assignment": "request_random"}))).await;
    let exchange = world.send(anonymous()).await;
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("random"));
    assert_eq!(cookies(&exchange), Vec::<String>::new());
    // A tester's choice needs none either.
    world.update(&file_with(json!({"overrides": {"header": "x-choose"}}))).await;
    let exchange = world.send(anonymous().header("x-choose", "new")).await;
    assert_eq!(exchange.down("x-ab-reason").as_deref(), Some("override"));
    assert_eq!(cookies(&exchange), Vec::<String>::new());
}

/// Experiments of one layer draw the same caller; whichever takes the caller sets its cookie.
async fn a_layer_agrees_on_an_identity(stage: Stage) {
    let mut file = file_with(json!({"layer": {"name": "shop", "from": 0, "to": 50}}));
    let mut second = file["experiments"][0].clone();
    second["name"] = json!("cookies-2");
    second["layer"] = json!({"name": "shop", "from": 50, "to": 90});
    file["experiments"].as_array_mut().unwrap().push(second);
    let world = stage.start(&file).await;
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        let exchange = world.send(anonymous()).await;
        let set = cookies(&exchange);
        assert_eq!(set.len(), 1, "{set:?}");
        let identity = identity(&set[0]);
        let again = world.send(with(&identity)).await;
        for header in ["x-ab-experiment", "x-ab-variant", "x-ab-bucket", "x-ab-reason"] {
            assert_eq!(exchange.down(header), again.down(header), "{header} of {identity}");
        }
        assert_eq!(cookies(&again), Vec::<String>::new());
        seen.insert((exchange.down("x-ab-experiment"), exchange.down("x-ab-reason")));
    }
    // The first, the second, and excluded from both.
    assert_eq!(seen.len(), 3, "{seen:?}");
}

macro_rules! in_both_worlds {
    ($($name:ident: $in_process:ident, $in_envoy:ident;)*) => { $(
        #[tokio::test]
        async fn $in_process() {
            run(Stage::new(Kind::InProcess), $name).await;
        }

        #[tokio::test]
        async fn $in_envoy() {
            run(Stage::new(Kind::Envoy), $name).await;
        }
    )* };
}
in_both_worlds! {
    callers_keep_what_they_got: callers_keep_what_they_got_in_process, callers_keep_what_they_got_in_envoy;
    nothing_is_minted_where_nothing_is_needed: nothing_is_minted_in_process, nothing_is_minted_in_envoy;
    a_layer_agrees_on_an_identity: a_layer_agrees_in_process, a_layer_agrees_in_envoy;
}

/// A model in place of a stub that sets two cookies of its own.
async fn sets_cookies(stub: &sidetrack_lab::ModelStub) {
    stub.refuse().await;
    let listener = TcpListener::bind(stub.addr()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 200 OK\r\nset-cookie: basket=1; Path=/\r\nset-cookie: sid=the-models\r\n\
                content-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
}

#[tokio::test]
async fn the_models_own_cookies_survive() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = stage.start(&file()).await;
        for stub in world.real().stubs.values() {
            sets_cookies(stub).await;
        }
        let client = Client::new(world.real().addr);
        let own = [&b"basket=1; Path=/"[..], b"sid=the-models"];
        let answer = client.send(anonymous()).await.unwrap();
        let set: Vec<&[u8]> = answer.header_values("set-cookie").collect();
        assert_eq!(set[..2], own);
        assert_eq!(set.len(), 3);
        identity(std::str::from_utf8(set[2]).unwrap());
        let answer = client.send(with("4711")).await.unwrap();
        assert_eq!(answer.header_values("set-cookie").collect::<Vec<_>>(), own);
    })
    .await;
}

/// The attributes of the cookie that a caller gets who comes like this.
fn attributes(vm: &Vm, lines: &[(&str, &str)]) -> String {
    let usual = [(":method", "GET"), (":path", PATH), (":authority", "models.test")];
    let request: HeaderMap =
        usual.iter().chain(lines).map(|(name, value)| (*name, *value)).collect();
    let exchange = vm.exchange(request, Reply::status(200)).unwrap();
    let cookie = exchange.response_header("set-cookie").unwrap();
    cookie.split_once("; ").unwrap().1.to_owned()
}

#[test]
fn over_https_the_cookie_is_never_sent_in_clear_text() {
    let proxy = Proxy::new(Module::sidetrack());
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure(file().to_string()).unwrap());
    const PLAIN: &str = "Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax";
    for (lines, secure) in [
        (&[(":scheme", "https")][..], true),
        (&[(":scheme", "http")], false),
        (&[], false),
        // A proxy in front of this one knows better.
        (&[(":scheme", "http"), ("x-forwarded-proto", "https")], true),
        (&[(":scheme", "https"), ("x-forwarded-proto", "http")], false),
    ] {
        let expected = if secure { format!("{PLAIN}; Secure") } else { PLAIN.to_owned() };
        assert_eq!(attributes(&vm, lines), expected, "{lines:?}");
    }
}

/// What is minted comes from the host's randomness, all of it, and is asked for only when it is
/// needed.
#[test]
fn an_identity_is_128_random_bits() {
    let proxy = Proxy::new(Module::sidetrack());
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure(file().to_string()).unwrap());
    let draws = || proxy.host_calls().get("random_get").copied().unwrap_or_default();
    let before = draws();
    vm.get(PATH, [("x-user-id", "anna")]).unwrap();
    assert_eq!(draws(), before);
    proxy.push_entropy(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
    let cookie = vm.get(PATH, HeaderMap::default()).unwrap().response_header("set-cookie").unwrap();
    assert!(cookie.starts_with("sid=0706050403020100ff0e0d0c0b0a0908; "), "{cookie}");
    assert_eq!(draws(), before + 2);
}
