//! The live page: every experiment and each one in full, as HTML that needs no script.
//!
//! | step | module |
//! |---|---|
//! | what is in a page, from the verdict and the live state | `view` |
//! | a page is made once for all of its readers, and kept until something changes | `board` |
//! | readers learn that their page changed, by server-sent events | `events` |
//! | the script, the styles and the icon | `asset` |
//!
//! A small script loads the page again when it changed and replaces what differs. Nothing is inline and nothing comes
//! from elsewhere, so the content security policy forbids both.

mod asset;
mod board;
mod events;
mod view;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::http::{App, Path, Problem};
pub(crate) use board::Board;
use board::{Page, Subject};

/// Where the address of this store goes in a page; a private character, which no text needs.
pub(super) const ORIGIN: char = '\u{e000}';
/// The same without its scheme.
pub(super) const HOST: char = '\u{e002}';
/// Where a command says the token, if this store has one.
pub(super) const TOKEN: char = '\u{e003}';
/// Where the version of a page goes.
pub(super) const VERSION: char = '\u{e001}';

/// What a browser may do with a page: load what this server has, and nothing else.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// The routes of the page.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/events", get(events::of_all))
        .route("/experiments/{name}", get(experiment))
        .route("/experiments/{name}/events", get(events::of_one))
        .route("/assets/{name}", get(asset::file))
        .method_not_allowed_fallback(async || Problem::method())
        .layer(axum::middleware::from_fn(secured))
        .with_state(app)
}

/// Whether a path is one of the page, so that a browser may ask its user for the token.
pub(crate) fn is_page(path: &str) -> bool {
    matches!(path, "/" | "/events")
        || path.starts_with("/experiments/")
        || path.starts_with("/assets/")
}

async fn secured(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    response
}

async fn index(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let page = app.board.page(&app.store, &Subject::All).await?;
    Ok(answer(&app, &page, &headers, &uri))
}

async fn experiment(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let catalog = app.store.catalog();
    if catalog.get(&name).is_none() {
        let known = catalog.names().collect::<Vec<_>>();
        let html = view::unknown(&name, &known).replace(VERSION, "none");
        return Ok((StatusCode::NOT_FOUND, [HTML], html).into_response());
    }
    let page = app.board.page(&app.store, &Subject::One(name)).await?;
    Ok(answer(&app, &page, &headers, &uri))
}

const HTML: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));

/// The page, or that the client has it.
fn answer(app: &App, page: &Page, headers: &HeaderMap, uri: &Uri) -> Response {
    let tag = format!("\"{}\"", page.id);
    if is_known(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let host = host(app, headers, uri);
    let scheme = if app.access.tls.is_some() { "https" } else { "http" };
    let token = match app.access.token_sha256 {
        Some(_) => " -H 'authorization: Bearer TOKEN'",
        None => "",
    };
    let html = page.html.replace(ORIGIN, &format!("{scheme}://{host}")).replace(HOST, &host);
    let html = html.replace(TOKEN, token);
    (page.status, [HTML], [(header::ETAG, tag)], html).into_response()
}

/// Whether the client has this version already.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known
        .is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
}

/// The address by which the client reaches this store, for commands to copy.
fn host(app: &App, headers: &HeaderMap, uri: &Uri) -> String {
    let header = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|host| host.as_str()).or(header);
    // Only what a host may have, so that it can stand in HTML and in a shell.
    let is_plain =
        |host: &&str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    let host = host.filter(is_plain).map(str::to_owned);
    host.unwrap_or_else(|| app.board.address().to_string())
}
