//! Plain lines of JSON, which nearly all are: no spaces between values, no escapes, no nested values, whole numbers. They are
//! read without a general parser, in a third of the time; every other line is left to it, so the result is the same.

use std::borrow::Cow;

use super::{Field, Line, Named};

/// Numbers with more digits are left to the general parser.
const DIGITS: usize = 18;

/// Reads a plain line; `None` if it is not plain, good or bad.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    // A control character is no JSON, and an escape is not plain.
    // All bytes are looked at, because sixteen at once are faster than one after another up to the first.
    if line.iter().fold(false, |found, byte| found | (*byte < b' ') | (*byte == b'\\')) {
        return None;
    }
    let mut rest = std::str::from_utf8(line).ok()?.strip_prefix('{')?;
    let mut found = Line::default();
    let mut seen = 0;
    loop {
        let (key, after) = text(rest)?;
        let (value, after) = value(after.strip_prefix(':')?)?;
        match Named::of(key) {
            Named::Key(key) => {
                let bit = 1u32 << key as u32;
                // A key that is there twice is a matter of the general parser.
                if seen & bit != 0 {
                    return None;
                }
                seen |= bit;
                *found.at(key) = value;
            }
            Named::Llm(place) => found.llm.take(place, value),
            Named::Other => {}
        }
        match after.as_bytes() {
            b"}" => return Some(found),
            [b',', ..] => rest = after.get(1..)?,
            _ => return None,
        }
    }
}

/// Text in quotes, and what follows it.
fn text(rest: &str) -> Option<(&str, &str)> {
    let inside = rest.strip_prefix('"')?;
    let end = memchr::memchr(b'"', inside.as_bytes())?;
    Some((inside.get(..end)?, inside.get(end + 1..)?))
}

fn value(rest: &str) -> Option<(Field<'_>, &str)> {
    match rest.as_bytes().first()? {
        b'"' => {
            let (text, after) = text(rest)?;
            Some((Field::of_text(Cow::Borrowed(text)), after))
        }
        b'n' => Some((Field::Nothing, rest.strip_prefix("null")?)),
        b'1'..=b'9' => {
            let end = rest.bytes().position(|byte| !byte.is_ascii_digit())?;
            let (digits, after) = rest.split_at_checked(end)?;
            // What follows a whole number ends the value.
            let is_whole = digits.len() <= DIGITS && after.starts_with([',', '}']);
            is_whole.then_some(())?;
            let number =
                digits.bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            Some((Field::Whole(number), after))
        }
        b'0' if rest.get(1..)?.starts_with([',', '}']) => Some((Field::Whole(0), rest.get(1..)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What both parsers make of a line.
    fn both(line: &str) -> (Option<String>, Option<String>) {
        let general: Result<Line<'_>, _> = serde_json::from_str(line);
        let words = |line: Line<'_>| format!("{line:?}");
        (parse(line.as_bytes()).map(words), general.ok().map(words))
    }

    const LINE: &str = r#"{"time":"2026-11-23T09:00:00.000Z","request_id":"r","unit":null,"status":200,"duration":0,"flags":"-","x":"ä","bucket":123456789012345678}"#;

    #[test]
    fn plain_lines_are_read_as_the_general_parser_does() {
        let (plain, general) = both(LINE);
        assert!(plain.is_some() && plain == general, "{plain:?}");
    }

    #[test]
    fn every_other_line_is_left_to_the_general_parser() {
        for other in [
            r#"{"status": 200}"#,
            r#"{"unit":"a\u0041"}"#,
            r#"{"unit":{"a":1}}"#,
            r#"{"status":1.5}"#,
            r#"{"status":-5}"#,
            r#"{"status":1e3}"#,
            r#"{"rescued":true}"#,
            r#"{"bucket":12345678901234567890}"#,
            r#"{"unit":"a","unit":"b"}"#,
            r#"{"unit":null,"unit":"b"}"#,
            "{}",
            r#"{"status":200"#,
            r#"{"status":200}x"#,
            r#"{"status":007}"#,
            r#"{"status":00}"#,
            r#"{"status":200,}"#,
            "{\"unit\":\"a\tb\"}",
            "",
        ] {
            assert_eq!(both(other).0, None, "{other}");
        }
    }

    #[test]
    fn a_wrong_byte_never_makes_another_line() {
        for at in 0..LINE.len() {
            for byte in *b"\"{}:,0n x" {
                let mut bytes = LINE.as_bytes().to_vec();
                bytes[at] = byte;
                let Ok(line) = std::str::from_utf8(&bytes) else { continue };
                let (plain, general) = both(line);
                assert!(plain.is_none() || plain == general, "{line}");
            }
        }
    }
}
