//! A model server stub that fails on command.
//!
//! It serves the Open Inference Protocol over HTTP/1.1 and cleartext HTTP/2, and answers every other path as well, so
//! that any route can end here. [`ModelStub::set`] or `POST /_stub/behavior?status=503` changes its behavior while it
//! runs; it counts and records the requests that arrive.

mod answer;
mod behavior;
mod connection;
mod control;
pub(crate) mod record;
mod response;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

pub use behavior::Behavior;
use record::{Record, Seen};

/// A running stub. It listens until it is dropped.
#[derive(Debug)]
pub struct ModelStub {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

/// State shared by all connections of one stub.
#[derive(Debug)]
struct Shared {
    name: String,
    behavior: RwLock<Behavior>,
    /// Headers of every response.
    headers: RwLock<HeaderMap>,
    record: Record,
}

impl Shared {
    fn behavior(&self) -> Behavior {
        *self.behavior.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, behavior: Behavior) {
        *self.behavior.write().unwrap_or_else(PoisonError::into_inner) = behavior;
    }
}

impl ModelStub {
    /// Starts a healthy stub on a free port of 127.0.0.1. Every response carries its name in `x-model`.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts a healthy stub at this address. Every response carries its name in `x-model`.
    ///
    /// # Errors
    /// If the address is not local, or the port is in use.
    pub async fn start_at(name: &str, addr: SocketAddr) -> Result<Self> {
        let listener = bind(addr)?;
        let shared = Shared {
            name: name.to_owned(),
            behavior: RwLock::new(Behavior::Healthy),
            headers: RwLock::default(),
            record: Record::default(),
        };
        let stub = Self {
            addr: listener.local_addr()?,
            shared: Arc::new(shared),
            acceptor: Mutex::new(None),
        };
        stub.accept_from(listener);
        Ok(stub)
    }

    /// The stub's name, the `x-model` header of its responses.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The address that the stub listens on, or did before [`ModelStub::refuse`].
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the behavior for requests that arrive from now on.
    pub fn set(&self, behavior: Behavior) {
        self.shared.set(behavior);
    }

    /// Adds these headers, names in lower case, to every response from now on, in place of those of
    /// the last call.
    pub fn respond_with(&self, headers: &[(&'static str, &'static str)]) {
        let header = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        *self.shared.headers.write().unwrap_or_else(PoisonError::into_inner) =
            headers.iter().map(header).collect();
    }

    /// Stops listening and drops all connections, as a crash would: new connections are refused.
    pub async fn refuse(&self) {
        if let Some(acceptor) = self.replace_acceptor(None) {
            acceptor.abort();
            // The port is closed once the task has ended; a cancellation error is expected.
            let _ = acceptor.await;
        }
    }

    /// Listens again on the same port. Does nothing if the stub listens already.
    ///
    /// # Errors
    /// If another process has taken the port meanwhile.
    pub async fn listen(&self) -> Result<()> {
        if self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.accept_from(bind(self.addr)?);
        }
        Ok(())
    }

    /// The number of requests that have arrived since the start or the last [`ModelStub::clear`].
    #[must_use]
    pub fn count(&self) -> u64 {
        self.shared.record.count()
    }

    /// The times of responses with a 5xx status, oldest first, at most 100000.
    #[must_use]
    pub fn failures(&self) -> Vec<Instant> {
        self.shared.record.failures()
    }

    /// Discards all recorded requests and resets the count to 0.
    pub fn clear(&self) {
        self.shared.record.clear();
    }

    /// Whether to record requests (the default) or only count them.
    pub fn record(&self, on: bool) {
        self.shared.record.switch(on);
    }

    /// The recorded requests, oldest first, at most the last 100000.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.record.requests()
    }

    /// The time of the last request's arrival.
    #[must_use]
    pub fn last_arrival(&self) -> Option<(Instant, SystemTime)> {
        self.shared.record.last_arrival()
    }

    fn accept_from(&self, listener: TcpListener) {
        let task = tokio::spawn(connection::accept(listener, Arc::clone(&self.shared)));
        if let Some(before) = self.replace_acceptor(Some(task)) {
            before.abort();
        }
    }

    fn replace_acceptor(&self, acceptor: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        std::mem::replace(
            &mut *self.acceptor.lock().unwrap_or_else(PoisonError::into_inner),
            acceptor,
        )
    }
}

impl Drop for ModelStub {
    fn drop(&mut self) {
        if let Some(acceptor) = self.replace_acceptor(None) {
            acceptor.abort();
        }
    }
}

fn bind(addr: SocketAddr) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr).with_context(|| format!("binding {addr}"))?;
    socket.listen(1024).with_context(|| format!("listening on {addr}"))
}
