//! The users: who comes when, and how they identify themselves.
//!
//! All of it follows from the request's number, so that two demos see the same users.

use sidetrack_lab::Request;

/// How many users there are; when all have been here, only known ones come.
const USERS: u64 = 100_000;
/// The first user's number.
const FIRST: u64 = 1000;

/// What is asked of the model, in the Open Inference Protocol.
const BODY: &str = r#"{"inputs":[{"name":"month","datatype":"FP32","shape":[1],"data":[11]}]}"#;
/// Where it is asked.
pub(super) const PATH: &str = "/v2/models/forecast/infer";

/// One request of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// The user's number, which is the unit.
    pub(super) user: u64,
    /// What carries it.
    pub(super) source: Source,
}

/// Where a request carries the user's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Header,
    Cookie,
    Query,
}

impl Visit {
    /// Request number `n` of a crowd that grows: every other request is a new user's, the others are those of users
    /// who were here before. Eight of ten use the header; nobody sticks to one way.
    pub(super) fn of_growing_crowd(n: u64) -> Self {
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

    /// The request as the user's client sends it.
    pub(super) fn request(&self) -> Request {
        let Self { user, source } = self;
        let (path, name, value) = match source {
            Source::Header => (PATH.to_owned(), "x-user-id", user.to_string()),
            Source::Cookie => (PATH.to_owned(), "cookie", format!("theme=dark; session_id={user}")),
            Source::Query => (format!("{PATH}?user_id={user}"), "accept", "*/*".to_owned()),
        };
        Request::post(path, BODY).header("content-type", "application/json").header(name, value)
    }
}

/// A number that looks random (SplitMix64's finaliser).
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
    fn half_of_the_requests_are_of_new_users() {
        let visits: Vec<Visit> = (0..10_000).map(Visit::of_growing_crowd).collect();
        let users: HashSet<u64> = visits.iter().map(|visit| visit.user).collect();
        assert_eq!(users.len(), 5000);
        let by = |source| visits.iter().filter(|visit| visit.source == source).count();
        assert!(by(Source::Header).abs_diff(8000) < 200 && by(Source::Cookie).abs_diff(1000) < 150);
        assert_eq!(visits.last().copied(), Some(Visit::of_growing_crowd(9999)));
    }
}
