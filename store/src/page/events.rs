//! That a page changed, as server-sent events. The id of an event is the version of the page, so a reader who comes back
//! gets an event if and only if the page changed meanwhile.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::board::Subject;
use crate::http::{App, Path, Problem, Query};

/// A sign of life, so that proxies keep the connection and readers notice its end.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// When a reader tries again.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
pub(super) struct Seen {
    /// The version of the page that the reader has.
    seen: Option<String>,
}

pub(super) async fn of_all(
    State(app): State<App>,
    Query(seen): Query<Seen>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    stream(&app, &Subject::All, seen, &headers).await
}

pub(super) async fn of_one(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(seen): Query<Seen>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if app.store.catalog().get(&name).is_none() {
        return Err(Problem::not_found("unknown experiment"));
    }
    stream(&app, &Subject::One(name), seen, &headers).await
}

/// A reader.
struct Reader {
    is_new: bool,
    seen: String,
    now: watch::Receiver<String>,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The next event; `None` when the server stops.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if std::mem::take(&mut self.is_new) {
            return Some((Ok(Event::default().retry(RETRY).comment("")), self));
        }
        let id = {
            let seen = &self.seen;
            let now = tokio::select! {
                _ = self.stop.wait_for(|stops| *stops) => return None,
                now = self.now.wait_for(|id| id != seen) => now.ok()?,
            };
            now.clone()
        };
        self.seen.clone_from(&id);
        Some((Ok(Event::default().event("change").id(&id).data(&id)), self))
    }
}

async fn stream(
    app: &App,
    subject: &Subject,
    Seen { seen }: Seen,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let place = Arc::clone(&app.board.streams).try_acquire_owned().map_err(|_| {
        let problem = "too many readers wait for events; the page can be reloaded";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, problem).retry_after(15)
    })?;
    let now = app.board.slot(subject).id.subscribe();
    // So that there is a version to compare with.
    app.board.page(&app.store, subject).await?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let seen = last.or(seen).unwrap_or_else(|| now.borrow().clone());
    let stop = app.board.stopping();
    let reader = Reader { is_new: true, seen, now, stop, _place: place };
    let events = Sse::new(stream::unfold(reader, Reader::next));
    let mut response = events.keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // A proxy must not collect events until they fill a buffer.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response.headers_mut().insert(unbuffered.0, unbuffered.1);
    Ok(response)
}
