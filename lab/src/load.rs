//! An open-loop load generator: a slow server does not slow the stream of requests down.
//!
//! Request number `n` is due at `start + n / rate`. Workers, one connection each, take the numbers in turn and wait
//! until theirs is due. If all workers wait for responses, requests are sent late and counted as late. The number of
//! connections limits the number of requests in flight.

mod totals;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::{Answer, Client, Request};
use totals::Tally;
pub use totals::Totals;

/// Makes the request with this number. Numbers start at 0.
pub type MakeRequest = Arc<dyn Fn(u64) -> Request + Send + Sync>;
/// Receives the result of each request. It runs on the load's own tasks and must not block.
pub type OnAnswer = Arc<dyn Fn(u64, &Request, Result<Answer>) + Send + Sync>;

/// A request that is sent this much after it was due is late.
const LATE: Duration = Duration::from_millis(100);

/// The target, the rate and the requests of a load.
#[derive(Clone)]
pub struct LoadOptions {
    /// The address that requests go to.
    pub addr: SocketAddr,
    /// Requests per second, above 0.
    pub rate_per_second: f64,
    /// The maximum number of requests in flight, at least 1.
    pub connections: usize,
    /// When to end; `None` means at [`Load::stop`].
    pub duration: Option<Duration>,
    /// The timeout of one request.
    pub timeout: Duration,
    /// Use cleartext HTTP/2, as gRPC does.
    pub http2: bool,
    /// Makes each request.
    pub make_request: MakeRequest,
    /// Receives each result.
    pub on_answer: OnAnswer,
}

impl LoadOptions {
    /// 16 connections, a timeout of 10 seconds, no end, and results that are only counted.
    #[must_use]
    pub fn new(
        addr: SocketAddr,
        rate_per_second: f64,
        make_request: impl Fn(u64) -> Request + Send + Sync + 'static,
    ) -> Self {
        Self {
            addr,
            rate_per_second,
            connections: 16,
            duration: None,
            timeout: Duration::from_secs(10),
            http2: false,
            make_request: Arc::new(make_request),
            on_answer: Arc::new(|_, _, _| {}),
        }
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("addr", &self.addr)
            .field("rate_per_second", &self.rate_per_second)
            .field("connections", &self.connections)
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}

/// A running stream of requests. Dropping it aborts it.
#[derive(Debug)]
pub struct Load {
    workers: JoinSet<()>,
    stop: watch::Sender<bool>,
    tally: Arc<Tally>,
}

impl Load {
    /// Starts the stream on the current tokio runtime.
    ///
    /// # Errors
    /// If the rate is not a positive number, or the number of connections is 0.
    pub fn run(options: LoadOptions) -> Result<Self> {
        let rate = options.rate_per_second;
        ensure!(rate.is_finite() && rate > 0.0, "the rate is {rate}, but must be greater than 0");
        ensure!(options.connections > 0, "connections is 0, but must be at least 1");
        let tally = Arc::new(Tally::default());
        let (stop, stopped) = watch::channel(false);
        let start = Instant::now();
        let shared = Arc::new(Shared {
            next: AtomicU64::new(0),
            start,
            end: options.duration.map(|duration| start + duration),
            tally: Arc::clone(&tally),
            options,
        });
        let mut workers = JoinSet::new();
        for _ in 0..shared.options.connections {
            workers.spawn(Arc::clone(&shared).work(stopped.clone()));
        }
        Ok(Self { workers, stop, tally })
    }

    /// The counts so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.tally.totals()
    }

    /// Stops sending, waits for the requests in flight, and returns the totals.
    pub async fn stop(self) -> Totals {
        self.stop.send_replace(true);
        self.finish().await
    }

    /// Waits for the end that [`LoadOptions::duration`] sets, and returns the totals. Without a duration it waits
    /// forever.
    pub async fn finish(mut self) -> Totals {
        while self.workers.join_next().await.is_some() {}
        self.tally.totals()
    }
}

struct Shared {
    next: AtomicU64,
    start: Instant,
    end: Option<Instant>,
    tally: Arc<Tally>,
    options: LoadOptions,
}

impl Shared {
    async fn work(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        // One client per worker: with a common pool, a fast server would see the same one or two connections, and an Envoy
        // with several workers would use only one of them.
        let options = &self.options;
        let client =
            if options.http2 { Client::http2(options.addr) } else { Client::new(options.addr) };
        let client = client.with_timeout(options.timeout);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.due(number);
            if self.end.is_some_and(|end| due >= end) {
                return;
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = sleep_until(due) => {}
            }
            let late = due.elapsed() > LATE;
            let request = (self.options.make_request)(number);
            let answer = client.send_ref(&request).await;
            self.tally.add(answer.as_ref().ok().map(|answer| answer.status), late);
            (self.options.on_answer)(number, &request, answer);
        }
    }

    fn due(&self, number: u64) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
        let seconds = number as f64 / self.options.rate_per_second;
        // A rate so low that the time overflows: an hour from now means never.
        let after = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.start.checked_add(after).unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }
}
