//! The fields of an access log line that the analysis reads.
//!
//! The format is the one that `sidetrack render` writes: a JSON object per request, with the names of
//! [`sidetrack::names::log`]. Values are those that Envoy writes: numbers as numbers or as text, and a
//! missing value as null, `-`, empty text or an absent key. Unknown keys are skipped, so a log may
//! contain more. Text is borrowed from the line unless it has escapes.

mod llm;
mod plain;
mod value;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use sidetrack::exposure;
use sidetrack::names::log;

pub(super) use llm::{Llm, LlmField, NAMES as LLM_NAMES};
pub(super) use value::Field;
pub(super) use value::Lenient;
use value::is_nothing;

/// Defines [`Line`] and reads it by the shared names, which serde's derive cannot use.
macro_rules! line {
    (
        strict { $($field:ident: $name:path,)* }
        lenient { $($lenient:ident: $lenient_name:path,)* }
    ) => {
        /// The values of a line, not yet checked.
        #[derive(Debug, Default)]
        pub(super) struct Line<'a> {
            $(pub(super) $field: Field<'a>,)*
            $(pub(super) $lenient: Field<'a>,)*
            /// The use of a language model.
            pub(super) llm: Llm<'a>,
        }

        impl<'a> Line<'a> {
            /// The value of a key.
            pub(super) const fn at(&mut self, key: Key) -> &mut Field<'a> {
                match key {
                    $(Key::$field => &mut self.$field,)*
                    $(Key::$lenient => &mut self.$lenient,)*
                }
            }
        }

        impl<'de> Visitor<'de> for LineVisitor {
            type Value = Line<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line<'de>, A::Error> {
                $(let mut $field: Option<Field<'de>> = None;)*
                $(let mut $lenient: Option<Lenient<'de>> = None;)*
                let mut llm = Llm::default();
                while let Some(key) = map.next_key::<Named>()? {
                    match key {
                        $(Named::Key(Key::$field) => {
                            if $field.replace(map.next_value()?).is_some() {
                                return Err(Error::custom(format!("the field {} is there twice", $name)));
                            }
                        })*
                        $(Named::Key(Key::$lenient) => $lenient = Some(map.next_value()?),)*
                        Named::Llm(place) => {
                            let Lenient(value) = map.next_value()?;
                            llm.take(place, value);
                        }
                        Named::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(Line {
                    $($field: $field.unwrap_or_default(),)*
                    $($lenient: $lenient.unwrap_or_default().0,)*
                    llm,
                })
            }
        }

        /// A key that the analysis reads.
        #[derive(Clone, Copy, Debug)]
        #[expect(non_camel_case_types, reason = "the names of the fields")]
        pub(super) enum Key {
            $($field,)*
            $($lenient,)*
        }

        impl Key {
            /// The key of this name; `None` if the analysis does not read it.
            pub(super) fn of(name: &str) -> Option<Self> {
                Some(match name {
                    $($name => Self::$field,)*
                    $($lenient_name => Self::$lenient,)*
                    _ => return None,
                })
            }

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)*
                    $(Self::$lenient => $lenient_name,)*
                }
            }
        }
    };
}

line! {
    strict {
        exposure: log::EXPOSURE,
        time: log::TIME,
        request_id: log::REQUEST_ID,
        unit: log::UNIT,
        experiment: log::EXPERIMENT,
        assigned: log::ASSIGNED,
        served: log::SERVED,
        reason: log::REASON,
        bucket: log::BUCKET,
        phase: log::PHASE,
        status: log::STATUS,
        flags: log::FLAGS,
        duration: log::DURATION,
        rescued: log::RESCUED,
    }
    lenient {
        trial: log::TRIAL,
        plan: log::PLAN,
        weights: log::WEIGHTS,
    }
}

/// Why a line is not an object of values, in words.
fn problem(line: &[u8], error: &serde_json::Error) -> String {
    if let Err(error) = std::str::from_utf8(line) {
        return format!("not UTF-8 text (from byte {})", error.valid_up_to() + 1);
    }
    match error.classify() {
        Category::Eof => format!("the line breaks off after {} bytes", line.len()),
        Category::Data if line.starts_with(b"{") => {
            // The parser adds a place; the line is known, and it has only one.
            let text = error.to_string();
            text.split(" at line ").next().unwrap_or_default().to_owned()
        }
        Category::Syntax if line.starts_with(b"{") => {
            format!("not valid JSON from column {}", error.column())
        }
        Category::Data | Category::Syntax | Category::Io => "not a JSON object".to_owned(),
    }
}

