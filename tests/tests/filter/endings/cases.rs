//! How requests can end, and what each ending counts as. `docs/breaker.md` prints this table.

mod grpc;
mod http1;
mod http2;
mod http3;
mod local;

use std::sync::LazyLock;

use super::caller::Caller;

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
    /// JSON that Envoy transcodes to gRPC before Sidetrack.
    Transcoded,
    /// The same after Sidetrack.
    TranscodedBehind,
    WebSocket,
    Connect,
    Events,
}

impl Case {
    /// Envoy transcodes its JSON to gRPC.
    pub(super) fn is_transcoded(&self) -> bool {
        matches!(self.protocol, Protocol::Transcoded | Protocol::TranscodedBehind)
    }
}

/// What an ending counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Success,
    Failure,
    /// The caller left within a good answer.
    Left,
    /// The caller left before an answer.
    Abandoned,
    Nothing,
}

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

/// All endings, in the order of the table.
pub(super) static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    [http1::CASES, http2::CASES, grpc::CASES, http3::CASES, local::CASES].concat()
});
