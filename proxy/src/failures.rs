//! Learns of failures from the proxy's access logger instead of querying every request.
//!
//! Nearly all requests succeed, and finding out how a request ended can be expensive: 13000
//! instructions in Envoy's WebAssembly host. Envoy evaluates the filters of its access loggers by
//! itself for a few hundred. So `render envoy` lists the filter a second time, as an access logger
//! with [`CONFIGURATION`] and behind a filter that only passes what may be a failure: a status of
//! 400 or more, or any response flag. A request that this logger does not report has succeeded,
//! unless the filter has seen the gRPC status of a failure in the response. Statuses below 500 are
//! reported because a filter behind this one may have answered, so that no model was asked.
//!
//! The proxy calls the logger on the worker that served the request, after the log callbacks of the
//! request's filters and before it deletes their streams. In between, the streams wait here.
//!
//! Silence counts as success only while the worker has such a logger, and one request in [`SAMPLE`]
//! is checked in any case, at random, so that no pattern of requests evades the check. A checked
//! failure that the logger does not report (a second listener has the filter but not the logger)
//! ends the trust; from then on, every request is checked.

use std::cell::{Cell, RefCell};

use sidetrack::names::plugin;

/// The configuration that makes a plugin instance an access logger for failures.
pub(crate) const CONFIGURATION: &[u8] = plugin::FAILURES_CONFIGURATION.as_bytes();

/// One request in so many is checked although failures are reported, on average.
const SAMPLE: u64 = 128;

/// The reports of failures on one worker.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// How many plugin instances of this worker are access loggers.
    loggers: Cell<u32>,
    /// The logger missed a failure.
    is_distrusted: Cell<bool>,
    /// The state of the generator that draws the sample; 0 before the first logger.
    draws: Cell<u64>,
    /// The streams of the request that is being logged.
    waiting: RefCell<Vec<u32>>,
}

impl Failures {
    /// `seed`: a random number.
    pub(crate) fn add_logger(&self, seed: u64) {
        self.loggers.set(self.loggers.get().saturating_add(1));
        self.draws.set(seed | 1);
    }

    pub(crate) fn remove_logger(&self) {
        self.loggers.set(self.loggers.get().saturating_sub(1));
    }

    /// Whether a failure is reported without a check.
    #[inline]
    pub(crate) fn are_reported(&self) -> bool {
        self.loggers.get() > 0 && !self.is_distrusted.get()
    }

    /// Draws whether the next request is part of the sample that is checked. A xorshift generator
    /// (Marsaglia 2003) spares a host call for each request.
    #[inline]
    pub(crate) fn is_sampled(&self) -> bool {
        let mut draw = self.draws.get();
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        self.draws.set(draw);
        draw.is_multiple_of(SAMPLE)
    }

    /// Adds a stream that waits for a report.
    #[inline]
    pub(crate) fn add_waiting(&self, stream: u32) {
        self.waiting.borrow_mut().push(stream);
    }

    #[inline]
    pub(crate) fn remove_waiting(&self, stream: u32) {
        self.waiting.borrow_mut().retain(|&other| other != stream);
    }

    /// The streams of the request whose failure is reported; they do not wait any longer.
    pub(crate) fn take_waiting(&self) -> Vec<u32> {
        self.waiting.take()
    }

    /// Ends the trust in the logger. Returns whether it was trusted.
    pub(crate) fn distrust(&self) -> bool {
        !self.is_distrusted.replace(true)
    }
}
