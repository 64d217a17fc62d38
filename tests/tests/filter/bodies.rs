//! Units in request bodies: which bodies the filter waits for, how it handles the others, and that
//! every body reaches the model byte for byte.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use sidetrack::decide::{self, Decision, Gate, Missing, Outcome};
use sidetrack::plan::Plan;
use sidetrack::request::{Body, Request as Asking};
use sidetrack_lab::{Answer, Behavior, Client, Request};
use sidetrack_tests::fake_host::{Action, HeaderMap, Module, Proxy, Status, Vm};
use sidetrack_tests::world::{Kind, Stage, World, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub(crate) const PATH: &str = "/v2/models/forecast/infer";
/// The file's `body_limit`.
const LIMIT: usize = 4096;
/// The host lets the filter wait.
pub(crate) const WAITS: (&str, &str) = ("SIDETRACK_WAIT_FOR_BODIES", "1");

/// An experiment whose unit is a header's value or else stands in the body.
fn file() -> Value {
    json!({
        "experiments": [{
            "name": "bodies",
            "unit": [{"header": "x-user-id"}, {"body": "/user_id"}],
            "baseline": "old",
            "variants": [
                {"name": "old", "cluster": "old-cluster"},
                {"name": "new", "cluster": "new-cluster", "weight": 50,
                 "request_headers": {"x-model-version": "2"}, "response_headers": {"x-served": "new"}},
            ],
        }],
        "settings": {"debug": "allowed", "body_limit": LIMIT},
    })
}

/// A question of this user to the model.
fn question(user: &str) -> String {
    json!({"inputs": [{"name": "x", "shape": [2], "data": [1.5, 2.0]}], "user_id": user})
        .to_string()
}

/// A question of this user that is so many bytes long.
fn question_of(user: &str, length: usize) -> String {
    let empty = json!({"pad": "", "user_id": user}).to_string();
    json!({"pad": "x".repeat(length - empty.len()), "user_id": user}).to_string()
}

/// The core's decision about a request without any header of its own.
fn decided(plan: &Plan, body: Body<'_>) -> Decision {
    struct Asked<'a>(Vec<(&'static str, &'static str)>, Body<'a>);
    impl Asking for Asked<'_> {
        fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
            self.0.values(name)
        }
        fn body(&self) -> Body<'_> {
            self.1
        }
    }
    let entropy = || -> u64 { panic!("a hash needs no randomness") };
    let mut world = decide::World { now: Default::default(), entropy, gate: &|_, _| Gate::Closed };
    let request =
        Asked(vec![(":method", "POST"), (":path", PATH), (":authority", "models.test")], body);
    match decide::decide(plan, &request, &mut world, &mut ()) {
        Outcome::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

fn variant(plan: &Plan, decision: &Decision) -> String {
    plan.experiments.first().unwrap().variants[decision.served].name.clone()
}

/// A user who gets the candidate.
fn user_of_new(plan: &Plan) -> String {
    let is_new = |user: &String| {
        variant(plan, &decided(plan, Body::Whole(question(user).as_bytes()))) == "new"
    };
    (0..).map(|n| format!("user-{n}")).find(is_new).unwrap()
}

// ---- On a real Envoy
// -------------------------------------------------------------------------------------------

/// A world whose models send back what they get.
pub(crate) async fn echoing(stage: &Stage, file: &Value) -> World {
    let world = stage.start(file).await;
    world.real().stubs.values().for_each(|stub| stub.set(Behavior::Echo));
    world
}

fn post(body: impl Into<Bytes>) -> Request {
    Request::post(PATH, body).header("content-type", "application/json").header("x-ab-debug", "1")
}

/// Asserts that an answer is the one that the core's decision about this body promises, and the
/// body itself.
fn is_as_decided(plan: &Plan, answer: &Answer, body: &[u8], read: Body<'_>) {
    let decision = decided(plan, read);
    let name = variant(plan, &decision);
    let header = |name: &str| answer.header_text(name);
    let what = format!(
        "{} bytes, {:?}…: {answer:?}",
        body.len(),
        String::from_utf8_lossy(&body[..body.len().min(60)])
    );
    assert_eq!(answer.status, 200, "{what}");
    assert_eq!(header("x-ab-variant").as_deref(), Some(name.as_str()), "{what}");
    assert_eq!(header("x-model"), Some(format!("{name}-cluster")), "{what}");
    assert_eq!(header("x-served").as_deref(), (name == "new").then_some("new"), "{what}");
    assert_eq!(header("x-ab-reason").as_deref(), Some(decision.reason.as_str()), "{what}");
    assert_eq!(header("x-ab-bucket"), decision.bucket.map(|bucket| bucket.to_string()), "{what}");
    assert_eq!(header("x-ab-breaker").as_deref(), (name == "new").then_some("closed"), "{what}");
    assert!(
        answer.body == body,
        "another body came back: {} of {} bytes",
        answer.body.len(),
        body.len()
    );
}

#[tokio::test]
async fn a_hundred_users_by_their_bodies() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let (plan, client) = (world.plan(), Client::new(world.real().addr));
        let mut counts = [0; 2];
        for n in 0..100 {
            let body = match n % 4 {
                0 => question(&format!("user-{n}")),
                1 => format!(r#"{{"user_id": {n}}}"#),
                2 => format!(
                    "{{\"user_id\":\"first\",\r\n\t\"user_id\" : \"Zo\\u00eb \u{1f682} {n}\" }}\n"
                ),
                _ => question_of(&format!("user-{n}"), LIMIT),
            };
            let answer = client.send(post(body.clone())).await.unwrap();
            is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
            counts[usize::from(answer.header_text("x-ab-variant").unwrap() == "new")] += 1;
        }
        assert!(counts.iter().all(|&count| count > 25), "{counts:?}");
        world.expect_metric("ab_test_requests_total", &[("model_name", "new")], counts[1]).await;
        world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
        for (name, stub) in &world.real().stubs {
            for seen in stub.requests() {
                let version = seen.header_text("x-model-version");
                assert_eq!(version.as_deref(), (name == "new-cluster").then_some("2"));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_read_passes_as_it_is() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let (plan, client) = (world.plan(), Client::new(world.real().addr));
        let user = user_of_new(&plan);
        let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0x55; 90]].concat();
        let good = question(&user);
        let cut = good[..good.len() - 1].to_owned();
        let mut missing = 0;
        for (body, header) in [
            (question_of(&user, 300_000).into_bytes(), None),
            (question_of(&user, LIMIT + 1).into_bytes(), None),
            (good.clone().into_bytes(), Some(("content-encoding", "gzip"))),
            (good.clone().into_bytes(), Some(("content-encoding", "br, identity"))),
            (good.clone().into_bytes(), Some(("content-type", "application/grpc"))),
            (gzip, Some(("content-encoding", "gzip"))),
            (cut.into_bytes(), None),
            (format!("{good}x").into_bytes(), None),
            (b"user_id=4711".to_vec(), Some(("content-type", "application/x-www-form-urlencoded"))),
            (vec![0xff; 1000], None),
            (b"{\"user_id\": \"\xff\"}".to_vec(), None),
            (br#"{"user_id": ""}"#.to_vec(), None),
            (br#"{"user_id": null}"#.to_vec(), None),
            (br#"{"user_id": {"user_id": 1}}"#.to_vec(), None),
            (br#"[{"user_id": 1}]"#.to_vec(), None),
            ("[".repeat(LIMIT).into_bytes(), None),
            (b" ".to_vec(), None),
        ] {
            let mut request = post(body.clone());
            if let Some((name, value)) = header {
                request.headers.retain(|(other, _)| other != name);
                request = request.header(name, value);
            }
            let answer = client.send(request).await.unwrap();
            is_as_decided(&plan, &answer, &body, Body::Absent);
            missing += 1;
        }
        world
            .expect_metric("ab_test_missing_unit_total", &[("experiment", "bodies")], missing)
            .await;
        // Just as large as the limit, and not compressed: read.
        let body = question_of(&user, LIMIT);
        let answer =
            client.send(post(body.clone()).header("content-encoding", "identity")).await.unwrap();
        is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
        world.expect_metric("ab_test_missing_unit_total", &[], missing).await;
        world.expect_metric("ab_test_requests_total", &[("model_name", "old")], missing).await;
        world.expect_metric("ab_test_requests_total", &[("model_name", "new")], 1).await;
    })
    .await;
}

/// A connection on which we say when which bytes go out.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) async fn open(world: &World) -> Self {
        let stream = TcpStream::connect(world.real().addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The headers of a request that closes its connection.
    pub(crate) async fn begin(&mut self, headers: &str) {
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: models.test\r\nconnection: close\r\nx-ab-debug: 1\r\n"
        );
        self.write(format!("{head}{headers}\r\n")).await;
    }

    /// What comes back up to a blank line.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(Duration::from_secs(5), self.0.read_u8()).await;
            head.push(
                byte.unwrap_or_else(|_| panic!("no answer: {:?}", String::from_utf8_lossy(&head)))
                    .unwrap(),
            );
        }
        String::from_utf8(head).unwrap()
    }

    /// Whether nothing comes back for a while.
    async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.0.read_u8()).await.is_err()
    }

    /// The answer, whole.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let mut rest = Vec::new();
        timeout(Duration::from_secs(5), self.0.read_to_end(&mut rest)).await.unwrap().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.as_bytes().to_vec()))
        };
        let headers: Vec<(String, Vec<u8>)> = head.lines().skip(1).filter_map(header).collect();
        let is_chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
        Answer {
            status: head[9..12].parse().unwrap(),
            headers,
            body: if is_chunked { unchunked(&rest) } else { rest.into() },
            trailers: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }
}

