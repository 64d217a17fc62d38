//! Values of a line: text, numbers, and what stands for none.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Debug, Default)]
pub enum Field<'a> {
    /// Null, `-`, empty or absent.
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    /// With all its digits.
    Whole(u64),
    Number(f64),
}

impl<'a> Field<'a> {
    /// Text, which may be a missing value.
    pub(in crate::source) fn of_text(text: Cow<'a, str>) -> Self {
        if is_nothing(&text) { Self::Nothing } else { Self::Text(text) }
    }

    /// The text itself; `None` for a number.
    pub(in crate::source) fn into_text(self) -> Option<Cow<'a, str>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The text; `None` for a number.
    pub(in crate::source) fn text(&self) -> Option<&str> {
        if let Field::Text(text) = self { Some(text) } else { None }
    }

    /// What identifies something, as text: the digits of a number are its name.
    ///
    /// # Errors
    /// The number has more digits than JSON numbers keep.
    pub(in crate::source) fn id(&self) -> Result<Option<Cow<'_, str>>, String> {
        match self {
            Field::Nothing => Ok(None),
            Field::Text(text) => Ok(Some(Cow::Borrowed(text))),
            Field::Whole(number) => Ok(Some(Cow::Owned(number.to_string()))),
            Field::Number(number) if number.abs() < 9e15 => {
                Ok(Some(Cow::Owned(number.to_string())))
            }
            Field::Number(_) => Err("a number with too many digits; log it as text".to_owned()),
        }
    }

    /// A whole number of 0 or more, as a number or as text. `Err` is the value that is not one.
    pub(in crate::source) fn whole(&self) -> Result<Option<u64>, String> {
        match self {
            Field::Nothing => Ok(None),
            Field::Text(text) => {
                text.parse().map(Some).map_err(|_| format!("\"{}\"", crate::figures::visible(text)))
            }
            Field::Whole(number) => Ok(Some(*number)),
            Field::Number(number) => whole(*number).map(Some).ok_or_else(|| number.to_string()),
        }
    }
}

/// A float as a whole number, if it is one of 0 or more and small enough to be exact.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
fn whole(number: f64) -> Option<u64> {
    ((0.0..9e15).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor { lenient: false })
    }
}

/// A value that may also be a list or an object, which is nothing.
#[derive(Debug, Default)]
pub(in crate::source) struct Lenient<'a>(pub(in crate::source) Field<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Lenient<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor { lenient: true }).map(Self)
    }
}

struct FieldVisitor {
    lenient: bool,
}

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

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field<'de>, E> {
        Ok(Field::Whole(number))
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

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        if !self.lenient {
            return Err(Error::custom("an object where text or a number is expected"));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field<'de>, A::Error> {
        if !self.lenient {
            return Err(Error::custom("a list where text or a number is expected"));
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Nothing)
    }
}

pub(super) fn is_nothing(text: &str) -> bool {
    text.is_empty() || text == "-"
}
