//! The quantities of a decision, each a type of its own.
//!
//! All are fixed-width integers: the same arithmetic on a 64-bit server and in a 32-bit wasm module.

#[cfg(test)]
mod tests;

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, Sub};
use core::str::FromStr;

/// A share in parts per million, 0 to 1 000 000. One percent is 10 000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppm(u32);

impl Ppm {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(1_000_000);

    /// A share of `ppm` parts per million; `None` above [`Ppm::ALL`].
    #[must_use]
    pub const fn new(ppm: u32) -> Option<Self> {
        if ppm <= Self::ALL.0 { Some(Self(ppm)) } else { None }
    }

    /// The parts per million.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// This share of a whole as a fraction between 0 and 1. For reports; decisions compare integers.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL.0)
    }
}

/// As percent: `30`, `0.5`, `12.3456`.
impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Why a text is not a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPercent {
    /// Not a decimal number from 0 to 100.
    OutOfRange,
    /// A percentage with more than four decimals: one part per million is 0.0001 percent.
    TooPrecise,
}

impl fmt::Display for NotPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "not a percentage from 0 to 100",
            Self::TooPrecise => "more than four decimals",
        })
    }
}

impl core::error::Error for NotPercent {}

/// Reads percent as [`Display`](fmt::Display) writes them: digits, and up to four decimals after a point.
impl FromStr for Ppm {
    type Err = NotPercent;

    fn from_str(text: &str) -> Result<Self, NotPercent> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) {
            return Err(NotPercent::OutOfRange);
        }
        let digits = decimals.get(..4).unwrap_or(decimals);
        let ppm = format!("{whole}{digits:0<4}").parse().ok().and_then(Self::new);
        let ppm = ppm.ok_or(NotPercent::OutOfRange)?;
        if decimals.len() > 4 { Err(NotPercent::TooPrecise) } else { Ok(ppm) }
    }
}

/// Where a unit falls in an experiment, 0 to 999 999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u32);

impl Bucket {
    /// How many buckets there are.
    pub const COUNT: u32 = 1_000_000;

    /// The bucket of this number; `None` from [`Bucket::COUNT`] on.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The bucket of a 64-bit draw: `(draw × 1 000 000) >> 64`.
    ///
    /// Multiply and shift instead of a remainder: no bias worth naming, and larger draws never fall
    /// into smaller buckets.
    #[must_use]
    pub fn from_draw(draw: u64) -> Self {
        let scaled = (u128::from(draw) * u128::from(Self::COUNT)) >> 64;
        // Below COUNT by construction; the fallback keeps the function total.
        Self(u32::try_from(scaled).unwrap_or(Self::COUNT - 1))
    }

    /// The bucket's number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// How many buckets after `first` it comes, if bucket 0 follows the last one.
    #[must_use]
    pub const fn distance_from(self, first: Self) -> u32 {
        (self.0 + Self::COUNT - first.0) % Self::COUNT
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(u64);

impl Millis {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// This many milliseconds.
    #[must_use]
    pub const fn new(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// The number of milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The time since `earlier`, for readings of a clock that never steps; zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// `factor` times as long; the longest possible time on overflow.
    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// This many thousandths of the time, rounded down; saturates like [`Millis::times`].
    #[must_use]
    pub const fn thousandths(self, thousandths: u64) -> Self {
        Self(self.0.saturating_mul(thousandths) / 1000)
    }

    /// Reads what the experiment file writes: whole numbers with ms, s, m, h or d, as in `1h30m`. `None`
    /// when it cannot be read, or overflows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 5] =
            [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        with_units(text, &UNITS).map(Self)
    }
}

/// Reads a size in bytes as the experiment file writes it: whole numbers with B, KiB or MiB, as in `64KiB`. `None` when
/// it cannot be read, or overflows.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    with_units(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1)])
}

/// Adds up `1h30m`: whole numbers, each with one of the units. `None` when it cannot be read or overflows.
fn with_units(mut text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut sum: Option<u64> = None;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, rest) = text.split_at(digits);
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(letters);
        let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
        sum = Some(sum.unwrap_or(0).checked_add(number.parse::<u64>().ok()?.checked_mul(*size)?)?);
        text = rest;
    }
    sum
}

/// Saturates.
impl Add for Millis {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

/// Saturates.
impl Sum for Millis {
    fn sum<I: Iterator<Item = Self>>(lengths: I) -> Self {
        lengths.fold(Self::ZERO, Self::add)
    }
}

/// As the experiment file writes it: `200ms`, `30s`, `1h30m`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] =
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (size, unit) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment this many milliseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn new(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero when the clock stepped back.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// Reads RFC 3339, as in `2026-11-23T09:00:00Z`. `None` when it is not, or before 1970.
    ///
    /// Written here because a date library made the module that proxies load a third larger; the tests compare it
    /// with one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = (text.get(..10)?, text.get(11..19)?);
        let (zone, fraction) = match text.get(19..)?.strip_prefix('.') {
            Some(rest) => {
                let digits =
                    rest.find(|c: char| !c.is_ascii_digit()).filter(|&digits| digits > 0)?;
                (rest.get(digits..)?, rest.get(..digits)?)
            }
            None => (text.get(19..)?, ""),
        };
        let [year, month, day] = numbers(date, "-", [4, 2, 2])?;
        let [hour, minute, second] = numbers(time, ":", [2, 2, 2])?;
        let milliseconds: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        let separated = matches!(text.as_bytes().get(10), Some(b'T' | b't'));
        // A leap second counts as the first of the next minute, as POSIX time has it.
        if !separated || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds =
            days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
        u64::try_from(seconds * 1000 + milliseconds).ok().map(Self)
    }
}

/// Saturates: the latest representable moment stands for "never".
impl Add<Millis> for Timestamp {
    type Output = Self;

    fn add(self, later: Millis) -> Self {
        Self(self.0.saturating_add(later.0))
    }
}

/// Saturates at 1970.
impl Sub<Millis> for Timestamp {
    type Output = Self;

    fn sub(self, earlier: Millis) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// The fields of `text` between separators, each of so many digits.
fn numbers<const N: usize>(text: &str, separator: &str, widths: [usize; N]) -> Option<[i64; N]> {
    let mut fields = text.split(separator);
    let mut out = [0; N];
    for (number, width) in out.iter_mut().zip(widths) {
        let field = fields.next().filter(|field| field.len() == width)?;
        *number = field.bytes().all(|b| b.is_ascii_digit()).then(|| field.parse().ok())??;
    }
    fields.next().is_none().then_some(out)
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes] = numbers(zone.get(1..)?, ":", [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970-01-01 of a date in the Gregorian calendar; `None` for a day that its month does not have.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Counted in 400-year eras whose years begin in March, so that the leap day comes last (H. Hinnant,
    // "chrono-Compatible Low-Level Date Algorithms").
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The date of a day since 1970-01-01: the inverse of [`days`].
const fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let civil = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + if civil <= 2 { 1 } else { 0 }, civil, day)
}

/// In RFC 3339 and UTC; milliseconds only when there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milliseconds) = (self.0 / 1000, self.0 % 1000);
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if milliseconds > 0 {
            write!(f, ".{milliseconds:03}")?;
        }
        f.write_str("Z")
    }
}
