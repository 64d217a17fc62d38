//! A parser for timestamps: RFC 3339 as Envoy writes it, and the other forms that log pipelines and warehouses make of it.
//!
//! For Envoy's form the day is remembered, and only the time of day is parsed again.

use sidetrack::quantity::Timestamp;

/// Parses timestamps of one log.
#[derive(Debug, Default)]
pub struct Clock {
    day: [u8; 10],
    midnight: u64,
}

impl Clock {
    /// Milliseconds since 1970.
    ///
    /// RFC 3339; the same with a space instead of the `T`, with a comma before the decimals, or without an offset,
    /// which is UTC; or the seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size.
    #[must_use]
    pub fn read(&mut self, text: &str) -> Option<u64> {
        let fast = self.fast(text.as_bytes());
        let parse = |text: &str| Timestamp::parse(text).map(Timestamp::get);
        fast.or_else(|| parse(text)).or_else(|| parse(&as_rfc3339(text)?)).or_else(|| epoch(text))
    }

    /// `2026-11-23T09:00:00.123Z` exactly.
    #[inline]
    pub(super) fn fast(&mut self, text: &[u8]) -> Option<u64> {
        let (day, clock) = text.split_first_chunk::<10>()?;
        let clock: &[u8; 14] = clock.try_into().ok()?;
        let &[b'T', a, b, c, d, e, f, g, h, b'.', i, j, k, b'Z'] = clock else { return None };
        let [hour, minute, second] = hour_minute_second([a, b, c, d, e, f, g, h])?;
        if !(i.is_ascii_digit() && j.is_ascii_digit() && k.is_ascii_digit()) {
            return None;
        }
        if *day != self.day {
            let midnight = format!("{}T00:00:00Z", std::str::from_utf8(day).ok()?);
            self.midnight = Timestamp::parse(&midnight)?.get();
            self.day = *day;
        }
        let [i, j, k] = [i, j, k].map(|digit| u64::from(digit - b'0'));
        let milliseconds = i * 100 + j * 10 + k;
        Some(self.midnight + ((hour * 60 + minute) * 60 + second) * 1000 + milliseconds)
    }
}

/// `09:00:00`, all bytes at once: they are those of a word.
#[inline]
fn hour_minute_second(text: [u8; 8]) -> Option<[u64; 3]> {
    // What a byte lacks to 128 must be more than its value: ten for a digit, one for a colon.
    const LIMITS: u64 = u64::from_le_bytes([118, 118, 127, 118, 118, 127, 118, 118]);
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes(*b"00:00:00");
    if (digits | digits.wrapping_add(LIMITS)) & HIGH != 0 {
        return None;
    }
    let pairs = digits * 10 + (digits >> 8);
    let [hour, minute, second] = [pairs, pairs >> 24, pairs >> 48].map(|pair| pair & 0xff);
    (hour < 24 && minute < 60 && second < 60).then_some([hour, minute, second])
}

