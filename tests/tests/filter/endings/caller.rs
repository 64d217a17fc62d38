//! Callers that read their answer to its end, or leave before.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use h2::Reason;
use hyper::http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::model::Arrivals;

/// Longer than every timeout of the tests.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What a caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Waits for the answer's end.
    Waits,
    /// Leaves when a model has the request.
    LeavesBefore,
    /// Leaves when the answer has begun.
    LeavesDuring,
    /// Sends half of its request, and waits.
    StopsSending,
    /// Opens a WebSocket, and waits.
    Upgrades,
    /// Opens a WebSocket, and leaves.
    UpgradesAndLeaves,
    /// Opens a tunnel, and waits.
    Connects,
}

/// The head of a request over HTTP/1.1.
pub(super) struct Head<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) user: u32,
}

/// Sends a request over HTTP/1.1. `arrivals` are the model's.
pub(super) async fn http1(
    addr: SocketAddr,
    head: Head<'_>,
    caller: Caller,
    arrivals: &Arrivals,
) -> Result<()> {
    let Head { host, path, user } = head;
    let start = match caller {
        Caller::Connects => format!("CONNECT {host}:80 HTTP/1.1\r\nhost: {host}:80\r\n"),
        _ => format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n"),
    };
    let more = match caller {
        Caller::StopsSending => "content-length: 10\r\n\r\n01234".to_owned(),
        Caller::Upgrades | Caller::UpgradesAndLeaves => "connection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n\r\n"
            .to_owned(),
        Caller::Connects => "\r\n".to_owned(),
        _ => "connection: close\r\n\r\n".to_owned(),
    };
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(format!("{start}x-user-id: {user}\r\n{more}").as_bytes()).await?;
    match caller {
        Caller::LeavesBefore => timeout(PATIENCE, arrivals.wait_for(path)).await?,
        Caller::LeavesDuring | Caller::UpgradesAndLeaves => {
            let answer =
                read(&mut stream, |answer| answer.ends_with("01234") || answer.contains("\u{1}x"))
                    .await?;
            ensure!(answer.contains(" 200 ") || answer.contains(" 101 "), "{answer}");
        }
        _ => {
            read(&mut stream, |_| false).await?;
        }
    }
    Ok(())
}

/// Reads until `is_enough`, or to the end.
async fn read(stream: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> Result<String> {
    let mut answer = Vec::new();
    let text = |answer: &[u8]| String::from_utf8_lossy(answer).into_owned();
    let mut part = [0; 4096];
    while !is_enough(&text(&answer)) {
        match timeout(PATIENCE, stream.read(&mut part)).await? {
            Ok(length) if length > 0 => answer.extend(part.iter().take(length)),
            _ => break,
        }
    }
    Ok(text(&answer))
}

/// Sends a request over HTTP/2, with this content type.
pub(super) async fn http2(
    addr: SocketAddr,
    path: &str,
    user: u32,
    content_type: &str,
    caller: Caller,
    arrivals: &Arrivals,
) -> Result<()> {
    let stream = TcpStream::connect(addr).await?;
    let (mut client, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method("POST")
        .uri(format!("http://models.test{path}"))
        .header("x-user-id", user)
        .header("content-type", content_type)
        .body(())?;
    let (response, mut upload) = client.send_request(request, false)?;
    let is_json = content_type == "application/json";
    let message = Bytes::from_static(if is_json { b"{}" } else { b"\0\0\0\0\0" });
    upload.send_data(message, caller != Caller::StopsSending)?;
    if caller == Caller::LeavesBefore {
        timeout(PATIENCE, arrivals.wait_for(path)).await?;
        upload.send_reset(Reason::CANCEL);
        sleep(Duration::from_millis(50)).await;
        return Ok(());
    }
    let Ok(response) = timeout(PATIENCE, response).await? else { return Ok(()) };
    let mut body = response.into_body();
    loop {
        match timeout(PATIENCE, body.data()).await? {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len())?;
                if caller == Caller::LeavesDuring {
                    upload.send_reset(Reason::CANCEL);
                    sleep(Duration::from_millis(50)).await;
                    break;
                }
            }
            Some(Err(_)) => break,
            None => {
                body.trailers().await.ok();
                break;
            }
        }
    }
    drop(client);
    connection.abort();
    Ok(())
}