struct LineVisitor;

struct KeyVisitor;

impl<'de: 'a, 'a> Deserialize<'de> for Line<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

/// What a key names.
#[derive(Clone, Copy, Debug)]
enum Named {
    Key(Key),
    /// A field about a language model.
    Llm(llm::Place),
    /// Nothing that the analysis reads.
    Other,
}

impl Named {
    fn of(name: &str) -> Self {
        let llm = || llm::place(name).map_or(Self::Other, Self::Llm);
        Key::of(name).map_or_else(llm, Self::Key)
    }
}

/// Where a value with a name belongs, for sources whose records have the same names.
#[derive(Clone, Copy, Debug)]
pub struct Slot(Named);

impl Slot {
    /// The slot of a name; `None` if the analysis does not read it.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let named = Named::of(name);
        (!matches!(named, Named::Other)).then_some(Self(named))
    }

    /// Whether a request has a value of its own there. An exposure is none: it has both.
    #[must_use]
    pub const fn is_own(self) -> bool {
        matches!(
            self.0,
            Named::Llm(_)
                | Named::Key(Key::time | Key::request_id | Key::unit | Key::bucket | Key::duration)
        )
    }
}

impl Visitor<'_> for KeyVisitor {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Named, E> {
        Ok(Named::of(key))
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

