//! One connection of the client.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Error, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::message::{Answer, Request, plain};

/// The protocol of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub(super) enum Wire {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why a request has no response.
pub(super) enum Failure {
    /// The connection had closed: the request may be sent over another one.
    NotSent,
    /// Anything else; the server may have seen the request.
    Broken(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

impl Wire {
    pub(super) async fn open(addr: SocketAddr, protocol: Protocol) -> Result<Self> {
        let stream =
            TcpStream::connect(addr).await.with_context(|| format!("connecting to {addr}"))?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        // Connection errors surface through the request that the connection carries.
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(async move { connection.await.unwrap_or_default() });
                Self::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(async move { connection.await.unwrap_or_default() });
                Self::Http2(sender)
            }
        })
    }

    /// Sends one request and reads the whole response.
    pub(super) async fn exchange(
        &mut self,
        addr: SocketAddr,
        request: &Request,
        begun: Instant,
    ) -> Result<Answer, Failure> {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.map_err(|_| Failure::NotSent)?;
                let message = build(request, &request.path, Some(addr))?;
                sender.try_send_request(message).await
            }
            Self::Http2(sender) => {
                sender.ready().await.map_err(|_| Failure::NotSent)?;
                let message = build(request, &format!("http://{addr}{}", request.path), None)?;
                sender.try_send_request(message).await
            }
        };
        let response = response.map_err(|mut failed| match failed.take_message() {
            Some(_) => Failure::NotSent,
            None => Failure::from(failed.into_error()),
        })?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("reading the response body")?;
        let trailers = body.trailers().map(plain).unwrap_or_default();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: plain(&head.headers),
            body: body.to_bytes(),
            trailers,
            elapsed: begun.elapsed(),
        })
    }
}

fn build(
    request: &Request,
    uri: &str,
    host: Option<SocketAddr>,
) -> Result<hyper::Request<Full<Bytes>>> {
    let mut message = hyper::Request::builder()
        .method(request.method.as_str())
        .uri(uri)
        .body(Full::new(request.body.clone()))
        .with_context(|| format!("invalid request: {} {uri}", request.method))?;
    let headers = message.headers_mut();
    for (name, value) in &request.headers {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .with_context(|| format!("header name {name:?}"))?;
        let value =
            HeaderValue::from_bytes(value).with_context(|| format!("value of header {name}"))?;
        headers.append(parsed, value);
    }
    if let Some(host) =
        host.filter(|_| !request.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")))
    {
        headers.insert(HOST, HeaderValue::from_str(&host.to_string())?);
    }
    Ok(message)
}
