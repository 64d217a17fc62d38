//! From a request and a behaviour to an answer.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::record::Entry;
use super::{Behaviour, Shared, control};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// What becomes of a request.
pub(super) enum Outcome {
    Response(Response<Body>),
    /// The connection is to be cut.
    Reset,
}

/// An empty gRPC message: not compressed, length 0.
const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// Records the request, reads it, and does what the behaviour at its arrival says.
pub(super) async fn answer(request: Request<Incoming>, shared: &Shared) -> Outcome {
    if let Some(response) = control::obeyed(&request, shared) {
        return Outcome::Response(response);
    }
    let behaviour = shared.behaviour();
    let (number, entry) = shared.record.arrival(&request);
    let (head, body) = request.into_parts();
    if behaviour == Behaviour::Echo {
        let content_type = head.headers.get(CONTENT_TYPE).cloned();
        return Outcome::Response(echo(body, entry, content_type, shared));
    }
    // If the client breaks off, nobody waits for the answer.
    let body = read(body, entry.as_deref()).await.unwrap_or_default();
    let predict = |status| prediction(status, &head.method, head.uri.path(), &body, shared);
    Outcome::Response(match behaviour {
        Behaviour::Healthy | Behaviour::Echo => predict(StatusCode::OK),
        Behaviour::Status(status) => {
            predict(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Behaviour::Delay(time) => {
            sleep(time).await;
            predict(StatusCode::OK)
        }
        Behaviour::Reset => return Outcome::Reset,
        Behaviour::GrpcStatus(code) => grpc(code, false, shared),
        Behaviour::GrpcTrailersOnly(code) => grpc(code, true, shared),
        Behaviour::ErrorEvery(n) if n > 0 && number.is_multiple_of(n) => {
            predict(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Behaviour::ErrorEvery(_) => predict(StatusCode::OK),
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

fn prediction(
    status: StatusCode,
    method: &Method,
    path: &str,
    body: &[u8],
    shared: &Shared,
) -> Response<Body> {
    if status.is_server_error() {
        shared.record.failure();
    }
    let said = if status.is_success() {
        open_inference(method, path, body, &shared.name)
            .unwrap_or_else(|| json!({ "model": shared.name }))
    } else {
        json!({ "model": shared.name, "error": status.as_u16() })
    };
    json_answer(status, &said, shared)
}

/// JSON in a line of its own.
pub(super) fn json_answer(status: StatusCode, said: &Value, shared: &Shared) -> Response<Body> {
    let mut bytes = said.to_string().into_bytes();
    bytes.push(b'\n');
    let mut response =
        named(Full::from(bytes).map_err(|never| match never {}).boxed_unsync(), shared);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer of the Open Inference Protocol, for the paths that it has here: infer and readiness.
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

/// A number that is always the same for one stub and tells stubs apart.
fn forecast(name: &str) -> f64 {
    f64::from(name.bytes().fold(7_u16, |sum, byte| (sum * 31 + u16::from(byte)) % 1000)) / 10.0
}

fn grpc(code: u8, trailers_only: bool, shared: &Shared) -> Response<Body> {
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

fn echo(
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
    response
}
