//! Responses of a stub: Open Inference Protocol, gRPC status, echo. Each carries the stub's name in `x-model`.

use std::future::{Future as _, ready};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Sleep, sleep};

use super::Shared;
use super::record::Entry;

/// The body of a response.
pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// An empty gRPC message: not compressed, length 0.
const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// The response to an inference request; a 5xx status is recorded as a failure.
pub(super) fn prediction(
    status: StatusCode,
    method: &Method,
    path: &str,
    body: &[u8],
    shared: &Shared,
) -> Response<Body> {
    if status.is_server_error() {
        shared.record.failure();
    }
    let body = if status.is_success() {
        open_inference(method, path, body, &shared.name)
            .unwrap_or_else(|| json!({ "model": shared.name }))
    } else {
        json!({ "model": shared.name, "error": status.as_u16() })
    };
    json_response(status, &body, shared)
}

/// A response with one line of JSON.
pub(super) fn json_response(status: StatusCode, body: &Value, shared: &Shared) -> Response<Body> {
    let mut bytes = body.to_string().into_bytes();
    bytes.push(b'\n');
    let mut response =
        named(Full::from(bytes).map_err(|never| match never {}).boxed_unsync(), shared);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The response of the Open Inference Protocol for `infer` and readiness paths; `None` for others.
fn open_inference(method: &Method, path: &str, body: &[u8], name: &str) -> Option<Value> {
    if path == "/v2/health/ready" && *method == Method::GET {
        return Some(json!({ "ready": true }));
    }
    let (model, rest) = path.strip_prefix("/v2/models/")?.split_once('/')?;
    let verb = match rest.strip_prefix("versions/") {
        Some(version_and_verb) => version_and_verb.split_once('/')?.1,
        None => rest,
    };
    if verb == "ready" && *method == Method::GET {
        return Some(json!({ "name": model, "ready": true }));
    }
    if verb != "infer" || *method != Method::POST {
        return None;
    }
    let mut answer = json!({
        "model_name": model,
        "model_version": name,
        "outputs": [{ "name": "forecast", "datatype": "FP32", "shape": [1], "data": [forecast(name)] }],
    });
    let question: Value = serde_json::from_slice(body).unwrap_or_default();
    if let (Some(id), Some(answer)) = (question.get("id"), answer.as_object_mut()) {
        answer.insert("id".to_owned(), id.clone());
    }
    Some(answer)
}

/// A number that is constant for one stub and differs between stubs.
fn forecast(name: &str) -> f64 {
    f64::from(name.bytes().fold(7_u16, |sum, byte| (sum * 31 + u16::from(byte)) % 1000)) / 10.0
}

/// A gRPC response with this code, in the trailers or, with `trailers_only`, in the headers.
pub(super) fn grpc(code: u8, trailers_only: bool, shared: &Shared) -> Response<Body> {
    let mut status = HeaderMap::new();
    status.insert("grpc-status", HeaderValue::from(u16::from(code)));
    let no_error = |never: std::convert::Infallible| match never {};
    let mut response = if trailers_only {
        let mut response = named(Empty::new().map_err(no_error).boxed_unsync(), shared);
        response.headers_mut().extend(status);
        response
    } else {
        let message = if code == 0 { EMPTY_MESSAGE } else { &[] };
        let body = Full::new(Bytes::from_static(message)).with_trailers(ready(Some(Ok(status))));
        named(body.map_err(no_error).boxed_unsync(), shared)
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A response whose body streams for this time.
pub(super) fn stream(time: Duration, shared: &Shared) -> Response<Body> {
    named(Streaming::new(time).boxed_unsync(), shared)
}

/// The first half of a response.
pub(super) fn truncated(shared: &Shared) -> Response<Body> {
    let mut response = stream(Duration::from_secs(3600), shared);
    let twice = HeaderValue::from(2 * FIRST_PART.len());
    response.headers_mut().insert(CONTENT_LENGTH, twice);
    response
}

const FIRST_PART: &str = "data: token\n\n";

/// A body of one part that ends later.
struct Streaming {
    first: Option<Bytes>,
    end: Pin<Box<Sleep>>,
}

impl Streaming {
    fn new(time: Duration) -> Self {
        Self { first: Some(Bytes::from(FIRST_PART)), end: Box::pin(sleep(time)) }
    }
}

impl hyper::body::Body for Streaming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => self.end.as_mut().poll(context).map(|()| None),
        }
    }
}

/// The request's body, streamed back.
pub(super) fn echo(
    body: Incoming,
    entry: Option<Arc<Entry>>,
    content_type: Option<HeaderValue>,
    shared: &Shared,
) -> Response<Body> {
    let body = body.map_frame(move |frame| {
        if let (Some(entry), Some(data)) = (&entry, frame.data_ref()) {
            entry.body_chunk(data);
        }
        frame
    });
    let mut response = named(body.boxed_unsync(), shared);
    response.headers_mut().extend(content_type.map(|value| (CONTENT_TYPE, value)));
    response
}

/// A 200 with the stub's name in `x-model`.
fn named(body: Body, shared: &Shared) -> Response<Body> {
    let mut response = Response::new(body);
    if let Ok(name) = HeaderValue::from_str(&shared.name) {
        response.headers_mut().insert("x-model", name);
    }
    let more = shared.headers.read().unwrap_or_else(PoisonError::into_inner);
    for (name, value) in &*more {
        response.headers_mut().append(name, value.clone());
    }
    response
}
