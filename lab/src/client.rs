//! A small HTTP client with a connection pool.
//!
//! It sends what it is told: header values are bytes, nothing is added but `host` and the body's length, nothing is
//! retried except a request that never left because the pooled connection had closed. Names have no order among
//! each other; the values of one name keep theirs.

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

/// Sends requests to one address over connections that it keeps open. A connection carries one request at a time,
/// so that the pool is as large as the largest number of requests that were under way together.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    protocol: Protocol,
    timeout: Duration,
    idle: Mutex<Vec<Wire>>,
}

impl Client {
    /// A client that speaks HTTP/1.1 and waits 30 seconds for an answer. No connection is opened yet.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, protocol: Protocol::Http1, timeout: DEFAULT_TIMEOUT, idle: Mutex::default() }
    }

    /// A client that speaks cleartext HTTP/2 with prior knowledge, as gRPC does.
    #[must_use]
    pub fn http2(addr: SocketAddr) -> Self {
        Self { protocol: Protocol::Http2, ..Self::new(addr) }
    }

    /// The same client with another limit for the time from the start of a request to the end of its answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where the requests go.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends the request and reads the whole answer. Any status is an answer.
    ///
    /// # Errors
    /// If the request is not valid HTTP, no connection can be made, it breaks, or the time is up.
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
