//! Bodies over HTTP/1.1, piece by piece: which of them the filter waits for.

use std::time::Duration;

use bytes::Bytes;
use sidetrack::request::Body;
use sidetrack_lab::{Answer, Client};
use sidetrack_tests::world::{Kind, Stage, World, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{PATH, echoing, file, is_as_decided, post, question, user_of_new};

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
