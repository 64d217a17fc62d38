//! The behaviors of a stub.

use std::time::Duration;

/// What a stub does with a request after reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behavior {
    /// Responds with 200.
    #[default]
    Healthy,
    /// Responds with this status, 200 to 599.
    Status(u16),
    /// Responds with 200 after this time.
    Delay(Duration),
    /// Closes the connection with a RST instead of a response.
    Reset,
    /// Responds with 200 and half of a body, then closes the connection with a RST.
    Truncate,
    /// Never responds.
    Hang,
    /// Never reads the request's body, and never responds.
    NeverRead,
    /// Responds with 503 to every n-th request since the last `clear`, and with 200 and a body that streams for this
    /// time to the others. 0 disables errors.
    Stream(Duration, u64),
    /// Ends the stream with this gRPC code: HTTP 200, and the code in the trailers. With code 0 an empty message comes
    /// first. HTTP/1.1 clients do not see trailers.
    GrpcStatus(u8),
    /// Like `GrpcStatus`, with the code in the headers and without a body: a failure before the first message.
    GrpcTrailersOnly(u8),
    /// Responds with 500 to every n-th request since the last `clear`, and with 200 to the others. 0 disables errors.
    ErrorEvery(u64),
    /// Responds with the status that the request's header `x-stub-status` names, or with 200.
    StatusOfRequest,
    /// Responds with 200 and streams the request's body back.
    Echo,
}
