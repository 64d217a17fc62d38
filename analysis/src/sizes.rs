//! The sizes of values on a logarithmic scale, from which quartiles are read: whether one variant counts in another unit.

use std::collections::BTreeMap;

use sidetrack_stats::float;

/// Steps for each doubling: quartiles are exact to 4 %.
const STEPS: f64 = 16.0;

/// How many values have each size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) steps: BTreeMap<i32, u64>,
    pub(crate) count: u64,
}

impl Sizes {
    /// Adds a value, whatever its sign. Zeros have no size.
    pub(crate) fn add(&mut self, value: f64) {
        let size = value.abs().log2() * STEPS;
        if size.is_finite() {
            #[expect(clippy::cast_possible_truncation, reason = "at most 16 times 1024")]
            let step = size.floor() as i32;
            *self.steps.entry(step).or_default() += 1;
            self.count += 1;
        }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The size that this share of the values does not exceed. `None` without values.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * float(self.count);
        let mut sum = 0;
        let step = self.steps.iter().find(|(_, count)| {
            sum += **count;
            float(sum) >= wanted
        });
        step.map(|(step, _)| ((f64::from(*step) + 0.5) / STEPS).exp2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_those_of_the_sizes() {
        let mut sizes = Sizes::default();
        (1..=1000).for_each(|value| sizes.add(-f64::from(value)));
        [0.0, f64::NAN, f64::INFINITY].into_iter().for_each(|value| sizes.add(value));
        assert_eq!(sizes.count(), 1000);
        for share in [0.25, 0.5, 0.75] {
            let found = sizes.quantile(share).unwrap();
            assert!((found / (1000.0 * share) - 1.0).abs() < 0.05, "{share}: {found}");
        }
        assert_eq!(Sizes::default().quantile(0.5), None);
    }
}
