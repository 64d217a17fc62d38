//! A steady stream of requests: open-loop, so that a slow server does not slow the stream down.
//!
//! Request number `n` is due at `start + n / rate`. Workers, one connection each, take the numbers in turn and wait
//! until theirs is due. If all of them are waiting for answers, requests go out late and are counted as such; the
//! number of requests under way is never above the number of connections.

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
/// Is told what came of a request. It runs on the load's own tasks and must be quick.
pub type OnAnswer = Arc<dyn Fn(u64, &Request, Result<Answer>) + Send + Sync>;

/// A request that goes out this much after it was due is late.
const LATE: Duration = Duration::from_millis(100);

/// What to send, where and how fast.
#[derive(Clone)]
pub struct LoadOptions {
    /// Where the requests go.
    pub addr: SocketAddr,
    /// Requests per second, above 0.
    pub rate_per_second: f64,
    /// The most requests under way at once, at least 1.
    pub connections: usize,
    /// When to end; `None` means when [`Load::stop`] says so.
    pub duration: Option<Duration>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Speak HTTP/2 in clear text, as gRPC does.
    pub http2: bool,
    /// Makes each request.
    pub make_request: MakeRequest,
    /// Sees each answer.
    pub on_answer: OnAnswer,
}

impl LoadOptions {
    /// 16 connections, 10 seconds for an answer, no end, and nobody who looks at the answers.
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

/// A stream of requests under way. Dropping it ends it at once.
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
    /// If the rate is not a positive number, or there are no connections.
    pub fn run(options: LoadOptions) -> Result<Self> {
        let rate = options.rate_per_second;
        ensure!(rate.is_finite() && rate > 0.0, "a load's rate must be above 0, not {rate}");
        ensure!(options.connections > 0, "a load needs at least 1 connection");
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

    /// What has come back so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.tally.totals()
    }

    /// Sends nothing more, waits for the answers under way, and returns the totals.
    pub async fn stop(self) -> Totals {
        self.stop.send_replace(true);
        self.finish().await
    }

    /// Waits for the end that [`LoadOptions::duration`] sets, and returns the totals. Without one, it never ends.
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
        // Of its own: from a common pool a fast server would see the same one or two connections all the time, and an
        // Envoy of several workers would use one of them.
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
        // A rate so low that the time overflows is due never; an hour from now is as good.
        let after = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.start.checked_add(after).unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }
}
