//! Histogram of the latencies of a variant in a stratum, for quantiles and their errors.
//!
//! Counts per millisecond up to a second, and per 1.6 percent above, in a hundred groups. All requests of a unit are in the same
//! group, so groups show the error of sampling units, not the smaller error of independent requests. Envoy logs whole
//! milliseconds; within a bin, latencies are taken as evenly spread.
//!
//! No histogram crate offers counts by group and interpolation within a bin.

mod inverse;

pub(crate) use inverse::Inverse;

/// How many groups units fall in.
pub(crate) const GROUPS: usize = 100;
/// Below this each millisecond has its bin.
const EXACT: u32 = 1024;
/// Bins per doubling above.
const STEPS: u32 = 64;

/// Counts by group and bin.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    groups: Vec<Vec<u32>>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { groups: vec![Vec::new(); GROUPS] }
    }
}

impl Histogram {
    /// Counts a request of this many milliseconds, of a unit with random bits.
    pub(crate) fn add(&mut self, unit: u64, milliseconds: u32) {
        self.add_in(group(unit), milliseconds);
    }

    /// Counts a request of this many milliseconds in a group of units.
    pub(crate) fn add_in(&mut self, group: usize, milliseconds: u32) {
        let bin = bin(milliseconds);
        let Some(bins) = self.groups.get_mut(group) else { return };
        if bins.len() <= bin {
            bins.resize(bin + 1, 0);
        }
        if let Some(count) = bins.get_mut(bin) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds the counts of another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (group, more) in self.groups.iter_mut().zip(&other.groups) {
            group.resize(group.len().max(more.len()), 0);
            for (count, more) in group.iter_mut().zip(more) {
                *count = count.saturating_add(*more);
            }
        }
    }

    /// The counts that are not 0: bin, group and count.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (usize, usize, u32)> {
        self.groups.iter().enumerate().flat_map(|(group, bins)| {
            let bins = bins.iter().enumerate().filter(|(_, count)| **count > 0);
            bins.map(move |(bin, count)| (bin, group, *count))
        })
    }

    /// Adds a count of [`Histogram::cells`]. Bins and groups beyond all latencies are refused.
    pub(crate) fn set(&mut self, bin: usize, group: usize, count: u32) -> Option<()> {
        let bins = self.groups.get_mut(group).filter(|_| bin <= self::bin(u32::MAX))?;
        bins.resize(bins.len().max(bin + 1), 0);
        *bins.get_mut(bin)? += count;
        Some(())
    }

    /// All groups in one.
    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts(Vec::new());
        for group in &self.groups {
            total.add(group);
        }
        total
    }

    /// How many requests.
    pub(crate) fn count(&self) -> u64 {
        self.groups.iter().flatten().map(|count| u64::from(*count)).sum()
    }

    /// By group: requests below a position, and all.
    pub(crate) fn below(&self, at: Position) -> impl Iterator<Item = (f64, f64)> {
        self.groups.iter().map(move |group| {
            let sum = |bins: &[u32]| bins.iter().map(|count| f64::from(*count)).sum::<f64>();
            let whole = group.get(..at.bin).unwrap_or(group);
            let part = group.get(at.bin).map_or(0.0, |count| f64::from(*count) * at.part);
            (sum(whole) + part, sum(group))
        })
    }
}

/// The group of a unit, below [`GROUPS`].
pub(crate) fn group(unit: u64) -> usize {
    // Other bits than those that a table of units uses.
    usize::try_from((u128::from(unit.rotate_left(32)) * GROUPS as u128) >> 64).unwrap_or(0)
}

/// A place among the bins, between two latencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Position {
    bin: usize,
    /// The part of the bin's requests that is below.
    part: f64,
}

impl Position {
    /// In milliseconds.
    fn latency(self) -> f64 {
        let (low, high) = (edge(self.bin), edge(self.bin + 1));
        low + (high - low) * self.part
    }
}

/// Counts by bin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Vec<u64>);

impl Counts {
    fn add(&mut self, group: &[u32]) {
        self.0.resize(self.0.len().max(group.len()), 0);
        for (count, more) in self.0.iter_mut().zip(group) {
            *count += u64::from(*more);
        }
    }

    /// Adds what another one counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// How many requests.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The latency in milliseconds below which this share of the requests lies.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        self.position(share).map(Position::latency)
    }

    /// The place below which this share of the requests lies; `None` without requests.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(crate) fn position(&self, share: f64) -> Option<Position> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let mut rank = share * count as f64;
        for (bin, &in_bin) in self.0.iter().enumerate() {
            let in_bin = in_bin as f64;
            if in_bin > 0.0 && rank <= in_bin {
                return Some(Position { bin, part: rank / in_bin });
            }
            rank -= in_bin;
        }
        Some(Position { bin: self.0.len(), part: 0.0 })
    }

    /// The share of requests up to each bin's upper edge, in milliseconds; bins without requests are left out.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(crate) fn cumulative(&self) -> Vec<(f64, f64)> {
        let count = self.count() as f64;
        let mut below = 0;
        let mut points = Vec::new();
        for (bin, &in_bin) in self.0.iter().enumerate() {
            if in_bin > 0 {
                below += in_bin;
                points.push((edge(bin + 1), below as f64 / count));
            }
        }
        points
    }
}

