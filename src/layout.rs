//! Which buckets belong to whom.
//!
//! Each candidate owns a span, as wide as it may ever grow, in the order of names. It holds the first part of its
//! span; all else is the baseline's. So a weight that changes within its span moves units between that candidate
//! and the baseline, and nobody else.

use crate::quantity::{Bucket, Ppm};

/// The candidates' spans, in the order of buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    spans: Vec<Span>,
}

/// The buckets that a candidate may ever hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The candidate's index among the variants.
    pub variant: usize,
    /// The first bucket.
    pub start: u32,
    /// How many buckets.
    pub width: Ppm,
}

impl Layout {
    /// Lays the spans one after another from bucket 0. `widths` are variant indices and widths in the order of names.
    pub(crate) fn new(widths: impl IntoIterator<Item = (usize, Ppm)>) -> Self {
        let mut start = 0u32;
        let lay = |(variant, width): (usize, Ppm)| {
            let span = Span { variant, start, width };
            start = start.saturating_add(width.get());
            span
        };
        Self { spans: widths.into_iter().map(lay).collect() }
    }

    /// The spans in the order of buckets.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The candidate whose span holds the bucket, and how far into the span it lies.
    #[must_use]
    pub fn span_of(&self, bucket: Bucket) -> Option<(Span, u32)> {
        let after = self.spans.partition_point(|span| span.start <= bucket.get());
        // A span of no width shares its start with the next one, which then comes last and wins.
        let span = *self.spans.get(after.checked_sub(1)?)?;
        let offset = bucket.get() - span.start;
        (offset < span.width.get()).then_some((span, offset))
    }

    /// The candidate that holds the bucket under these weights (by variant index); `None` is the baseline's.
    #[must_use]
    pub fn candidate(&self, bucket: Bucket, weights: &[Ppm]) -> Option<usize> {
        let (span, offset) = self.span_of(bucket)?;
        let weight = weights.get(span.variant).copied().unwrap_or_default();
        (offset < weight.get()).then_some(span.variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ppm(ppm: u32) -> Ppm {
        Ppm::new(ppm).unwrap()
    }

    fn bucket(bucket: u32) -> Bucket {
        // The smallest draw of that bucket.
        Bucket::from_draw(u64::try_from((u128::from(bucket) << 64).div_ceil(1_000_000)).unwrap())
    }

    #[test]
    fn boundaries_belong_to_exactly_one_side() {
        let layout = Layout::new([(1, ppm(300_000)), (2, ppm(0)), (3, ppm(100_000))]);
        let weights = [ppm(0), ppm(200_000), ppm(0), ppm(100_000)];
        let at = |b| layout.candidate(bucket(b), &weights);
        assert_eq!(at(0), Some(1));
        assert_eq!(at(199_999), Some(1));
        assert_eq!(at(200_000), None, "reserved, not held");
        assert_eq!(at(299_999), None);
        assert_eq!(at(300_000), Some(3));
        assert_eq!(at(399_999), Some(3));
        assert_eq!(at(400_000), None);
        assert_eq!(at(999_999), None);
    }

    #[test]
    fn weight_zero_gets_nobody_and_a_hundred_everybody() {
        let layout = Layout::new([(0, Ppm::ALL)]);
        for b in [0, 1, 499_999, 999_999] {
            assert_eq!(layout.candidate(bucket(b), &[Ppm::ZERO]), None);
            assert_eq!(layout.candidate(bucket(b), &[Ppm::ALL]), Some(0));
        }
    }
}
