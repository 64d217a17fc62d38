//! A line of the access log, as far as an analysis reads it.
//!
//! The format is the one that `sidetrack render` writes: a JSON object per request. Values come as Envoy writes them:
//! numbers as numbers or as text, a missing value as null, `-`, empty text or an absent key. Unknown keys are skipped, so a
//! log may contain more. Text is borrowed from the line unless it has escapes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A line's values, not checked yet.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) time: Field<'a>,
    #[serde(borrow)]
    pub(super) request_id: Field<'a>,
    #[serde(borrow)]
    pub(super) unit: Field<'a>,
    #[serde(borrow)]
    pub(super) experiment: Field<'a>,
    #[serde(borrow)]
    pub(super) assigned: Field<'a>,
    #[serde(borrow)]
    pub(super) served: Field<'a>,
    #[serde(borrow)]
    pub(super) reason: Field<'a>,
    #[serde(borrow)]
    pub(super) bucket: Field<'a>,
    #[serde(borrow)]
    pub(super) phase: Field<'a>,
    #[serde(borrow)]
    pub(super) status: Field<'a>,
    #[serde(borrow)]
    pub(super) flags: Field<'a>,
    #[serde(borrow)]
    pub(super) duration: Field<'a>,
    #[serde(borrow)]
    pub(super) rescued: Field<'a>,
}

impl<'a> Line<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, String> {
        // serde would take a list for an object without names.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err("not a JSON object".to_owned());
        }
        serde_json::from_slice(line).map_err(|error| {
            // serde_json counts the one line it sees; the caller knows which line it is.
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or(&text);
            format!("not a JSON object of the exposure format: {text} (column {})", error.column())
        })
    }
}

/// A value.
#[derive(Debug, Default)]
pub(super) enum Field<'a> {
    /// Null, `-`, empty or absent.
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Number(f64),
}

impl Field<'_> {
    /// Its text; numbers have none.
    pub(super) fn text(&self) -> Option<&str> {
        if let Field::Text(text) = self { Some(text) } else { None }
    }

    /// A whole number from 0 on, written as a number or as text. `Err` has what was found instead.
    pub(super) fn whole(&self) -> Result<Option<u64>, String> {
        match self {
            Field::Nothing => Ok(None),
            Field::Text(text) => {
                text.parse().map(Some).map_err(|_| format!("\"{}\"", crate::figures::visible(text)))
            }
            Field::Number(number) => whole(*number).map(Some).ok_or_else(|| number.to_string()),
        }
    }
}

/// A float that is a whole number from 0 on and small enough to be exact.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
fn whole(number: f64) -> Option<u64> {
    ((0.0..9e15).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(if is_nothing(text) { Field::Nothing } else { Field::Text(Cow::Borrowed(text)) })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(if is_nothing(text) { Field::Nothing } else { Field::Text(Cow::Owned(text.to_owned())) })
    }

    #[expect(clippy::cast_precision_loss, reason = "no number of a log line is beyond 2^53")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "no number of a log line is beyond 2^53")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Field<'de>, E> {
        Ok(Field::Number(number))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(if value { "true" } else { "false" })))
    }

    fn visit_unit<E: Error>(self) -> Result<Field<'de>, E> {
        Ok(Field::Nothing)
    }
}

fn is_nothing(text: &str) -> bool {
    text.is_empty() || text == "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_as_envoy_writes_them() {
        let line =
            br#"{"time":"-","unit":null,"status":"200","duration":17.0,"reason":"","bucket":"12x",
            "phase":"a\"b","rescued":true,"path":"/x","more":{"deep":[1]}}"#;
        let line = Line::parse(line).unwrap();
        assert!(matches!(line.time, Field::Nothing) && matches!(line.unit, Field::Nothing));
        assert!(matches!(line.reason, Field::Nothing) && matches!(line.served, Field::Nothing));
        assert_eq!(line.status.whole(), Ok(Some(200)));
        assert_eq!(line.duration.whole(), Ok(Some(17)));
        assert_eq!(line.bucket.whole(), Err("\"12x\"".to_owned()));
        assert_eq!(line.phase.text(), Some("a\"b"));
        assert_eq!(line.rescued.text(), Some("true"));
    }

    #[test]
    fn anything_but_an_object_of_values_is_an_error() {
        for bad in
            ["", "x", "[1]", "{", "{\"time\":{}}", "{\"time\":1,\"time\":2}", "{} {}", "\u{0}"]
        {
            assert!(Line::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Line::parse(b"{\"unit\":\"\xff\"}").is_err());
        assert_eq!(Field::Number(-1.0).whole(), Err("-1".to_owned()));
        assert_eq!(Field::Number(1.5).whole(), Err("1.5".to_owned()));
    }
}
