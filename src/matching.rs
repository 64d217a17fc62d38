//! Whether a request takes part in an experiment.

use crate::request::Request;

/// The conditions; each that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Any of these; empty is any host.
    pub hosts: Vec<Host>,
    /// The path without its query.
    pub path: Option<Text>,
    /// Any of these; empty is any method.
    pub methods: Vec<String>,
    /// All of these.
    pub headers: Vec<Header>,
}

/// A host name, lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// This one.
    Exact(String),
    /// Any below this one; it begins with a dot.
    Below(String),
}

/// A comparison of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// The whole value.
    Exact(String),
    /// The beginning of it.
    Prefix(String),
}

/// A condition on a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name, lower case.
    pub name: String,
    /// What must hold.
    pub rule: HeaderRule,
}

/// What must hold for a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRule {
    /// Its first value compares.
    Value(Text),
    /// It is there (`true`) or not (`false`).
    Present(bool),
}

/// The first condition that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'a> {
    /// No host of the list.
    Host,
    /// Another path.
    Path,
    /// No method of the list.
    Method,
    /// This header.
    Header(&'a str),
}

impl Match {
    /// Compares a request; `None` when every condition holds.
    pub fn mismatch(&self, request: &impl Request) -> Option<Mismatch<'_>> {
        if let Some(rule) = &self.path
            && !request.path().is_some_and(|path| rule.matches(path))
        {
            return Some(Mismatch::Path);
        }
        if !self.hosts.is_empty()
            && !request.host().is_some_and(|host| self.hosts.iter().any(|rule| rule.matches(host)))
        {
            return Some(Mismatch::Host);
        }
        self.mismatch_elsewhere(request)
    }

    /// The same for a request whose host and path are known to match.
    pub(crate) fn mismatch_elsewhere(&self, request: &impl Request) -> Option<Mismatch<'_>> {
        if !self.methods.is_empty()
            && !request
                .first(":method")
                .is_some_and(|method| self.methods.iter().any(|rule| rule.as_bytes() == method))
        {
            return Some(Mismatch::Method);
        }
        self.headers
            .iter()
            .find(|header| !header.matches(request))
            .map(|header| Mismatch::Header(&header.name))
    }
}

impl Host {
    fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => name.as_bytes().eq_ignore_ascii_case(host),
            Self::Below(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .filter(|&label| label > 0)
                .and_then(|label| host.get(label..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
        }
    }
}

impl Text {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
        }
    }
}

impl Header {
    fn matches(&self, request: &impl Request) -> bool {
        let first = request.first(&self.name);
        match &self.rule {
            HeaderRule::Value(text) => first.is_some_and(|value| text.matches(value)),
            HeaderRule::Present(present) => first.is_some() == *present,
        }
    }
}
