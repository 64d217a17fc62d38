//! The unit: which bytes of a request identify the one who is drawn.

use core::fmt;
use std::borrow::Cow;

use crate::body::value;
use crate::request::{Body, Request};

/// A place where the unit may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitSource {
    /// The first value of this header, as received.
    Header(String),
    /// The value of the first cookie of this name.
    Cookie(String),
    /// The percent-decoded value of the first query parameter of this name.
    Query(String),
    /// The value at this JSON Pointer of the body.
    Body(String),
}

/// As the file writes it: `header x-user-id`.
impl fmt::Display for UnitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Header(name) => ("header", name),
            Self::Cookie(name) => ("cookie", name),
            Self::Query(name) => ("query", name),
            Self::Body(pointer) => ("body", pointer),
        };
        write!(f, "{kind} {name}")
    }
}

impl UnitSource {
    /// The unit that this source yields. An empty value is no value, and a body that has not arrived has none yet.
    #[inline]
    pub fn read<'a>(&self, request: &'a impl Request) -> Option<Cow<'a, [u8]>> {
        self.find(request).filter(|value| !value.is_empty())
    }

    /// The value of this source, even if it is empty.
    pub fn find<'a>(&self, request: &'a impl Request) -> Option<Cow<'a, [u8]>> {
        Some(match self {
            Self::Header(name) => Cow::Borrowed(request.first(name)?),
            Self::Cookie(name) => Cow::Borrowed(cookie(request, name.as_bytes())?),
            Self::Query(name) => parameter(request.query()?, name.as_bytes())?,
            Self::Body(pointer) => match request.body() {
                Body::Whole(body) => value(body, pointer)?,
                Body::Absent | Body::Pending | Body::Unread(_) => return None,
            },
        })
    }
}

/// A minted identity as the cookie carries it: 32 hexadecimal digits.
#[must_use]
pub fn minted_text(identity: u128) -> String {
    format!("{identity:032x}")
}

/// The first cookie of this name. HTTP/2 may spread cookies over several headers (RFC 9113, 8.2.3).
fn cookie<'a>(request: &'a impl Request, name: &[u8]) -> Option<&'a [u8]> {
    request.values("cookie").flat_map(|line| line.split(|&byte| byte == b';')).find_map(|pair| {
        let (key, value) = halves(pair, b'=')?;
        (key.trim_ascii() == name).then_some(value.trim_ascii())
    })
}

/// The first query parameter of this name. Name and value are percent-decoded; '+' stays as it is.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    query.split(|&byte| byte == b'&').find_map(|pair| {
        let (key, value) = halves(pair, b'=')?;
        (percent_decoded(key).as_ref() == name).then(|| percent_decoded(value))
    })
}

fn halves(pair: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let middle = pair.iter().position(|&byte| byte == at)?;
    Some((pair.get(..middle)?, pair.get(middle + 1..)?))
}

/// Percent-decoding after the URL Standard: what is no escape stays as it is.
fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, after @ ..])
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) =>
            {
                out.push(high << 4 | low);
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: UnitSource, headers: &[(&str, &str)]) -> Option<String> {
        source.read(&headers.to_vec()).map(|unit| String::from_utf8_lossy(&unit).into_owned())
    }

    #[test]
    fn a_header_counts_as_received_and_the_first_wins() {
        let header = || UnitSource::Header("x-user-id".to_owned());
        assert_eq!(
            read(header(), &[("x-user-id", "4711"), ("x-user-id", "1")]).as_deref(),
            Some("4711")
        );
        assert_eq!(read(header(), &[("X-User-Id", " a ")]).as_deref(), Some(" a "));
        assert_eq!(read(header(), &[("x-user-id", ""), ("x-user-id", "1")]), None);
        assert_eq!(read(header(), &[]), None);
    }

    #[test]
    fn cookies_may_be_broken() {
        let cookie = || UnitSource::Cookie("sid".to_owned());
        for (line, unit) in [
            ("sid=1", Some("1")),
            ("a=b; sid=1", Some("1")),
            ("a=b;sid=1;sid=2", Some("1")),
            ("; ;=;sid;sid=x=y", Some("x=y")),
            ("sid=\"q\"", Some("\"q\"")),
            ("xsid=1; sidx=2; SID=3", None),
            ("sid=", None),
            ("sid", None),
            ("", None),
        ] {
            assert_eq!(read(cookie(), &[("cookie", line)]).as_deref(), unit, "{line}");
        }
        assert_eq!(read(cookie(), &[("cookie", "a=1"), ("cookie", "sid=2")]).as_deref(), Some("2"));
    }

    #[test]
    fn escapes_may_be_broken() {
        let query = || UnitSource::Query("user id".to_owned());
        for (path, unit) in [
            ("/?user%20id=a%2Fb", Some("a/b")),
            ("/?x=1&user%20id=%C3%A9", Some("é")),
            ("/?user%20id=100%", Some("100%")),
            ("/?user%20id=%zz%4", Some("%zz%4")),
            ("/?user%20id=a+b", Some("a+b")),
            ("/?user%20id=1&user%20id=2", Some("1")),
            ("/?user%20id=", None),
            ("/?user%20id", None),
            ("/#?user%20id=1", None),
            ("/", None),
        ] {
            assert_eq!(read(query(), &[(":path", path)]).as_deref(), unit, "{path}");
        }
    }
}
