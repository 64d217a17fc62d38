//! Numbers and untrusted text for output: significant digits, no control characters.

use sidetrack_stats::result::PValue;

/// To this number of significant digits, without separators: `1234`, `0.01235`, `1.23e-9`.
#[must_use]
pub fn digits(value: f64, significant: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e15).contains(&value.abs()) {
        return format!("{value:.*e}", significant.saturating_sub(1));
    }
    // The number of digits before the point, after rounding.
    let rounded: f64 =
        format!("{value:.*e}", significant.saturating_sub(1)).parse().unwrap_or(value);
    let mut decimals = significant;
    let mut bound = 1.0;
    while decimals > 0 && rounded.abs() >= bound {
        bound *= 10.0;
        decimals -= 1;
    }
    let mut small = rounded.abs();
    while small < 0.1 {
        small *= 10.0;
        decimals += 1;
    }
    format!("{rounded:.decimals$}")
}

/// The same with its sign.
#[must_use]
pub fn signed(value: f64, significant: usize) -> String {
    if value > 0.0 {
        format!("+{}", digits(value, significant))
    } else {
        digits(value, significant)
    }
}

/// `p = 0.0123`; below what a double holds, a power of ten.
#[must_use]
pub fn p(p: PValue) -> String {
    let value = p.get();
    if value < 1e-300 {
        return format!("p = 10^{:.1}", p.log10());
    }
    format!("p = {}", digits(value, 3))
}

/// The same without zeros at the end, for numbers that a user typed.
#[must_use]
pub fn short(value: f64, significant: usize) -> String {
    let text = digits(value, significant);
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A fraction in percent.
#[must_use]
pub fn percent(fraction: f64) -> String {
    format!("{} %", short(100.0 * fraction, 4))
}

/// Text of unknown origin, safe for a terminal: control characters are escaped.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_what_they_are_worth() {
        let cases = [
            (0.0, "0"),
            (1.0, "1.000"),
            (12.345_67, "12.35"),
            (-0.012_345_67, "-0.01235"),
            (999.96, "1000"),
            (9.999_96, "10.00"),
            (1_234_567.0, "1235000"),
            (1.234e-9, "1.234e-9"),
            (0.1, "0.1000"),
            (0.099_999_9, "0.1000"),
            (1e20, "1.000e20"),
        ];
        for (value, text) in cases {
            assert_eq!(digits(value, 4), text);
        }
        assert_eq!((signed(0.5, 2), signed(-0.5, 2)), ("+0.50".to_owned(), "-0.50".to_owned()));
        assert_eq!(
            (percent(0.05), percent(0.123_456), percent(1.0)),
            ("5 %".to_owned(), "12.35 %".to_owned(), "100 %".to_owned())
        );
        assert_eq!(
            (short(100.0, 6), short(1200.0, 6), short(1.5e-9, 3)),
            ("100".to_owned(), "1200".to_owned(), "1.50e-9".to_owned())
        );
        assert_eq!(p(PValue::new(0.012_345).unwrap()), "p = 0.0123");
        assert_eq!(p(PValue::new(1.234e-9).unwrap()), "p = 1.23e-9");
    }

    #[test]
    fn the_notation_changes_at_fixed_bounds() {
        for (value, text) in [
            (1e-4, "0.0001000"),
            (-1e-4, "-0.0001000"),
            (9.99e-5, "9.990e-5"),
            (9e14, "900000000000000"),
            (1e15, "1.000e15"),
        ] {
            assert_eq!(digits(value, 4), text);
        }
        assert_eq!((signed(0.0, 3), signed(1e-7, 2)), ("0".to_owned(), "+1.0e-7".to_owned()));
        let p_of = |value: f64| p(PValue::new(value).unwrap());
        assert_eq!([p_of(1e-4), p_of(9.9e-5)], ["p = 0.000100", "p = 9.90e-5"]);
        assert_eq!([p_of(1e-300), p_of(1e-302)], ["p = 1.00e-300", "p = 10^-302.0"]);
        assert_eq!([short(10.0, 1), short(0.5, 4), short(7.0, 4)], ["10", "0.5", "7"]);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(visible("a\u{1b}[1m\n\u{85}ü"), "a\\u{1b}[1m\\n\\u{85}ü");
    }
}
