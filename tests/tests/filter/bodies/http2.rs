//! Bodies over HTTP/2, with and without a length and trailers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sidetrack::request::Body;
use sidetrack_lab::Answer;
use sidetrack_tests::world::{Stage, World, run};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{LIMIT, PATH, echoing, file, is_as_decided, question, question_of, user_of_new};

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
