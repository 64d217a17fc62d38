//! Envelopes: what container runtimes and log collectors put around a line of the access log.
//!
//! A prefix before the JSON object (the runtime interface of Kubernetes, `kubectl logs --prefix`, Compose, syslog) is cut
//! off. A JSON object that contains the line as a value (Docker, Fluent Bit, Vector, Google Cloud) is opened. What cannot
//! be opened is named.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A prefix is not longer.
const PREFIX: usize = 512;

/// Keys under which collectors keep the line.
const KEYS: [&[u8]; 6] = [
    b"\"log\":",
    b"\"message\":",
    b"\"msg\":",
    b"\"jsonPayload\":",
    b"\"textPayload\":",
    b"\"body\":",
];

/// The line without its prefix.
///
/// # Errors
/// What the line is instead.
pub(super) fn without_prefix(line: &[u8]) -> Result<&[u8], String> {
    let line = line.trim_ascii();
    if line.starts_with(b"{") {
        return Ok(line);
    }
    let head = line.get(..line.len().min(PREFIX)).unwrap_or_default();
    if memmem::find(head, b" stdout P ").is_some() || memmem::find(head, b" stderr P ").is_some() {
        return Err(
            "a part of a line that the container runtime has split (tag P); collect logs with \
                    an agent that joins such lines"
                .to_owned(),
        );
    }
    if let Some(start) = memchr::memchr(b'{', head)
        && line.ends_with(b"}")
    {
        return Ok(line.get(start..).unwrap_or_default());
    }
    if memmem::find(head, b"] \"").is_some() && memmem::find(line, b" HTTP/").is_some() {
        return Err(
            "the default text format of Envoy and Istio, which has no exposures; log in the \
                    format that `sidetrack render` writes"
                .to_owned(),
        );
    }
    // The parser says what is wrong with it.
    Ok(line)
}

/// The line within a JSON object that a collector has put around it; `None` if no collector wrapped it.
pub(super) fn inside(line: &[u8]) -> Option<Vec<u8>> {
    if !KEYS.iter().any(|key| memmem::find(line, key).is_some()) {
        return None;
    }
    let outer: Outer<'_> = serde_json::from_slice(line).ok()?;
    match outer.0? {
        Inner::Text(text) => {
            let text = text.trim();
            let start = text.find('{').filter(|start| *start < PREFIX)?;
            text.ends_with('}').then(|| text.as_bytes().get(start..).map(<[u8]>::to_vec))?
        }
        Inner::Object(object) => serde_json::to_vec(&object).ok(),
    }
}

/// Whether a JSON line is Istio's or Envoy's default access log, which has no exposures.
pub(super) fn is_default_log(line: &[u8]) -> bool {
    memmem::find(line, b"\"response_code\":").is_some()
        && memmem::find(line, b"\"start_time\":").is_some()
}

/// The value under one of the keys.
struct Outer<'a>(Option<Inner<'a>>);

enum Inner<'a> {
    Text(Cow<'a, str>),
    Object(Map<String, Value>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Outer<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OuterVisitor)
    }
}

struct OuterVisitor;

impl<'de> Visitor<'de> for OuterVisitor {
    type Value = Outer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outer<'de>, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let known = ["log", "message", "msg", "jsonPayload", "textPayload", "body"];
            let value = map.next_value::<Maybe<'de>>()?.0;
            if known.contains(&key.as_ref()) && found.is_none() {
                found = value;
            }
        }
        Ok(Outer(found))
    }
}

/// Text or an object; anything else is nothing.
struct Maybe<'a>(Option<Inner<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Maybe<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaybeVisitor)
    }
}

struct MaybeVisitor;

