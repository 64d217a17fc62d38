//! What a stub can do to a request.

use std::time::Duration;

/// What a stub does with a request once it has read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers 200.
    #[default]
    Healthy,
    /// Answers this status, 200 to 599.
    Status(u16),
    /// Answers 200 after this time.
    Delay(Duration),
    /// Closes the connection with a RST instead of an answer.
    Reset,
    /// Answers as a gRPC server that ends its stream with this code: HTTP 200, and the code in the trailers. With
    /// code 0 an empty message comes first. HTTP/1.1 clients do not see trailers.
    GrpcStatus(u8),
    /// As `GrpcStatus`, with the code among the headers and no body: how servers fail before the first message.
    GrpcTrailersOnly(u8),
    /// Answers 500 to every n-th request since the last `clear`, and 200 to the others. With 0, to none.
    ErrorEvery(u64),
    /// Answers 200 with the request's body, byte for byte and as it arrives.
    Echo,
}
