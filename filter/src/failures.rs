//! Failures that Envoy tells of unasked.
//!
//! To ask how a request ended takes 13 000 instructions, and the answer is nearly always: well. Envoy's access loggers
//! have filters, which it evaluates itself for a few hundred. So `render envoy` puts the module among the access loggers
//! a second time, with [`CONFIGURATION`] for its configuration and behind a filter that passes failures only: a status of
//! 500 or more, or any response flag. What this logger does not tell of has ended well.
//!
//! Envoy calls it in the VM that served the request, right after the log callbacks of the request's filters and before it
//! deletes their streams. In between, the streams that wait for it are listed here.
//!
//! Silence is believed only while there is such a logger in this VM, and not blindly: one request in a hundred or so is
//! asked about all the same. A failure that is found in this way but not told of (a second listener has the filter but not
//! the logger) ends the belief; from then on every request is asked about.

use std::cell::{Cell, RefCell};

use sidetrack::names::plugin;

use crate::host::{self, Level};

/// What makes a plugin configuration that of such a logger.
pub(crate) const CONFIGURATION: &[u8] = plugin::FAILURES_CONFIGURATION.as_bytes();

/// One request in so many is asked about.
const CHECKED: u32 = 128;

thread_local! {
    /// How many of this VM's root contexts are such loggers.
    static LOGGERS: Cell<u32> = const { Cell::new(0) };
    static IS_UNRELIABLE: Cell<bool> = const { Cell::new(false) };
    static BELIEVED: Cell<u32> = const { Cell::new(0) };
    /// The streams of the request that is being logged.
    static WAITING: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A root context that is such a logger, as long as it lives.
pub(crate) struct Logger;

impl Logger {
    pub(crate) fn new() -> Self {
        LOGGERS.set(LOGGERS.get().saturating_add(1));
        Self
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        LOGGERS.set(LOGGERS.get().saturating_sub(1));
    }
}

/// Whether there is a logger to wait for.
pub(crate) fn are_told() -> bool {
    LOGGERS.get() > 0 && !IS_UNRELIABLE.get()
}

/// Whether it is time to ask although failures are told.
pub(crate) fn is_check_due() -> bool {
    let believed = BELIEVED.get().wrapping_add(1);
    BELIEVED.set(believed);
    believed.is_multiple_of(CHECKED)
}

/// This stream wants to hear of a failure, until it is deleted.
pub(crate) fn wait(stream: u32) {
    WAITING.with_borrow_mut(|waiting| waiting.push(stream));
}

pub(crate) fn wait_no_more(stream: u32) {
    WAITING.with_borrow_mut(|waiting| waiting.retain(|&other| other != stream));
}

/// The streams that a failure concerns; they are told once.
pub(crate) fn concerned() -> Vec<u32> {
    WAITING.take()
}

/// A failure was found that nobody told of.
pub(crate) fn disbelieve() {
    if !IS_UNRELIABLE.replace(true) {
        host::log(
            Level::Error,
            "sidetrack: a failed request was not told of by the access logger \"failures\": a listener with the \
             filter lacks it, or its filter hides failures; from now on every request is asked about, which costs more",
        );
    }
}
