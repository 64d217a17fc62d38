//! Identities that a client cannot forge: units from verified tokens, and overrides for testers only.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sidetrack_lab::{Answer, Client, Request};
use sidetrack_tests::mesh::Mesh;

use crate::stand::{BASELINE, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

const USERS: usize = 200;
const SECRET: &[u8] = b"the secret of the issuer, 32 bytes or more";

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// HMAC (RFC 2104) with SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let hash = |pad: u8, message: &[u8]| {
        let key: Vec<u8> = block.iter().map(|byte| byte ^ pad).collect();
        Sha256::digest([&key, message].concat()).to_vec()
    };
    hash(0x5c, &hash(0x36, message))
}

/// The keys of the issuer.
pub(crate) fn keys() -> Value {
    json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": "1", "k": base64url(SECRET)}]})
}

/// A token of the issuer with these claims beside its own.
pub(crate) fn token(claims: &Value) -> String {
    signed(SECRET, claims)
}

/// A token with these claims, signed with this secret.
fn signed(secret: &[u8], claims: &Value) -> String {
    let mut all = json!({"iss": "https://login.example.com", "exp": 4_000_000_000_u64});
    for (claim, value) in claims.as_object().unwrap() {
        all[claim] = value.clone();
    }
    let header = json!({"alg": "HS256", "kid": "1", "typ": "JWT"});
    let signed = format!(
        "{}.{}",
        base64url(header.to_string().as_bytes()),
        base64url(all.to_string().as_bytes())
    );
    let signature = base64url(&hmac(secret, signed.as_bytes()));
    format!("Bearer {signed}.{signature}")
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
    let keys = mesh.file(&format!("{}.jwks", stand.models), &keys().to_string()).unwrap();
    let options = [
        "--jwt-issuer",
        "https://login.example.com",
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
    let of = |user: &str| token(&json!({"email": user, "sub": "not this one"}));
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
    let forged = signed(b"another secret, which is as long as that", &json!({"email": candidate}));
    assert_eq!(send(&client, infer().header("authorization", &forged)).await.status, 401);
    let expired = token(&json!({"email": candidate, "exp": 1_000_000_000}));
    assert_eq!(send(&client, infer().header("authorization", &expired)).await.status, 401);

    // Overrides and explanations are for testers.
    let tester = token(&json!({"email": "qa", "groups": ["users", "testers"]}));
    let user = token(&json!({"email": "user-0", "groups": ["users"]}));
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
