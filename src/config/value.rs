//! The single values of the schema: each a checked type with one rule, one message and one JSON Schema.

mod quantities;

use serde_json::{Value, json};

pub use quantities::quantile;
pub(crate) use quantities::{Count, Percent, Quantile, Size, Span};

use super::decode::{Decode, GROUP, ruled, wrong_type};
use super::node::{Node, quoted};
use super::problem::{Code, Path, Problems};
use crate::quantity::Timestamp;

impl Decode for bool {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Node::Bool(value) = node else {
            let hint = match node {
                Node::Text(text) if matches!(text.as_str(), "true" | "false") => {
                    "write it without quotes"
                }
                Node::Text(text) if is_one_of(text, &["on", "yes", "y"]) => "write true",
                Node::Text(text) if is_one_of(text, &["off", "no", "n"]) => "write false",
                _ => "write one of the two, without quotes",
            };
            wrong_type(node, at, problems, "true or false", hint);
            return None;
        };
        Some(*value)
    }

    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

/// Whether a text is one of these words, in whatever case.
fn is_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Text under a rule.
macro_rules! text {
    ($(#[doc = $doc:literal])* $name:ident($inner:ty), $code:ident, allowed $allowed:expr, hint $hint:expr,
     $schema:expr, $parse:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl $name {
            /// Reads the text; `None` when the rule does not hold.
            pub(crate) fn parse(text: &str) -> Option<Self> {
                let parse: fn(&str) -> Option<$inner> = $parse;
                parse(text).map(Self)
            }

            /// Reads the text and reports when the rule does not hold.
            pub(crate) fn read(text: &str, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
                let value = Self::parse(text);
                if value.is_none() {
                    let message = format!("found {}; allowed: {}", quoted(text), $allowed);
                    problems.push(at, Code::$code, message, $hint);
                }
                value
            }
        }

        impl Decode for $name {
            fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
                let Node::Text(text) = node else {
                    let hint = match node {
                        Node::Bool(_) => "put it in quotes: YAML reads a bare yes, no, on or off as true or false",
                        Node::Number(_) => "put it in quotes",
                        _ => "write a single value",
                    };
                    wrong_type(node, at, problems, $allowed, hint);
                    return None;
                };
                Self::read(text, at, problems)
            }

            fn schema() -> Value {
                ruled($schema, $allowed)
            }
        }
    };
}

text!(
    /// The name of an experiment, a variant, a phase or a layer.
    Name(String), BadName, allowed "1 to 63 letters, digits, '.', '_', '-'",
    hint "names stand in headers and metric labels, so other characters are not possible",
    json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,63}$"}),
    |text| {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        ((1..=63).contains(&text.len()) && text.bytes().all(good)).then(|| text.to_owned())
    }
);

text!(
    /// A salt: any text that is not empty and has no NUL.
    Salt(String), OutOfRange, allowed "1 to 255 bytes without NUL",
    hint "any short text will do, such as the experiment's name and the month",
    json!({"type": "string", "minLength": 1, "maxLength": 255}),
    |text| ((1..=255).contains(&text.len()) && !text.contains('\0')).then(|| text.to_owned())
);

