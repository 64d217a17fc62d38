//! Separators of thousands: whether a column has them, so that `1.103` beside `912` is not read as 1.103 dollars.
//!
//! The values with a separator are the largest of their column, so leaving out only them would bias every mean: the column
//! as a whole cannot be read.

use super::value::Cause;

/// How a text separates thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    /// `1,304.00`, `1.304.000`, `1'304`, `12,34,567`.
    Certain,
    /// `1.304` or `1,304`: the separator may as well separate decimals.
    Possible,
}

/// The separators of thousands: a point, a comma, apostrophes, an underscore and spaces of all widths.
fn is_separator(letter: char) -> bool {
    ".,'’_ \u{a0}\u{2009}\u{202f}".contains(letter)
}

/// Whether the digits of a text come in groups of thousands. A currency, a sign or a unit around them changes nothing.
pub(super) fn grouping(text: &str) -> Option<Grouping> {
    let text = text.trim_matches(|letter: char| !letter.is_ascii_digit());
    if text.bytes().all(|byte| byte.is_ascii_digit()) || text.starts_with('0') {
        return None;
    }
    let separator = text.chars().find(|letter| !letter.is_ascii_digit())?;
    if !is_separator(separator) {
        return None;
    }
    // The other one of point and comma separates decimals.
    let is_decimal = |letter: char| ".,".contains(letter) && letter != separator;
    let (whole, decimals) = text
        .split_once(is_decimal)
        .map_or((text, None), |(whole, decimals)| (whole, Some(decimals)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let groups: Vec<&str> = whole.split(separator).collect();
    let [first, middle @ .., last] = groups.as_slice() else { return None };
    // In India, only the last group has three digits.
    let fits = (1..=3).contains(&first.len())
        && last.len() == 3
        && middle.iter().all(|group| group.len() == 3 || (separator == ',' && group.len() == 2));
    if !fits || !groups.iter().all(|group| digits(group)) || !decimals.is_none_or(digits) {
        return None;
    }
    let is_alone = middle.is_empty() && decimals.is_none() && ".,".contains(separator);
    Some(if is_alone { Grouping::Possible } else { Grouping::Certain })
}

/// A value with its line.
type Seen = Option<(u64, Box<str>)>;

/// What the values of a column show about its separators.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The first value that certainly has a separator of thousands.
    grouped: Seen,
    /// The first value such as `1.304`.
    point: Seen,
    /// The first value such as `1,304`.
    comma: Seen,
    /// A point separates decimals for certain: `12.5`, `0.304`.
    decimal_point: bool,
    /// A comma does: `12,5`.
    decimal_comma: bool,
    /// A number of four digits and more has no separator, so thousands are not separated: `1304`.
    long: bool,
    /// A number of up to three digits stands without decimals: `912`. (Zero is zero, with and without.)
    short: bool,
}

impl Evidence {
    /// Adds a number that was read with a point or a comma before its decimals.
    pub(super) fn number(&mut self, line: u64, text: &str) {
        let digits = text.trim_start_matches(['-', '+']);
        let is_comma = digits.contains(',');
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.long |= digits.len() > 3;
            self.short |= digits.len() <= 3 && digits.bytes().any(|byte| byte != b'0');
        } else if grouping(digits).is_some() {
            keep(if is_comma { &mut self.comma } else { &mut self.point }, line, text);
        } else if is_comma {
            self.decimal_comma = true;
        } else if digits.contains('.') {
            self.decimal_point = true;
        }
    }

    /// Adds a value that cannot be read. `comma`: a comma cannot separate decimals here.
    pub(super) fn unreadable(&mut self, line: u64, text: &str, comma: bool) {
        let found = grouping(text);
        let is_comma = comma && text.contains(',');
        if found == Some(Grouping::Certain) || (found.is_some() && is_comma) || is_short_for(text) {
            keep(&mut self.grouped, line, text);
        }
    }

    /// Why no value of the column can be read: the line and the value that show it, and the cause.
    pub(super) fn verdict(&self) -> Option<(u64, &str, Cause)> {
        let comma_is_clear = self.long || (self.decimal_comma && !self.decimal_point);
        let point_is_clear = self.long || self.decimal_point || !self.short;
        let (seen, cause) = if self.grouped.is_some() {
            (&self.grouped, Cause::Thousands)
        } else if self.comma.is_some() && !comma_is_clear {
            (&self.comma, Cause::Comma)
        } else if self.comma.is_some() || self.decimal_comma || !point_is_clear {
            (&self.point, Cause::Point)
        } else {
            return None;
        };
        seen.as_ref().map(|(line, text)| (*line, &**text, cause))
    }
}

