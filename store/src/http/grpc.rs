//! `opentelemetry.proto.collector.logs.v1.LogsService/Export`: exposures as OTLP over gRPC.
//!
//! OTLP says by the status which requests a sender sends again. What can never succeed, such as a message that is too large,
//! must have another one, or the sender's queue stops at it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::App;
use super::body::{self, Refusal};
use super::problem::{LATER, SOON};
use crate::error::Error;
use crate::otlp::wire;

/// The path of the call.
pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// The bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: &str = "grpc-accept-encoding";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Takes a call within the limits of all bodies. The message is read where it is: the server of tonic would make thousands
/// of texts of it.
pub(super) async fn export(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    match call(&app, &headers, body).await {
        Ok(message) => answer(&message),
        Err(status) => status.into_http(),
    }
}

async fn call(app: &App, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Status> {
    let most = app.access.max_body;
    let read = body::collect(app, headers, body, most.saturating_add(PREFIX)).await;
    let mut content = read.map_err(|refusal| match refusal {
        Refusal::TooLarge(_) => refused(Refusal::TooLarge(most)),
        refusal => refused(refusal),
    })?;
    let is_compressed = is_compressed(headers, &content.bytes)?;
    content.bytes.drain(..PREFIX);
    if is_compressed {
        content.inflate(most).map_err(refused)?;
    }
    let bad = |_: wire::Malformed| Status::invalid_argument("not OTLP in protobuf");
    content.weigh(wire::weight(&content.bytes).map_err(bad)?).map_err(refused)?;
    let App { store, rate, .. } = app;
    let records = wire::records(&content.bytes, &store.catalog()).map_err(bad)?;
    rate.take(records.len()).map_err(|seconds| {
        later(Code::ResourceExhausted, "more records per second than --max-rate allows", seconds)
    })?;
    // The room of the body is kept until the answer.
    let taken = store.take(records).await.map_err(|error| status(&error))?;
    Ok(super::logs::answer(taken).encode_to_vec())
}

/// Checks that a body is one message and nothing else. What is wrong with it is for good, so that it is not sent again.
fn is_compressed(headers: &HeaderMap, body: &[u8]) -> Result<bool, Status> {
    let Some(([compressed @ (0 | 1), length @ ..], message)) = body.split_first_chunk::<PREFIX>()
    else {
        return Err(Status::invalid_argument("the body is not one message"));
    };
    if usize::try_from(u32::from_be_bytes(*length)) != Ok(message.len()) {
        return Err(Status::invalid_argument("the body is not one message"));
    }
    match (headers.get(ENCODING).map(HeaderValue::as_bytes), *compressed) {
        (None | Some(b"identity" | b"gzip"), 0) => Ok(false),
        (Some(b"gzip"), 1) => Ok(true),
        (None | Some(b"identity"), _) => {
            Err(Status::invalid_argument("the message is compressed, but names no encoding"))
        }
        (Some(_), _) => {
            let mut status = Status::unimplemented("grpc-encoding must be identity or gzip");
            let accepted = tonic::metadata::MetadataValue::from_static("identity,gzip");
            status.metadata_mut().insert(ACCEPTED, accepted);
            Err(status)
        }
    }
}

/// The answer to a call that succeeded.
fn answer(message: &[u8]) -> Response {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let framed: Vec<u8> = [0].iter().chain(&length.to_be_bytes()).chain(message).copied().collect();
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::from(framed).with_trailers(std::future::ready(Some(Ok(trailers))));
    ([(CONTENT_TYPE, "application/grpc")], Body::new(body)).into_response()
}

/// The answer to a call whose body is refused.
fn refused(refusal: Refusal) -> Status {
    let text = refusal.text();
    match refusal {
        Refusal::NoRoom => later(Code::ResourceExhausted, &text, SOON),
        // Without a time to try again, this is for good.
        Refusal::TooLarge(_) | Refusal::TooMany => Status::resource_exhausted(text),
        Refusal::TooSlow => Status::deadline_exceeded(text),
        Refusal::BreaksOff => Status::cancelled(text),
        Refusal::NotGzip => Status::invalid_argument(text),
    }
}

fn status(error: &Error) -> Status {
    let text = error.to_string();
    match error {
        Error::Busy => later(Code::ResourceExhausted, &text, SOON),
        Error::Input(_) | Error::Usage(_) => Status::invalid_argument(text),
        error if error.is_temporary() => later(Code::Unavailable, &text, LATER),
        _ => Status::internal(text),
    }
}

/// Senders try again only if they are told when.
fn later(code: Code, text: &str, seconds: u32) -> Status {
    let delay = Duration::from_secs(seconds.into());
    Status::with_error_details(code, text, ErrorDetails::with_retry_info(Some(delay)))
}
