//! A small HTTP client with a connection pool.
//!
//! Header values are bytes. The client adds only `host` and the body's length, and retries only a request that was
//! never sent because the pooled connection had closed. The values of one header name keep their order.

pub(crate) mod message;
mod wire;

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::timeout;

pub use message::{Answer, Request};
use wire::{Failure, Protocol, Wire};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends requests to one address over persistent connections. A connection carries one request at a time, so the pool
/// grows to the largest number of concurrent requests.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    protocol: Protocol,
    timeout: Duration,
    idle: Mutex<Vec<Wire>>,
}

impl Client {
    /// An HTTP/1.1 client with a timeout of 30 seconds. It opens no connection yet.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, protocol: Protocol::Http1, timeout: DEFAULT_TIMEOUT, idle: Mutex::default() }
    }

    /// A client for cleartext HTTP/2 with prior knowledge, as gRPC uses it.
    #[must_use]
    pub fn http2(addr: SocketAddr) -> Self {
        Self { protocol: Protocol::Http2, ..Self::new(addr) }
    }

    /// The same client with another timeout, from the start of a request to the end of its response.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The address that requests go to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends the request and reads the whole response. Every status counts as a response.
    ///
    /// # Errors
    /// If the request is not valid HTTP, the connection fails, or the timeout expires.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        self.send_ref(&request).await
    }

    pub(crate) async fn send_ref(&self, request: &Request) -> Result<Answer> {
        timeout(self.timeout, self.exchange(request))
            .await
            .with_context(|| format!("no answer from {} within {:?}", self.addr, self.timeout))?
            .with_context(|| format!("{} http://{}{}", request.method, self.addr, request.path))
    }

    async fn exchange(&self, request: &Request) -> Result<Answer> {
        let begun = Instant::now();
        while let Some(mut wire) = self.take_idle() {
            match wire.exchange(self.addr, request, begun).await {
                Ok(answer) => return Ok(self.keep(wire, answer)),
                Err(Failure::NotSent) => {}
                Err(Failure::Broken(error)) => return Err(error),
            }
        }
        let mut wire = Wire::open(self.addr, self.protocol).await?;
        match wire.exchange(self.addr, request, begun).await {
            Ok(answer) => Ok(self.keep(wire, answer)),
            Err(Failure::NotSent) => {
                anyhow::bail!("the connection closed before the request was sent")
            }
            Err(Failure::Broken(error)) => Err(error),
        }
    }

    fn take_idle(&self) -> Option<Wire> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, wire: Wire, answer: Answer) -> Answer {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(wire);
        answer
    }
}
