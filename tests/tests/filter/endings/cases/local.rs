//! Answers of filters between this one and the router.

use super::Caller::*;
use super::Counts::*;
use super::Protocol::*;
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case(Http1, "RBAC denies: 403", ["rbac", "http1", "whole-length"], Waits, "-", Nothing),
    case(
        Http1,
        "external authorization is down: 403",
        ["authz", "http1", "whole-length"],
        Waits,
        "UAEX",
        Nothing,
    ),
    case(Http1, "local rate limit: 429", ["limit", "http1", "whole-length"], Waits, "RL", Nothing),
    case(Grpc, "local rate limit: UNAVAILABLE", ["limit", "http2", "grpc-0"], Waits, "RL", Nothing),
    case(Http1, "Lua answers 500", ["lua", "http1", "whole-length"], Waits, "-", Nothing),
    case(Grpc, "Lua answers 500", ["lua", "http2", "grpc-0"], Waits, "-", Nothing),
    case(Http1, "an injected fault: 503", ["fault", "http1", "whole-length"], Waits, "FI", Nothing),
    case(
        Http1,
        "the body is too large to buffer: 413",
        ["buffer", "http1", "whole-length"],
        StopsSending,
        "-",
        Nothing,
    ),
    case(Http1, "no route: 404", ["route", "http1", "whole-length"], Waits, "NR", Nothing),
];
