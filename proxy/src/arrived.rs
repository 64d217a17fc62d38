//! A request as a decision reads it: its headers, and its body if it has been awaited.

use sidetrack::body::unreadable;
use sidetrack::request::{Body, Request, Unread};

use crate::held::Hold;
use crate::host::{Headers, Host};
use crate::runtime::Runtime;

/// A request's headers and the part of its body that has arrived.
pub(crate) struct Arrived<'a, H> {
    pub(crate) headers: &'a H,
    pub(crate) body: Body<'a>,
}

impl<H: Request> Request for Arrived<'_, H> {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.values(name)
    }

    fn path(&self) -> Option<&[u8]> {
        self.headers.path()
    }

    fn body(&self) -> Body<'_> {
        self.body
    }
}

impl<H: Host> Runtime<H> {
    /// What is known of a body that has not arrived: it is read later, or not at all.
    pub(crate) fn expect_body(&self, headers: &impl Request) -> Body<'static> {
        let length = announced_length(headers);
        // The proxy answers `Expect` and removes it, unless it is set up to leave that to the
        // model. Then the client sends no body until the model asks for it. Nor does what follows an
        // upgrade begin before the answer.
        let is_late = |name| headers.first(name).is_some();
        let is_tunnel = || headers.first(":method") == Some(b"CONNECT");
        if !self.waits_for_bodies || is_late("expect") || is_late("upgrade") || is_tunnel() {
            return Body::Unread(Unread::NotAwaited);
        }
        match unreadable(headers, length, self.plan.settings.body_limit) {
            _ if length == Some(0) => Body::Absent,
            None => Body::Pending,
            Some(reason) => Body::Unread(reason),
        }
    }

    /// The largest body that is read, in bytes.
    pub(crate) fn body_limit(&self) -> usize {
        usize::try_from(self.plan.settings.body_limit).unwrap_or(usize::MAX)
    }

    /// A place for a request that waits for its body; `None` if too many wait already. The proxy
    /// keeps the headers too, so their size counts.
    pub(crate) fn hold(&self, headers: &impl Headers) -> Option<Hold> {
        let body = announced_length(headers).unwrap_or(self.plan.settings.body_limit);
        let head = u64::try_from(headers.size()).unwrap_or(u64::MAX);
        Hold::take(&self.worker.held, body.saturating_add(head))
    }
}

fn announced_length(headers: &impl Request) -> Option<u64> {
    core::str::from_utf8(headers.first("content-length")?).ok()?.parse().ok()
}
