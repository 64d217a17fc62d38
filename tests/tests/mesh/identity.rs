//! Identities that a client cannot forge: units from verified tokens, and overrides for testers only.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetrack_lab::{Answer, Client, Request};
use sidetrack_tests::mesh::Mesh;
use sidetrack_tests::token::{ISSUER, Keys};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::stand::{BASELINE, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 200;
const KEYS: Keys = Keys::Secret(b"the secret of the issuer, 32 bytes or more");

/// The keys of the issuer.
pub(crate) fn keys() -> Value {
    KEYS.set()
}

/// A token of the issuer with these claims beside its own.
pub(crate) fn token(claims: &Value) -> String {
    KEYS.bearer(claims)
}

fn infer() -> Request {
    Request::post("/v2/models/forecast/infer", "{}").header("host", HOST)
}

async fn send(client: &Client, request: Request) -> Answer {
    client.send(request).await.unwrap()
}

fn model(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header_text("x-model").unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_the_unit_whatever_a_client_sends() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let mut experiment = experiment(30.0);
    experiment["experiments"][0]["overrides"] = json!({"header": "x-ab-force"});
    experiment["settings"] = json!({"debug": "allowed"});
    let keys = KEYS.set().to_string();
    let keys = mesh.file(&format!("{}.jwks", stand.models), &keys).unwrap();
    let options = [
        "--jwt-issuer",
        ISSUER,
        "--jwks",
        &keys,
        "--jwt-claim",
        "email",
        "--override-claim",
        "groups=testers",
    ];
    let manifests = stand.rendered(&experiment, &options);
    mesh.apply(&manifests).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let client = gateway.client(GATEWAY_PORT);
    let assigned = stand.assigned(&experiment, USERS);
    let of = |user: &str| KEYS.bearer(&json!({"email": user, "sub": "not this one"}));
    let candidate = assigned.iter().find(|(_, variant)| *variant == ENHANCED).unwrap().0;

    // The tokens may arrive after the filter.
    let begun = Instant::now();
    while send(&client, infer().header("authorization", "Bearer x.y.z")).await.status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(20), "a wrong token is accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (user, variant) in &assigned {
        for forged in [user.as_str(), "user-0", candidate] {
            let request = infer().header("authorization", of(user)).header("x-user-id", forged);
            assert_eq!(model(&send(&client, request).await), *variant, "{user} as {forged}");
        }
    }
    // Without a token there is no unit.
    for user in assigned.keys() {
        let answer =
            send(&client, infer().header("x-user-id", user).header("X-User-Id", candidate)).await;
        assert_eq!(model(&answer), BASELINE, "{user} without a token");
    }
    assert!(
        stand
            .baseline
            .requests()
            .iter()
            .rev()
            .take(USERS)
            .all(|seen| seen.header("x-user-id").is_none())
    );
    let forged = Keys::Secret(b"another secret, which is as long as that")
        .bearer(&json!({"email": candidate}));
    assert_eq!(send(&client, infer().header("authorization", &forged)).await.status, 401);
    let expired = KEYS.bearer(&json!({"email": candidate, "exp": 1_000_000_000}));
    assert_eq!(send(&client, infer().header("authorization", &expired)).await.status, 401);

    // Overrides and explanations are for testers.
    let tester = KEYS.bearer(&json!({"email": "qa", "groups": ["users", "testers"]}));
    let user = KEYS.bearer(&json!({"email": "user-0", "groups": ["users"]}));
    for (name, value) in [("x-ab-force", ENHANCED), ("x-ab-debug", "1")] {
        let with = |token: Option<&str>| {
            let request = infer().header(name, value);
            match token {
                Some(token) => request.header("authorization", token),
                None => request,
            }
        };
        assert_eq!(send(&client, with(None)).await.status, 403, "{name}");
        assert_eq!(send(&client, with(Some(&user))).await.status, 403, "{name}");
        let answer = send(&client, with(Some(&tester))).await;
        match name {
            "x-ab-force" => assert_eq!(model(&answer), ENHANCED),
            _ => assert!(answer.header_text("x-ab-reason").is_some(), "{answer:?}"),
        }
    }

    // Tokens can be required.
    let manifests = stand.rendered(&experiment, &[&options[..], &["--jwt-required"]].concat());
    mesh.apply(&manifests).unwrap();
    let begun = Instant::now();
    while send(&client, infer()).await.status != 403 {
        assert!(begun.elapsed() < Duration::from_secs(20), "a request without a token is accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(send(&client, infer().header("authorization", of("user-0"))).await.status, 200);
}

/// Serves a text to every request, on the node.
async fn serve(text: String) -> SocketAddr {
    let listener = TcpListener::bind(("10.244.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{text}",
                text.len()
            );
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    addr
}

/// The keys come from the issuer's server, which istiod asks.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_verified_with_the_keys_of_a_server() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let experiment = experiment(30.0);
    let (issuer, stranger) = (Keys::pair().unwrap(), Keys::pair().unwrap());
    let keys = format!("http://{}/keys", serve(issuer.set().to_string()).await);
    let options = ["--jwt-issuer", ISSUER, "--jwks-uri", &keys];
    mesh.apply(&stand.rendered(&experiment, &[&options[..], &["--jwt-claim", "email"]].concat()))
        .unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let client = gateway.client(GATEWAY_PORT);
    let assigned = stand.assigned(&experiment, USERS);
    let candidate = assigned.iter().find(|(_, variant)| *variant == ENHANCED).unwrap().0;
    let with =
        |token: &str, user: &str| infer().header("authorization", token).header("x-user-id", user);
    // Until istiod has fetched the keys, no token is valid.
    let begun = Instant::now();
    while send(&client, with(&issuer.bearer(&json!({"email": candidate})), "x")).await.status != 200
    {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", gateway.log_tail(10));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for (user, variant) in &assigned {
        let answer = send(&client, with(&issuer.bearer(&json!({"email": user})), candidate)).await;
        assert_eq!(model(&answer), *variant, "{user}");
        let forged = send(&client, with(&stranger.bearer(&json!({"email": user})), user)).await;
        assert_eq!(forged.status, 401, "{user}");
    }
    assert_eq!(model(&send(&client, infer().header("x-user-id", candidate)).await), BASELINE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_in_the_body_gets_the_variant_that_assign_says() {
    let mesh = Mesh::shared();
    let stand = Stand::start(mesh).await;
    let mut experiment = experiment(30.0);
    experiment["experiments"][0]["unit"] = json!([{"body": "/user/id"}]);
    let manifests = stand.rendered(&experiment, &["--kind", "envoyfilter"]);
    mesh.apply(&manifests).unwrap();
    let gateway = stand.gateway();
    stand.in_force(&gateway, &experiment).await;
    let client = gateway.client(GATEWAY_PORT);
    let request =
        |body: String| Request::post("/v2/models/forecast/infer", body).header("host", HOST);
    for (user, variant) in &stand.assigned(&experiment, USERS) {
        let body = json!({"inputs": [1, 2, 3], "user": {"id": user}}).to_string();
        assert_eq!(model(&send(&client, request(body)).await), *variant, "{user}");
    }
    // Larger than settings.body_limit: no unit, and no 413.
    let candidate = stand
        .assigned(&experiment, USERS)
        .into_iter()
        .find(|(_, variant)| variant == ENHANCED)
        .unwrap()
        .0;
    for size in [100 << 10, 1 << 20, 4 << 20] {
        let body = json!({"user": {"id": candidate}, "inputs": "x".repeat(size)}).to_string();
        assert_eq!(model(&send(&client, request(body)).await), BASELINE, "{size} bytes");
    }
}
