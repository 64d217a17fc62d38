//! The values of a unit in a metric, and how they are added up.

use sidetrack_stats::accumulate::Pairs;

use super::{MetricSums, add_one};
use crate::join::Cell;
use crate::metric::{Absent, Measure, Metric, Origin};

/// A unit's numerator and denominator in a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) slot: usize,
    pub(super) y: f64,
    pub(super) x: f64,
    /// The numerator without a cap.
    pub(super) whole: f64,
    /// Values of the column that it is made of.
    pub(super) rows: u32,
}

impl Value {
    fn is_capped(&self) -> bool {
        self.whole > self.y
    }
}

/// A unit's values in its slots.
pub(super) type Values = Vec<Value>;

impl MetricSums {
    /// Adds a unit's value in a slot. `is_heavy`: the unit is among those with the most requests.
    pub(super) fn add(&mut self, value: &Value, is_heavy: bool) {
        let Value { slot, y, x, whole, .. } = *value;
        // Sums of checked numbers; one beyond 1e150 does not count.
        let add = |pairs: &mut [Pairs], y: f64| {
            pairs.get_mut(slot).map(|pairs| pairs.add(y, x).ok());
        };
        add(&mut self.pairs, y);
        add(&mut self.uncapped, whole);
        if !is_heavy {
            add(&mut self.light, y);
        }
        if y.abs() <= self.large {
            add(&mut self.small, y);
        }
        if value.is_capped() {
            add_one(&mut self.capped, slot);
        }
    }

    /// Adds the sums of another shard.
    pub(super) fn merge(&mut self, more: &Self) {
        for (sums, more) in [
            (&mut self.pairs, &more.pairs),
            (&mut self.light, &more.light),
            (&mut self.small, &more.small),
            (&mut self.uncapped, &more.uncapped),
        ] {
            sums.iter_mut().zip(more).for_each(|(sum, more)| sum.merge(more));
        }
        if let (Some(sums), Some(more)) = (&mut self.covariates, &more.covariates) {
            sums.merge(more);
        }
        self.capped.iter_mut().zip(&more.capped).for_each(|(sum, more)| *sum += more);
    }
}

/// What a unit's cell adds to a metric: numerator and denominator.
pub(super) fn value(metric: &Metric, cell: &Cell, (sum, count): (f64, u32)) -> Option<(f64, f64)> {
    let answered = f64::from(cell.answered());
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one unit are far below 2^53")]
    let (y, x) = match (metric.origin, metric.measure) {
        (Origin::Errors, _) => (f64::from(cell.failed), answered),
        (Origin::Aborts, _) => (f64::from(cell.aborted), f64::from(cell.requests)),
        (Origin::Latency, _) => (cell.latency as f64 / 1000.0, answered),
        (Origin::Column(_), Measure::Proportion) => (f64::from(u8::from(sum > 0.0)), 1.0),
        (Origin::Column(_), Measure::Mean) => (sum, 1.0),
        (Origin::Column(_), _) => (sum, f64::from(count)),
    };
    let unknown = count == 0 && metric.absent == Absent::Missing;
    (x > 0.0 && !unknown).then_some((y, x))
}
