//! The body of a request, within limits of size, time and memory: of HTTP and of gRPC alike.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Problem, SOON};
use super::{App, BODIES};

/// How long a body may take.
const LONGEST: Duration = Duration::from_secs(30);

/// How much of a refused body is read, in bytes, and for how long.
const DISCARDED: usize = 16 << 20;
const DISCARDING: Duration = Duration::from_secs(5);

/// The steps in which a body takes room, in KiB.
const STEP: usize = 64;

/// A body, and the room that it takes.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    room: Room,
}

/// A part of the memory that all bodies share.
struct Room {
    all: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
    /// In KiB.
    size: usize,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is larger than this number of bytes.
    TooLarge(usize),
    /// It has so many parts that there is never room for it.
    TooMany,
    /// All bodies together take too much memory.
    NoRoom,
    TooSlow,
    BreaksOff,
    NotGzip,
}

impl Refusal {
    pub(super) fn text(self) -> String {
        match self {
            Self::TooLarge(most) => {
                format!("the body is larger than {most} bytes; send it in parts")
            }
            Self::TooMany => "the body has too many records; send it in parts".to_owned(),
            Self::NoRoom => "too many bodies are being read; try again".to_owned(),
            Self::TooSlow => format!("the body took longer than {} seconds", LONGEST.as_secs()),
            Self::BreaksOff => "the body breaks off".to_owned(),
            Self::NotGzip => "the body is not valid gzip".to_owned(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::TooLarge(_) | Refusal::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::BreaksOff | Refusal::NotGzip => StatusCode::BAD_REQUEST,
        };
        let problem = Self::new(status, refusal.text());
        if refusal == Refusal::NoRoom { problem.retry_after(SOON) } else { problem }
    }
}

impl Room {
    /// Takes as much as so many bytes need, with what it has.
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = (bytes / 1024 + 1).next_multiple_of(STEP);
        let more = u32::try_from(wanted.saturating_sub(self.size)).unwrap_or(u32::MAX);
        if more > 0 {
            let permit = Arc::clone(&self.all).try_acquire_many_owned(more);
            self.held.push(permit.map_err(|_| Refusal::NoRoom)?);
            self.size = wanted;
        }
        Ok(())
    }
}

/// The media type, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let given = given.unwrap_or_default().split(';').next().unwrap_or_default();
    given.trim().to_ascii_lowercase()
}

/// Reads the body of a request of HTTP.
pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Content, Problem> {
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
    let most = app.access.max_body;
    let mut content = collect(app, headers, body, most).await?;
    if gzip {
        content.inflate(most)?;
    }
    Ok(content)
}

/// Reads a body of at most so many bytes.
pub(super) async fn collect(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    most: usize,
) -> Result<Content, Refusal> {
    let room = Room { all: Arc::clone(&app.bodies), held: Vec::new(), size: 0 };
    let mut content = Content { bytes: Vec::new(), room };
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let read = async {
        let length = length.unwrap_or(0);
        if length > most {
            return Err(Refusal::TooLarge(most));
        }
        // A length is only announced: room is taken by what arrives.
        content.bytes.reserve_exact(length.min(STEP * 1024));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::BreaksOff)?;
            let Ok(data) = frame.into_data() else { continue };
            let length = content.bytes.len().saturating_add(data.len());
            if length > most {
                return Err(Refusal::TooLarge(most));
            }
            content.room.grow(length)?;
            content.bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    match tokio::time::timeout(LONGEST, read).await {
        Ok(Ok(())) => Ok(content),
        Ok(Err(refusal)) => {
            drop(content);
            if matches!(refusal, Refusal::TooLarge(_)) {
                discard(body).await;
            }
            Err(refusal)
        }
        Err(_) => Err(Refusal::TooSlow),
    }
}

impl Content {
    /// Takes room for what the body becomes in memory, in bytes.
    pub(super) fn weigh(&mut self, weight: usize) -> Result<(), Refusal> {
        let wanted = self.bytes.len().saturating_add(weight);
        if wanted / 1024 + STEP > BODIES {
            return Err(Refusal::TooMany);
        }
        self.room.grow(wanted)
    }

    /// Decompresses the body. It takes room as it grows, so a bomb ends at the limit.
    pub(super) fn inflate(&mut self, most: usize) -> Result<(), Refusal> {
        let packed = std::mem::take(&mut self.bytes);
        // A sender may join parts that it compressed one by one.
        let mut text = MultiGzDecoder::new(&*packed);
        loop {
            let length = self.bytes.len();
            self.room.grow(packed.len() + length + STEP * 1024)?;
            let part = (&mut text).take(STEP as u64 * 1024).read_to_end(&mut self.bytes);
            if part.map_err(|_| Refusal::NotGzip)? == 0 {
                return Ok(());
            }
            if self.bytes.len() > most {
                return Err(Refusal::TooLarge(most));
            }
        }
    }
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
