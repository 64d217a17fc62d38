//! The owner of each bucket.
//!
//! Each candidate owns a span, as wide as it may ever grow, in the order of names. It holds the first part of its
//! span; all else is the baseline's. So a weight that changes within its span moves units between that candidate
//! and the baseline.

use crate::plan::{PerVariant, VariantId};
use crate::quantity::{Bucket, Ppm};

/// The candidates' spans, in the order of buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    spans: Vec<Span>,
}

/// The buckets that a candidate may ever hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The candidate.
    pub variant: VariantId,
    /// The first bucket.
    pub start: u32,
    /// How many buckets.
    pub width: Ppm,
}

impl Layout {
    /// Lays the spans one after another from bucket 0. `widths` are the candidates in the order of names.
    pub(crate) fn new(widths: impl IntoIterator<Item = (VariantId, Ppm)>) -> Self {
        let mut start = 0u32;
        let lay = |(variant, width): (VariantId, Ppm)| {
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
    #[inline]
    #[must_use]
    pub fn span_of(&self, bucket: Bucket) -> Option<(Span, u32)> {
        let after = self.spans.partition_point(|span| span.start <= bucket.get());
        // A span of no width shares its start with the next one, which then comes last and wins.
        let span = *self.spans.get(after.checked_sub(1)?)?;
        let offset = bucket.get() - span.start;
        (offset < span.width.get()).then_some((span, offset))
    }

    /// The candidate that holds the bucket under these weights; `None` is the baseline's.
    #[inline]
    #[must_use]
    pub fn candidate(&self, bucket: Bucket, weights: &PerVariant<Ppm>) -> Option<VariantId> {
        let (span, offset) = self.span_of(bucket)?;
        (offset < weights[span.variant].get()).then_some(span.variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: VariantId = VariantId::new(0);
    const V1: VariantId = VariantId::new(1);
    const V2: VariantId = VariantId::new(2);
    const V3: VariantId = VariantId::new(3);

    fn ppm(ppm: u32) -> Ppm {
        Ppm::new(ppm).unwrap()
    }

    #[test]
    fn boundaries_belong_to_exactly_one_side() {
        let layout = Layout::new([(V1, ppm(300_000)), (V2, ppm(0)), (V3, ppm(100_000))]);
        let weights = PerVariant::new([0, 200_000, 0, 100_000].map(ppm).to_vec());
        let at = |b| layout.candidate(Bucket::new(b).unwrap(), &weights);
        assert_eq!(at(0), Some(V1));
        assert_eq!(at(199_999), Some(V1));
        assert_eq!(at(200_000), None, "reserved, not held");
        assert_eq!(at(299_999), None);
        assert_eq!(at(300_000), Some(V3));
        assert_eq!(at(399_999), Some(V3));
        assert_eq!(at(400_000), None);
        assert_eq!(at(999_999), None);
    }

    #[test]
    fn weight_zero_gets_nobody_and_a_hundred_everybody() {
        let layout = Layout::new([(V0, Ppm::ALL)]);
        let at =
            |b, weight| layout.candidate(Bucket::new(b).unwrap(), &PerVariant::new(vec![weight]));
        for b in [0, 1, 499_999, 999_999] {
            assert_eq!(at(b, Ppm::ZERO), None);
            assert_eq!(at(b, Ppm::ALL), Some(V0));
        }
    }
}
