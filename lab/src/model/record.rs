//! The record of requests that arrived at a stub.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use hyper::Request;

use crate::client::message;

/// The maximum number of recorded requests.
const MAX_REQUESTS: usize = 100_000;
/// The maximum number of recorded bytes of one body.
const MAX_BODY: usize = 64 * 1024;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// For example `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The `host` header, or `:authority` in HTTP/2. Empty if there was none.
    pub authority: String,
    /// Names in lower case, and values as bytes. The values of one name are in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The number of body bytes that have arrived.
    pub body_len: u64,
    /// The body's first 64 KiB.
    pub body: Vec<u8>,
    /// When the headers arrived, for intervals.
    pub at: Instant,
    /// When the headers arrived, by the wall clock.
    pub at_wall: SystemTime,
}

impl Seen {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.header_values(name).next()
    }

    /// The first value of a header as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<String> {
        self.header(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// All values of a header, in order.
    pub fn header_values<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        message::values(&self.headers, name)
    }
}

/// A request whose body may still be arriving.
#[derive(Debug)]
pub(super) struct Entry(Mutex<Seen>);

impl Entry {
    pub(super) fn body_chunk(&self, data: &[u8]) {
        let mut seen = lock(&self.0);
        let room = MAX_BODY.saturating_sub(seen.body.len());
        seen.body_len += data.len() as u64;
        seen.body.extend_from_slice(data.get(..room).unwrap_or(data));
    }
}

/// All requests of one stub.
#[derive(Debug)]
pub(super) struct Record(Mutex<Log>);

#[derive(Debug)]
struct Log {
    on: bool,
    count: u64,
    last: Option<(Instant, SystemTime)>,
    failures: Vec<Instant>,
    requests: VecDeque<Arc<Entry>>,
}

impl Default for Record {
    fn default() -> Self {
        let (failures, requests) = (Vec::new(), VecDeque::new());
        Self(Mutex::new(Log { on: true, count: 0, last: None, failures, requests }))
    }
}

impl Record {
    /// Counts a request, and records it if recording is on. Returns its number, from 1, and the entry for its body.
    pub(super) fn arrival<B>(&self, request: &Request<B>) -> (u64, Option<Arc<Entry>>) {
        let (at, at_wall) = (Instant::now(), SystemTime::now());
        let mut log = lock(&self.0);
        log.count += 1;
        log.last = Some((at, at_wall));
        if !log.on {
            return (log.count, None);
        }
        let entry = Arc::new(Entry(Mutex::new(seen(request, at, at_wall))));
        if log.requests.len() == MAX_REQUESTS {
            log.requests.pop_front();
        }
        log.requests.push_back(Arc::clone(&entry));
        (log.count, Some(entry))
    }

    /// Records the time of a response with a 5xx status.
    pub(super) fn failure(&self) {
        let mut log = lock(&self.0);
        if log.failures.len() < MAX_REQUESTS {
            log.failures.push(Instant::now());
        }
    }

    pub(super) fn failures(&self) -> Vec<Instant> {
        lock(&self.0).failures.clone()
    }

    pub(super) fn count(&self) -> u64 {
        lock(&self.0).count
    }

    pub(super) fn clear(&self) {
        let mut log = lock(&self.0);
        log.count = 0;
        log.last = None;
        log.failures.clear();
        log.requests.clear();
    }

    pub(super) fn switch(&self, on: bool) {
        lock(&self.0).on = on;
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        lock(&self.0).requests.iter().map(|entry| lock(&entry.0).clone()).collect()
    }

    pub(super) fn last_arrival(&self) -> Option<(Instant, SystemTime)> {
        lock(&self.0).last
    }
}

fn seen<B>(request: &Request<B>, at: Instant, at_wall: SystemTime) -> Seen {
    let uri = request.uri();
    let host = request
        .headers()
        .get("host")
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    Seen {
        method: request.method().to_string(),
        path: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
        authority: uri.authority().map(ToString::to_string).or(host).unwrap_or_default(),
        headers: message::plain(request.headers()),
        body_len: 0,
        body: Vec::new(),
        at,
        at_wall,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
