//! A client that opens many requests whose bodies never come, each with large headers that cost it
//! a few bytes (HPACK). They wait, and other clients are served.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sidetrack_lab::{Client, Request};
use sidetrack_tests::world::run;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::stand::{file, no_crash, served, stage, under_load, unharmed, until};

const CONNECTIONS: u32 = 24;
/// On each of them.
const STREAMS: u32 = 1000;

/// A body that never comes.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// A connection with requests of 58 KB of headers, until it is dropped.
async fn open(addr: SocketAddr) -> (SendRequest<Never>, JoinSet<()>) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async { connection.await.unwrap_or_default() });
    let pad = "p".repeat(2900);
    for _ in 0..STREAMS {
        let mut request = hyper::Request::post("http://models.test/").header("content-length", 100);
        for _ in 0..20 {
            request = request.header("x-pad", &pad);
        }
        sender.ready().await.unwrap();
        let response = sender.send_request(request.body(Never).unwrap());
        tasks.spawn(async { drop(response.await) });
    }
    (sender, tasks)
}

#[tokio::test]
async fn bodies_that_never_come_take_no_memory_of_the_filter() {
    run(stage().with_workers(1), |stage| async move {
        let world = under_load(&stage, &file(30)).await;
        let addr = world.real().addr;
        let client = Client::new(addr);
        let others = || async {
            for user in 0..50 {
                let request = Request::get("/").header("x-user-id", format!("user-{user}"));
                let answer = client.send(request).await.unwrap();
                assert!(served(&answer), "{answer:?}");
            }
        };
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(open(addr).await);
            others().await;
        }
        until("all of them wait", || async {
            let active =
                world.real().envoy.stats(r"^http\.predictors\.downstream_rq_active$").await;
            let waiting = i64::from(CONNECTIONS * STREAMS);
            active.unwrap().values().all(|active| *active >= waiting)
        })
        .await;
        others().await;
        no_crash(&world);
        drop(connections);
        unharmed(&world).await;
    })
    .await;
}
