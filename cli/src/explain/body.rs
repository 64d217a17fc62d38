//! Why a request's body yields no unit, does not match, or cannot be edited.

use sidetrack::body::{NotJson, find};
use sidetrack::request::{Body, Request as _, Unread};

use super::question::Asked;
use crate::words::quoted;

/// The reason that this JSON Pointer yields no unit.
pub(super) fn no_unit(request: &Asked, limit: u64, pointer: &str) -> String {
    match value(request, limit, pointer) {
        Err(why) => why,
        Ok(None) => "the body has no such value".to_owned(),
        Ok(Some("\"\"")) => "the text is empty".to_owned(),
        Ok(Some(raw)) => format!("{}, not a string or number", kind(raw)),
    }
}

/// Why no value can be set at this JSON Pointer.
pub(super) fn no_place(request: &Asked, limit: u64, pointer: &str) -> String {
    let why = value(request, limit, pointer).err();
    why.unwrap_or_else(|| "the body has no object for it".to_owned())
}

/// What is at this JSON Pointer, instead of what a condition requires.
pub(super) fn found(request: &Asked, limit: u64, pointer: &str) -> String {
    match value(request, limit, pointer) {
        Err(why) => why,
        Ok(None) => format!("the body has no {pointer}"),
        Ok(Some(raw)) if raw.starts_with(['{', '[']) => {
            format!("{pointer} in the body is {}", kind(raw))
        }
        Ok(Some(raw)) => {
            format!("{pointer} in the body is {}", quoted(raw.trim_matches('"').as_bytes()))
        }
    }
}

/// The value at a JSON Pointer, or why the body has no values at all.
fn value<'a>(request: &'a Asked, limit: u64, pointer: &str) -> Result<Option<&'a str>, String> {
    let first = |name| request.first(name).map(quoted).unwrap_or_default();
    Err(match request.body() {
        Body::Absent | Body::Pending => "the request has no body".to_owned(),
        Body::Whole(body) => {
            return find(body, pointer).map_err(|NotJson| "the body is not JSON".to_owned());
        }
        Body::Unread(Unread::TooLarge) => format!(
            "the body has {} bytes, which is above settings.body_limit ({limit})",
            request.body.len()
        ),
        Body::Unread(Unread::Compressed) => {
            format!(
                "the body is not read, because its content-encoding is {}",
                first("content-encoding")
            )
        }
        Body::Unread(Unread::Grpc) => {
            format!("the body is not read, because its content-type is {}", first("content-type"))
        }
        Body::Unread(Unread::Endless | Unread::NotAwaited | Unread::TooManyHeld) => {
            "the body is not read, because its length is unknown and its content-type is not JSON"
                .to_owned()
        }
    })
}

/// The type of a JSON value, with its article.
fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(b'"') => "a string",
        _ => "a number",
    }
}
