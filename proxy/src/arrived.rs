//! A request as a decision reads it: its headers, and its body if it has been awaited.

use sidetrack::body::body_is_readable;
use sidetrack::request::{Body, Request};

use crate::host::Host;
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

pub(crate) fn is_grpc(headers: &impl Request) -> bool {
    headers.first("content-type").is_some_and(|value| value.starts_with(b"application/grpc"))
}

impl<H: Host> Runtime<H> {
    /// Whether a request may be held back until its body has arrived: the length must be announced
    /// and within the limit.
    pub(crate) fn may_wait(&self, headers: &impl Request) -> bool {
        let length = || core::str::from_utf8(headers.first("content-length")?).ok()?.parse().ok();
        self.waits_for_bodies
            && length().is_some_and(|length| {
                body_is_readable(headers, length, self.plan.settings.body_limit)
            })
    }
}
