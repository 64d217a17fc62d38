//! The stub's connections: accept, serve, reset.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Shared;
use super::answer::{self, Outcome};
use super::response::Body;

/// When a connection breaks within a response.
const BREAK_AFTER: Duration = Duration::from_millis(20);

/// Serves all connections. When this task ends, the port and the connections close.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    open.spawn(serve(stream, Arc::clone(&shared)));
                }
                // For example, no free file descriptor; one becomes free when a connection ends.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // An error ends the connection; the client sees only that.
    let _ = try_serve(stream, shared).await;
}

async fn try_serve(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A second handle to the socket: hyper owns the first, and the last one to close decides between FIN and RST.
    let stream = stream.into_std()?;
    let twin = stream.try_clone()?;
    let cut = Arc::new(Notify::new());
    let service = service_fn({
        let cut = Arc::clone(&cut);
        move |request| handle(request, Arc::clone(&shared), Arc::clone(&cut))
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let io = TokioIo::new(TcpStream::from_std(stream)?);
    tokio::select! {
        _ = server.serve_connection(io, service) => {}
        () = cut.notified() => reset(twin)?,
    }
    Ok(())
}

/// Closes the socket with a RST. hyper has dropped its handle by now, so this is the last one.
fn reset(twin: std::net::TcpStream) -> io::Result<()> {
    TcpStream::from_std(twin)?.set_zero_linger()
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn handle(request: Request<Incoming>, shared: Arc<Shared>, cut: Arc<Notify>) -> Answering {
    Box::pin(async move {
        match answer::answer(request, &shared).await {
            Outcome::Response(response) => Ok(response),
            Outcome::Truncated(response) => {
                tokio::spawn(async move {
                    tokio::time::sleep(BREAK_AFTER).await;
                    cut.notify_one();
                });
                Ok(response)
            }
            Outcome::Reset => {
                cut.notify_one();
                pending().await
            }
        }
    })
}
