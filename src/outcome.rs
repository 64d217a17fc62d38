//! How a request ended: what callers saw, and what it says about the variant.
//!
//! [`RULES`] is the one table from what a proxy knows to what counts. `docs/breaker.md` prints it,
//! and the tests measure it on a real Envoy, case by case.
//!
//! Only what a model did counts for its variant. The answer of another filter says nothing about
//! it. A request that its caller abandons before the answer may be the fault of either: the breaker
//! compares how many there are of each variant. A caller who leaves within an answer has received
//! good headers: a success, as of every answer that has begun well. Otherwise, only the failures
//! would remain of a model whose callers leave their streams.

use crate::breaker::End;

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

/// Envoy's response flags: bits of the attribute `response.flags`, named as in its access log.
pub mod flag {
    /// No healthy host in the cluster.
    pub const UH: u64 = 1 << 1;
    /// The route's timeout.
    pub const UT: u64 = 1 << 2;
    /// Envoy reset the stream to the host.
    pub const LR: u64 = 1 << 3;
    /// The host reset the stream.
    pub const UR: u64 = 1 << 4;
    /// No connection to the host.
    pub const UF: u64 = 1 << 5;
    /// The host closed the connection.
    pub const UC: u64 = 1 << 6;
    /// The cluster's circuit breakers are full.
    pub const UO: u64 = 1 << 7;
    /// The caller closed its connection.
    pub const DC: u64 = 1 << 14;
    /// The stream's idle timeout.
    pub const SI: u64 = 1 << 16;
    /// The caller violated the protocol.
    pub const DPE: u64 = 1 << 18;
    /// The largest duration of a stream to a host.
    pub const UMSDR: u64 = 1 << 19;
    /// The largest duration of a request or its connection.
    pub const DT: u64 = 1 << 22;
    /// The host violated the protocol.
    pub const UPE: u64 = 1 << 23;
    /// The cluster does not exist.
    pub const NC: u64 = 1 << 24;
    /// Envoy is overloaded.
    pub const OM: u64 = 1 << 25;
    /// The host's name does not resolve.
    pub const DF: u64 = 1 << 26;
    /// The cluster drops a share of its requests.
    pub const DO: u64 = 1 << 27;
    /// The caller reset its stream.
    pub const DR: u64 = 1 << 28;
    /// The cluster drops all requests.
    pub const UDO: u64 = 1 << 29;

    /// A flag by its name in the access log; 0 for those that say nothing of how a request ended.
    #[must_use]
    pub fn named(name: &str) -> u64 {
        match name {
            "UH" => UH,
            "UT" => UT,
            "LR" => LR,
            "UR" => UR,
            "UF" => UF,
            "UC" => UC,
            "UO" => UO,
            "DC" => DC,
            "SI" => SI,
            "DPE" => DPE,
            "UMSDR" => UMSDR,
            "DT" => DT,
            "UPE" => UPE,
            "NC" => NC,
            "OM" => OM,
            "DF" => DF,
            "DO" => DO,
            "DR" => DR,
            "UDO" => UDO,
            _ => 0,
        }
    }
}

/// The caller left, or broke the protocol.
const CALLER: u64 = flag::DC | flag::DR | flag::DPE;

/// The variant could not be asked, which is its fault.
const UNREACHABLE: u64 =
    flag::UH | flag::NC | flag::UF | flag::UO | flag::DF | flag::DO | flag::UDO;

/// The answer broke off. Before its headers, this shows as a 502, 503 or 504 too, after them only
/// here.
const BROKEN: u64 =
    UNREACHABLE | flag::UT | flag::LR | flag::UR | flag::UC | flag::UMSDR | flag::UPE;

/// Nothing moved for too long.
const STALLED: u64 = flag::SI | flag::DT;

