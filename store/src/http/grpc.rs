//! `opentelemetry.proto.collector.logs.v1.LogsService/Export`: exposures as OTLP over gRPC.
//!
//! OTLP says by the status which requests a sender sends again. What can never succeed, such as a message that is too large,
//! must have another one, or the sender's queue stops at it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response as HttpResponse;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::LogsService;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::App;
use super::body::{self, Refusal};
use super::problem::{LATER, SOON};
use crate::error::Error;
use crate::otlp::{self, weight};

#[derive(Debug)]
pub(super) struct Receiver {
    app: App,
}

impl Receiver {
    pub(super) const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let App { store, rate, .. } = &self.app;
        let records = otlp::records(request.get_ref(), &store.catalog());
        rate.take(records.len()).map_err(|seconds| {
            later(
                Code::ResourceExhausted,
                "more records per second than --max-rate allows",
                seconds,
            )
        })?;
        let taken = store.take(records).await.map_err(|error| status(&error))?;
        Ok(Response::new(super::logs::answer(taken)))
    }
}

/// The bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const ENCODING: &str = "grpc-encoding";

/// Reads a call within the limits of all bodies, and passes it on as one plain message.
pub(super) async fn bound(
    State(app): State<App>,
    request: HttpRequest,
    next: Next,
) -> HttpResponse {
    let most = app.access.max_body;
    let (mut head, body) = request.into_parts();
    let read = body::collect(&app, &head.headers, body, most.saturating_add(PREFIX)).await;
    let mut content = match read {
        Ok(content) => content,
        Err(Refusal::TooLarge(_)) => return refused(Refusal::TooLarge(most)).into_http(),
        Err(refusal) => return refused(refusal).into_http(),
    };
    // One message and nothing else. What the server of gRPC says to a length that is wrong would be sent again.
    match content.bytes.split_first_chunk::<PREFIX>() {
        Some(([0 | 1, length @ ..], message))
            if usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len()) => {}
        _ => return Status::invalid_argument("the body is not one message").into_http(),
    }
    let is_gzip = head.headers.get(ENCODING).is_some_and(|encoding| encoding == "gzip");
    if is_gzip && content.bytes.first() == Some(&1) {
        content.bytes.drain(..PREFIX);
        if let Err(refusal) = content.inflate(most) {
            return refused(refusal).into_http();
        }
        let Ok(length) = u32::try_from(content.bytes.len()) else {
            return refused(Refusal::TooLarge(most)).into_http();
        };
        let [a, b, c, d] = length.to_be_bytes();
        content.bytes.splice(0..0, [0, a, b, c, d]);
        head.headers.insert(ENCODING, HeaderValue::from_static("identity"));
    }
    if head.uri.path() == EXPORT {
        let message = content.bytes.get(PREFIX..).unwrap_or_default();
        let Some(weight) = weight::of_protobuf(message) else {
            return Status::invalid_argument("not OTLP in protobuf").into_http();
        };
        if let Err(refusal) = content.weigh(weight) {
            return refused(refusal).into_http();
        }
    }
    let message = Body::from(std::mem::take(&mut content.bytes));
    // The room is kept until the answer.
    let answer = next.run(HttpRequest::from_parts(head, message)).await;
    drop(content);
    answer
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
