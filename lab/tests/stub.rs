//! All behaviors of a stub, through the client.

use std::time::{Duration, Instant};

use sidetrack_lab::{Behavior, Client, ModelStub, Request, send_raw};

const INFER: &str = "/v2/models/forecast/infer";

async fn pair(name: &str) -> anyhow::Result<(ModelStub, Client)> {
    let stub = ModelStub::start(name).await?;
    let client = Client::new(stub.addr()).with_timeout(Duration::from_secs(5));
    Ok((stub, client))
}

#[tokio::test]
async fn infers_and_is_ready() {
    let (_stub, client) = pair("v2").await.unwrap();
    let question = r#"{"id":"42","inputs":[]}"#;
    let answer = client.send(Request::post(INFER, question)).await.unwrap().json().unwrap();
    assert_eq!(answer["model_name"], "forecast");
    assert_eq!(answer["model_version"], "v2");
    assert_eq!(answer["id"], "42");
    assert_eq!(answer["outputs"][0]["datatype"], "FP32");
    assert_eq!(answer["outputs"][0]["shape"][0], 1);
    assert!(answer["outputs"][0]["data"][0].is_number());

    for path in
        ["/v2/health/ready", "/v2/models/forecast/ready", "/v2/models/forecast/versions/3/ready"]
    {
        assert_eq!(client.send(Request::get(path)).await.unwrap().status, 200, "{path}");
    }
    let other = client.send(Request::new("PURGE", "/any/thing?x=1")).await.unwrap();
    assert_eq!((other.status, other.json().unwrap()["model"].as_str()), (200, Some("v2")));
    assert_eq!(other.header("x-model"), Some(b"v2".as_slice()));
}

#[tokio::test]
async fn remembers_what_it_saw() {
    let (stub, client) = pair("a").await.unwrap();
    let before = Instant::now();
    let large = vec![7_u8; 100 * 1024];
    let request = Request::post("/p?q=1", large)
        .header("X-Unit", b"caf\xe9")
        .header("x-twice", "1")
        .header("x-twice", "2");
    client.send(request).await.unwrap();

    let seen = stub.requests().pop().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/p?q=1"));
    assert_eq!(seen.authority, stub.addr().to_string());
    assert_eq!(seen.header("x-unit"), Some(b"caf\xe9".as_slice()));
    assert_eq!(seen.header_values("x-twice").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!((seen.body_len, seen.body.len()), (100 * 1024, 64 * 1024));
    assert!(seen.at >= before && stub.last_arrival().unwrap().0 == seen.at);

    stub.record(false);
    client.send(Request::get("/")).await.unwrap();
    assert_eq!((stub.count(), stub.requests().len()), (2, 1));
    stub.clear();
    assert_eq!((stub.count(), stub.requests().len(), stub.last_arrival()), (0, 0, None));
}

#[tokio::test]
async fn changes_its_behavior() {
    let (stub, client) = pair("a").await.unwrap();
    stub.set(Behavior::Status(503));
    assert_eq!(client.send(Request::get("/")).await.unwrap().status, 503);

    stub.set(Behavior::Delay(Duration::from_millis(80)));
    let slow = client.send(Request::get("/")).await.unwrap();
    assert!(slow.status == 200 && slow.elapsed >= Duration::from_millis(80), "{slow:?}");

    stub.clear();
    stub.set(Behavior::ErrorEvery(3));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(client.send(Request::get("/")).await.unwrap().status);
    }
    assert_eq!(statuses, [200, 200, 500, 200, 200, 500]);

    stub.set(Behavior::StatusOfRequest);
    let failing = Request::get("/").header("x-stub-status", "503");
    assert_eq!(client.send(failing.clone()).await.unwrap().status, 503);
    assert_eq!(client.send(Request::get("/")).await.unwrap().status, 200);

    stub.set(Behavior::Healthy);
    assert_eq!(client.send(failing).await.unwrap().status, 200);
}