fn unchunked(mut rest: &[u8]) -> Bytes {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let length =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
        if length == 0 {
            return body.into();
        }
    }
}

/// How many requests have reached a model.
fn arrived(world: &World) -> u64 {
    world.real().stubs.values().map(sidetrack_lab::ModelStub::count).sum()
}

#[tokio::test]
async fn a_body_in_pieces_is_waited_for() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let plan = world.plan();
        let body = question(&user_of_new(&plan));
        let mut wire = Wire::open(&world).await;
        wire.begin(&format!("content-length: {}\r\n", body.len())).await;
        let (last, pieces) = body.as_bytes().split_last().unwrap();
        for piece in pieces.chunks(30) {
            sleep(Duration::from_millis(50)).await;
            wire.write(piece).await;
        }
        assert!(wire.is_silent().await);
        assert_eq!(arrived(&world), 0, "a model was asked before the body was there");
        wire.write([*last]).await;
        is_as_decided(&plan, &wire.answer().await, body.as_bytes(), Body::Whole(body.as_bytes()));

        // A client that waits for 100 Continue receives it.
        let mut wire = Wire::open(&world).await;
        wire.begin(&format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len())).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
        wire.write(&body).await;
        is_as_decided(&plan, &wire.answer().await, body.as_bytes(), Body::Whole(body.as_bytes()));
        world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_stream_of_unknown_length_is_not_waited_for() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let plan = world.plan();
        let body = question(&user_of_new(&plan));
        let mut wire = Wire::open(&world).await;
        wire.begin("transfer-encoding: chunked\r\n").await;
        wire.write(format!("5\r\n{}\r\n", &body[..5])).await;
        // The model answers a body that is still on its way.
        let head = wire.head().await;
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("x-ab-reason: missing_unit"),
            "{head}"
        );
        wire.write(format!("{:x}\r\n{}\r\n0\r\n\r\n", body.len() - 5, &body[5..])).await;
        let mut rest = Vec::new();
        wire.0.read_to_end(&mut rest).await.unwrap();
        assert_eq!(unchunked(&rest), body.as_bytes());
        world.expect_metric("ab_test_missing_unit_total", &[], 1).await;
    })
    .await;
}

