//! `POST /v1/outcomes` and `POST /v1/outcomes/{request_id}`.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::App;
use super::body::{self, media_type};
use super::problem::Problem;
use crate::outcome::{Format, Rows};
use crate::store::Accepted;

pub(super) async fn take(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Accepted>, Problem> {
    let format = match media_type(&headers).as_str() {
        "application/json" => Format::Json,
        "application/x-ndjson" | "application/jsonl" => Format::Lines,
        "text/csv" => Format::Csv,
        other => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "content-type is {other:?}, but must be application/json, application/x-ndjson or \
                     text/csv"
                ),
            ));
        }
    };
    let content = body::read(&app, &headers, body).await?;
    let rows = app.store.rows(format, &content.bytes).map_err(Problem::bad_request)?;
    store(&app, rows).await
}

pub(super) async fn take_one(
    State(app): State<App>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Accepted>, Problem> {
    let kind = media_type(&headers);
    if kind != "application/json" {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("content-type is {kind:?}, but must be application/json"),
        ));
    }
    let content = body::read(&app, &headers, body).await?;
    let rows = app.store.row(&request_id, &content.bytes).map_err(Problem::bad_request)?;
    store(&app, rows).await
}

async fn store(app: &App, rows: Rows) -> Result<Json<Accepted>, Problem> {
    app.rate.take(rows.outcomes.len()).map_err(|seconds| {
        let detail = "more records per second than --max-rate allows";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
    })?;
    Ok(Json(app.store.outcomes(rows).await?))
}