/// Whether a number is written with a letter for thousands or millions: `1.2k`, `3M`. Such values are the largest as well.
fn is_short_for(text: &str) -> bool {
    let number = text.strip_suffix(['k', 'K', 'M']).map(str::trim_end);
    number.is_some_and(|number| number.ends_with(|last: char| last.is_ascii_digit()))
}

fn keep(place: &mut Seen, line: u64, text: &str) {
    place.get_or_insert_with(|| (line, text.into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_thousands_are_known_by_their_form() {
        for text in [
            "1,304.00",
            "1.304,00",
            "1.304.000",
            "1,304,000",
            "1'304",
            "1’304.50",
            "1 304",
            "1\u{a0}304,00",
            "1\u{202f}304",
            "1_304",
            "12,34,567",
            "$1,304.00",
            "(1,304.00)",
            "-1 304 €",
        ] {
            assert_eq!(grouping(text), Some(Grouping::Certain), "{text}");
        }
        for text in ["1.304", "1,304", "-12.345", "999.999", "$1,304"] {
            assert_eq!(grouping(text), Some(Grouping::Possible), "{text}");
        }
        for text in [
            "",
            "-",
            "1304",
            "0.304",
            "0,304",
            "1304.500",
            "1.30",
            "1.3045",
            "1 2304,00",
            "12.5e3",
            "12:304",
            "1,30,4",
            "1.304.00",
            "2026.11.123",
            "1.304,5,6",
            "1-304",
        ] {
            assert_eq!(grouping(text), None, "{text}");
        }
    }

    /// The cause, and the value that shows it.
    fn verdict(numbers: &[&str], unreadable: &[&str]) -> Option<(String, Cause)> {
        let mut evidence = Evidence::default();
        numbers.iter().zip(2..).for_each(|(text, line)| evidence.number(line, text));
        unreadable.iter().zip(99..).for_each(|(text, line)| evidence.unreadable(line, text, true));
        evidence.verdict().map(|(_, text, cause)| (text.to_owned(), cause))
    }

    #[test]
    fn a_point_beside_short_numbers_may_separate_thousands() {
        let point = |text: &str| Some((text.to_owned(), Cause::Point));
        assert_eq!(verdict(&["912", "1.103", "15"], &[]), point("1.103"));
        assert_eq!(verdict(&["-912", "0", "-1.103"], &[]), point("-1.103"));
        // Something shows that the point separates decimals.
        for sound in [
            &["912", "1.103", "1.5"][..],
            &["912", "1.103", "0.104"],
            &["912", "1.103", "1500"],
            &["912", "1.103", "2.1035"],
            &["1.103", "2.104", "3.105"],
            &["912.000", "1.103"],
            &["0", "1.103", "0.000"],
            &["0", "1.103"],
            &["1", "2", "3"],
            &[],
        ] {
            assert_eq!(verdict(sound, &[]), None, "{sound:?}");
        }
    }

    #[test]
    fn commas_and_points_in_one_column_are_settled_only_by_other_values() {
        let comma = |text: &str| Some((text.to_owned(), Cause::Comma));
        let point = |text: &str| Some((text.to_owned(), Cause::Point));
        assert_eq!(verdict(&["1,304"], &[]), comma("1,304"));
        assert_eq!(verdict(&["1,304", "12.5"], &[]), comma("1,304"));
        assert_eq!(verdict(&["1,304", "12.5", "12,5"], &[]), comma("1,304"));
        assert_eq!(verdict(&["1,304", "12,5"], &[]), None);
        assert_eq!(verdict(&["1,304", "1304"], &[]), None);
        assert_eq!(verdict(&["1.304", "12,5"], &[]), point("1.304"));
        assert_eq!(verdict(&["12,5", "12.5"], &[]), None, "each is clear by itself");
    }

    #[test]
    fn one_certain_separator_is_enough() {
        let found = |text: &str| Some((text.to_owned(), Cause::Thousands));
        assert_eq!(verdict(&["912", "15.5"], &["1,304.00"]), found("1,304.00"));
        assert_eq!(verdict(&["912", "15.5"], &["1,304"]), found("1,304"));
        assert_eq!(verdict(&["912.1"], &["1 304"]), found("1 304"));
        assert_eq!(verdict(&["912.1"], &["$1.3k"]), found("$1.3k"));
        assert_eq!(verdict(&["912.1"], &["12 M"]), found("12 M"));
        assert_eq!(verdict(&["912", "15.5"], &["12,5", "NULL", "12 %"]), None);
    }
}
