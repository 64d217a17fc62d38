//! Whether the values of one variant are in another unit: cents beside euros, milliseconds beside seconds.
//!
//! A variant changes who buys, and a little how much; it does not multiply the values of nearly all rows. The
//! quartiles of the sizes show such a factor, whatever the few largest values are.

use std::collections::BTreeMap;

use crate::answer::Role;
use crate::check::{Check, CheckName, CheckState};
use crate::figures::digits;
use crate::join::Shape;
use crate::metric::{Metric, Origin};
use crate::model::ModelMetric;
use crate::sizes::Sizes;
use crate::summary::RowFacts;
use crate::sums::Placed;

/// All three quartiles differ by more: minutes and seconds differ by 60, cents by 100, milliseconds by 1000. With twenty
/// values of each variant, quartiles of equal distributions that are as skewed as a lognormal with σ = 2 do so in less
/// than one of 10⁸ experiments.
const FACTOR: f64 = 30.0;
/// Fewer values show nothing.
const ENOUGH: u64 = 20;
/// With this many values of each variant, a smaller factor is a fault as well, not chance: currencies can differ by a
/// factor of seven, centimeters and millimeters by ten. Equal distributions with σ = 2 exceed it in fewer than one of 10⁸
/// experiments.
const SURE: (u64, f64) = (200, 5.0);

/// One check for each metric of the outcomes that decides.
pub(crate) fn scales(
    facts: &RowFacts,
    placed: Option<&Placed>,
    shape: Shape,
    metrics: &[Metric],
    names: &[&str],
) -> Vec<Check> {
    let sizes = placed.map_or(&facts.sizes, |placed| &placed.sizes);
    let decides = |metric: &&Metric| metric.role != Role::Exploratory && !has_one_unit(metric);
    let metrics = metrics.iter().filter(decides);
    let columns = metrics.filter_map(|metric| match metric.origin {
        Origin::Column(column) => Some((metric, sizes.get(column)?)),
        _ => None,
    });
    columns.map(|(metric, sizes)| scale(metric, sizes, shape, names)).collect()
}

/// Whether the values are of one unit whatever the variant. The log writes tokens of all variants alike: a tenth of the cost
/// is a cheaper model, not another currency. Losses of a probability have no unit: those of a model that is sure of nearly all
/// its predictions are a hundredth of another's.
fn has_one_unit(metric: &Metric) -> bool {
    metric.llm.is_some() || matches!(metric.model, Some(ModelMetric::LogLoss | ModelMetric::Brier))
}

/// Beyond which factor so many values are in another unit.
const fn limit(values: u64) -> f64 {
    if values >= SURE.0 { SURE.1 } else { FACTOR }
}

fn scale(metric: &Metric, sizes: &[Sizes], shape: Shape, names: &[&str]) -> Check {
    let enough = |arm: usize| sizes.get(arm).filter(|sizes| sizes.count() >= ENOUGH);
    let factor = |arm: usize| {
        let (own, baseline) = (enough(arm)?, enough(shape.baseline)?);
        let ratios = [0.25, 0.5, 0.75]
            .map(|share| Some(own.quantile(share)?.log2() - baseline.quantile(share)?.log2()));
        let [Some(low), Some(middle), Some(high)] = ratios else { return None };
        let limit = limit(own.count().min(baseline.count())).log2();
        let is_beyond = [low, middle, high].iter().all(|ratio| *ratio > limit)
            || [low, middle, high].iter().all(|ratio| *ratio < -limit);
        Some((arm, middle.exp2(), is_beyond))
    };
    let found = shape.candidates().filter_map(factor);
    let worst = found.max_by(|a, b| {
        let far = |found: &(usize, f64, bool)| (found.2, found.1.log2().abs());
        let (one, two) = (far(a), far(b));
        one.0.cmp(&two.0).then(one.1.total_cmp(&two.1))
    });
    let name = |arm: usize| names.get(arm).copied().unwrap_or("?");
    let metric_name = &metric.name;
    let failed = worst.filter(|(.., is_beyond)| *is_beyond);
    let message = match failed {
        Some((arm, factor, _)) => {
            let median = |arm: usize| {
                enough(arm)
                    .and_then(|sizes| sizes.quantile(0.5))
                    .map_or_else(String::new, |size| digits(size, 2))
            };
            format!(
                "the values of {metric_name} are about {} times as large for {} as for the baseline: \
                 half of them are above {}, and of the baseline's above {}, and both quartiles differ \
                 as much. One variant counts in another unit, such as cents or milliseconds",
                digits(factor, 2),
                name(arm),
                median(arm),
                median(shape.baseline),
            )
        }
        None => format!("the values of {metric_name} are of one size in all variants"),
    };
    let medians = (0..shape.arms)
        .filter_map(|arm| Some((name(arm).to_owned(), sizes.get(arm)?.quantile(0.5)?)));
    Check {
        name: CheckName::ValueScale,
        state: if failed.is_some() { CheckState::Blocking } else { CheckState::Ok },
        subject: Some(metric_name.clone()),
        value: worst.map(|(_, factor, _)| factor.max(1.0 / factor)),
        limit: limit(sizes.iter().map(Sizes::count).min().unwrap_or_default()),
        variants: medians.collect::<BTreeMap<_, _>>(),
        message,
    }
}