#[tokio::test]
async fn an_earlier_source_does_not_wait() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let body = question("somebody");
        let (half, rest) = body.split_at(body.len() / 2);
        let mut wire = Wire::open(&world).await;
        wire.begin(&format!("x-user-id: somebody\r\ncontent-length: {}\r\n", body.len())).await;
        wire.write(half).await;
        // The model has begun to answer, with half a body.
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("x-ab-reason: hash"), "{head}");
        assert_eq!(arrived(&world), 1);
        wire.write(rest).await;
        let mut echoed = Vec::new();
        wire.0.read_to_end(&mut echoed).await.unwrap();
        let echoed = if head.contains("chunked") { unchunked(&echoed) } else { echoed.into() };
        assert_eq!(echoed, body.as_bytes());

        // The same without that header waits.
        let mut wire = Wire::open(&world).await;
        wire.begin(&format!("content-length: {}\r\n", body.len())).await;
        wire.write(half).await;
        assert!(wire.is_silent().await);
        assert_eq!(arrived(&world), 1);
        wire.write(rest).await;
        is_as_decided(
            &world.plan(),
            &wire.answer().await,
            body.as_bytes(),
            Body::Whole(body.as_bytes()),
        );
    })
    .await;
}

#[tokio::test]
async fn a_request_without_a_body_is_not_held() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let (plan, client) =
            (world.plan(), Client::new(world.real().addr).with_timeout(Duration::from_secs(3)));
        for request in [
            Request::get(PATH),
            Request::new("HEAD", PATH),
            Request::new("POST", PATH).header("content-length", "0"),
            Request::new("DELETE", PATH),
        ] {
            let answer = client.send(request.header("x-ab-debug", "1")).await.unwrap();
            is_as_decided(&plan, &answer, b"", Body::Absent);
        }
        let client = Client::http2(world.real().addr).with_timeout(Duration::from_secs(3));
        let answer = client.send(Request::get(PATH).header("x-ab-debug", "1")).await.unwrap();
        is_as_decided(&plan, &answer, b"", Body::Absent);
        world.expect_metric("ab_test_missing_unit_total", &[], 5).await;
    })
    .await;
}

