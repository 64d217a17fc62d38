//! Values of a table: numbers, nothing, or text that is not a number, with the likely cause.

use super::thousands::{Grouping, grouping};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// The field is empty.
    Absent,
    Number(f64),
    Unreadable(Cause),
}

/// Why a value is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A word for a missing value.
    Missing,
    /// Yes or no.
    YesNo,
    /// A date or a time.
    Date,
    /// A number in a notation of people: groups of thousands, a decimal comma, a unit.
    Notation,
    /// A separator of thousands.
    Thousands,
    /// A decimal comma or a separator of thousands: the column does not show which.
    Comma,
    /// A decimal point or a separator of thousands: the column does not show which.
    Point,
    /// Infinite, or beyond 1e150.
    Range,
    /// Not 0 or 1, where only these are possible.
    NotBinary,
    /// Not from 0 to 1.
    NotProbability,
    /// Anything else.
    Text,
}

impl Cause {
    /// What to do.
    pub(super) const fn hint(self) -> &'static str {
        match self {
            Self::Missing => "a word for a missing value; leave the field empty",
            Self::YesNo => "write 1 and 0, or true and false",
            Self::Date => "a date is not a number",
            Self::Notation => {
                "write numbers with a decimal point, without separators of thousands and units"
            }
            Self::Thousands => "a separator or a letter for thousands; write numbers without it",
            Self::Comma => "the comma may separate decimals or thousands; write a decimal point",
            Self::Point => {
                "the point may separate decimals or thousands; write all values with decimals, \
                 as in 912.00, or none with a separator"
            }
            Self::Range => "not a finite number up to 1e150",
            Self::NotBinary => "expected 0 or 1",
            Self::NotProbability => {
                "a score is a probability from 0 to 1, not a percentage or a logit"
            }
            Self::Text => "not a number",
        }
    }

    /// Whether columns of such values are text rather than numbers in a bad shape.
    pub(super) const fn is_text(self) -> bool {
        matches!(self, Self::YesNo | Self::Date | Self::Text)
    }
}

/// Reads a field. `comma`: the file separates fields by another character, so a comma may separate decimals.
pub(super) fn value(field: &[u8], comma: bool) -> Value {
    let Ok(text) = std::str::from_utf8(field) else { return Value::Unreadable(Cause::Text) };
    match text {
        "" => return Value::Absent,
        "true" | "True" | "TRUE" => return Value::Number(1.0),
        "false" | "False" | "FALSE" => return Value::Number(0.0),
        _ => {}
    }
    // Rust also reads words: nan, inf, infinity.
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    if let Ok(number) = text.parse::<f64>() {
        return match number {
            _ if !digits && number.is_nan() => Value::Unreadable(Cause::Missing),
            _ if number.is_finite() && number.abs() <= 1e150 => Value::Number(number),
            _ => Value::Unreadable(Cause::Range),
        };
    }
    if let Some(number) = decimal_comma(text).filter(|_| comma) {
        return Value::Number(number);
    }
    Value::Unreadable(cause(text, digits))
}

/// `12,5`: digits, one comma, digits.
fn decimal_comma(text: &str) -> Option<f64> {
    let (whole, decimals) = text.split_once(',')?;
    let sign = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (all(sign) && all(decimals)).then(|| format!("{whole}.{decimals}").parse().ok())?
}

/// Whether a prediction or a label is a word for a missing value. A class may be called `none` or `-`, so only spellings that
/// programs write count.
pub(super) fn is_missing_class(field: &[u8]) -> bool {
    let words = ["NULL", "null", "NaN", "nan", "None", "NA", "N/A", "n/a", "#N/A", "<NA>", "\\N"];
    words.iter().any(|word| field == word.as_bytes())
}

