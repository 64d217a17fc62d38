//! Requests and responses as plain data.

use std::time::Duration;

use bytes::Bytes;

/// A request. Cloning it does not copy the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// For example `GET`.
    pub method: String,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Names and values in order. A value may contain any bytes that HTTP allows, including 0x80 and above.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body. A non-empty body sets `content-length`.
    pub body: Bytes,
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: method.into(), path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A GET.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// A POST of this body, without a content type.
    #[must_use]
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new("POST", path) }
    }

    /// The same request with one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }
}

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values as received.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// The trailers, which carry gRPC's status.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// From the call to the end of the response, including a new connection's handshake.
    pub elapsed: Duration,
}

impl Answer {
    /// The first value of a header, given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.header_values(name).next()
    }

    /// The first value of a header as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<String> {
        self.header(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// All values of a header, in order, for example of `set-cookie`.
    pub fn header_values<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        values(&self.headers, name)
    }

    /// The first value of a trailer, given in lower case.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&[u8]> {
        values(&self.trailers, name).next()
    }

    /// The body as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// The values of one name, in order.
pub(crate) fn values<'h>(
    headers: &'h [(String, Vec<u8>)],
    name: &str,
) -> impl Iterator<Item = &'h [u8]> {
    headers
        .iter()
        .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_slice())
}

/// A header map as plain data.
pub(crate) fn plain(headers: &hyper::HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}
