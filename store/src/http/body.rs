//! The body of a request, within limits of size, time and memory.

use std::io::Read as _;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::problem::{Problem, SOON};

/// How long a body may take.
const LONGEST: Duration = Duration::from_secs(30);

/// How much of a refused body is read, in bytes, and for how long.
const DISCARDED: usize = 16 << 20;
const DISCARDING: Duration = Duration::from_secs(5);

/// A body, and the room that it takes.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// The media type, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let given = given.unwrap_or_default().split(';').next().unwrap_or_default();
    given.trim().to_ascii_lowercase()
}

/// Reads a refused body and drops it: a client that still sends when the connection closes does not see the answer.
async fn discard(mut body: Body) {
    let all = async {
        let mut left = DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len());
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    let _ended = tokio::time::timeout(DISCARDING, all).await;
}

pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Content, Problem> {
    let most = app.access.max_body;
    let too_large = || {
        let detail = format!("the body is larger than {most} bytes; send it in parts");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        discard(body).await;
        return Err(too_large());
    }
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes());
    let gzip = match encoding {
        None | Some(b"identity" | b"") => false,
        Some(b"gzip") => true,
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("content-encoding is {other:?}, but must be gzip or absent"),
            ));
        }
    };
    // A compressed body may become as large as the limit allows.
    let room = if gzip { most } else { length.unwrap_or(most) };
    let room = u32::try_from(room / 1024 + 1).unwrap_or(u32::MAX);
    let room = app.bodies.clone().try_acquire_many_owned(room).map_err(|_| {
        let detail = "too many bodies are being read; try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(SOON)
    })?;
    let bytes = tokio::time::timeout(LONGEST, to_bytes(body, most));
    let bytes = bytes.await.map_err(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 30 seconds")
    })?;
    let bytes = bytes.map_err(|error| {
        let is_length = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit"));
        if is_length { too_large() } else { Problem::bad_request("the body breaks off") }
    })?;
    let bytes = if gzip {
        let mut text = Vec::new();
        let read = GzDecoder::new(&*bytes).take(most as u64 + 1).read_to_end(&mut text);
        read.map_err(|_| Problem::bad_request("the body is not valid gzip"))?;
        if text.len() > most {
            return Err(too_large());
        }
        text
    } else {
        bytes.into()
    };
    Ok(Content { bytes, _room: room })
}
