//! Over HTTP/3 from the client.

use super::Caller::*;
use super::Counts::*;
use super::Protocol::*;
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(Http3, "whole", ["http3", "http1", "whole-length"], Waits, "-", Success),
    case(Http3, "status 503", ["http3", "http1", "status-503"], Waits, "-", Failure),
    case(Http3, "closed within the body", ["http3", "http1", "length-fin"], Waits, "UPE", Failure),
    case(
        Http3,
        "the caller resets within the body",
        ["http3", "http1", "length-stall"],
        LeavesDuring,
        "-",
        Success,
    ),
    case(
        Http3,
        "the caller resets before the headers",
        ["http3", "http1", "nothing-stall"],
        LeavesBefore,
        "-",
        Abandoned,
    ),
];
