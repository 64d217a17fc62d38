//! Raw bytes over TCP, for requests that an HTTP client cannot send.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// The idle time after which the response counts as complete.
const SILENCE: Duration = Duration::from_secs(2);
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Writes the bytes unchanged to a new connection and returns everything that the server sends until it closes or
/// resets the connection, or is idle for 2 seconds. `connection: close` avoids that wait.
///
/// # Errors
/// If the connection fails. A server that closes the connection during the write is not an error.
pub async fn send_raw(addr: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = timeout(CONNECT_DEADLINE, TcpStream::connect(addr))
        .await
        .context("connecting took too long")?
        .with_context(|| format!("connecting to {addr}"))?;
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.split();
    // Concurrently: a server that responds before it has read everything must not block the write.
    let write = async {
        let _ = timeout(Duration::from_secs(10), to.write_all(bytes)).await;
    };
    let read = async {
        let mut answer = Vec::new();
        let mut chunk = vec![0; 16 * 1024];
        while answer.len() < MAX_ANSWER {
            match timeout(SILENCE, from.read(&mut chunk)).await {
                Ok(Ok(length)) if length > 0 => {
                    answer.extend_from_slice(chunk.get(..length).unwrap_or_default())
                }
                _ => break,
            }
        }
        answer
    };
    let ((), answer) = tokio::join!(write, read);
    Ok(answer)
}
