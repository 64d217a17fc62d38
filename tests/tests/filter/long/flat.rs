//! Memory growth: readings over a run, printed as a curve and checked.

use std::fmt;

pub(crate) const KIB: u64 = 1024;

/// Readings of a few quantities, in KiB, after so many requests.
pub(crate) struct Curve<const N: usize> {
    names: [&'static str; N],
    points: Vec<(u64, [u64; N])>,
}

impl<const N: usize> Curve<N> {
    pub(crate) fn new(names: [&'static str; N]) -> Self {
        Self { names, points: Vec::new() }
    }

    pub(crate) fn point(&mut self, requests: u64, readings: [u64; N]) {
        self.points.push((requests, readings));
    }

    /// Asserts that it has not [grown](Self::grown).
    pub(crate) fn is_flat(&self, quantity: usize, slack: u64) {
        let grown = self.grown(quantity, slack);
        assert!(grown.is_none(), "{}:\n{self}", grown.unwrap_or_default());
    }

    /// Says so when the last quarter of the run holds more than the second one and `slack` KiB.
    /// Medians, so that a single reading in an unlucky moment says nothing.
    fn grown(&self, quantity: usize, slack: u64) -> Option<String> {
        let quarter = self.points.len() / 4;
        let (before, after) =
            (self.median(quantity, quarter..2 * quarter), self.last(quantity, quarter));
        let grown = after > before + slack;
        grown.then(|| format!("{} grew from {before} to {after} KiB", self.names[quantity]))
    }

    fn last(&self, quantity: usize, count: usize) -> u64 {
        self.median(quantity, self.points.len() - count..self.points.len())
    }

    fn median(&self, quantity: usize, points: std::ops::Range<usize>) -> u64 {
        let mut readings: Vec<u64> =
            self.points[points].iter().map(|(_, all)| all[quantity]).collect();
        readings.sort_unstable();
        readings[readings.len() / 2]
    }
}

impl<const N: usize> fmt::Display for Curve<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10}", "after")?;
        self.names.iter().try_for_each(|name| write!(f, "{name:>16}"))?;
        for (requests, readings) in &self.points {
            write!(f, "\n{requests:>10}")?;
            readings.iter().try_for_each(|reading| write!(f, "{reading:>16}"))?;
        }
        Ok(())
    }
}

#[test]
fn growth_is_seen_and_noise_is_not() {
    let curve = |reading: fn(u64) -> u64| {
        let mut curve = Curve::new(["memory"]);
        (0..20).for_each(|n| curve.point(n, [reading(n)]));
        curve
    };
    assert_eq!(curve(|n| 1_000 + n % 3).grown(0, 2), None);
    assert_eq!(curve(|n| if n < 4 { n * 100 } else { 1_000 }).grown(0, 0), None);
    assert!(curve(|n| 1_000 + n).grown(0, 2).is_some());
}