impl<'de> Visitor<'de> for MaybeVisitor {
    type Value = Maybe<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Maybe<'de>, E> {
        Ok(Maybe(text.contains('{').then_some(Inner::Text(Cow::Borrowed(text)))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Maybe<'de>, E> {
        Ok(Maybe(text.contains('{').then(|| Inner::Text(Cow::Owned(text.to_owned())))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Maybe<'de>, A::Error> {
        let mut object = Map::new();
        while let Some((key, value)) = map.next_entry()? {
            object.insert(key, value);
        }
        Ok(Maybe(Some(Inner::Object(object))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Maybe<'de>, A::Error> {
        while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Maybe(None))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Maybe<'de>, E> {
        Ok(Maybe(None))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Maybe<'de>, E> {
        Ok(Maybe(None))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Maybe<'de>, E> {
        Ok(Maybe(None))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Maybe<'de>, E> {
        Ok(Maybe(None))
    }

    fn visit_unit<E: Error>(self) -> Result<Maybe<'de>, E> {
        Ok(Maybe(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"experiment":"e","unit":"a\"b"}"#;

    #[test]
    fn a_prefix_is_cut_off() {
        for prefix in [
            "",
            "  ",
            "2026-11-23T09:00:00.123456789Z stdout F ",
            "2026-11-23T09:00:00.123456789+01:00 stderr F ",
            "[pod/predictor-5d9c7b7b4-abcde/istio-proxy] ",
            "[pod/predictor-0/istio-proxy] 2026-11-23T09:00:00.123456789Z ",
            "envoy-1  | ",
            "<14>Nov 23 09:00:00 host envoy[17]: ",
        ] {
            let line = format!("{prefix}{LINE}\r");
            assert_eq!(without_prefix(line.as_bytes()), Ok(LINE.as_bytes()), "{prefix}");
        }
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let problem = |line: &str| without_prefix(line.as_bytes()).unwrap_err();
        let split = "2026-11-23T09:00:00.123456789Z stdout P {\"experiment\":\"e\",\"un";
        assert!(problem(split).contains("tag P"));
        let text = "[2026-11-23T09:00:00.123Z] \"POST /v2/models HTTP/1.1\" 200 - via_upstream - \"-\" 0 5 3 2";
        assert!(problem(text).contains("default text format"));
        assert!(problem(&format!("[pod/a/b] {text}")).contains("default text format"));
        assert_eq!(
            without_prefix(b"starting main dispatch loop"),
            Ok(&b"starting main dispatch loop"[..])
        );
        let json =
            br#"{"response_code":200,"start_time":"2026-11-23T09:00:00.123Z","method":"GET"}"#;
        assert!(is_default_log(json) && !is_default_log(LINE.as_bytes()));
    }

    #[test]
    fn an_object_around_the_line_is_opened() {
        let text = Value::from(LINE).to_string();
        let ended = Value::from(format!("{LINE}\n")).to_string();
        let prefixed = Value::from(format!("2026-11-23T09:00:00.1Z stdout F {LINE}")).to_string();
        for outer in [
            format!(r#"{{"log":{ended},"stream":"stdout","time":"2026-11-23T09:00:00.1Z"}}"#),
            format!(
                r#"{{"@timestamp":"x","kubernetes":{{"pod":"log"}},"n":[1,{{}}],"log":{text}}}"#
            ),
            format!(r#"{{"message":{prefixed},"x":null,"y":1.5,"z":true}}"#),
            format!(r#"{{"message":"no line","textPayload":{text}}}"#),
        ] {
            let found = inside(outer.as_bytes()).map(|line| String::from_utf8(line).unwrap());
            assert_eq!(found.as_deref(), Some(LINE), "{outer}");
        }
        let object = format!(r#"{{"insertId":"x","jsonPayload":{LINE},"severity":"INFO"}}"#);
        let inner: Value = serde_json::from_slice(&inside(object.as_bytes()).unwrap()).unwrap();
        assert_eq!(inner, serde_json::from_str::<Value>(LINE).unwrap());
        for none in [r#"{"log":"started"}"#, r#"{"message":7}"#, r#"{"log":"{\"cut"#, "{}"] {
            assert_eq!(inside(none.as_bytes()), None, "{none}");
        }
    }
}
