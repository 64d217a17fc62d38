//! What the store says about its experiments.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use super::extract::{Path, Query};
use super::problem::{Problem, SOON};
use crate::error::Error;
use crate::live::Every;
use crate::shadow::Export;
use crate::store::Store;
use crate::verdict::NoVerdict;

/// How long the client of an export may take for a part.
const UNREAD: Duration = Duration::from_secs(30);

/// The description of the interface.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// Runs what reads much away from the threads that answer.
async fn apart<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> Result<T, Problem> {
    let store = Arc::clone(&app.store);
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    done.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request was interrupted"))
}

pub(super) async fn experiments(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let list = apart(&app, |store| {
        let names: Vec<String> = store.catalog().names().map(str::to_owned).collect();
        names
            .into_iter()
            .map(|name| store.live(&name).map(|live| json!({ "name": name, "live": live })))
            .collect::<Result<Vec<_>, _>>()
    });
    Ok(Json(json!({ "experiments": list.await?? })))
}

pub(super) async fn experiment(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let found = apart(&app, move |store| {
        store.verdict(&name).map_err(|error| match error {
            NoVerdict::Unknown => unknown(store, &name),
            // What is in force is known before there is anything to analyze.
            NoVerdict::NotYet(detail) => {
                let live = store.live(&name).ok().and_then(|live| serde_json::to_value(live).ok());
                Problem::new(StatusCode::CONFLICT, detail).with("live", live.unwrap_or_default())
            }
            NoVerdict::Failed(error) => error.into(),
        })
    });
    let verdict = found.await??;
    Ok(Json(&*verdict).into_response())
}

#[derive(Deserialize)]
pub(super) struct Bins {
    every: Option<String>,
}

pub(super) async fn series(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(Bins { every }): Query<Bins>,
) -> Result<Json<Value>, Problem> {
    let bins = match every.as_deref() {
        None | Some("hour") => Every::Hour,
        Some("day") => Every::Day,
        Some("minute") => Every::Minute,
        Some(other) => {
            let detail = format!("every is {other:?}, but must be minute, hour or day");
            return Err(Problem::bad_request(detail));
        }
    };
    let found = apart(&app, move |store| {
        known(store, &name)?;
        Ok::<_, Problem>(json!({ "experiment": name, "series": store.series(&name, bins)? }))
    });
    Ok(Json(found.await??))
}

pub(super) async fn log(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let found = apart(&app, move |store| {
        known(store, &name)?;
        Ok::<_, Problem>(json!({ "experiment": name, "log": store.transitions(&name)? }))
    });
    Ok(Json(found.await??))
}

#[derive(Deserialize)]
pub(super) struct Format {
    format: Option<String>,
}

/// How far the mirror agrees with the baseline, or the rows themselves.
pub(super) async fn predictions(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(Format { format }): Query<Format>,
) -> Result<Response, Problem> {
    let (export, kind) = match format.as_deref() {
        None | Some("json") => {
            let found = apart(&app, move |store| {
                known(store, &name)?;
                Ok::<_, Problem>((store.comparison(&name)?, name))
            });
            let (comparison, name) = found.await??;
            let mut answer = serde_json::to_value(&comparison).unwrap_or_default();
            if let Some(object) = answer.as_object_mut() {
                object.insert("experiment".to_owned(), name.into());
            }
            return Ok(Json(answer).into_response());
        }
        Some("ndjson") => (Export::Lines, "application/x-ndjson"),
        Some("csv") => (Export::Csv, "text/csv"),
        Some(other) => {
            let detail = format!("format is {other:?}, but must be json, ndjson or csv");
            return Err(Problem::bad_request(detail));
        }
    };
    known(&app.store, &name)?;
    let turn = Arc::clone(&app.exports).try_acquire_owned().map_err(|_| {
        let detail = "too many exports are running; try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(SOON)
    })?;
    // A few parts at a time: a client that reads slowly makes the store wait, but not for ever.
    let (parts, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, Error>>(2);
    let store = Arc::clone(&app.store);
    let runtime = tokio::runtime::Handle::current();
    let broken = Arc::new(AtomicBool::new(false));
    let ends_broken = Arc::clone(&broken);
    tokio::task::spawn_blocking(move || {
        let send = |part| runtime.block_on(parts.send_timeout(Ok(part), UNREAD)).is_ok();
        let mut is_read = true;
        let sent = store.export(&name, export, |part| {
            is_read = send(part);
            is_read
        });
        if sent.is_err() || !is_read {
            broken.store(true, Ordering::Release);
        }
        drop(turn);
    });
    // Breaks the response off, so that the client does not take it for the whole.
    let end = stream::once(async move { ends_broken.load(Ordering::Acquire) });
    let end = end.filter_map(|is_broken| ready(is_broken.then_some(Err(Error::Busy))));
    let body = Body::from_stream(ReceiverStream::new(body).chain(end));
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

fn known(store: &Store, name: &str) -> Result<(), Problem> {
    store.catalog().get(name).map(|_| ()).ok_or_else(|| unknown(store, name))
}

fn unknown(store: &Store, name: &str) -> Problem {
    let catalog = store.catalog();
    let names: Vec<&str> = catalog.names().collect();
    let name: String = name.chars().take(64).collect();
    Problem::not_found(format!(
        "unknown experiment {name:?}; expected one of: {}",
        names.join(", ")
    ))
}
