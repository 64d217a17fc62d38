//! A model that answers as the last part of the path says: over raw HTTP/1.1, to the byte, and over
//! HTTP/2.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use hyper::http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::trailers::LINES;

/// Long enough that Envoy has passed on what was sent before.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than every timeout of the tests.
const STALL: Duration = Duration::from_secs(60);

/// A model. It serves until the runtime ends.
pub(super) struct Model {
    pub(super) addr: SocketAddr,
    pub(super) arrivals: Arrivals,
}

/// The paths of the requests that have arrived.
#[derive(Clone, Default)]
pub(super) struct Arrivals(Arc<Mutex<BTreeSet<String>>>);

impl Arrivals {
    fn add(&self, path: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }

    /// Waits until a request with this path has arrived.
    pub(super) async fn wait_for(&self, path: &str) {
        while !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(path) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Model {
    pub(super) async fn start(http2: bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let arrivals = Arrivals::default();
        let all = arrivals.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let all = all.clone();
                tokio::spawn(async move {
                    // An error ends the connection; the proxy sees only that.
                    let served = if http2 {
                        serve_http2(stream, &all).await
                    } else {
                        serve_http1(stream, &all).await
                    };
                    served.ok();
                });
            }
        });
        Ok(Self { addr, arrivals })
    }
}

/// The last part of a path or an authority.
fn behavior(target: &str) -> &str {
    target.rsplit(['/', '.']).next().unwrap_or_default()
}

async fn serve_http1(mut stream: TcpStream, arrivals: &Arrivals) -> Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let target = head.split(' ').nth(1).context("no request line")?;
        arrivals.add(target);
        let behavior = behavior(target.split(':').next().unwrap_or(target));
        if matches!(behavior, "trailers" | "hints-100" | "hints-102" | "hints-103") {
            return respond_with_own_names(stream, behavior).await;
        }
        if !behavior.starts_with("early") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(Ok(0), str::parse)?;
            stream.read_exact(&mut vec![0; length]).await?;
        }
        let (answer, end) = answer(behavior);
        for (number, part) in answer.iter().enumerate() {
            if number > 0 {
                sleep(PAUSE).await;
            }
            stream.write_all(part.as_bytes()).await?;
        }
        match end {
            Close::None => {}
            Close::Fin => return Ok(stream.shutdown().await?),
            Close::Rst => {
                sleep(PAUSE).await;
                return Ok(stream.set_zero_linger()?);
            }
            Close::Stall => sleep(STALL).await,
        }
    }
}

