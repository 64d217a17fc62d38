//! Traffic: the user of each request, and the part of the request that carries the user ID.
//!
//! Both are functions of the request's number, so every run sends the same requests.

use sidetrack_lab::Request;

/// The number of users. Once all have sent a request, only known users return.
const USERS: u64 = 100_000;
/// The first user ID.
const FIRST: u64 = 1000;

/// The request body, in the Open Inference Protocol.
const BODY: &str = r#"{"inputs":[{"name":"month","datatype":"FP32","shape":[1],"data":[11]}]}"#;
/// The request path.
pub(crate) const PATH: &str = "/v2/models/forecast/infer";

/// One request of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    /// The user ID, which is the unit.
    pub(crate) user: u64,
    /// The part of the request that carries it.
    pub(crate) source: Source,
}

/// The part of a request that carries the user ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Header,
    Cookie,
    Query,
}

impl Visit {
    /// Request number `n`: every second request is from a new user, the others are from users who return. 80 % of the
    /// requests use the header; one user varies the source.
    pub(crate) fn number(n: u64) -> Self {
        let dice = scrambled(n);
        let newest = n / 2;
        let user = if n.is_multiple_of(2) { newest } else { dice % (newest + 1) };
        let source = match (dice >> 32) % 10 {
            0 => Source::Cookie,
            1 => Source::Query,
            _ => Source::Header,
        };
        Self { user: FIRST + user % USERS, source }
    }

    /// The request that the user's client sends.
    pub(crate) fn request(&self) -> Request {
        let Self { user, source } = self;
        let (path, name, value) = match source {
            Source::Header => (PATH.to_owned(), "x-user-id", user.to_string()),
            Source::Cookie => (PATH.to_owned(), "cookie", format!("theme=dark; session_id={user}")),
            Source::Query => (format!("{PATH}?user_id={user}"), "accept", "*/*".to_owned()),
        };
        Request::post(path, BODY).header("content-type", "application/json").header(name, value)
    }
}

/// A number that looks random (SplitMix64's finalizer).
const fn scrambled(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn half_of_the_requests_are_from_new_users() {
        let visits: Vec<Visit> = (0..10_000).map(Visit::number).collect();
        let users: HashSet<u64> = visits.iter().map(|visit| visit.user).collect();
        assert_eq!(users.len(), 5000);
        let by = |source| visits.iter().filter(|visit| visit.source == source).count();
        assert!(by(Source::Header).abs_diff(8000) < 200 && by(Source::Cookie).abs_diff(1000) < 150);
        assert_eq!(visits.last().copied(), Some(Visit::number(9999)));
    }
}
