//! A request with its response, as the client and the model see them.

use sidetrack_lab::Request;

use super::Lines;

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// As the client sent it.
    pub sent: Request,
    /// What came back.
    pub response: Response,
    /// What a model received; none if the proxy answered itself.
    pub model: Option<Received>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: Lines,
}

/// A request as a model received it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The cluster that the model is.
    pub cluster: String,
    /// The request's path with its query.
    pub path: String,
    /// The request's headers.
    pub headers: Lines,
}

impl Exchange {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// The cluster that received the request.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.model.as_ref().map(|model| model.cluster.as_str())
    }

    /// The first value of a header that the model received.
    #[must_use]
    pub fn up(&self, name: &str) -> Option<String> {
        first(&self.model.as_ref()?.headers, name)
    }

    /// The first value of a header that the caller got back.
    #[must_use]
    pub fn down(&self, name: &str) -> Option<String> {
        first(&self.response.headers, name)
    }

    /// All values of a header that the caller got back, those of one line apart.
    #[must_use]
    pub fn all_down(&self, name: &str) -> Vec<String> {
        let lines = self.response.headers.iter().filter(|(key, _)| key == name);
        let lines = lines.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        lines.flat_map(|line| line.split(", ").map(ToOwned::to_owned).collect::<Vec<_>>()).collect()
    }

    /// The names that begin so, of headers that model or caller received.
    #[must_use]
    pub fn trace_of(&self, prefix: &str) -> Vec<String> {
        let up = self.model.iter().flat_map(|model| &model.headers);
        let all = up.chain(&self.response.headers);
        all.filter(|(name, _)| name.starts_with(prefix)).map(|(name, _)| name.clone()).collect()
    }
}

/// The first value of a header.
pub(super) fn first(lines: &Lines, name: &str) -> Option<String> {
    let found = lines.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
}
