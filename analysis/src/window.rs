//! The time that is analyzed: since a moment, until another one.

use std::str::FromStr;

use sidetrack::quantity::Timestamp;

/// A moment as users write it: RFC 3339, or a date, which is its midnight in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

/// The time that is analyzed. Without a limit, everything is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first moment that counts.
    pub since: Option<Moment>,
    /// The first moment that no longer counts.
    pub until: Option<Moment>,
}

impl Window {
    /// Whether there is a limit.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Whether a time counts, in milliseconds since 1970.
    #[must_use]
    pub fn contains(&self, time: u64) -> bool {
        self.since.is_none_or(|Moment(since)| since.get() <= time)
            && self.until.is_none_or(|Moment(until)| time < until.get())
    }
}

impl Moment {
    pub(crate) const fn time(self) -> Timestamp {
        self.0
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let midnight = || Timestamp::parse(&format!("{text}T00:00:00Z"));
        Timestamp::parse(text).or_else(midnight).map(Self).ok_or_else(|| {
            format!(
                "\"{}\" is not a time; expected RFC 3339 as in 2026-11-23T09:00:00Z, or a date as in \
                 2026-11-23",
                crate::figures::visible(text)
            )
        })
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        text.parse().unwrap()
    }

    #[test]
    fn a_date_is_its_midnight() {
        assert_eq!(moment("2026-11-23"), moment("2026-11-23T00:00:00Z"));
        assert_eq!(moment("2026-11-23T10:30:00+01:00"), moment("2026-11-23T09:30:00Z"));
        assert_eq!(moment("2026-11-23").to_string(), "2026-11-23T00:00:00Z");
        for bad in ["", "yesterday", "2026-11-31", "2026-11", "23.11.2026", "2026-11-23 09:00"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn since_is_inclusive_and_until_is_exclusive() {
        let day = 86_400_000;
        let window =
            Window { since: Some(moment("1970-01-02")), until: Some(moment("1970-01-03")) };
        let inside = [day - 1, day, 2 * day - 1, 2 * day].map(|time| window.contains(time));
        assert_eq!(inside, [false, true, true, false]);
        assert!(window.is_limited() && !Window::default().is_limited());
        assert!(Window::default().contains(0) && Window::default().contains(u64::MAX));
        let since = Window { until: None, ..window };
        assert!(since.is_limited() && since.contains(u64::MAX) && !since.contains(0));
        let until = Window { since: None, ..window };
        assert!(until.is_limited() && until.contains(0) && !until.contains(u64::MAX));
    }
}