/// Reads a body in chunks and its trailers, and returns them in the body of a response that has the
/// filter's names in its trailers, or in an informational response before it.
async fn respond_with_own_names(mut stream: TcpStream, behavior: &str) -> Result<()> {
    let mut body = Vec::new();
    while !body.ends_with(b"\r\n\r\n") {
        body.push(stream.read_u8().await?);
    }
    let hints = behavior.strip_prefix("hints-");
    let hints = hints.map(|code| format!("HTTP/1.1 {code} Hints\r\n{LINES}\r\n"));
    let body = format!("received:{}", String::from_utf8_lossy(&body).replace("\r\n", "|"));
    let (hints, length) = (hints.unwrap_or_default(), body.len());
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-other\r\n";
    let answer = format!("{hints}{head}\r\n{length:x}\r\n{body}\r\n0\r\n");
    let trailers = if hints.is_empty() { LINES } else { "" };
    stream.write_all(format!("{answer}{trailers}\r\n").as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

/// Who closes a connection, and how.
enum Close {
    Fin,
    Rst,
    Stall,
    /// Nobody: another request may follow.
    None,
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
     transfer-encoding: chunked\r\n\r\nd\r\ndata: token\n\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n01234";
const UPGRADED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// The parts of an HTTP/1.1 answer, and its end.
fn answer(behavior: &str) -> (Vec<&'static str>, Close) {
    use Close::{Fin, None, Rst, Stall};
    match behavior {
        "whole-length" => (vec![LENGTH, "56789"], None),
        "whole-chunked" => (vec![CHUNKED, "0\r\n\r\n"], None),
        "whole-trailers" => (vec![CHUNKED, "0\r\nx-check: 1\r\n\r\n"], None),
        "whole-grpc-status" => (vec![CHUNKED, "0\r\ngrpc-status: 14\r\n\r\n"], None),
        "whole-close" => (vec![UNTIL_CLOSE, "56789"], Fin),
        "whole-events" => (vec![EVENTS, EVENTS_END], None),
        "status-404" => (vec!["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"], None),
        "status-503" => (vec!["HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n"], None),
        "stream-500" => (vec!["HTTP/1.1 500 Error\r\ncontent-length: 10\r\n\r\n01234"], Stall),
        "nothing-fin" => (vec![], Fin),
        "nothing-rst" => (vec![], Rst),
        "nothing-stall" => (vec![], Stall),
        "headers-fin" => (vec!["HTTP/1.1 200 OK\r\ncontent-le"], Fin),
        "length-fin" => (vec![LENGTH, "5678"], Fin),
        "length-rst" => (vec![LENGTH, "5678"], Rst),
        "length-stall" => (vec![LENGTH], Stall),
        "chunked-fin" => (vec![CHUNKED], Fin),
        "chunked-rst" => (vec![CHUNKED], Rst),
        "chunked-broken" => (vec![CHUNKED, "x\r\n"], None),
        "chunked-stall" => (vec![CHUNKED], Stall),
        "trailers-fin" => (vec![CHUNKED, "0\r\nx-che"], Fin),
        "close-rst" => (vec![UNTIL_CLOSE], Rst),
        "events-fin" => (vec![EVENTS], Fin),
        "events-stall" => (vec![EVENTS], Stall),
        "early" => (vec!["HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"], Fin),
        "longer" => (vec![LENGTH, "56789more"], None),
        "upgrade-fin" => (vec![UPGRADED, "\u{1}\u{1}x"], Fin),
        "upgrade-rst" => (vec![UPGRADED, "\u{1}\u{1}x"], Rst),
        "upgrade-stall" => (vec![UPGRADED, "\u{1}\u{1}x"], Stall),
        "tunnel-fin" => (vec!["HTTP/1.1 200 OK\r\n\r\n", "bytes"], Fin),
        _ => (vec!["HTTP/1.1 599 Unknown behavior\r\ncontent-length: 0\r\n\r\n"], None),
    }
}

const EVENTS_END: &str = "d\r\ndata: token\n\n\r\n0\r\n\r\n";

async fn serve_http2(stream: TcpStream, arrivals: &Arrivals) -> Result<()> {
    stream.set_nodelay(true)?;
    // A second handle, to close the connection under the protocol.
    let stream = stream.into_std()?;
    let twin = stream.try_clone()?;
    let (broken, mut breaks) = tokio::sync::mpsc::channel(1);
    let mut connection = h2::server::handshake(TcpStream::from_std(stream)?).await?;
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                arrivals.add(request.uri().path());
                let broken = broken.clone();
                tokio::spawn(async move {
                    if let Some(how) = respond_http2(request, respond).await.ok().flatten() {
                        broken.send(how).await.ok();
                    }
                });
            }
            Some(how) = breaks.recv() => match how {
                Break::Close => return Ok(twin.shutdown(std::net::Shutdown::Both)?),
                Break::GoAway => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
            },
        }
    }
}

/// What happens to a connection.
enum Break {
    Close,
    GoAway,
}

