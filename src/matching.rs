//! Whether a request takes part in an experiment.

use crate::body;
use crate::request::{Body, Request};

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
    /// All of these, in a JSON body.
    pub body: Vec<BodyValue>,
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
    pub rule: ValueRule,
}

/// A condition on a value in a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyValue {
    /// A JSON Pointer.
    pub pointer: String,
    /// What must hold.
    pub rule: ValueRule,
}

/// What must hold for a header or a value in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueRule {
    /// It compares. Of a repeated header the first value counts, of a repeated key the last.
    Value(Text),
    /// It exists (`true`) or not (`false`).
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
    /// The value at this JSON Pointer, or the body as a whole.
    Body(&'a str),
}

impl Match {
    /// Compares a request, except for its body; `None` when every condition holds.
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

    /// Compares a request's body; `None` when every condition on it holds. None holds for a body that is not read, or
    /// is not JSON.
    #[must_use]
    pub fn body_mismatch(&self, body: Body<'_>) -> Option<Mismatch<'_>> {
        let holds = |value: &&BodyValue| matches!(body, Body::Whole(body) if value.matches(body));
        self.body.iter().find(|value| !holds(value)).map(|value| Mismatch::Body(&value.pointer))
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
            ValueRule::Value(text) => first.is_some_and(|value| text.matches(value)),
            ValueRule::Present(present) => first.is_some() == *present,
        }
    }
}

impl BodyValue {
    fn matches(&self, body: &[u8]) -> bool {
        match &self.rule {
            ValueRule::Value(text) => {
                body::scalar(body, &self.pointer).is_some_and(|value| text.matches(&value))
            }
            ValueRule::Present(present) => {
                body::find(body, &self.pointer).is_ok_and(|found| found.is_some() == *present)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_on_a_body_holds_for_json_alone() {
        let exact = |text: &str| ValueRule::Value(Text::Exact(text.to_owned()));
        let prefix = |text: &str| ValueRule::Value(Text::Prefix(text.to_owned()));
        for (rule, body, holds) in [
            (exact("forecast"), r#"{"model": "forecast"}"#, true),
            (exact("forecast"), r#"{"model": "forecast-v2"}"#, false),
            (prefix("forecast"), r#"{"model": "forecast-v2"}"#, true),
            (exact("forecast"), r#"{"model": "other", "model": "forecast"}"#, true),
            (exact("forecast"), r#"{"model": "forecast", "model": "other"}"#, false),
            (exact("fore\"cast"), r#"{"model": "fore\"cast"}"#, true),
            (exact("7"), r#"{"model": 7}"#, true),
            (exact("7"), r#"{"model": 7.0}"#, false),
            (exact("true"), r#"{"model": true}"#, true),
            (exact("null"), r#"{"model": null}"#, false),
            (exact(""), r#"{"model": ""}"#, true),
            (exact(""), r#"{"model": []}"#, false),
            (exact("forecast"), r#"{"Model": "forecast"}"#, false),
            (exact("forecast"), r#"{"model": "forecast"} x"#, false),
            (exact("forecast"), r#"{"model": "forecast""#, false),
            (exact("forecast"), "", false),
            (ValueRule::Present(true), r#"{"model": null}"#, true),
            (ValueRule::Present(true), r#"{"modal": 1}"#, false),
            (ValueRule::Present(false), r#"{"modal": 1}"#, true),
            (ValueRule::Present(false), r#"{"model": null}"#, false),
            (ValueRule::Present(false), "model=x", false),
        ] {
            let condition = BodyValue { pointer: "/model".to_owned(), rule };
            assert_eq!(condition.matches(body.as_bytes()), holds, "{condition:?} {body}");
        }
    }
}
