//! `POST /v1/logs`: exposures as OTLP over HTTP, in protobuf or JSON.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use prost::Message as _;

use super::App;
use super::body::{self, media_type};
use super::problem::Problem;
use crate::otlp::{self, weight, wire};
use crate::store::Taken;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

pub(super) async fn take(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let kind = media_type(&headers);
    if kind != PROTOBUF && kind != JSON {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("content-type is {kind:?}, but must be {PROTOBUF} or {JSON}"),
        ));
    }
    let mut content = body::read(&app, &headers, body).await?;
    let records = if kind == JSON {
        // An array would be taken for the fields in their order.
        if content.bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::bad_request("not OTLP in JSON: expected an object"));
        }
        let bad = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            Problem::bad_request(format!("not OTLP in JSON, at line {line}, column {column}"))
        };
        content.weigh(weight::of_json(&content.bytes).map_err(bad)?)?;
        let request = serde_json::from_slice(&content.bytes).map_err(bad)?;
        otlp::records(&request, &app.store.catalog())
    } else {
        let bad = |_: wire::Malformed| Problem::bad_request("not OTLP in protobuf");
        content.weigh(wire::weight(&content.bytes).map_err(bad)?)?;
        wire::records(&content.bytes, &app.store.catalog()).map_err(bad)?
    };
    app.take_rate(records.len())?;
    let answer = answer(app.store.take(records).await?);
    Ok(if kind == JSON {
        // What is not there is left out, as other receivers do.
        let text =
            answer.partial_success.as_ref().and_then(|_| serde_json::to_string(&answer).ok());
        let text = text.unwrap_or_else(|| "{}".to_owned());
        ([(header::CONTENT_TYPE, JSON)], text).into_response()
    } else {
        ([(header::CONTENT_TYPE, PROTOBUF)], answer.encode_to_vec()).into_response()
    })
}

/// What a sender of OTLP gets: nothing if all is stored, else how many records were rejected, which it must not send again.
pub(super) fn answer(taken: Taken) -> ExportLogsServiceResponse {
    let partial = (taken.rejected > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: i64::try_from(taken.rejected).unwrap_or(i64::MAX),
        error_message: taken.example.unwrap_or_default(),
    });
    ExportLogsServiceResponse { partial_success: partial }
}