async fn respond_http2(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<Option<Break>> {
    // Names of methods in protobuf have no hyphens.
    let behavior = behavior(request.uri().path()).replace('_', "-");
    let behavior = behavior.trim_start_matches("Stream-").to_owned();
    let (head, body) = request.into_parts();
    drop(head);
    let response = |length: Option<&str>| {
        let response = Response::builder().status(200);
        let response = match length {
            Some(length) => response.header("content-length", length),
            None => response.header("content-type", "application/grpc"),
        };
        response.body(())
    };
    let begin = |respond: &mut h2::server::SendResponse<Bytes>, length: Option<&str>| {
        let mut stream = respond.send_response(response(length)?, false)?;
        stream.send_data(Bytes::from_static(b"\0\0\0\0\0"), false)?;
        anyhow::Ok(stream)
    };
    let status = |code: &str| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.parse().unwrap());
        trailers
    };
    let finish = |mut stream: SendStream<Bytes>, data: &'static str| {
        stream.send_data(Bytes::from_static(data.as_bytes()), true)
    };
    match &*behavior {
        "whole-length" => {
            let stream = begin(&mut respond, Some("10"))?;
            sleep(PAUSE).await;
            finish(stream, "56789")?;
        }
        "short" => {
            let stream = begin(&mut respond, Some("10"))?;
            sleep(PAUSE).await;
            finish(stream, "5678")?;
        }
        "longer" => {
            let stream = begin(&mut respond, Some("10"))?;
            sleep(PAUSE).await;
            finish(stream, "56789more")?;
        }
        "grpc-0" | "grpc-5" | "grpc-8" | "grpc-14" => {
            let mut stream = begin(&mut respond, None)?;
            stream.send_trailers(status(behavior.trim_start_matches("grpc-")))?;
        }
        "grpc-only-14" | "grpc-only-none" => {
            let mut only = response(None)?;
            if behavior == "grpc-only-14" {
                only.headers_mut().extend(status("14"));
            }
            respond.send_response(only, true)?;
        }
        // A status in the headers, and an empty body after them.
        "grpc-early-0" | "grpc-early-14" => {
            let mut early = response(None)?;
            early.headers_mut().extend(status(behavior.trim_start_matches("grpc-early-")));
            let mut stream = respond.send_response(early, false)?;
            sleep(PAUSE).await;
            stream.send_data(Bytes::new(), true)?;
        }
        "grpc-none" => {
            let mut stream = begin(&mut respond, None)?;
            stream.send_data(Bytes::new(), true)?;
        }
        "grpc-trailers-none" => {
            let mut stream = begin(&mut respond, None)?;
            let mut trailers = HeaderMap::new();
            trailers.insert("x-check", "1".parse()?);
            stream.send_trailers(trailers)?;
        }
        "json-14" => {
            let json = Response::builder().header("content-type", "application/json").body(())?;
            let mut stream = respond.send_response(json, false)?;
            stream.send_data(Bytes::from_static(b"{}"), false)?;
            stream.send_trailers(status("14"))?;
        }
        "nothing-rst" => respond.send_reset(Reason::INTERNAL_ERROR),
        "nothing-refused" => respond.send_reset(Reason::REFUSED_STREAM),
        "nothing-close" => return Ok(Some(Break::Close)),
        "nothing-goaway" => return Ok(Some(Break::GoAway)),
        "nothing-stall" => sleep(STALL).await,
        "stream-rst" | "stream-cancel" => {
            let mut stream = begin(&mut respond, None)?;
            sleep(PAUSE).await;
            let is_cancel = behavior == "stream-cancel";
            stream.send_reset(if is_cancel { Reason::CANCEL } else { Reason::INTERNAL_ERROR });
        }
        "stream-close" | "stream-goaway" => {
            let stream = begin(&mut respond, None)?;
            sleep(PAUSE).await;
            let is_close = behavior == "stream-close";
            tokio::spawn(async move {
                sleep(STALL).await;
                drop(stream);
            });
            return Ok(Some(if is_close { Break::Close } else { Break::GoAway }));
        }
        "stream-stall" => {
            let _stream = begin(&mut respond, None)?;
            sleep(STALL).await;
        }
        _ => {
            respond.send_response(Response::builder().status(599).body(())?, true)?;
        }
    }
    drop(body);
    Ok(None)
}
