//! What a decision may ask about a request. Values are bytes: a client chooses them.

/// What is known of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// There is none.
    Absent,
    /// It has not arrived yet, and will be read.
    Pending,
    /// The whole of it.
    Whole(&'a [u8]),
    /// There is one, and it is not read.
    Unread(Unread),
}

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than `settings.body_limit`.
    TooLarge,
    /// It has a `content-encoding`.
    Compressed,
    /// It consists of gRPC messages.
    Grpc,
    /// Its length is not announced, and its type is not JSON, so it may be a stream that waits for a response.
    Endless,
    /// The proxy does not let the filter wait for bodies, or the client waits to be asked for it.
    NotAwaited,
    /// Too many requests wait for their bodies already.
    TooManyHeld,
}

/// A request's headers, with `:method`, `:path` and `:authority` among them.
pub trait Request {
    /// The values of a header, first to last. The name is lower case.
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]>;

    /// The first value of a header.
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The body, for units and conditions in it.
    fn body(&self) -> Body<'_> {
        Body::Absent
    }

    /// The path without query and fragment.
    fn path(&self) -> Option<&[u8]> {
        self.first(":path").map(path_of)
    }

    /// The query without its question mark.
    fn query(&self) -> Option<&[u8]> {
        let target = self.first(":path")?.split(|&byte| byte == b'#').next()?;
        let mark = target.iter().position(|&byte| byte == b'?')?;
        target.get(mark + 1..)
    }

    /// Whether the caller's connection is encrypted, as far as the proxy reports it.
    fn is_https(&self) -> bool {
        self.first("x-forwarded-proto").or_else(|| self.first(":scheme")) == Some(b"https")
    }

    /// The host without its port and without the dot that ends a fully qualified name.
    fn host(&self) -> Option<&[u8]> {
        let authority = self.first(":authority")?;
        let bracket = authority.iter().rposition(|&byte| byte == b']').unwrap_or(0);
        let host = match authority.iter().rposition(|&byte| byte == b':') {
            Some(colon) if colon > bracket || bracket == 0 => authority.get(..colon)?,
            _ => authority,
        };
        Some(host.strip_suffix(b".").unwrap_or(host))
    }
}

/// The path of a request's target: what stands before query and fragment.
#[must_use]
pub fn path_of(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    end.and_then(|end| target.get(..end)).unwrap_or(target)
}

/// Headers as a list of names and values.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Request for [(N, V)] {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(n, _)| n.as_ref().eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.as_ref())
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Request for Vec<(N, V)> {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.as_slice().values(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_path_and_a_query() {
        let request = vec![(":path", "/a/b?x=1?y#z")];
        assert_eq!(request.path(), Some(&b"/a/b"[..]));
        assert_eq!(request.query(), Some(&b"x=1?y"[..]));
        assert_eq!(vec![(":path", "/a")].query(), None);
        assert_eq!(vec![(":path", "/a#?q")].query(), None);
        assert_eq!(Vec::<(&str, &str)>::new().path(), None);
    }

    #[test]
    fn a_host_goes_without_its_port_and_one_last_dot() {
        for (authority, host) in [
            ("a.b:8080", "a.b"),
            ("a.b", "a.b"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
            (":80", ""),
            ("a.b.", "a.b"),
            ("a.b.:8080", "a.b"),
            ("a.b..", "a.b."),
            (".", ""),
        ] {
            assert_eq!(
                vec![(":authority", authority)].host(),
                Some(host.as_bytes()),
                "{authority}"
            );
        }
    }
}
