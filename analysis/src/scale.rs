//! How a metric's values are shown: shares in percent and points, times in milliseconds, everything else as it is.

use crate::figures::{digits, signed};

/// What one of a metric's values is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A fraction of one, shown in percent; differences in points.
    Share,
    /// Seconds, shown in milliseconds.
    Seconds,
    /// A number without a unit.
    Plain,
}

impl Scale {
    /// What a value is multiplied with before it is shown.
    #[must_use]
    pub const fn factor(self) -> f64 {
        match self {
            Self::Share => 100.0,
            Self::Seconds => 1000.0,
            Self::Plain => 1.0,
        }
    }

    /// A value with its unit: `91.2 %`, `143 ms`.
    #[must_use]
    pub fn amount(self, value: f64) -> String {
        let unit = if self == Self::Share { " %" } else { self.step() };
        format!("{}{unit}", digits(value * self.factor(), 4))
    }

    /// A difference with its sign and unit: `+3.6 points`.
    #[must_use]
    pub fn change(self, difference: f64) -> String {
        format!("{}{}", self.bare(difference), self.step())
    }

    /// A difference with its sign, without a unit.
    #[must_use]
    pub fn bare(self, difference: f64) -> String {
        signed(difference * self.factor(), 3)
    }

    /// An interval of a difference, without a unit: `+2.9 to +4.3`.
    #[must_use]
    pub fn range(self, (low, high): (f64, f64)) -> String {
        format!("{} to {}", self.bare(low), self.bare(high))
    }

    /// A margin with its unit: `0.5 points`, `20 ms`.
    #[must_use]
    pub fn margin(self, margin: f64) -> String {
        format!("{}{}", crate::figures::short(margin * self.factor(), 3), self.step())
    }

    const fn step(self) -> &'static str {
        match self {
            Self::Share => " points",
            Self::Seconds => " ms",
            Self::Plain => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_in_its_unit() {
        let shown = |scale: Scale| {
            [
                scale.amount(0.0912),
                scale.change(0.0361),
                scale.range((-0.0125, 0.0361)),
                scale.margin(0.005),
            ]
        };
        let share = ["9.120 %", "+3.61 points", "-1.25 to +3.61", "0.5 points"];
        assert_eq!(shown(Scale::Share), share);
        assert_eq!(shown(Scale::Seconds), ["91.20 ms", "+36.1 ms", "-12.5 to +36.1", "5 ms"]);
        assert_eq!(shown(Scale::Plain), ["0.09120", "+0.0361", "-0.0125 to +0.0361", "0.005"]);
    }
}
