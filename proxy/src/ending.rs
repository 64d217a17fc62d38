//! Finding out how a request ended.
//!
//! The host is first queried for success as a whole, which it may answer at once. Only if the
//! answer is not a clear yes, status, flags and attempts are read one by one and the core judges
//! them. With an access logger for failures, most requests are not queried at all.

use sidetrack::outcome::{Ending, Outcome};

use crate::host::{Exchange, Host, Level};
use crate::runtime::Runtime;

/// How a request ended, as far as it is known when the request is logged.
pub(crate) enum Found {
    Known(Outcome),
    /// A success, unless the access logger reports the request before the stream is deleted.
    Presumed,
    /// A failure that the access logger must report.
    Confirmable(Outcome),
}

impl<H: Host> Runtime<H> {
    /// How the request ended whose log callback runs. `seen`: what its stream knows.
    #[inline]
    pub(crate) fn find_outcome(&self, exchange: &impl Exchange<Host = H>, seen: Ending) -> Found {
        // The logger knows neither gRPC statuses nor requests that another cluster rescued.
        let failures = &self.worker.failures;
        let is_reported = seen.answered
            && !seen.may_fail_in_grpc()
            && !self.fails_over
            && failures.are_reported();
        if is_reported && !failures.is_sampled() {
            return Found::Presumed;
        }
        let Some(ending) = self.query_failure(exchange, seen) else {
            return Found::Known(Outcome::SUCCESS);
        };
        if is_reported && (ending.code >= 500 || ending.flags != 0) {
            Found::Confirmable(ending.outcome())
        } else {
            Found::Known(ending.outcome())
        }
    }

    /// How the request ended, without regard to the access logger.
    pub(crate) fn query_outcome(
        &self,
        exchange: &impl Exchange<Host = H>,
        seen: Ending,
    ) -> Outcome {
        self.query_failure(exchange, seen).map_or(Outcome::SUCCESS, |ending| ending.outcome())
    }

    /// How the request ended; `None` if it certainly succeeded.
    fn query_failure(&self, exchange: &impl Exchange<Host = H>, seen: Ending) -> Option<Ending> {
        let is_success = !seen.may_fail_in_grpc() && exchange.is_success(&self.success_check);
        (!is_success).then(|| self.read_ending(exchange, seen))
    }

    /// Reads how the request ended that has not clearly succeeded.
    #[cold]
    pub(crate) fn read_ending(&self, exchange: &impl Exchange<Host = H>, seen: Ending) -> Ending {
        let (code, flags) = (exchange.response_code(), exchange.response_flags());
        let attempts = exchange.attempts();
        Ending {
            code,
            flags,
            attempts,
            failed_over: self.fails_over && attempts > 1,
            // Only a tunnel ends well with a flag.
            is_connect: flags != 0 && (200..300).contains(&code) && exchange.is_connect(),
            is_timed_out: code == 408 && !exchange.is_from_upstream(),
            ..seen
        }
    }

    /// Checks every request from now on, because the access logger did not report a failure.
    #[cold]
    pub(crate) fn report_missed_failure(&self) {
        if self.worker.failures.distrust() {
            self.host.log(
                Level::Error,
                "the access logger \"failures\" did not report a failed request: a \
                 listener with the filter has no such logger, or its filter excludes failures; \
                 from now on every request is checked, which costs more",
            );
        }
    }
}