#[tokio::test]
async fn echoes_every_byte() {
    let (stub, client) = pair("a").await.unwrap();
    stub.set(Behavior::Echo);
    let body: Vec<u8> =
        (0..300_000_u32).map(|i| i.to_le_bytes()[usize::from(i % 3 == 0)]).collect();
    let answer =
        client.send(Request::post("/", body.clone()).header("content-type", "x/y")).await.unwrap();
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
    assert_eq!(answer.header("content-type"), Some(b"x/y".as_slice()));
    assert_eq!(stub.requests()[0].body_len, 300_000);
}

#[tokio::test]
async fn resets_http1_and_http2() {
    let (stub, client) = pair("a").await.unwrap();
    for client in [client, Client::http2(stub.addr()).with_timeout(Duration::from_secs(5))] {
        stub.set(Behavior::Healthy);
        client.send(Request::get("/")).await.unwrap();
        stub.set(Behavior::Reset);
        let error = format!("{:#}", client.send(Request::post("/", "body")).await.unwrap_err());
        assert!(error.to_lowercase().contains("connection reset"), "{error}");
    }
    assert_eq!(stub.count(), 4);
}

#[tokio::test]
async fn speaks_grpc_statuses() {
    let stub = ModelStub::start("a").await.unwrap();
    let client = Client::http2(stub.addr());
    let call =
        || Request::post("/inference.GRPCInferenceService/ModelInfer", "").header("te", "trailers");

    stub.set(Behavior::GrpcStatus(14));
    let failed = client.send(call()).await.unwrap();
    assert_eq!((failed.status, failed.trailer("grpc-status")), (200, Some(b"14".as_slice())));
    assert_eq!(failed.header("content-type"), Some(b"application/grpc".as_slice()));
    assert_eq!(failed.header("grpc-status"), None);

    stub.set(Behavior::GrpcStatus(0));
    let fine = client.send(call()).await.unwrap();
    assert_eq!((fine.body.len(), fine.trailer("grpc-status")), (5, Some(b"0".as_slice())));

    stub.set(Behavior::GrpcTrailersOnly(5));
    let early = client.send(call()).await.unwrap();
    assert_eq!((early.header("grpc-status"), early.trailers.len()), (Some(b"5".as_slice()), 0));
    assert_eq!(stub.requests()[0].authority, stub.addr().to_string());
}

#[tokio::test]
async fn refuses_and_listens_again() {
    let (stub, client) = pair("a").await.unwrap();
    for _ in 0..3 {
        client.send(Request::get("/")).await.unwrap();
        stub.refuse().await;
        let error = format!("{:#}", client.send(Request::get("/")).await.unwrap_err());
        assert!(error.contains("refused") || error.contains("closed"), "{error}");
        let error =
            format!("{:#}", Client::new(stub.addr()).send(Request::get("/")).await.unwrap_err());
        assert!(error.contains("refused"), "{error}");
        stub.listen().await.unwrap();
        stub.listen().await.unwrap();
    }
    client.send(Request::get("/")).await.unwrap();
    assert_eq!(stub.count(), 4);
}

#[tokio::test]
async fn raw_bytes_reach_the_server() {
    let (stub, _) = pair("a").await.unwrap();
    let answer = send_raw(
        stub.addr(),
        b"GET / HTTP/1.1\r\nhost: x\r\nX-A: \x80\xff\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.unwrap().starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert_eq!(stub.requests()[0].header("x-a"), Some(b"\x80\xff".as_slice()));
    let answer = send_raw(stub.addr(), b"GET / HTTP/1.1\r\nbad header\r\n\r\n").await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_bad_request_is_an_error() {
    let (stub, client) = pair("a").await.unwrap();
    for request in [
        Request::get("/").header("x", "a\nb"),
        Request::get("/").header("a b", "c"),
        Request::get("no slash"),
        Request::new("G T", "/"),
    ] {
        assert!(client.send(request.clone()).await.is_err(), "{request:?}");
    }
    assert_eq!(stub.count(), 0);
}
