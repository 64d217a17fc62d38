//! The largest values of a metric: those of a hundredth of the units with a value, of all variants together.
//!
//! Which units these are depends on no variant. Test purchases and fraud are among them, as are the best customers.

use super::Summation;
use crate::answer::Role;
use crate::error::Error;
use crate::metric::{Measure, Metric, Origin};

/// One unit with a value in so many is among the largest,
const ONE_OF: usize = 100;
/// and at least so many are.
const LEAST: usize = 10;
/// A unit is among the largest as well if its value is so many times that of the last of the top twentieth (at least
/// [`TOP`] units): test accounts may all have the same value.
const TIMES: f64 = 4.0;
const TWENTIETH: usize = 20;
const TOP: usize = 20;
/// With fewer values, the largest are most of them.
const ENOUGH: usize = 40;

impl Summation<'_> {
    /// By metric: the value above which a unit is among the largest. Only of metrics that decide and add up values.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(super) fn large(&self) -> Result<Vec<Option<f64>>, Error> {
        let large = |(index, metric): (usize, &Metric)| {
            if !self.units || !adds_values(metric) {
                return Ok(None);
            }
            Ok(threshold(self.of_units(index, metric)?))
        };
        self.metrics.iter().enumerate().map(large).collect()
    }
}

/// Whether a metric adds up values of outcomes, and decides.
pub(crate) fn adds_values(metric: &Metric) -> bool {
    let is_sum = matches!(metric.measure, Measure::Mean | Measure::Ratio) && !metric.is_share();
    is_sum && matches!(metric.origin, Origin::Column(_)) && metric.role != Role::Exploratory
}

/// The size above which a value is among the largest. `None` if there are too few values.
fn threshold(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| *value != 0.0);
    values.iter_mut().for_each(|value| *value = value.abs());
    let count = values.len();
    if count < ENOUGH {
        return None;
    }
    let mut largest = |place: usize| {
        let (_, value, _) = values.select_nth_unstable_by(place, |a, b| b.total_cmp(a));
        *value
    };
    let (wanted, top) = ((count / ONE_OF).max(LEAST), (count / TWENTIETH).max(TOP));
    Some(largest(wanted).min(TIMES * largest(top)))
}

#[cfg(test)]
mod tests {
    use super::threshold;

    #[test]
    fn a_hundredth_of_the_values_or_what_is_far_above_a_twentieth() {
        let numbers = |count: u32| (1..=count).map(f64::from).collect::<Vec<_>>();
        assert_eq!(threshold(numbers(39)), None);
        assert_eq!(threshold(numbers(100)), Some(90.0));
        assert_eq!(threshold(numbers(10_000)), Some(9900.0));
        let zeros = [vec![0.0; 5000], numbers(100), vec![-300.0]].concat();
        assert_eq!(threshold(zeros), Some(91.0), "zeros are no values, and signs do not count");
        // Fifteen test accounts with the same value.
        let tests = [vec![10.0; 1000], vec![5000.0; 15]].concat();
        assert_eq!(threshold(tests), Some(40.0));
        assert_eq!(threshold(vec![7.0; 100]), Some(7.0));
    }
}
