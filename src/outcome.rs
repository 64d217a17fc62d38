//! How a request ended: what callers saw, and what it says about the variant.

/// The finite upper bounds of the histogram of the times to the response's headers: in milliseconds, and in seconds as
/// the label `le` writes them. The filter counts by them, and the rules for Prometheus ask for series by the same text.
pub const TIME_BOUNDS: [(u64, &str); 11] = [
    (5, "0.005"),
    (10, "0.01"),
    (20, "0.02"),
    (50, "0.05"),
    (100, "0.1"),
    (200, "0.2"),
    (500, "0.5"),
    (1000, "1"),
    (2000, "2"),
    (5000, "5"),
    (10_000, "10"),
];

/// What is known of a request when its stream has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The caller was sent response headers.
    pub answered: bool,
    /// The response's status; 0 when there is none.
    pub code: u32,
    /// Envoy's response flags as a bit set.
    pub flags: u64,
    /// The gRPC status of a gRPC request.
    pub grpc_status: Option<u32>,
    /// How often the request was sent upstream; more than once when a retry rescued it, or tried to.
    pub attempts: u64,
}

/// How a request ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was answered.
    Success,
    /// It failed.
    Error,
    /// The caller was gone before there was an answer.
    Aborted,
}

/// The caller closed its connection.
const CALLER_GONE: u64 = 1 << 14;

/// The upstream's part broke: request timeout, local reset, remote reset, connection failure, connection termination,
/// maximum stream duration. Before the response's headers they show as a 503 or 504 too, after them only here.
const BROKEN: u64 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 19;

impl Ending {
    /// How it ended for the caller.
    #[must_use]
    pub fn status(&self) -> Status {
        if !self.answered || self.code == 0 {
            return Status::Aborted;
        }
        let broken = self.flags & CALLER_GONE == 0 && self.flags & BROKEN != 0;
        // UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's fault.
        let grpc = matches!(self.grpc_status, Some(2 | 4 | 8 | 13 | 14 | 15));
        if self.code >= 500 || broken || grpc { Status::Error } else { Status::Success }
    }

    /// Whether the variant failed; `None` when nothing can be said. A request that another cluster rescued failed
    /// here, whatever its caller saw.
    #[must_use]
    pub fn failed(&self) -> Option<bool> {
        match self.status() {
            Status::Aborted => None,
            status => Some(status == Status::Error || self.attempts > 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend_and_are_written_as_the_seconds_that_they_are() {
        assert!(TIME_BOUNDS.is_sorted_by(|a, b| a.0 < b.0));
        for (milliseconds, seconds) in TIME_BOUNDS {
            let text = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
            assert_eq!(text.trim_end_matches('0').trim_end_matches('.'), seconds);
        }
    }

    #[test]
    fn endings_are_told_apart() {
        let ok = Ending { answered: true, code: 200, attempts: 1, ..Ending::default() };
        for (ending, status, failed) in [
            (ok, Status::Success, Some(false)),
            (Ending { code: 404, ..ok }, Status::Success, Some(false)),
            (Ending { code: 500, ..ok }, Status::Error, Some(true)),
            (Ending { code: 503, flags: 1 << 24, ..ok }, Status::Error, Some(true)),
            (Ending { flags: 1 << 6, ..ok }, Status::Error, Some(true)),
            (Ending { flags: CALLER_GONE | 1 << 3, ..ok }, Status::Success, Some(false)),
            (Ending { grpc_status: Some(0), ..ok }, Status::Success, Some(false)),
            (Ending { grpc_status: Some(5), ..ok }, Status::Success, Some(false)),
            (Ending { grpc_status: Some(14), ..ok }, Status::Error, Some(true)),
            (Ending { attempts: 2, ..ok }, Status::Success, Some(true)),
            (Ending { flags: CALLER_GONE, ..Ending::default() }, Status::Aborted, None),
            (Ending::default(), Status::Aborted, None),
        ] {
            assert_eq!((ending.status(), ending.failed()), (status, failed), "{ending:?}");
        }
    }
}
