//! The gRPC status of a response: where it is, and what it means that there is none.
//!
//! A gRPC response has its status in its trailers, or in its headers if it has no message. It is
//! read in these callbacks, and only for a request that claims to be gRPC: another filter may have
//! moved it when the request is logged. Without a status there, the response is examined when it has
//! ended, which costs nothing for responses that are in order.

use sidetrack::outcome::Ending;

use crate::host::Exchange;

pub(crate) const GRPC_STATUS: &str = "grpc-status";

/// The protocol of a content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grpc {
    No,
    /// The status is in the trailers.
    Native,
    /// The status is in the body, as the end of the last message.
    Web,
}

impl Grpc {
    #[inline]
    pub(crate) fn of(content_type: Option<&[u8]>) -> Self {
        match content_type.and_then(|value| value.strip_prefix(b"application/grpc")) {
            None => Self::No,
            Some(rest) if rest.starts_with(b"-web") => Self::Web,
            Some(_) => Self::Native,
        }
    }

    /// Examines the response to a request that claims this protocol, after it has ended without a
    /// status. The status may be in headers that a body followed, it may be missing, or the response
    /// is not gRPC, whatever the request claims.
    #[cold]
    pub(crate) fn examine(self, exchange: &impl Exchange, seen: Ending) -> Ending {
        // Envoy's grpc_web filter, if it is before this one, has replaced the content type and maybe
        // the status of a response that was not gRPC. Then nothing is known.
        if Self::of(exchange.response_header("content-type").as_deref()) != self {
            return seen;
        }
        let grpc_status = exchange.response_header(GRPC_STATUS).as_deref().map(status);
        // Over HTTP/3, Envoy does not report a client that has left, so its response lacks the
        // status too.
        let is_grpc = self == Self::Native && !exchange.is_http3();
        Ending { grpc_status, is_grpc, ..seen }
    }
}

/// The status in a header. A server that writes nonsense has failed: UNKNOWN, as clients report it.
pub(crate) fn status(value: &[u8]) -> u32 {
    core::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}
