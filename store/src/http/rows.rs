//! `POST /v1/outcomes` and `POST /v1/predictions`, each also with the id of a request.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{MethodRouter, post};

use super::App;
use super::body::{self, media_type};
use super::extract::Path;
use super::problem::Problem;
use crate::outcome::Kind;
use crate::rows::{Format, Rows};
use crate::store::Accepted;

type Answer = Result<Json<Accepted>, Problem>;

/// Takes rows that name their requests or units.
pub(super) fn all(kind: Kind) -> MethodRouter<App> {
    post(move |State(app): State<App>, headers: HeaderMap, body: Body| {
        take(app, kind, headers, body)
    })
}

/// Takes the row of the request in the path.
pub(super) fn of_request(kind: Kind) -> MethodRouter<App> {
    post(move |State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, body: Body| {
        take_one(app, kind, id, headers, body)
    })
}

async fn take(app: App, kind: Kind, headers: HeaderMap, body: Body) -> Answer {
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
    let mut content = body::read(&app, &headers, body).await?;
    // Held until the rows are stored.
    content.weigh(app.store.weight(kind, format, &content.bytes))?;
    let rows = app.store.rows(kind, format, &content.bytes).map_err(Problem::bad_request)?;
    store(&app, kind, rows).await
}

async fn take_one(
    app: App,
    kind: Kind,
    request_id: String,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let given = media_type(&headers);
    if given != "application/json" {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("content-type is {given:?}, but must be application/json"),
        ));
    }
    let mut content = body::read(&app, &headers, body).await?;
    content.weigh(app.store.weight(kind, Format::Json, &content.bytes))?;
    let rows = app.store.row(kind, &request_id, &content.bytes).map_err(Problem::bad_request)?;
    store(&app, kind, rows).await
}

async fn store(app: &App, kind: Kind, rows: Rows) -> Answer {
    app.take_rate(rows.outcomes.len())?;
    Ok(Json(app.store.put(kind, rows).await?))
}