/// Sends pieces and trailers over HTTP/2, with pauses; what comes back.
pub(crate) async fn upload(
    world: &World,
    length: Option<usize>,
    headers: &[(&'static str, &'static str)],
    pieces: &[&[u8]],
    trailers: &[(&'static str, &'static str)],
) -> Answer {
    let stream = TcpStream::connect(world.real().addr).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (frames, received) = tokio::sync::mpsc::channel::<Frame<Bytes>>(1);
    let body = Frames(received);
    let mut request =
        hyper::Request::post(format!("http://models.test{PATH}")).header("x-ab-debug", "1");
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = tokio::spawn(async move {
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = timeout(Duration::from_secs(5), body.collect()).await.unwrap().unwrap();
        let lines = |map: &hyper::HeaderMap| -> Vec<(String, Vec<u8>)> {
            map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
        };
        Answer {
            status: head.status.as_u16(),
            headers: lines(&head.headers),
            trailers: body.trailers().map(lines).unwrap_or_default(),
            body: body.to_bytes(),
            elapsed: Duration::ZERO,
        }
    });
    for piece in pieces {
        frames.send(Frame::data(Bytes::copy_from_slice(piece))).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    if !trailers.is_empty() {
        let entry = |&(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        frames.send(Frame::trailers(trailers.iter().map(entry).collect())).await.unwrap();
    }
    drop(frames);
    timeout(Duration::from_secs(5), response).await.unwrap().unwrap()
}

/// Frames as they are handed over.
struct Frames(tokio::sync::mpsc::Receiver<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

#[tokio::test]
async fn uploads_over_http2_arrive_with_their_trailers() {
    // Trailers reach a model over HTTP/2 only.
    run(Stage::rendered(&["--upstream-protocol", "client"]), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let plan = world.plan();
        let small = question(&user_of_new(&plan)).into_bytes();
        let large = question_of(&user_of_new(&plan), 300_000).into_bytes();
        let grpc_like: &[(&str, &str)] = &[("x-checksum", "4711"), ("x-more", "a, b")];
        let mut missing = 0;
        for body in [&small, &large] {
            for length in [Some(body.len()), None] {
                for trailers in [grpc_like, &[]] {
                    let pieces: Vec<&[u8]> = body.chunks(body.len().div_ceil(4)).collect();
                    let answer = upload(&world, length, &[], &pieces, trailers).await;
                    let is_read = length.is_some() && body.len() <= LIMIT;
                    let read = if is_read { Body::Whole(body) } else { Body::Absent };
                    is_as_decided(&plan, &answer, body, read);
                    let came: Vec<(&str, &str)> = answer
                        .trailers
                        .iter()
                        .map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()))
                        .collect();
                    assert_eq!(came, trailers, "{length:?}");
                    missing += u64::from(!is_read);
                }
            }
        }
        world.expect_metric("ab_test_missing_unit_total", &[], missing).await;
        world.expect_metric("ab_test_requests_total", &[("status", "success")], 8).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_body_harms_nobody() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let (plan, client) = (world.plan(), Client::new(world.real().addr));
        let body = question(&user_of_new(&plan));
        for n in 0..40 {
            let mut wire = Wire::open(&world).await;
            wire.begin(&format!("content-length: {}\r\n", body.len())).await;
            if n % 2 == 0 {
                wire.write(&body[..n]).await;
            }
            if n % 4 == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        }
        for _ in 0..10 {
            let answer = client.send(post(body.clone())).await.unwrap();
            is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
        }
        assert_eq!(arrived(&world), 10);
        world.expect_metric("ab_test_requests_total", &[], 10).await;
        world.expect_metric("ab_test_requests_total", &[("status", "aborted")], 0).await;
        world.expect_metric("ab_test_missing_unit_total", &[], 0).await;
        let active =
            world.real().envoy.stats("^http.predictors.downstream_rq_active$").await.unwrap();
        assert!(active.values().all(|&active| active == 0), "{active:?}");
    })
    .await;
}

