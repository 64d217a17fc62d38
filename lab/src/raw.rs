//! Requests that no HTTP client would send.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the server may be silent before we take what it said as all.
const SILENCE: Duration = Duration::from_secs(2);
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Writes the bytes as they are to a new connection and returns all that comes back until the server closes it,
/// resets it, or is silent for 2 seconds. Send `connection: close` to be spared those.
///
/// # Errors
/// If no connection can be made. That the server hangs up while we write is no error: it may do so.
pub async fn send_raw(addr: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = timeout(CONNECT_DEADLINE, TcpStream::connect(addr))
        .await
        .context("connecting took too long")?
        .with_context(|| format!("connecting to {addr}"))?;
    stream.set_nodelay(true)?;
    let (mut from, mut to) = stream.split();
    // Both at once: a server that answers before it has read everything must not block our writing.
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
