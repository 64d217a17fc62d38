//! The time that a candidate takes begins when its request has arrived, in each protocol.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use sidetrack_lab::Behavior;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ALONE;
use crate::stand::{BASELINE, CANDIDATE, Stand, until};
use crate::users::Users;

/// How a request's body ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Upload {
    /// HTTP/1.1, after `content-length` bytes.
    Length,
    /// HTTP/1.1, with the last chunk.
    Chunks,
    /// HTTP/2, with a DATA frame.
    Stream,
    /// HTTP/2, with trailers.
    Trailers,
}

impl Upload {
    const ALL: [Self; 4] = [Self::Length, Self::Chunks, Self::Stream, Self::Trailers];

    /// Sends a body in three pieces with this pause before the second and the third.
    async fn send(self, addr: SocketAddr, user: &str, pause: Duration) -> Result<()> {
        let (frames, body) = mpsc::channel(1);
        let request = match self {
            Self::Length | Self::Chunks => {
                hyper::Request::post("/infer").header("host", "models.test")
            }
            Self::Stream | Self::Trailers => hyper::Request::post("http://models.test/infer"),
        };
        let request = match self {
            Self::Length => request.header("content-length", 9),
            _ => request,
        };
        let request = request.header("x-user-id", user).body(Frames(body))?;
        let stream = TokioIo::new(TcpStream::connect(addr).await?);
        let exchange = async {
            let response = match self {
                Self::Length | Self::Chunks => {
                    let (mut sender, connection) = http1::handshake(stream).await?;
                    tokio::spawn(connection);
                    sender.send_request(request).await?
                }
                Self::Stream | Self::Trailers => {
                    let (mut sender, connection) =
                        http2::handshake(TokioExecutor::new(), stream).await?;
                    tokio::spawn(connection);
                    sender.send_request(request).await?
                }
            };
            ensure!(response.status() == 200, "{self:?}: {}", response.status());
            response.into_body().collect().await?;
            anyhow::Ok(())
        };
        let upload = async {
            for wait in [Duration::ZERO, pause, pause] {
                sleep(wait).await;
                frames.send(Frame::data(Bytes::from_static(b"abc"))).await?;
            }
            if self == Self::Trailers {
                let trailer = ("x-checksum".parse()?, "4711".parse()?);
                frames.send(Frame::trailers([trailer].into_iter().collect())).await?;
            }
            drop(frames);
            anyhow::Ok(())
        };
        let both = async { tokio::try_join!(exchange, upload) };
        timeout(Duration::from_secs(10), both).await.with_context(|| format!("{self:?}"))??;
        Ok(())
    }
}

/// Frames as they are handed over.
struct Frames(mpsc::Receiver<Frame<Bytes>>);

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

/// Sends an upload of each kind for each of these users, beside each other.
async fn send_all(stand: &Stand, users: &[String], pause: Duration) -> Result<()> {
    let mut uploads = JoinSet::new();
    for user in users {
        for upload in Upload::ALL {
            let (addr, user) = (stand.addr, user.clone());
            uploads.spawn(async move { upload.send(addr, &user, pause).await });
        }
        sleep(Duration::from_millis(20)).await;
    }
    uploads.join_all().await.into_iter().collect()
}

/// Whether the breaker trips, if uploads to the candidate have pauses and its responses take time.
async fn trips(pause: Duration, response: Duration) -> Result<bool> {
    let users = Users::new()?;
    let of_baseline: Vec<String> = users.of(BASELINE).take(6).collect();
    let of_candidate: Vec<String> = users.of(CANDIDATE).take(24).collect();
    let stand = Stand::start(&json!({"slow": {"over": "400ms", "rate": 5}}), &[]).await?;
    send_all(&stand, &of_baseline, Duration::ZERO).await?;
    stand.candidate.set(Behavior::Delay(response));
    send_all(&stand, &of_candidate, pause).await?;
    let sent = (Upload::ALL.len() * (of_baseline.len() + of_candidate.len())) as f64;
    until("all are counted", async || {
        let counted = |variant| [("model_name", variant), ("status", "success")];
        let of_baseline = stand.metric("ab_test_requests_total", &counted(BASELINE)).await?;
        let of_candidate = stand.metric("ab_test_requests_total", &counted(CANDIDATE)).await?;
        Ok(of_baseline + of_candidate == sent)
    })
    .await?;
    stand.each_worker_has(2, 8).await?;
    // A breaker is judged once a second at least.
    sleep(Duration::from_millis(1500)).await;
    let trips = stand.trips().await?;
    println!("uploads pause for {pause:?}, responses take {response:?}: {trips} trips");
    let log = stand.envoy.log();
    ensure!(trips == 0.0 || log.contains("requests were slow"), "another reason:\n{log}");
    stand.envoy.stop().await?;
    Ok(trips > 0.0)
}

/// An upload takes twice the limit of `slow`, or a response half as much again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_responses_trip_and_slow_uploads_do_not() -> Result<()> {
    let _alone = ALONE.lock().await;
    let (pause, response) = (Duration::from_millis(400), Duration::from_millis(600));
    ensure!(!trips(pause, Duration::ZERO).await?, "slow uploads tripped");
    ensure!(trips(Duration::ZERO, response).await?, "slow responses to fast uploads did not trip");
    ensure!(trips(pause, response).await?, "slow responses to slow uploads did not trip");
    Ok(())
}
