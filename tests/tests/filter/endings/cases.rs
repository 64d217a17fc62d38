//! How requests can end, and what each ending counts as. `docs/breaker.md` prints this table.

use super::caller::Caller::{self, *};

/// An ending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// From the client, and to the model.
    pub(super) protocol: Protocol,
    pub(super) ending: &'static str,
    pub(super) listener: &'static str,
    pub(super) cluster: &'static str,
    pub(super) behavior: &'static str,
    pub(super) caller: Caller,
    /// Envoy's response flags, as in its access log: one of these.
    pub(super) flags: &'static str,
    pub(super) outcome: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
    Http3,
    Grpc,
    GrpcWeb,
    WebSocket,
    Connect,
    Events,
}

/// What an ending counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Success,
    Failure,
    Aborted,
    Nothing,
}

use Counts::*;
use Protocol::*;

const fn case(
    protocol: Protocol,
    ending: &'static str,
    [listener, cluster, behavior]: [&'static str; 3],
    caller: Caller,
    flags: &'static str,
    outcome: Counts,
) -> Case {
    Case { protocol, ending, listener, cluster, behavior, caller, flags, outcome }
}

pub(super) const CASES: &[Case] = &[
    // HTTP/1.1 upstream.
    case(Http1, "whole, with a length", ["plain", "http1", "whole-length"], Waits, "-", Success),
    case(Http1, "whole, in chunks", ["plain", "http1", "whole-chunked"], Waits, "-", Success),
    case(Http1, "whole, with trailers", ["plain", "http1", "whole-trailers"], Waits, "-", Success),
    case(Http1, "whole, until the connection closes", ["plain", "http1", "whole-close"], Waits, "-", Success),
    case(Http1, "status 404", ["plain", "http1", "status-404"], Waits, "-", Success),
    case(Http1, "status 503", ["plain", "http1", "status-503"], Waits, "-", Failure),
    case(Http1, "longer than its length", ["plain", "http1", "longer"], Waits, "-", Success),
    case(Http1, "before the end of the request", ["plain", "http1", "early"], StopsSending, "-", Success),
    case(Http1, "connection refused", ["plain", "closed", "any"], Waits, "UF", Failure),
    case(Http1, "no healthy host", ["plain", "empty", "any"], Waits, "UH", Failure),
    case(Http1, "no such cluster", ["plain", "missing", "any"], Waits, "NC", Failure),
    case(Http1, "closed before the headers", ["plain", "http1", "nothing-fin"], Waits, "UC", Failure),
    case(Http1, "reset before the headers", ["plain", "http1", "nothing-rst"], Waits, "UC", Failure),
    case(Http1, "closed within the headers", ["plain", "http1", "headers-fin"], Waits, "UPE", Failure),
    case(Http1, "no answer within the route's timeout", ["timeout", "http1", "nothing-stall"], Waits, "UT", Failure),
    case(Http1, "no answer within the idle timeout", ["idle", "http1", "nothing-stall"], Waits, "SI", Failure),
    case(Http1, "length, closed within the body", ["plain", "http1", "length-fin"], Waits, "UPE", Failure),
    case(Http1, "length, reset within the body", ["plain", "http1", "length-rst"], Waits, "UPE", Failure),
    case(Http1, "length, stalls: the idle timeout", ["idle", "http1", "length-stall"], Waits, "SI", Failure),
    case(Http1, "length, stalls: the route's timeout", ["timeout", "http1", "length-stall"], Waits, "UT", Failure),
    case(Http1, "length, too long: the cluster's `max_stream_duration`", ["plain", "longest", "length-stall"], Waits, "UMSDR", Failure),
    case(Http1, "length, too long: the route's `max_stream_duration`", ["duration", "http1", "length-stall"], Waits, "-", Success),
    case(Http1, "no answer within the route's `max_stream_duration`", ["duration", "http1", "nothing-stall"], Waits, "-", Failure),
    case(Http1, "chunks, closed within the body", ["plain", "http1", "chunked-fin"], Waits, "UPE", Failure),
    case(Http1, "chunks, reset within the body", ["plain", "http1", "chunked-rst"], Waits, "UPE", Failure),
    case(Http1, "chunks, an invalid chunk", ["plain", "http1", "chunked-broken"], Waits, "UPE", Failure),
    case(Http1, "trailers, closed within them", ["plain", "http1", "trailers-fin"], Waits, "UPE", Failure),
    case(Http1, "until the connection closes, reset", ["plain", "http1", "close-rst"], Waits, "-", Success),
    case(Http1, "the caller leaves before the headers", ["plain", "http1", "nothing-stall"], LeavesBefore, "DC", Aborted),
    case(Http1, "the caller leaves within the body", ["plain", "http1", "length-stall"], LeavesDuring, "DC", Aborted),
    case(Http1, "the caller stops sending", ["idle", "http1", "nothing-stall"], StopsSending, "SI", Aborted),
    case(Events, "whole", ["plain", "http1", "whole-events"], Waits, "-", Success),
    case(Events, "closed within the stream", ["plain", "http1", "events-fin"], Waits, "UPE", Failure),
    case(Events, "stalls: the idle timeout", ["idle", "http1", "events-stall"], Waits, "SI", Failure),
    case(WebSocket, "closed by the model", ["plain", "http1", "upgrade-fin"], Upgrades, "UC", Success),
    case(WebSocket, "reset by the model", ["plain", "http1", "upgrade-rst"], Upgrades, "UC", Success),
    case(WebSocket, "closed by the caller", ["plain", "http1", "upgrade-stall"], UpgradesAndLeaves, "DC", Success),
    case(WebSocket, "refused with status 503", ["plain", "http1", "status-503"], Upgrades, "-", Failure),
    case(Connect, "closed by the model", ["plain", "http1", "tunnel-fin"], Connects, "UC", Success),
    // HTTP/2 upstream.
    case(Http2, "whole", ["plain", "http2", "whole-length"], Waits, "-", Success),
    case(Http2, "longer than its length", ["plain", "http2", "longer"], Waits, "UPE", Failure),
    case(Http2, "shorter than its length", ["plain", "http2", "short"], Waits, "UPE", Failure),
    case(Http2, "stream reset before the headers", ["plain", "http2", "nothing-rst"], Waits, "UR", Failure),
    case(Http2, "stream refused", ["plain", "http2", "nothing-refused"], Waits, "UR", Failure),
    case(Http2, "connection closed before the headers", ["plain", "http2", "nothing-close"], Waits, "UC UR", Failure),
    case(Http2, "GOAWAY before the headers", ["plain", "http2", "nothing-goaway"], Waits, "UC UR", Failure),
    case(Http2, "no answer within the route's timeout", ["timeout", "http2", "nothing-stall"], Waits, "UT", Failure),
    case(Http2, "stream reset within the body", ["plain", "http2", "stream-rst"], Waits, "UR", Failure),
    case(Http2, "stream cancelled within the body", ["plain", "http2", "stream-cancel"], Waits, "UR", Failure),
    case(Http2, "connection closed within the body", ["plain", "http2", "stream-close"], Waits, "UC", Failure),
    case(Http2, "GOAWAY within the body", ["plain", "http2", "stream-goaway"], Waits, "UC", Failure),
    case(Http2, "stalls: the idle timeout", ["idle", "http2", "stream-stall"], Waits, "SI", Failure),
    case(Http2, "the caller resets before the headers", ["plain", "http2", "nothing-stall"], LeavesBefore, "DR", Aborted),
    case(Http2, "the caller resets within the body", ["plain", "http2", "stream-stall"], LeavesDuring, "DR", Aborted),
    case(Http2, "the caller stops sending", ["idle", "http2", "nothing-stall"], StopsSending, "SI", Aborted),
    // gRPC.
    case(Grpc, "OK", ["plain", "http2", "grpc-0"], Waits, "-", Success),
    case(Grpc, "NOT_FOUND", ["plain", "http2", "grpc-5"], Waits, "-", Success),
    case(Grpc, "UNAVAILABLE in trailers", ["plain", "http2", "grpc-14"], Waits, "-", Failure),
    case(Grpc, "UNAVAILABLE without a message", ["plain", "http2", "grpc-only-14"], Waits, "-", Failure),
    case(Grpc, "stream reset after a message", ["plain", "http2", "stream-rst"], Waits, "UR", Failure),
    case(Grpc, "connection refused", ["plain", "closed", "any"], Waits, "UF", Failure),
    case(Grpc, "the caller cancels before the headers", ["plain", "http2", "nothing-stall"], LeavesBefore, "DR", Aborted),
    case(Grpc, "the caller cancels after a message", ["plain", "http2", "stream-stall"], LeavesDuring, "DR", Aborted),
    case(Grpc, "a plain answer to a request that claims to be gRPC", ["plain", "http1", "whole-length"], Waits, "-", Success),
    case(GrpcWeb, "OK", ["web", "http2", "grpc-0"], Waits, "-", Success),
    case(GrpcWeb, "NOT_FOUND", ["web", "http2", "grpc-5"], Waits, "-", Success),
    case(GrpcWeb, "UNAVAILABLE in trailers", ["web", "http2", "grpc-14"], Waits, "-", Failure),
    case(GrpcWeb, "UNAVAILABLE without a message", ["web", "http2", "grpc-only-14"], Waits, "-", Failure),
    case(GrpcWeb, "stream reset after a message", ["web", "http2", "stream-rst"], Waits, "UR", Failure),
    // HTTP/3 downstream.
    case(Http3, "whole", ["http3", "http1", "whole-length"], Waits, "-", Success),
    case(Http3, "status 503", ["http3", "http1", "status-503"], Waits, "-", Failure),
    case(Http3, "closed within the body", ["http3", "http1", "length-fin"], Waits, "UPE", Failure),
    case(Http3, "the caller resets within the body", ["http3", "http1", "length-stall"], LeavesDuring, "-", Success),
    case(Http3, "the caller resets before the headers", ["http3", "http1", "nothing-stall"], LeavesBefore, "-", Aborted),
    // Filters between this one and the router.
    case(Http1, "RBAC denies: 403", ["rbac", "http1", "whole-length"], Waits, "-", Nothing),
    case(Http1, "external authorization is down: 403", ["authz", "http1", "whole-length"], Waits, "UAEX", Nothing),
    case(Http1, "local rate limit: 429", ["limit", "http1", "whole-length"], Waits, "RL", Nothing),
    case(Grpc, "local rate limit: UNAVAILABLE", ["limit", "http2", "grpc-0"], Waits, "RL", Nothing),
    case(Http1, "Lua answers 500", ["lua", "http1", "whole-length"], Waits, "-", Nothing),
    case(Grpc, "Lua answers 500", ["lua", "http2", "grpc-0"], Waits, "-", Nothing),
    case(Http1, "an injected fault: 503", ["fault", "http1", "whole-length"], Waits, "FI", Nothing),
    case(Http1, "the body is too large to buffer: 413", ["buffer", "http1", "whole-length"], StopsSending, "-", Nothing),
    case(Http1, "no route: 404", ["route", "http1", "whole-length"], Waits, "NR", Nothing),
];