/// `2026-03-02 09:00:00,123 +0100` as RFC 3339 writes it.
fn as_rfc3339(text: &str) -> Option<String> {
    let (day, clock) = text.split_at_checked(10)?;
    let clock = clock.strip_prefix(['T', 't', ' '])?.trim_start().replace(',', ".");
    let start = clock.find(['Z', 'z', '+', '-']).or_else(|| clock.find(" UTC"));
    let (clock, offset) = clock.split_at(start.unwrap_or(clock.len()));
    let clock = clock.trim_end();
    let offset = match offset.trim() {
        "" | "UTC" | "Z" | "z" => "Z".to_owned(),
        // +01, +0100
        short if short.len() == 3 => format!("{short}:00"),
        whole if whole.len() == 5 => {
            let (hours, minutes) = whole.split_at_checked(3)?;
            format!("{hours}:{minutes}")
        }
        other => other.to_owned(),
    };
    // Nanoseconds and longer fractions are more than a timestamp may have.
    let (second, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let fraction = fraction.get(..fraction.len().min(9))?;
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{day}T{second}{point}{fraction}{offset}"))
}

/// A number since 1970, from the year 1973 on.
fn epoch(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let number: u64 = whole.parse().ok()?;
    Some(match whole.len() {
        9..=10 => {
            let thousandths: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
            number * 1000 + thousandths
        }
        12..=13 => number,
        15..=16 => number / 1000,
        18..=19 => number / 1_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wrong_byte_is_a_time() {
        const TIME: &str = "2026-11-23T19:45:07.250Z";
        let wanted = Timestamp::parse(TIME).map(Timestamp::get);
        assert_eq!(Clock::default().fast(TIME.as_bytes()), wanted);
        for (at, byte) in (0..TIME.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut bytes = TIME.as_bytes().to_vec();
            bytes[at] = byte;
            let text = std::str::from_utf8(&bytes).unwrap_or_default();
            let wanted = Timestamp::parse(text).map(Timestamp::get);
            let found = Clock::default().fast(&bytes);
            // Leap seconds and letters of other cases are left to the general parser.
            assert!(found == wanted || found.is_none() && !byte.is_ascii_digit(), "{text}");
        }
    }

    #[test]
    fn what_pipelines_make_of_a_time_is_read() {
        let nine = Timestamp::parse("2026-11-23T09:00:00.123Z").map(Timestamp::get);
        for text in [
            "2026-11-23 09:00:00.123",
            "2026-11-23 09:00:00,123",
            "2026-11-23T09:00:00.123",
            "2026-11-23 09:00:00.123 UTC",
            "2026-11-23 09:00:00.123+00",
            "2026-11-23 10:00:00.123 +0100",
            "2026-11-23T04:00:00.123456789-05:00",
            "2026-11-23T09:00:00.123456789Z",
            "1795424400.123",
            "1795424400.1234567",
            "1795424400123",
            "1795424400123456",
            "1795424400123456789",
        ] {
            assert_eq!(Clock::default().read(text), nine, "{text}");
        }
        assert_eq!(Clock::default().read("1795424400"), nine.map(|nine| nine - 123));
        for text in [
            "2026-11-23",
            "23.11.2026 09:00",
            "09:00:00",
            "7",
            "20261123",
            "12345678901",
            "1e9",
            "-1795424400",
            "noon",
        ] {
            assert_eq!(Clock::default().read(text), None, "{text}");
        }
    }

    #[test]
    fn the_fast_clock_agrees_with_the_slow_one() {
        let mut clock = Clock::default();
        for text in [
            "2026-11-23T09:00:00.123Z",
            "2026-11-23T23:59:59.999Z",
            "2024-02-29T00:00:00.000Z",
            "2026-11-23T09:00:00Z",
            "2026-11-23T10:00:00.5+01:00",
            "2026-02-29T09:00:00.123Z",
            "2026-11-23T24:00:00.123Z",
            "2026-11-23T23:60:00.123Z",
            "2026-11-23T23:59:60.123Z",
            "2026-11-24T12:34:56.789Z",
            "2026-11-24T00:00:00.000Z",
            "2026-11-24T21:43:05.607Z",
            "2026-11-23T09:00:00.12xZ",
            "",
        ] {
            assert_eq!(clock.read(text), Timestamp::parse(text).map(Timestamp::get), "{text}");
        }
    }

    #[test]
    fn what_envoy_writes_takes_the_fast_way() {
        let mut clock = Clock::default();
        for text in
            ["2026-11-23T09:00:00.123Z", "2026-11-23T23:59:59.999Z", "2026-11-24T00:00:00.000Z"]
        {
            let time = clock.fast(text.as_bytes());
            assert!(time.is_some(), "{text}");
            assert_eq!(time, Timestamp::parse(text).map(Timestamp::get), "{text}");
        }
    }
}
