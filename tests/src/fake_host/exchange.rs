//! A whole request in one call, for tests that do not care about single callbacks.

use super::abi::Action;
use super::headers::HeaderMap;
use super::state::LocalResponse;
use super::stream::Stream;
use super::vm::{Dead, Vm};

/// What the world behind the filter does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The upstream answers with these headers (`:status` among them).
    Headers(HeaderMap),
    /// The client goes away before any answer: no response callback runs.
    Abort,
}

impl Reply {
    /// An answer with that status and nothing else.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Headers([(":status", status.to_string())].into())
    }
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The filter's answer to the request's headers.
    pub action: Action,
    /// The request's headers as forwarded.
    pub request: HeaderMap,
    /// The response's headers as returned; none after an abort.
    pub response: Option<HeaderMap>,
    /// The answer the filter gave itself; then nothing was forwarded.
    pub local_response: Option<LocalResponse>,
    /// How often the filter cleared the route cache.
    pub route_cache_clears: usize,
}

impl Exchange {
    /// A forwarded request header as text.
    #[must_use]
    pub fn request_header(&self, name: &str) -> Option<String> {
        self.request.text(name)
    }

    /// A returned response header as text.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<String> {
        self.response.as_ref()?.text(name)
    }
}

impl Vm {
    /// `GET path` with these headers besides the usual pseudo-headers, answered with 200.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies.
    pub fn get(&self, path: &str, headers: impl Into<HeaderMap>) -> Result<Exchange, Dead> {
        self.get_replied(path, headers, Reply::status(200))
    }

    /// As [`Self::get`], with another end.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies.
    pub fn get_replied(
        &self,
        path: &str,
        headers: impl Into<HeaderMap>,
        reply: Reply,
    ) -> Result<Exchange, Dead> {
        let mut request: HeaderMap = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "models.test"),
            (":path", path),
        ]
        .into();
        for (name, value) in headers.into().pairs() {
            request.add(name, value);
        }
        self.exchange(request, reply)
    }

    /// A whole request with exactly these headers.
    ///
    /// # Errors
    ///
    /// If the VM is dead or dies.
    pub fn exchange(&self, request: impl Into<HeaderMap>, reply: Reply) -> Result<Exchange, Dead> {
        let stream = self.stream();
        let action = stream.request_headers(request, true)?;
        let reply = stream.local_response().map_or(reply, |local| Reply::from_filter(&local));
        if let Reply::Headers(headers) = reply {
            stream.response_headers(headers, true)?;
        }
        stream.finish()?;
        Ok(Exchange::of(&stream, action))
    }
}

impl Reply {
    fn from_filter(local: &LocalResponse) -> Self {
        let mut headers: HeaderMap = [(":status", local.status.to_string())].into();
        for (name, value) in local.headers.pairs() {
            headers.add(name, value);
        }
        Self::Headers(headers)
    }
}

impl Exchange {
    fn of(stream: &Stream, action: Action) -> Self {
        Self {
            action,
            request: stream.request(),
            response: stream.response(),
            local_response: stream.local_response(),
            route_cache_clears: stream.route_cache_clears(),
        }
    }
}
