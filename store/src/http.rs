//! The interface: HTTP/1.1, HTTP/2 and gRPC on one port.
//!
//! A sender is answered when its records are durable. Bodies are limited in size, all bodies that are being read in their sum, and
//! records in their rate; a sender beyond a limit is told when to try again.

pub(crate) mod access;
mod body;
mod extract;
mod grpc;
mod logs;
pub(crate) mod ofrep;
mod problem;
mod rate;
mod read;
mod rows;
mod stats;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub use access::{Access, Tls};

use crate::error::Error;
use crate::outcome::Kind;
use crate::page::{self, Board};
use crate::store::Store;
pub(crate) use extract::{Path, Query};
pub(crate) use problem::Problem;
use rate::Rate;

/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// How long requests may take to end when the server stops.
const END: Duration = Duration::from_secs(5);
/// All bodies that are being read, with what they become in memory, in KiB.
const BODIES: usize = 256 << 10;
/// How many exports of rows run at once.
const EXPORTS: usize = 4;

/// What every request needs.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) store: Arc<Store>,
    pub(crate) access: Arc<Access>,
    pub(crate) board: Arc<Board>,
    bodies: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    rate: Arc<Rate>,
}

impl App {
    /// Counts so many records, or refuses them.
    fn take_rate(&self, records: usize) -> Result<(), Problem> {
        self.rate.take(records).map_err(|seconds| {
            let detail = "more records per second than --max-rate allows";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
        })
    }
}

/// A server that runs until it is stopped.
#[derive(Debug)]
pub struct Server {
    handle: Handle<std::net::SocketAddr>,
    board: Arc<Board>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Serves a store on this listener. Call it within a tokio runtime.
    ///
    /// # Errors
    /// Other machines reach the listener, and it has no token or no TLS; or the certificate cannot be read.
    pub fn start(store: Arc<Store>, listener: TcpListener, access: Access) -> Result<Self, Error> {
        let folder = store.path().to_owned();
        let fail = |error| Error::io(&folder)(error);
        let address = listener.local_addr().map_err(&fail)?;
        access.check(address)?;
        listener.set_nonblocking(true).map_err(&fail)?;
        let tls = access.tls.as_ref().map(Tls::configuration).transpose()?;
        let board = Arc::new(Board::new(address));
        tokio::spawn(Arc::clone(&board).watch(Arc::clone(&store)));
        let app = App {
            board: Arc::clone(&board),
            rate: Arc::new(Rate::new(access.max_rate)),
            store,
            access: Arc::new(access),
            bodies: Arc::new(Semaphore::new(BODIES)),
            exports: Arc::new(Semaphore::new(EXPORTS)),
        };
        let service = router(app).into_make_service();
        let handle = Handle::new();
        let task = if let Some(tls) = tls {
            let mut server = axum_server::from_tcp_rustls(listener, tls).map_err(&fail)?;
            limit(server.http_builder());
            tokio::spawn(server.handle(handle.clone()).serve(service))
        } else {
            let mut server = axum_server::from_tcp(listener).map_err(&fail)?;
            limit(server.http_builder());
            tokio::spawn(server.handle(handle.clone()).serve(service))
        };
        Ok(Self { handle, board, task })
    }

    /// Takes no more requests, and returns when those that run have ended, at the latest after a few seconds.
    pub async fn stop(self) {
        self.board.stop();
        self.handle.graceful_shutdown(Some(END));
        // A panic of a connection was reported where it happened.
        self.task.await.ok();
    }
}

fn limit(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .keep_alive_interval(Some(Duration::from_secs(30)));
}

fn router(app: App) -> Router {
    Router::new()
        .route(grpc::EXPORT, post(grpc::export))
        .route("/v1/logs", post(logs::take))
        .route("/v1/outcomes", rows::all(Kind::Outcomes))
        .route("/v1/outcomes/{request_id}", rows::of_request(Kind::Outcomes))
        .route("/v1/predictions", rows::all(Kind::Predictions))
        .route("/v1/predictions/{request_id}", rows::of_request(Kind::Predictions))
        .route("/v1/experiments", get(read::experiments))
        .route("/v1/experiments/{name}", get(read::experiment))
        .route("/v1/experiments/{name}/series", get(read::series))
        .route("/v1/experiments/{name}/log", get(read::log))
        .route("/v1/experiments/{name}/predictions", get(read::predictions))
        .route("/ofrep/v1/evaluate/flags", post(ofrep::all))
        .route("/ofrep/v1/evaluate/flags/{name}", post(ofrep::one))
        .route("/healthz", get(stats::healthy))
        .route("/readyz", get(stats::ready))
        .route("/metrics", get(stats::metrics))
        .route("/openapi.json", get(read::openapi))
        .method_not_allowed_fallback(async || Problem::method())
        .with_state(app.clone())
        .merge(page::router(app.clone()))
        .fallback(async |headers: HeaderMap| {
            if access::is_grpc(&headers) {
                return tonic::Status::unimplemented("unknown service").into_http();
            }
            let detail = "the path does not exist; GET /openapi.json lists all";
            Problem::not_found(detail).into_response()
        })
        .layer(axum::middleware::from_fn_with_state(app, access::guard))
}
