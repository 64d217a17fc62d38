//! What the store says about its experiments.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::problem::Problem;
use crate::live::Every;
use crate::store::Store;
use crate::verdict::NoVerdict;

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
