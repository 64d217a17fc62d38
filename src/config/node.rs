//! The file as a tree: what JSON and YAML have in common, before any meaning.
//!
//! Unlike `serde_json::Value` it keeps the order of keys and refuses a repeated one, which a map would
//! silently overwrite.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A value of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`, or a YAML key with nothing behind it.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number in its shortest decimal form, so that 30 and 30.0 are the same.
    Number(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// Keys and values in the file's order. A repeated key stands here twice; the reader reports it.
    Map(Vec<(String, Self)>),
}

impl Node {
    /// What the value is, in words for a message: `the text "abc"`, `a list of 2`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "nothing (null)".to_owned(),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text {}", quoted(text)),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Map(_) => "a group of keys".to_owned(),
        }
    }

    /// The value behind a key of a group; the first one when the key is repeated.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value behind a key of a group, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Whether a number in the value may have been rounded when it was read: it is no 64-bit
    /// integer, and has more digits than every double keeps.
    pub(crate) fn is_rounded(&self) -> bool {
        match self {
            Self::Number(text) => {
                let plain = text.trim_matches(['-', '0', '.']);
                let digits = plain.bytes().filter(u8::is_ascii_digit).count();
                digits > 15 && text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
            }
            Self::List(items) => items.iter().any(Self::is_rounded),
            Self::Map(entries) => entries.iter().any(|(_, value)| value.is_rounded()),
            Self::Null | Self::Bool(_) | Self::Text(_) => false,
        }
    }

    /// Canonical JSON, see [`Self::canonical`].
    pub(crate) fn to_json(&self) -> String {
        let mut json = String::new();
        self.canonical(&mut json);
        json
    }

    /// Canonical JSON: keys sorted, no white space, numbers in shortest form. Equal configurations have equal
    /// text, however their file was formatted, and whether it came as JSON or YAML.
    pub(crate) fn canonical(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => json_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.canonical(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                out.push('{');
                for (i, (key, value)) in sorted.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    json_text(key, out);
                    out.push(':');
                    value.canonical(out);
                }
                out.push('}');
            }
        }
    }
}

/// As it was read, keys in the file's order: the plugin configuration that Envoy and Istio pass on.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => {
                if let Ok(integer) = number.parse::<i64>() {
                    serializer.serialize_i64(integer)
                } else if let Ok(integer) = number.parse::<u64>() {
                    serializer.serialize_u64(integer)
                } else if let Ok(float) = number.parse::<f64>() {
                    serializer.serialize_f64(float)
                } else {
                    serializer.serialize_str(number)
                }
            }
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

/// `text` in double quotes, shortened when long, control characters escaped.
pub(crate) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", short.escape_debug())
}

fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The shortest decimal form: `Display` of a float never uses an exponent and has no trailing zeros.
fn number(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { value.to_string() }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON or YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        if value.is_finite() {
            Ok(Node::Number(number(value)))
        } else {
            Err(E::custom("not a finite number"))
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut out = String::new();
        serde_json::from_str::<Node>(json).unwrap().canonical(&mut out);
        out
    }

    #[test]
    fn the_canonical_form_ignores_order_space_and_the_way_numbers_are_written() {
        assert_eq!(canonical(r#"{ "b": 30.0, "a": [1, 0.50] }"#), r#"{"a":[1,0.5],"b":30}"#);
        assert_eq!(canonical("1e3"), "1000");
        assert_eq!(canonical("-0.0"), "0");
        assert_eq!(canonical(r#""a\"\u0001é""#), r#""a\"\u0001é""#);
    }

    #[test]
    fn numbers_are_written_as_they_were_read() {
        for number in ["18446744073709551615", "-9223372036854775808", "0.5", "1e300", "7"] {
            let node: Node = serde_json::from_str(number).unwrap();
            let again: Node = serde_json::from_str(&serde_json::to_string(&node).unwrap()).unwrap();
            assert_eq!(node, again);
            assert!(!node.is_rounded(), "{number}");
        }
        for number in ["18446744073709551617", "-9223372036854775809", "0.12345678901234567"] {
            let node: Node = serde_json::from_str(&format!(r#"[{{"x": {number}}}]"#)).unwrap();
            assert!(node.is_rounded(), "{number}");
        }
    }

    #[test]
    fn a_repeated_key_is_kept_for_the_reader_to_report() {
        let Node::Map(entries) = serde_json::from_str(r#"{"a":1,"a":2}"#).unwrap() else {
            panic!("no map")
        };
        assert_eq!(entries.len(), 2);
    }
}