/// What is known of a request when its stream has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The caller was sent response headers.
    pub answered: bool,
    /// The request's body had arrived whole.
    pub uploaded: bool,
    /// The response's status; 0 when there is none.
    pub code: u32,
    /// Envoy's response flags, see [`flag`].
    pub flags: u64,
    /// The response to a gRPC request is gRPC, and it has ended.
    pub is_grpc: bool,
    /// The gRPC status of the response to a gRPC request; `None` if it has none.
    pub grpc_status: Option<u32>,
    /// How often the request was sent upstream; 0 if no host was tried.
    pub attempts: u64,
    /// It was sent again where that reaches another variant.
    pub failed_over: bool,
    /// A CONNECT request.
    pub is_connect: bool,
    /// A status 408 is Envoy's: it has ended the request.
    pub is_timed_out: bool,
}

/// How a request ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was answered.
    Success,
    /// It failed.
    Error,
    /// The caller left before the answer's end.
    Aborted,
}

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In the metrics, as the caller saw it; `None` if the request is not among those served.
    pub status: Option<Status>,
    /// For the breaker, as the variant caused it.
    pub end: End,
}

impl Outcome {
    /// An answer that ended in order.
    pub const SUCCESS: Self = Self { status: Some(Status::Success), end: End::Completed };
    /// An answer that is bad or broken.
    pub const FAILURE: Self = Self { status: Some(Status::Error), end: End::Failed };
    const ABORTED: Self = Self { status: Some(Status::Aborted), end: End::Unknown };
    /// The caller left within an answer that had begun well.
    const LEFT: Self = Self { status: Some(Status::Aborted), end: End::Completed };
    const ABANDONED: Self = Self { status: Some(Status::Aborted), end: End::Abandoned };
    const NOTHING: Self = Self { status: None, end: End::Unknown };
}

/// A row of [`RULES`].
#[derive(Debug)]
pub struct Rule {
    /// What happened.
    pub ending: &'static str,
    /// How it shows in Envoy's access log.
    pub sign: &'static str,
    holds: fn(&Ending) -> bool,
    /// What counts.
    pub outcome: Outcome,
}

/// Which endings count as what. The first rule that holds decides; the last one always holds.
pub static RULES: [Rule; 13] = [
    Rule {
        ending: "the caller leaves before a host is tried",
        sign: "0 attempts and no status, `DC` or `DR`",
        holds: |it| it.has_left() && it.attempts == 0,
        outcome: Outcome::ABORTED,
    },
    Rule {
        ending: "the caller leaves before the answer",
        sign: "no status, `DC` or `DR`",
        holds: Ending::has_left,
        outcome: Outcome::ABANDONED,
    },
    Rule {
        ending: "another filter or the router answers, and no host is tried",
        sign: "0 attempts, such as `RL`, `UAEX`, `FI`, `NR`",
        holds: |it| it.attempts == 0 && it.flags & UNREACHABLE == 0,
        outcome: Outcome::NOTHING,
    },
    Rule {
        ending: "Envoy is overloaded and ends the request",
        sign: "`OM`",
        holds: |it| it.flags & flag::OM != 0,
        outcome: Outcome { status: Some(Status::Error), end: End::Unknown },
    },
    Rule {
        ending: "the answer has a status of 500 or more: the model's own, or Envoy's for a host that \
                 cannot be reached, resets, violates the protocol or does not answer in time",
        sign: "status 500 or more, often with `UH`, `UF`, `UC`, `UR`, `UT`, `UO`, `NC`, `UPE`",
        holds: |it| it.code >= 500,
        outcome: Outcome::FAILURE,
    },
    Rule {
        ending: "a WebSocket or a tunnel is established, whoever closes it and how",
        sign: "status 101, or 2xx to CONNECT",
        holds: |it| it.code == 101 || it.is_connect && (200..300).contains(&it.code),
        outcome: Outcome::SUCCESS,
    },
    Rule {
        ending: "gRPC: the status is UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, \
                 UNAVAILABLE or DATA_LOSS",
        sign: "`grpc-status` 2, 4, 8, 13, 14 or 15 in the response",
        holds: |it| it.has_grpc_failure(),
        outcome: Outcome::FAILURE,
    },
    Rule {
        ending: "the caller leaves during a good answer: closes the connection, resets the stream, \
                 cancels the call or violates the protocol",
        sign: "`DC`, `DR` or `DPE`, whatever else",
        holds: |it| it.flags & CALLER != 0,
        outcome: Outcome::LEFT,
    },
    Rule {
        ending: "the answer breaks off after its headers",
        sign: "`UC`, `UR`, `UPE`, `LR`, `UT` or `UMSDR`",
        holds: |it| it.flags & BROKEN != 0,
        outcome: Outcome::FAILURE,
    },
    Rule {
        ending: "the caller stops sending its request, or the model stops reading it",
        sign: "`SI`, `DT` or status 408, before the request's end",
        holds: |it| !it.uploaded && (it.code == 408 || it.flags & STALLED != 0),
        outcome: Outcome::ABANDONED,
    },
    Rule {
        ending: "the answer does not come in time, stalls or lasts longer than allowed",
        sign: "`SI`, `DT` or Envoy's status 408, after the request's end",
        holds: |it| it.is_timed_out || it.flags & STALLED != 0,
        outcome: Outcome::FAILURE,
    },
    Rule {
        ending: "gRPC: the answer ends without a status",
        sign: "`content-type: application/grpc` and no `grpc-status`, status 200",
        holds: |it| it.lacks_grpc_status() && it.code == 200,
        outcome: Outcome::FAILURE,
    },
    Rule {
        ending: "the answer ends in order, with a status below 500",
        sign: "no flag of the above",
        holds: |_| true,
        outcome: Outcome::SUCCESS,
    },
];

