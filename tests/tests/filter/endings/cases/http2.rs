//! Over HTTP/2 to the model.

use super::Caller::*;
use super::Counts::*;
use super::Protocol::*;
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(Http2, "whole", ["plain", "http2", "whole-length"], Waits, "-", Success),
    case(Http2, "longer than its length", ["plain", "http2", "longer"], Waits, "UPE UR", Failure),
    case(Http2, "shorter than its length", ["plain", "http2", "short"], Waits, "UPE UR", Failure),
    case(
        Http2,
        "stream reset before the headers",
        ["plain", "http2", "nothing-rst"],
        Waits,
        "UR",
        Failure,
    ),
    case(Http2, "stream refused", ["plain", "http2", "nothing-refused"], Waits, "UR", Failure),
    case(
        Http2,
        "connection closed before the headers",
        ["plain", "http2", "nothing-close"],
        Waits,
        "UC UR",
        Failure,
    ),
    case(
        Http2,
        "GOAWAY before the headers",
        ["plain", "http2", "nothing-goaway"],
        Waits,
        "UC UR",
        Failure,
    ),
    case(
        Http2,
        "no answer within the route's timeout",
        ["timeout", "http2", "nothing-stall"],
        Waits,
        "UT",
        Failure,
    ),
    case(
        Http2,
        "stream reset within the body",
        ["plain", "http2", "stream-rst"],
        Waits,
        "UR",
        Failure,
    ),
    case(
        Http2,
        "stream cancelled within the body",
        ["plain", "http2", "stream-cancel"],
        Waits,
        "UR",
        Failure,
    ),
    case(
        Http2,
        "connection closed within the body",
        ["plain", "http2", "stream-close"],
        Waits,
        "UC",
        Failure,
    ),
    case(
        Http2,
        "GOAWAY within the body",
        ["plain", "http2", "stream-goaway"],
        Waits,
        "UC",
        Failure,
    ),
    case(
        Http2,
        "stalls: the idle timeout",
        ["idle", "http2", "stream-stall"],
        Waits,
        "SI",
        Failure,
    ),
    case(
        Http2,
        "the caller resets before the headers",
        ["plain", "http2", "nothing-stall"],
        LeavesBefore,
        "DR",
        Abandoned,
    ),
    case(
        Http2,
        "the caller resets within the body",
        ["plain", "http2", "stream-stall"],
        LeavesDuring,
        "DR",
        Left,
    ),
    case(
        Http2,
        "the caller stops sending",
        ["idle", "http2", "nothing-stall"],
        StopsSending,
        "SI",
        Abandoned,
    ),
];