/// Envoy keeps at most 1 MiB of a request that is held, unless the bootstrap says otherwise; beyond
/// that it answers 413.
#[tokio::test]
async fn a_limit_above_a_mebibyte_works_with_a_buffer_of_that_size() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let mut file = file();
        file["settings"]["body_limit"] = json!("4MiB");
        let world = echoing(&stage, &file).await;
        let plan = world.plan();
        let body = question_of(&user_of_new(&plan), 4 << 20);
        for client in [Client::new(world.real().addr), Client::http2(world.real().addr)] {
            let answer = client.send(post(body.clone())).await.unwrap();
            is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
        }
    })
    .await;
}

#[tokio::test]
async fn the_mirror_gets_the_body_too() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let mut file = file();
        file["experiments"][0]["mirror"] = json!({"cluster": "shadow"});
        let world = echoing(&stage, &file).await;
        let (plan, client) = (world.plan(), Client::new(world.real().addr));
        for n in 0..10 {
            let body = question(&format!("user-{n}"));
            let answer = client.send(post(body.clone())).await.unwrap();
            is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
        }
        let shadow = &world.real().stubs["shadow"];
        timeout(Duration::from_secs(5), async {
            while shadow.requests().iter().filter(|seen| seen.body_len > 0).count() < 10 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        let mut bodies: Vec<Vec<u8>> =
            shadow.requests().into_iter().map(|seen| seen.body).collect();
        bodies.sort();
        let expected: Vec<Vec<u8>> =
            (0..10).map(|n| question(&format!("user-{n}")).into_bytes()).collect();
        assert_eq!(bodies, expected);
        world.expect_metric("ab_test_mirrored_total", &[], 10).await;
    })
    .await;
}

// ---- Callback by callback
// --------------------------------------------------------------------------------------

/// A worker of a proxy with these environment variables.
fn worker(environment: &[(&str, &str)]) -> (Proxy, Vm, Plan) {
    let proxy = Proxy::new(Module::sidetrack());
    environment.iter().for_each(|(name, value)| proxy.set_environment(name, value));
    let vm = proxy.start_vm().unwrap();
    let text = file().to_string();
    assert!(vm.configure(&text).unwrap(), "{}", proxy.log_text());
    (proxy, vm, sidetrack::config::parse_json(text.as_bytes()).unwrap())
}

fn head(length: impl std::fmt::Display) -> HeaderMap {
    let length = length.to_string();
    [
        (":method", "POST"),
        (":path", PATH),
        (":authority", "models.test"),
        ("content-length", &length),
    ]
    .into()
}

/// Requests without a unit, once the worker has published them.
fn missing(proxy: &Proxy, vm: &Vm) -> u64 {
    vm.tick().unwrap();
    let of = |reason: &Missing| {
        let reason = reason.as_str();
        let name = format!("experiment=.=bodies;.;reason=.={reason};.;ab_test_missing_unit_total");
        proxy.counter(&name).unwrap()
    };
    Missing::ALL.iter().map(of).sum()
}

fn told(stream: &sidetrack_tests::fake_host::Stream) -> Option<String> {
    stream.request_header("x-ab-variant").map(|name| String::from_utf8(name).unwrap())
}

#[test]
fn where_envoy_does_not_let_it_wait_nothing_is_held() {
    for environment in [&[][..], &[("SIDETRACK_WAIT_FOR_BODIES", "")], &[("SIDETRACK_WAIT", "1")]] {
        let (proxy, vm, plan) = worker(environment);
        let body = question(&user_of_new(&plan));
        let stream = vm.stream();
        assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Continue);
        assert_eq!(told(&stream).as_deref(), Some("old"));
        assert_eq!(missing(&proxy, &vm), 1);
        for (piece, end) in [(&body[..9], false), (&body[9..], true)] {
            assert_eq!(stream.request_body(piece, end).unwrap(), Action::Continue);
        }
        assert_eq!(stream.forwarded_body(), body.as_bytes());
        assert!(stream.route_cache_clears() > 0);
    }
}