impl Ending {
    /// How a request ended for its caller, as far as a line of the access log says it: by the response's status (0: none)
    /// and the flags. A request without a status whose caller did not leave has failed. One whose status 408 has a flag
    /// did not arrive whole.
    #[must_use]
    pub fn logged(code: u32, flags: u64) -> Status {
        if code == 0 && flags & CALLER == 0 {
            return Status::Error;
        }
        let ending = Self {
            answered: code != 0,
            uploaded: code != 408 || flags & STALLED == 0,
            code,
            flags,
            attempts: 1,
            ..Self::default()
        };
        ending.outcome().status.unwrap_or(Status::Success)
    }

    /// What counts, by [`RULES`]. A candidate whose request was sent again to another variant has
    /// failed, whatever the caller saw.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let rule = RULES.iter().find(|rule| (rule.holds)(self));
        let outcome = rule.map_or(Outcome::SUCCESS, |rule| rule.outcome);
        if self.failed_over { Outcome { end: End::Failed, ..outcome } } else { outcome }
    }

    /// The gRPC status says that the server is at fault.
    #[must_use]
    pub const fn has_grpc_failure(&self) -> bool {
        matches!(self.grpc_status, Some(2 | 4 | 8 | 13 | 14 | 15))
    }

    /// The response is gRPC and has ended without a status, which clients report as UNKNOWN.
    #[must_use]
    pub const fn lacks_grpc_status(&self) -> bool {
        self.is_grpc && self.grpc_status.is_none()
    }

    /// It may be a failure although Envoy reports none.
    #[must_use]
    pub const fn may_fail_in_grpc(&self) -> bool {
        self.has_grpc_failure() || self.lacks_grpc_status()
    }

    /// The caller has left without a response.
    const fn has_left(&self) -> bool {
        !self.answered && (self.code == 0 || self.flags & CALLER != 0)
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

    const OK: Ending = Ending {
        answered: true,
        uploaded: true,
        code: 200,
        flags: 0,
        is_grpc: false,
        grpc_status: None,
        attempts: 1,
        failed_over: false,
        is_connect: false,
        is_timed_out: false,
    };
    const GONE: Ending = Ending { answered: false, code: 0, attempts: 0, ..OK };

    #[test]
    fn each_ending_counts_as_its_rule_says() {
        use flag::*;
        let with = |flags| Ending { flags, ..OK };
        let local = |code, flags| Ending { code, flags, attempts: 0, ..OK };
        for (ending, rule, outcome) in [
            (GONE, 0, Outcome::ABORTED),
            (Ending { flags: DC, ..GONE }, 0, Outcome::ABORTED),
            (Ending { uploaded: false, ..GONE }, 0, Outcome::ABORTED),
            // A host had the request.
            (Ending { attempts: 1, ..GONE }, 1, Outcome::ABANDONED),
            (Ending { flags: DC, attempts: 2, ..GONE }, 1, Outcome::ABANDONED),
            (Ending { flags: DR | LR, attempts: 1, ..GONE }, 1, Outcome::ABANDONED),
            (Ending { code: 503, flags: DC | UC, attempts: 1, ..GONE }, 1, Outcome::ABANDONED),
            (Ending { uploaded: false, flags: DC, attempts: 1, ..GONE }, 1, Outcome::ABANDONED),
            // Filters behind this one: RBAC, rate limit, authorization, fault, Lua; no route.
            (local(403, 0), 2, Outcome::NOTHING),
            (local(429, 1 << 11), 2, Outcome::NOTHING),
            (local(503, 1 << 12), 2, Outcome::NOTHING),
            (local(503, 1 << 10), 2, Outcome::NOTHING),
            (local(500, 0), 2, Outcome::NOTHING),
            (local(404, 1 << 8), 2, Outcome::NOTHING),
            (Ending { grpc_status: Some(14), ..local(200, 1 << 11) }, 2, Outcome::NOTHING),
            // The caller leaves while another filter works on the request.
            (Ending { flags: DC, ..local(200, 0) }, 2, Outcome::NOTHING),
            (
                Ending { code: 503, ..with(OM) },
                3,
                Outcome { end: End::Unknown, ..Outcome::FAILURE },
            ),
            (Ending { code: 500, ..OK }, 4, Outcome::FAILURE),
            (Ending { code: 599, ..with(DC) }, 4, Outcome::FAILURE),
            (local(503, UH), 4, Outcome::FAILURE),
            (local(503, NC), 4, Outcome::FAILURE),
            (local(503, UO), 4, Outcome::FAILURE),
            (local(503, UDO), 4, Outcome::FAILURE),
            (Ending { code: 504, ..with(SI) }, 4, Outcome::FAILURE),
            (Ending { code: 101, ..with(UC) }, 5, Outcome::SUCCESS),
            (Ending { code: 101, ..with(DC | LR) }, 5, Outcome::SUCCESS),
            (Ending { is_connect: true, ..with(UC) }, 5, Outcome::SUCCESS),
            (Ending { is_connect: true, code: 403, ..with(UC) }, 8, Outcome::FAILURE),
            (Ending { grpc_status: Some(14), ..OK }, 6, Outcome::FAILURE),
            (Ending { grpc_status: Some(13), ..with(DR) }, 6, Outcome::FAILURE),
            (Ending { grpc_status: Some(14), ..local(200, UH) }, 6, Outcome::FAILURE),
            (with(DC), 7, Outcome::LEFT),
            (with(DR | LR | UC), 7, Outcome::LEFT),
            (with(DPE), 7, Outcome::LEFT),
            (Ending { grpc_status: Some(1), ..with(DR) }, 7, Outcome::LEFT),
            (with(UC), 8, Outcome::FAILURE),
            (with(UPE), 8, Outcome::FAILURE),
            (with(UR), 8, Outcome::FAILURE),
            (with(LR), 8, Outcome::FAILURE),
            (with(UT), 8, Outcome::FAILURE),
            (with(UMSDR), 8, Outcome::FAILURE),
            (local(200, UH), 8, Outcome::FAILURE),
            (Ending { uploaded: false, code: 408, ..OK }, 9, Outcome::ABANDONED),
            (Ending { uploaded: false, ..with(SI) }, 9, Outcome::ABANDONED),
            (with(SI), 10, Outcome::FAILURE),
            (with(DT), 10, Outcome::FAILURE),
            (Ending { code: 408, is_timed_out: true, ..OK }, 10, Outcome::FAILURE),
            (Ending { is_grpc: true, ..OK }, 11, Outcome::FAILURE),
            (Ending { is_grpc: true, ..with(DR) }, 7, Outcome::LEFT),
            (Ending { is_grpc: true, ..with(UR) }, 8, Outcome::FAILURE),
            // A client of gRPC has a status of its own for these.
            (Ending { is_grpc: true, code: 404, ..OK }, 12, Outcome::SUCCESS),
            (Ending { is_grpc: true, grpc_status: Some(0), ..OK }, 12, Outcome::SUCCESS),
            (OK, 12, Outcome::SUCCESS),
            (Ending { uploaded: false, ..OK }, 12, Outcome::SUCCESS),
            (Ending { code: 408, ..OK }, 12, Outcome::SUCCESS),
            (Ending { code: 429, ..OK }, 12, Outcome::SUCCESS),
            // Delayed by a filter; retried in the same cluster, in the end with a 404.
            (with(1 << 9), 12, Outcome::SUCCESS),
            (Ending { code: 404, attempts: 2, ..with(1 << 15) }, 12, Outcome::SUCCESS),
            (Ending { grpc_status: Some(0), ..OK }, 12, Outcome::SUCCESS),
            (Ending { grpc_status: Some(5), ..OK }, 12, Outcome::SUCCESS),
        ] {
            let found = RULES.iter().position(|rule| (rule.holds)(&ending));
            assert_eq!((found, ending.outcome()), (Some(rule), outcome), "{ending:?}");
        }
    }

    #[test]
    fn a_line_of_the_log_ends_as_its_request_did() {
        let ends = |code, names: &str| {
            Ending::logged(code, names.split(',').map(flag::named).fold(0, |all, flag| all | flag))
        };
        for broken in ["UC", "UR", "SI", "DT", "LR", "UT", "UPE", "UMSDR", "URX,UC"] {
            assert_eq!(ends(200, broken), Status::Error, "{broken}");
        }
        for left in ["DC", "DR", "DPE", "DR,LR", "UC,DC"] {
            assert_eq!([ends(200, left), ends(0, left)], [Status::Aborted; 2], "{left}");
        }
        assert_eq!([ends(0, "-"), ends(0, "UC"), ends(503, "DC")], [Status::Error; 3]);
        assert_eq!([ends(200, "-"), ends(404, "NR"), ends(101, "UC")], [Status::Success; 3]);
        assert_eq!([ends(408, "-"), ends(408, "SI")], [Status::Success, Status::Aborted]);
    }

    #[test]
    fn a_request_that_another_variant_rescued_is_a_failure_of_its_own() {
        let rescued = Ending { attempts: 2, failed_over: true, ..OK };
        let outcome = Outcome { end: End::Failed, ..Outcome::SUCCESS };
        assert_eq!(rescued.outcome(), outcome);
        let gone = Ending { attempts: 2, failed_over: true, ..GONE };
        assert_eq!(gone.outcome(), Outcome { end: End::Failed, ..Outcome::ABORTED });
    }

    #[test]
    fn only_the_servers_fault_is_a_grpc_failure() {
        let failures: Vec<u32> = (0..20)
            .filter(|&status| Ending { grpc_status: Some(status), ..OK }.has_grpc_failure())
            .collect();
        assert_eq!(failures, [2, 4, 8, 13, 14, 15]);
    }
}