fn cause(text: &str, digits: bool) -> Cause {
    let missing = ["nan", "null", "none", "na", "n/a", "#n/a", "nil", "undefined", "\\n", "-", "?"];
    let yes_no = ["yes", "no", "y", "n", "t", "f", "on", "off", "ja", "nein", "oui", "non"];
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&missing) || text == "<NA>" {
        return Cause::Missing;
    }
    if is(&yes_no) {
        return Cause::YesNo;
    }
    if !digits {
        return Cause::Text;
    }
    let count = |of: &[char]| text.matches(of).count();
    let letters = text.chars().filter(|letter| letter.is_alphabetic()).count();
    if grouping(text) == Some(Grouping::Certain) {
        return Cause::Thousands;
    }
    let date = count(&['-', '/']) == 2 || count(&['.']) == 2 || count(&[':']) > 0;
    if date && letters <= 3 && !text.contains(',') {
        return Cause::Date;
    }
    // A number with something around or within it: 1 304,00, $12, 12 %, 3.5 EUR.
    let known = |letter: char| {
        letter.is_ascii_digit()
            || letter.is_whitespace()
            || "+-.,'’_%$€£¥()".contains(letter)
            || letter == '\u{a0}'
    };
    if text.chars().filter(|letter| !known(*letter)).count() <= 3 && letters <= 3 {
        let starts = text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let before = text.len() - starts.len();
        if before <= 4 && (letters == 0 || !text.starts_with(char::is_alphabetic)) {
            return Cause::Notation;
        }
    }
    Cause::Text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        let numbers = [
            ("1", 1.0),
            ("-2.5", -2.5),
            ("+3e2", 300.0),
            (".5", 0.5),
            ("true", 1.0),
            ("FALSE", 0.0),
            ("1e150", 1e150),
        ];
        for (text, number) in numbers {
            assert_eq!(value(text.as_bytes(), false), Value::Number(number), "{text}");
        }
        assert_eq!(value(b"", false), Value::Absent);
    }

    #[test]
    fn what_is_not_a_number_has_a_cause() {
        let causes = [
            (
                Cause::Missing,
                &["NaN", "nan", "NULL", "null", "None", "N/A", "NA", "-", "\\N", "<NA>"][..],
            ),
            (Cause::YesNo, &["yes", "No", "y", "N", "ja"]),
            (
                Cause::Date,
                &["2026-03-02", "02.03.2026", "3/2/2026", "2026-03-02T09:00:00Z", "09:15"],
            ),
            (
                Cause::Notation,
                &[
                    "1 2304,00",
                    "1,304",
                    "$12",
                    "12 %",
                    "3.5 EUR",
                    "12,5",
                    "(12.50)",
                    "12ms",
                    "0x1F",
                    "−5",
                ],
            ),
            (
                Cause::Thousands,
                &[
                    "1 304,00",
                    "1\u{a0}304,00",
                    "1.304,00",
                    "1,304.00",
                    "1'304",
                    "1.304.000",
                    "$1,304.50",
                ],
            ),
            (Cause::Range, &["inf", "-Infinity", "1e151", "1e999"]),
            (Cause::Text, &["DE", "cat", "sku-12", "v2", "a1b2c3d4e5"]),
        ];
        for (cause, texts) in causes {
            for text in texts {
                assert_eq!(value(text.as_bytes(), false), Value::Unreadable(cause), "{text}");
            }
        }
        assert_eq!(value(b"\xff1", false), Value::Unreadable(Cause::Text));
    }

    #[test]
    fn a_comma_separates_decimals_where_it_does_not_separate_fields() {
        for (text, number) in [("12,5", 12.5), ("-0,25", -0.25), ("1,304", 1.304), ("7", 7.0)] {
            assert_eq!(value(text.as_bytes(), true), Value::Number(number), "{text}");
        }
        for text in [",5", "5,"] {
            assert_eq!(value(text.as_bytes(), true), Value::Unreadable(Cause::Notation), "{text}");
        }
        for text in ["1 304,00", "1.304,00", "1,304,000"] {
            assert_eq!(value(text.as_bytes(), true), Value::Unreadable(Cause::Thousands), "{text}");
        }
    }
}