fn bin(milliseconds: u32) -> usize {
    let index = if milliseconds < EXACT {
        milliseconds
    } else {
        let octave = milliseconds.ilog2() - EXACT.ilog2();
        let step = u64::from(milliseconds - (EXACT << octave)) * u64::from(STEPS)
            / u64::from(EXACT << octave);
        EXACT + octave * STEPS + u32::try_from(step).unwrap_or(0)
    };
    usize::try_from(index).unwrap_or(0)
}

/// Where a bin begins, in milliseconds.
fn edge(bin: usize) -> f64 {
    let bin = u32::try_from(bin).unwrap_or(u32::MAX);
    if bin <= EXACT {
        return f64::from(bin);
    }
    let (octave, step) = ((bin - EXACT) / STEPS, (bin - EXACT) % STEPS);
    f64::from(EXACT) * f64::from(octave).exp2() * (1.0 + f64::from(step) / f64::from(STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_latency_lies_in_its_bin() {
        for ms in (0..5000).chain([65_535, 65_536, 1_000_000, u32::MAX]) {
            let bin = bin(ms);
            let (low, high) = (edge(bin), edge(bin + 1));
            assert!(low <= f64::from(ms) && f64::from(ms) < high, "{ms} in {low} to {high}");
            assert!(high - low <= 1.0 || (high - low) / low <= 1.0 / 63.0);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        (0..1000u32).for_each(|i| histogram.add(unit(i), i));
        let total = histogram.total();
        for (share, value) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            assert!((total.quantile(share).unwrap() - value).abs() < 1e-9, "{share}");
        }
        assert_eq!(Counts(vec![]).quantile(0.5), None);
    }

    #[test]
    fn the_groups_together_are_below_a_quantile_as_all_requests_are() {
        let mut histogram = Histogram::default();
        (0..10_000u32).for_each(|i| histogram.add(unit(i), i % 3000));
        let total = histogram.total();
        for share in [0.0, 0.1, 0.5, 0.95, 0.99, 1.0] {
            let at = total.position(share).unwrap();
            let sum = |(below, all): (f64, f64), (b, a): (f64, f64)| (below + b, all + a);
            let (below, all) = histogram.below(at).fold((0.0, 0.0), sum);
            assert!((below - share * 10_000.0).abs() < 1e-6 && all == 10_000.0, "{share} {below}");
            assert!(histogram.below(at).all(|(below, all)| below <= all && all > 0.0));
        }
        assert_eq!(histogram.count(), 10_000);
        // Beyond the last bin all requests are below.
        let end = total.position(1.5).unwrap();
        assert!(histogram.below(end).all(|(below, all)| below == all));
    }

    #[test]
    fn histograms_of_any_length_add_up() {
        let (mut long, mut short) = (Histogram::default(), Histogram::default());
        (0..500u32).for_each(|i| long.add(unit(i), 900 + i % 300));
        (0..300u32).for_each(|i| short.add(unit(i), i % 40));
        let (mut one, mut two) = (long.clone(), short.clone());
        one.merge(&short);
        two.merge(&long);
        for both in [one.total(), two.total()] {
            assert_eq!(both.count(), 800);
            let points = both.cumulative();
            assert_eq!(points.first(), Some(&(1.0, 8.0 / 800.0)));
            assert_eq!(points[39..41], [(40.0, 300.0 / 800.0), (901.0, 302.0 / 800.0)]);
            // From 1024 ms on, a bin is 16 ms wide.
            assert_eq!(points.last(), Some(&(1200.0, 1.0)));
            assert_eq!(points.len(), 40 + 124 + 11);
        }
        let (mut three, mut four) = (long.total(), short.total());
        three.merge(&short.total());
        four.merge(&long.total());
        assert_eq!(
            (three.cumulative(), four.cumulative()),
            (one.total().cumulative(), one.total().cumulative())
        );
    }

    #[test]
    fn a_quantile_lies_within_its_bin_by_rank() {
        let mut histogram = Histogram::default();
        // Three in the bin of 10 ms, none in the next ten, and one in the bin from 2048 to 2080 ms.
        for ms in [10, 10, 10, 2050] {
            histogram.add(7, ms);
        }
        let total = histogram.total();
        for (share, ms) in [
            (0.25, 10.0 + 1.0 / 3.0),
            (0.75, 11.0),
            (0.875, 2048.0 + 16.0),
            (1.0, 2080.0),
            (1.5, 2080.0),
        ] {
            let found = total.quantile(share).unwrap();
            assert!((found - ms).abs() < 1e-9, "{share}: {found}, not {ms}");
        }
        assert_eq!(total.cumulative(), [(11.0, 0.75), (2080.0, 1.0)]);
    }

    #[test]
    fn units_are_spread_over_all_groups_by_the_lower_half_of_their_keys() {
        assert_eq!((group(0), group(u64::MAX)), (0, GROUPS - 1));
        assert_eq!((group(1 << 31), group(1 << 63)), (50, 0));
        let mut counts = vec![0; GROUPS];
        (0..10_000).for_each(|i| counts[group(unit(i))] += 1);
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }

    fn unit(i: u32) -> u64 {
        crate::row::key(&i.to_string())
    }
}