#[test]
fn where_envoy_lets_it_wait_the_last_piece_decides() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    assert_eq!((told(&stream), stream.route_cache_clears()), (None, 0));
    for piece in body.as_bytes()[..body.len() - 1].chunks(7) {
        assert_eq!(stream.request_body(piece, false).unwrap(), Action::Pause);
        assert_eq!(told(&stream), None);
    }
    assert_eq!(stream.request_body(&body[body.len() - 1..], true).unwrap(), Action::Continue);
    assert_eq!((told(&stream).as_deref(), stream.route_cache_clears() > 0), (Some("new"), true));
    assert_eq!(stream.forwarded_body(), body.as_bytes());
    assert_eq!(missing(&proxy, &vm), 0);
    stream.response_headers([(":status", "200")], true).unwrap();
    stream.finish().unwrap();
    vm.tick().unwrap();
    assert_eq!(
        proxy.counter(
            "experiment=.=bodies;.;model_name=.=new;.;status=.=success;.;ab_test_requests_total"
        ),
        Some(1)
    );
}

#[test]
fn callbacks_out_of_turn_do_nothing() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    let stream = vm.stream();
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue, "before the headers");
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    let headers = stream.request();
    let calls = proxy.host_calls();
    for end in [true, false, true] {
        assert_eq!(stream.request_body(question("somebody else"), end).unwrap(), Action::Continue);
    }
    assert_eq!(stream.request_trailers([("x-checksum", "1")]).unwrap(), Action::Continue);
    assert_eq!(proxy.host_calls(), calls, "the filter did something");
    assert!(stream.request() == headers);
    assert_eq!(told(&stream).as_deref(), Some("new"));
    // Nor where nothing was held.
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(0), true).unwrap(), Action::Continue);
    let calls = proxy.host_calls();
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    assert_eq!(stream.request_trailers([("x-checksum", "1")]).unwrap(), Action::Continue);
    assert_eq!(proxy.host_calls(), calls, "the filter did something");
}

#[test]
fn trailers_end_the_body() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body(&body, false).unwrap(), Action::Pause);
    assert_eq!(stream.request_trailers([("x-checksum", "1")]).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("new"));
    // No body came at all.
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(10), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_trailers([("x-checksum", "1")]).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("old"));
    assert_eq!(missing(&proxy, &vm), 1);
}

#[test]
fn lengths_that_lie_or_say_nothing() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    for length in ["0", "-1", "abc", "", "1e2", "4097", "99999999999999999999999", "5,5"] {
        let stream = vm.stream();
        assert_eq!(
            stream.request_headers(head(length), false).unwrap(),
            Action::Continue,
            "{length}"
        );
        assert_eq!(told(&stream).as_deref(), Some("old"), "{length}");
        assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue, "{length}");
    }
    let before = missing(&proxy, &vm);
    // More comes than was announced, and more than is read: it is let go at once.
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(10), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body("x".repeat(LIMIT + 1), false).unwrap(), Action::Continue);
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    assert_eq!((told(&stream).as_deref(), stream.route_cache_clears() > 0), (Some("old"), true));
    // Less comes, or nothing can be read.
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(10), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body("", true).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("old"));
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    proxy.fault("proxy_get_buffer_bytes", Status::InternalFailure);
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("old"));
    assert_eq!(stream.forwarded_body(), body.as_bytes());
    assert_eq!(missing(&proxy, &vm), before + 3);
}

#[test]
fn a_held_request_keeps_its_configuration_and_may_end_early() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    let mut disabled = file();
    disabled["experiments"][0]["enabled"] = json!(false);
    assert!(vm.configure(disabled.to_string()).unwrap());
    assert_eq!(vm.roots(), 2);
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("new"));
    stream.finish().unwrap();
    assert_eq!(vm.roots(), 1);

    assert!(vm.configure(file().to_string()).unwrap());
    let before = proxy.metrics();
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body(&body[..9], false).unwrap(), Action::Pause);
    stream.finish().unwrap();
    assert_eq!(proxy.metrics(), before, "a request that was never decided was counted");
}