text!(
    /// The name of an Envoy cluster, as `enhanced-predictor` or `outbound|80|v2|models.prod.svc.cluster.local`.
    ClusterName(String), BadName, allowed "1 to 255 visible ASCII characters without spaces",
    hint "the name travels in a header inside the proxy",
    json!({"type": "string", "pattern": "^[!-~]{1,255}$"}),
    |text| ((1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
);

text!(
    /// A header's name, lower-cased.
    HeaderName(String), BadHeader, allowed "an HTTP header name: letters, digits and !#$%&'*+-.^_`|~",
    hint "pseudo headers such as :path cannot be named here",
    json!({"type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,255}$"}),
    |text| {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        ((1..=255).contains(&text.len()) && text.bytes().all(token)).then(|| text.to_ascii_lowercase())
    }
);

text!(
    /// A header's value.
    HeaderValue(String), BadHeader,
    allowed "a header value: no control characters, no white space at either end, at most 1024 bytes",
    hint "line breaks and tabs cannot stand in a header",
    json!({"type": "string", "maxLength": 1024}),
    |text| {
        let good = text.len() <= 1024 && text.trim() == text && !text.chars().any(char::is_control);
        good.then(|| text.to_owned())
    }
);

text!(
    /// The name of a cookie or of a query parameter.
    FieldName(String), BadName, allowed "1 to 255 characters without spaces, control characters, '=', ';', '&'",
    hint "write the bare name, without a value",
    json!({"type": "string", "pattern": "^[^\\s=;&]{1,255}$"}),
    |text| {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | ';' | '&');
        ((1..=255).contains(&text.len()) && !text.contains(bad)).then(|| text.to_owned())
    }
);

text!(
    /// A host name, or `*.` and a host name; lower-cased, and without the dot that ends a fully qualified name.
    Host(String), BadHost, allowed "a host name, or \"*.\" and a host name",
    hint "without scheme, port and path",
    json!({"type": "string", "pattern": "^(\\*\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*\\.?$|^\\[[0-9A-Fa-f:.]+\\]$"}),
    |text| {
        let text = text.strip_suffix('.').filter(|name| !name.ends_with(']')).unwrap_or(text);
        let name = text.strip_prefix("*.").unwrap_or(text);
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let literal = |inner: &str| inner.parse::<core::net::Ipv6Addr>().is_ok();
        let good = name.split('.').all(label)
            || text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(literal);
        (good && text.len() <= 255).then(|| text.to_ascii_lowercase())
    }
);

text!(
    /// A path or the beginning of one.
    PathText(String), BadPath, allowed "a path that begins with \"/\", without \"?\", \"#\" and spaces",
    hint "only the path counts here, not the query; a query parameter can be a unit",
    json!({"type": "string", "pattern": "^/[^?# ]*$"}),
    |text| {
        let good = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
        good.then(|| text.to_owned())
    }
);

/// Two paths: what a path begins with, and what it begins with instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPair {
    pub(crate) from: PathText,
    pub(crate) to: PathText,
}

impl Decode for PathPair {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Node::List(items) = node else {
            let allowed = "a list of two paths: [from, to]";
            wrong_type(node, at, problems, allowed, "for example [/v1/predict, /v2/predict]");
            return None;
        };
        let [from, to] = items.as_slice() else {
            let message = format!("found {}; allowed: two paths, [from, to]", node.describe());
            problems.push(at, Code::OutOfRange, message, "for example [/v1/predict, /v2/predict]");
            return None;
        };
        let from = PathText::decode(from, &at.item(0), problems);
        let to = PathText::decode(to, &at.item(1), problems);
        Some(Self { from: from?, to: to? })
    }

    fn schema() -> Value {
        ruled(
            json!({"type": "array", "items": PathText::schema(), "minItems": 2, "maxItems": 2}),
            "a list of two paths: [from, to]",
        )
    }
}

text!(
    /// An HTTP method.
    Method(String), BadMethod, allowed "an HTTP method in capitals, such as GET or POST",
    hint "methods are case-sensitive",
    json!({"type": "string", "pattern": "^[A-Z][A-Z_-]*$"}),
    |text| {
        let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b'_'));
        good.then(|| text.to_owned())
    }
);

text!(
    /// A JSON Pointer (RFC 6901).
    Pointer(String), BadPath, allowed "a JSON Pointer: \"/\" before each key, as in \"/user/id\"",
    hint "\"~\" is written \"~0\" and \"/\" inside a key \"~1\"",
    json!({"type": "string", "pattern": "^(/([^~/]|~[01])*)+$"}),
    |text| {
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        (text.starts_with('/') && escapes).then(|| text.to_owned())
    }
);

text!(
    /// The text of a value in a body, or the beginning of one.
    BodyText(String), OutOfRange, allowed "a text of at most 1024 bytes",
    hint "compare the beginning of a long value, with \"prefix\"",
    json!({"type": "string", "maxLength": 1024}),
    |text| (text.len() <= 1024).then(|| text.to_owned())
);

/// A value of any type, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Json(pub(crate) String);

impl Decode for Json {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if node.is_rounded() {
            let message = "found a number that would be rounded; allowed: whole numbers of 64 bits, \
                           others of up to 15 digits";
            problems.push(at, Code::OutOfRange, message, "write it as text, or with fewer digits");
            return None;
        }
        Some(Self(node.to_json()))
    }

    fn schema() -> Value {
        json!({})
    }
}

/// A group of any keys and values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object(pub(crate) Vec<(String, Node)>);

impl Decode for Object {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Node::Map(entries) = node else {
            wrong_type(node, at, problems, "a group of keys and values", GROUP);
            return None;
        };
        Some(Self(entries.clone()))
    }

    fn schema() -> Value {
        json!({"type": "object"})
    }
}

