//! Finding out how a request ended.
//!
//! The host is first queried for success as a whole, which it may answer at once. Only if the
//! answer is not a clear yes, status, flags, gRPC status and attempts are read one by one and the
//! core judges them. With an access logger for failures, most requests are not queried at all.

use sidetrack::outcome::Ending;

use crate::host::{Exchange, Host, Level};
use crate::runtime::Runtime;

/// How a request ended, as far as it is known when the request is logged.
pub(crate) enum Found {
    Known(Ending),
    /// A success, unless the access logger reports a failure before the stream is deleted.
    Presumed,
    /// A failure that the access logger must report.
    Confirmable(Ending),
}

/// The ending of a request whose failure was not reported.
pub(crate) const SUCCESS: Ending =
    Ending { answered: true, code: 200, flags: 0, grpc_status: None, attempts: 1 };

impl<H: Host> Runtime<H> {
    /// How the request ended whose log callback runs.
    #[inline]
    pub(crate) fn find_ending(
        &self,
        exchange: &impl Exchange<Host = H>,
        answered: bool,
        is_grpc: bool,
    ) -> Found {
        // The logger knows neither gRPC statuses nor requests that another cluster rescued.
        let failures = &self.worker.failures;
        let is_reported = answered && !is_grpc && !self.fails_over && failures.are_reported();
        if is_reported && !failures.is_sampled() {
            return Found::Presumed;
        }
        let ending = self.query_ending(exchange, answered, is_grpc);
        if is_reported && (ending.code >= 500 || ending.flags != 0) {
            Found::Confirmable(ending)
        } else {
            Found::Known(ending)
        }
    }

    /// How the request ended, without regard to the access logger.
    pub(crate) fn query_ending(
        &self,
        exchange: &impl Exchange<Host = H>,
        answered: bool,
        is_grpc: bool,
    ) -> Ending {
        if exchange.is_success(&self.success_check, is_grpc) {
            return SUCCESS;
        }
        Ending {
            // The proxy derives a gRPC status for other requests as well.
            grpc_status: is_grpc.then(|| exchange.grpc_status()),
            attempts: if self.fails_over { exchange.attempts() } else { 1 },
            ..failure(exchange, answered)
        }
    }

    /// Checks every request from now on, because the access logger did not report a failure.
    #[cold]
    pub(crate) fn report_missed_failure(&self) {
        if self.worker.failures.distrust() {
            self.host.log(
                Level::Error,
                "sidetrack: the access logger \"failures\" did not report a failed request: a \
                 listener with the filter has no such logger, or its filter excludes failures; \
                 from now on every request is checked, which costs more",
            );
        }
    }
}

/// How the request ended whose failure is reported.
pub(crate) fn failure(exchange: &impl Exchange, answered: bool) -> Ending {
    Ending {
        answered,
        code: exchange.response_code(),
        flags: exchange.response_flags(),
        grpc_status: None,
        attempts: 1,
    }
}
