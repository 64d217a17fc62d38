//! Learns of failures from the proxy's access logger instead of querying every request.
//!
//! Nearly all requests succeed, and finding out how a request ended can be expensive: 13000
//! instructions in Envoy's WebAssembly host. Envoy evaluates the filters of its access loggers by
//! itself for a few hundred. So `render envoy` lists the filter a second time, as an access logger
//! with [`CONFIGURATION`] and behind a filter that only passes failures: a status of 500 or more,
//! or any response flag. A request that this logger does not report has succeeded.
//!
//! The proxy calls the logger on the worker that served the request, after the log callbacks of the
//! request's filters and before it deletes their streams. In between, the streams wait here.
//!
//! Silence counts as success only while the worker has such a logger, and one request in [`SAMPLE`]
//! is checked in any case. A checked failure that the logger does not report (a second listener has
//! the filter but not the logger) ends the trust; from then on, every request is checked.

use std::cell::{Cell, RefCell};

use sidetrack::names::plugin;

/// The configuration that makes a plugin instance an access logger for failures.
pub(crate) const CONFIGURATION: &[u8] = plugin::FAILURES_CONFIGURATION.as_bytes();

/// One request in so many is checked although failures are reported.
const SAMPLE: u32 = 128;

/// The reports of failures on one worker.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// How many plugin instances of this worker are access loggers.
    loggers: Cell<u32>,
    /// The logger missed a failure.
    is_distrusted: Cell<bool>,
    /// Requests that were not checked, and the sample among them.
    requests: Cell<u32>,
    /// The streams of the request that is being logged.
    waiting: RefCell<Vec<u32>>,
}

impl Failures {
    pub(crate) fn add_logger(&self) {
        self.loggers.set(self.loggers.get().saturating_add(1));
    }

    pub(crate) fn remove_logger(&self) {
        self.loggers.set(self.loggers.get().saturating_sub(1));
    }

    /// Whether a failure is reported without a check.
    #[inline]
    pub(crate) fn are_reported(&self) -> bool {
        self.loggers.get() > 0 && !self.is_distrusted.get()
    }

    /// Whether the next request is part of the sample that is checked.
    #[inline]
    pub(crate) fn is_sampled(&self) -> bool {
        let requests = self.requests.get().wrapping_add(1);
        self.requests.set(requests);
        requests.is_multiple_of(SAMPLE)
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
