//! What the host knows about one stream, and which of it a filter may see in which phase.

use std::collections::BTreeMap;

use super::abi::Status;
use super::headers::HeaderMap;

/// Where in its life a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    #[default]
    Request,
    Response,
    Log,
    Done,
}

/// A header map of the stream. `open` while the callback it belongs to runs, or paused the stream.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) headers: Option<HeaderMap>,
    pub(super) open: bool,
}

/// A body: the bytes the filter sees now, and those that went past it.
#[derive(Default)]
pub(super) struct Body {
    pub(super) buffer: Vec<u8>,
    pub(super) open: bool,
    pub(super) passed: Vec<u8>,
}

/// An answer that the filter gave itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u32,
    /// Response code details, for logs.
    pub details: String,
    /// The body.
    pub body: Vec<u8>,
    /// Additional headers.
    pub headers: HeaderMap,
    /// gRPC status; -1 is none.
    pub grpc_status: i32,
}

#[derive(Default)]
pub(super) struct StreamState {
    pub(super) phase: Phase,
    pub(super) started_ns: u64,
    pub(super) request: Lines,
    pub(super) request_trailers: Lines,
    pub(super) response: Lines,
    pub(super) response_trailers: Lines,
    pub(super) request_body: Body,
    pub(super) response_body: Body,
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) foreign_calls: Vec<(String, Vec<u8>)>,
    pub(super) cleared_route: usize,
    pub(super) local_response: Option<LocalResponse>,
    pub(super) continued: Vec<u32>,
    pub(super) closed: Vec<u32>,
}

impl StreamState {
    pub(super) fn lines_mut(&mut self, map: u32) -> Option<&mut Lines> {
        match map {
            0 => Some(&mut self.request),
            1 => Some(&mut self.request_trailers),
            2 => Some(&mut self.response),
            3 => Some(&mut self.response_trailers),
            _ => None,
        }
    }

    /// A map for reading. In the log phase all but the request trailers are there again, and a missing one is
    /// only "not found"; in every other phase it is an error to ask.
    pub(super) fn readable(&mut self, map: u32) -> Result<&HeaderMap, Status> {
        let log = self.phase == Phase::Log;
        let missing = if log { Status::NotFound } else { Status::BadArgument };
        let lines = self.lines_mut(map).ok_or(missing)?;
        let seen = if log { map != 1 } else { lines.open };
        lines.headers.as_ref().filter(|_| seen).ok_or(missing)
    }

    /// A map for changing: only while it is on its way through the filter.
    pub(super) fn writable(&mut self, map: u32) -> Result<&mut HeaderMap, Status> {
        let lines = self.lines_mut(map).ok_or(Status::BadArgument)?;
        lines.headers.as_mut().filter(|_| lines.open).ok_or(Status::BadArgument)
    }

    /// A status of 400 or more, or any response flag.
    pub(super) fn has_failed(&mut self) -> bool {
        let mut number = |path: &[u8]| {
            self.property(path, 0)
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(0, i64::from_le_bytes)
        };
        number(b"response\0code") >= 400 || number(b"response\0flags") != 0
    }

    /// Property `path` (parts joined by zero bytes) as the phase shows it.
    pub(super) fn property(&mut self, path: &[u8], now_ns: u64) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(path).into_owned();
        let parts: Vec<&str> = text.split('\0').collect();
        if self.phase < first_phase(&parts) {
            return None;
        }
        if let Some(value) = self.properties.get(path) {
            return Some(value.clone());
        }
        match parts.as_slice() {
            ["request", "headers", name] => self.joined(0, name),
            ["request", field] if request_header(field).is_some() => {
                self.joined(0, request_header(field)?)
            }
            ["request", "time"] => Some(self.started_ns.to_le_bytes().to_vec()),
            ["request", "duration"] => {
                Some(now_ns.saturating_sub(self.started_ns).to_le_bytes().to_vec())
            }
            ["response", "headers", name] => self.joined(2, name),
            ["response", "code"] => Some(self.status()?.to_le_bytes().to_vec()),
            ["response", "code_details"] => self.status().map(|_| b"via_upstream".to_vec()),
            ["response", "flags"] => Some(0_u64.to_le_bytes().to_vec()),
            ["response", "grpc_status"] => Some(self.grpc_status()?.to_le_bytes().to_vec()),
            ["upstream", "request_attempt_count"] => Some(
                u64::from(self.phase > Phase::Request && self.status().is_some())
                    .to_le_bytes()
                    .to_vec(),
            ),
            _ => None,
        }
    }

    /// What the filter itself has set; only paths of one part can be read back, as in Envoy.
    pub(super) fn own_property(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.filter_state.get(path).filter(|_| !path.contains(&0)).cloned()
    }

    fn joined(&mut self, map: u32, name: &str) -> Option<Vec<u8>> {
        let values = self.readable(map).ok()?.all(name);
        (!values.is_empty()).then(|| values.join(&b','))
    }

    fn status(&self) -> Option<i64> {
        self.response.headers.as_ref()?.text(":status")?.parse().ok()
    }

    /// From the trailers or headers; without either, Envoy derives it from the HTTP status.
    fn grpc_status(&self) -> Option<i64> {
        let written = [&self.response_trailers, &self.response]
            .into_iter()
            .find_map(|lines| lines.headers.as_ref()?.text("grpc-status")?.parse().ok());
        written.or_else(|| {
            Some(match self.status()? {
                400 => 13,
                401 => 16,
                403 => 7,
                404 => 12,
                429 | 502 | 503 | 504 => 14,
                _ => 2,
            })
        })
    }
}

/// The first phase in which a property can be seen.
fn first_phase(parts: &[&str]) -> Phase {
    match parts {
        ["response", "code" | "code_details" | "grpc_status" | "headers", ..]
        | ["upstream", "address"]
        | ["xds", "cluster_name"] => Phase::Response,
        ["request", "duration"] | ["response", "backend_latency"] => Phase::Log,
        _ => Phase::Request,
    }
}

fn request_header(field: &str) -> Option<&'static str> {
    Some(match field {
        "path" => ":path",
        "host" => ":authority",
        "method" => ":method",
        "scheme" => ":scheme",
        "id" => "x-request-id",
        "useragent" => "user-agent",
        _ => return None,
    })
}