text!(
    /// A SHA-256 digest.
    Digest([u8; 32]), BadDigest, allowed "64 hexadecimal digits",
    hint "make it with: printf %s \"$TOKEN\" | sha256sum",
    json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}),
    |text| {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for (i, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(digest)
    }
);

/// What a moment looks like.
const TIME: &str = "a moment in RFC 3339 from 1970 on, such as 2026-11-23T09:00:00Z";

/// A moment in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Decode for Time {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = TIME;
        let as_written = "write date, \"T\", time with seconds, and zone; \"Z\" is UTC";
        let digits = match node {
            Node::Text(text) => match Timestamp::parse(text) {
                Some(moment) => return Some(Self(moment)),
                None => text,
            },
            Node::Number(number) => number,
            _ => {
                wrong_type(node, at, problems, allowed, as_written);
                return None;
            }
        };
        let hint = match since_1970(digits) {
            Some((unit, moment)) => {
                format!("this looks like {unit} since 1970; that moment is written {moment}")
            }
            None => as_written.to_owned(),
        };
        problems.push(
            at,
            Code::BadTime,
            format!("found {}; allowed: {allowed}", node.describe()),
            hint,
        );
        None
    }

    fn schema() -> Value {
        ruled(json!({"type": "string", "format": "date-time"}), TIME)
    }
}

/// The moment that a bare number probably means, and in which unit: between 1973 and 2286, the number of digits decides.
fn since_1970(text: &str) -> Option<(&'static str, Timestamp)> {
    let whole = text.split('.').next().unwrap_or_default();
    let number: u64 = whole.parse().ok()?;
    match whole.len() {
        9 | 10 => Some(("seconds", Timestamp::new(number.saturating_mul(1000)))),
        12 | 13 => Some(("milliseconds", Timestamp::new(number))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(number: &str) -> Result<u32, Code> {
        let mut problems = Problems::default();
        match Percent::decode(&serde_json::from_str(number).unwrap(), &Path::Root, &mut problems) {
            Some(percent) => Ok(percent.0.get()),
            None => Err(problems.0[0].code),
        }
    }

    #[test]
    fn percentages_are_exact_to_four_decimals() {
        assert_eq!(percent("30"), Ok(300_000));
        assert_eq!(percent("30.0"), Ok(300_000));
        assert_eq!(percent("12.3456"), Ok(123_456));
        assert_eq!(percent("0.0001"), Ok(1));
        assert_eq!(percent("100"), Ok(1_000_000));
        assert_eq!(percent("0"), Ok(0));
        assert_eq!(percent("1e1"), Ok(100_000));
        assert_eq!(percent("12.34567"), Err(Code::TooPrecise));
        assert_eq!(percent("100.0001"), Err(Code::OutOfRange));
        assert_eq!(percent("-1"), Err(Code::OutOfRange));
        assert_eq!(percent("1e300"), Err(Code::OutOfRange));
        assert_eq!(percent("\"30\""), Err(Code::WrongType));
    }

    #[test]
    fn a_number_for_a_body_is_exact_or_refused() {
        for (text, exact) in [
            ("18446744073709551615", true),
            ("18446744073709551617", false),
            ("-9223372036854775808", true),
            ("0.123456789012345", true),
            ("0.12345678901234567", false),
            (r#"{"a": [1, 12345678901234567890123]}"#, false),
            (r#"{"a": "12345678901234567890123"}"#, true),
        ] {
            let node = serde_json::from_str(text).unwrap();
            let mut problems = Problems::default();
            let json = Json::decode(&node, &Path::Root, &mut problems);
            assert_eq!((json.is_some(), problems.0.is_empty()), (exact, exact), "{text}");
        }
    }

    #[test]
    fn hosts_are_names_or_one_leading_star() {
        for good in ["a", "predictor.example.com", "*.example.com", "[::1]", "10.0.0.1"] {
            assert!(Host::parse(good).is_some(), "{good}");
        }
        for same in ["a.b", "A.b", "a.b.", "a.B."] {
            assert_eq!(Host::parse(same), Some(Host("a.b".to_owned())), "{same}");
        }
        for bad in
            ["", "*", "*.", "a.*.b", "http://a", "a:80", "a/b", ".a", "a..b", ".", "a..", "[::1]."]
        {
            assert!(Host::parse(bad).is_none(), "{bad}");
        }
    }
}
