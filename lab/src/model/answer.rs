//! Dispatch of a request: control requests first, then what the behavior at the request's arrival demands.

use std::future::pending;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};

use http_body_util::BodyExt;
use tokio::time::sleep;

use super::record::Entry;
use super::response::{Body, echo, grpc, prediction, stream, truncated};
use super::{Behavior, Shared, control};

/// The result of a request.
pub(super) enum Outcome {
    Response(Response<Body>),
    /// Close the connection with a RST.
    Reset,
    /// The same, soon after the response's first half.
    Truncated(Response<Body>),
}

/// Records the request, reads it, and applies the behavior that was set when it arrived.
pub(super) async fn answer(request: Request<Incoming>, shared: &Shared) -> Outcome {
    if let Some(response) = control::response(&request, shared) {
        return Outcome::Response(response);
    }
    let behavior = shared.behavior();
    let (number, entry) = shared.record.arrival(&request);
    let (head, body) = request.into_parts();
    if behavior == Behavior::Echo {
        let content_type = head.headers.get(CONTENT_TYPE).cloned();
        return Outcome::Response(echo(body, entry, content_type, shared));
    }
    if behavior == Behavior::NeverRead {
        pending::<()>().await;
    }
    // If the client disconnects, the response goes nowhere.
    let body = read(body, entry.as_deref()).await.unwrap_or_default();
    let predict = |status| prediction(status, &head.method, head.uri.path(), &body, shared);
    Outcome::Response(match behavior {
        Behavior::Healthy | Behavior::Echo => predict(StatusCode::OK),
        Behavior::Status(status) => {
            predict(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Behavior::Delay(time) => {
            sleep(time).await;
            predict(StatusCode::OK)
        }
        Behavior::Reset => return Outcome::Reset,
        Behavior::Truncate => return Outcome::Truncated(truncated(shared)),
        Behavior::Hang | Behavior::NeverRead => pending().await,
        Behavior::Stream(_, n) if n > 0 && number.is_multiple_of(n) => {
            predict(StatusCode::SERVICE_UNAVAILABLE)
        }
        Behavior::Stream(time, _) => stream(time, shared),
        Behavior::GrpcStatus(code) => grpc(code, false, shared),
        Behavior::GrpcTrailersOnly(code) => grpc(code, true, shared),
        Behavior::ErrorEvery(n) if n > 0 && number.is_multiple_of(n) => {
            predict(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Behavior::ErrorEvery(_) => predict(StatusCode::OK),
        Behavior::StatusOfRequest => {
            let status = head.headers.get("x-stub-status").map(HeaderValue::as_bytes);
            predict(status.and_then(|s| StatusCode::from_bytes(s).ok()).unwrap_or_default())
        }
    })
}

async fn read(mut body: Incoming, entry: Option<&Entry>) -> Result<Vec<u8>, hyper::Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            whole.extend_from_slice(data);
            if let Some(entry) = entry {
                entry.body_chunk(data);
            }
        }
    }
    Ok(whole)
}