impl<'a> Line<'a> {
    /// Parses a line.
    ///
    /// # Errors
    /// Why it is malformed.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, String> {
        let read = || serde_json::from_slice(line).map_err(|error| problem(line, &error));
        let mut line: Self = plain::parse(line).map_or_else(read, Ok)?;
        line.take_exposure();
        Ok(line)
    }

    /// Sets a value by its name; a name that the analysis does not read is skipped.
    ///
    /// # Errors
    /// The field has a value already.
    pub(super) fn set(&mut self, name: &str, value: Field<'a>) -> Result<(), String> {
        Slot::of(name).map_or(Ok(()), |slot| self.put(slot, value))
    }

    /// Sets a value.
    ///
    /// # Errors
    /// The field has a value already.
    pub(super) fn put(&mut self, Slot(named): Slot, value: Field<'a>) -> Result<(), String> {
        match named {
            Named::Key(key) => {
                let field = self.at(key);
                if !matches!(field, Field::Nothing) {
                    return Err(format!("the field {} is there twice", key.name()));
                }
                *field = value;
            }
            Named::Llm(place) => self.llm.take(place, value),
            Named::Other => {}
        }
        Ok(())
    }

    /// Takes the values of the exposure, when all others are set.
    pub(super) fn take_exposure(&mut self) {
        match std::mem::take(&mut self.exposure) {
            Field::Text(Cow::Borrowed(text)) => self.spread(text, Cow::Borrowed),
            Field::Text(Cow::Owned(text)) => {
                self.spread(&text, |value| Cow::Owned(value.to_owned()))
            }
            Field::Nothing | Field::Whole(_) | Field::Number(_) => {}
        }
    }

    /// Takes the values of an exposure. Older logs and those of other proxies may have the unit, the reason and the
    /// bucket as fields of their own, which win. Fields called `trial`, `plan` or `weights` may mean something else in
    /// a log that contains more than exposures, so there the exposure wins.
    fn spread<'t>(&mut self, exposure: &'t str, keep: impl Fn(&'t str) -> Cow<'a, str>) {
        for (key, value) in exposure::values(exposure) {
            let field = match key {
                log::UNIT => &mut self.unit,
                log::REASON => &mut self.reason,
                log::BUCKET => &mut self.bucket,
                log::TRIAL | log::PLAN | log::WEIGHTS => {
                    let field = match key {
                        log::TRIAL => &mut self.trial,
                        log::PLAN => &mut self.plan,
                        _ => &mut self.weights,
                    };
                    *field = Field::Text(keep(value));
                    continue;
                }
                _ => continue,
            };
            if matches!(field, Field::Nothing) && !is_nothing(value) {
                *field = Field::Text(keep(value));
            }
        }
    }
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
    fn an_exposure_fills_the_fields_that_a_line_does_not_have() {
        let line = br#"{"exposure":"trial=1a config=2b weights=new=1/2,z=0/0 reason=hash bucket=17 unit=a b=c"}"#;
        let line = Line::parse(line).unwrap();
        assert_eq!(line.reason.text(), Some("hash"));
        assert_eq!(line.bucket.whole(), Ok(Some(17)));
        assert_eq!(line.unit.text(), Some("a b=c"));
        let line = br#"{"exposure":"reason=hash unit=a\"b","reason":"probe","bucket":null}"#;
        let line = Line::parse(line).unwrap();
        assert_eq!((line.reason.text(), line.unit.text()), (Some("probe"), Some("a\"b")));
        assert!(matches!(line.bucket, Field::Nothing));
        for nothing in ["null", "\"-\"", "\"\"", "7", "\"unit=\"", "\"unit=-\""] {
            let line = format!("{{\"exposure\":{nothing}}}");
            let line = Line::parse(line.as_bytes()).unwrap();
            assert!(matches!(line.unit, Field::Nothing), "{nothing}");
        }
    }

    #[test]
    fn what_identifies_the_evidence_comes_from_the_exposure_first() {
        let text = |field: &Field<'_>| field.text().map(str::to_owned);
        let of = |line: &str| {
            let line = Line::parse(line.as_bytes()).unwrap();
            [text(&line.trial), text(&line.plan), text(&line.weights)]
        };
        let some = |text: &str| Some(text.to_owned());
        let exposure = r#""exposure":"trial=1a plan=2b weights=new=1/2 reason=hash""#;
        let whole = [some("1a"), some("2b"), some("new=1/2")];
        assert_eq!(of(&format!("{{{exposure}}}")), whole);
        // A log that contains more may use the names for something else.
        let more = r#""plan":"premium","trial":{"days":[14]},"weights":[1,{"a":2}]"#;
        assert_eq!(of(&format!("{{{exposure},{more}}}")), whole);
        assert_eq!(of(&format!("{{{more}}}")), [None, some("premium"), None]);
        let own = r#"{"trial":"1a","plan":"2b","weights":"new=1/2"}"#;
        assert_eq!(of(own), whole);
    }

    #[test]
    fn the_digits_of_a_number_are_an_id() {
        let id = |value: &str| {
            let line = format!("{{\"unit\":{value}}}");
            let line = Line::parse(line.as_bytes()).unwrap();
            line.unit.id().map(|id| id.map(Cow::into_owned))
        };
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(id("17"), some("17"));
        assert_eq!(id("18446744073709551615"), some("18446744073709551615"));
        assert_eq!(id("9007199254740993"), some("9007199254740993"), "beyond 2^53");
        assert_eq!((id("-5"), id("1.5")), (some("-5"), some("1.5")));
        assert_eq!((id("\"017\""), id("null")), (some("017"), Ok(None)));
        assert!(id("123456789012345678901234567890").unwrap_err().contains("as text"));
    }

    #[test]
    fn problems_are_in_words() {
        for (line, wanted) in [
            (&b"starting main dispatch loop"[..], "not a JSON object"),
            (b"[1]", "not a JSON object"),
            (b"7", "not a JSON object"),
            (b"\"text\"", "not a JSON object"),
            (b"{\"time\":\"2026", "the line breaks off after 13 bytes"),
            (b"{\"time\":\"2026\",", "the line breaks off after 15 bytes"),
            (b"{\"time\" 7}", "not valid JSON from column 9"),
            (b"{} {}", "not valid JSON from column 4"),
            (b"{\"time\":{}}", "an object where text or a number is expected"),
            (b"{\"time\":[1]}", "a list where text or a number is expected"),
            (b"{\"time\":1,\"time\":2}", "the field time is there twice"),
            (b"{\"time\":\"\xff\"}", "not UTF-8 text (from byte 10)"),
        ] {
            let found = Line::parse(line).unwrap_err();
            assert_eq!(found, wanted, "{}", line.escape_ascii());
        }
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
