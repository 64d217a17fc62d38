//! Skewed values: how many units a test of means needs.
//!
//! The mean of skewed values approaches the normal distribution slowly. Kohavi, Deng, Longbotham and Xu ("Seven Rules of
//! Thumb for Web Site Experimenters", KDD 2014) take 355 times the squared skewness as the number of units that each
//! variant needs.

use sidetrack_stats::float;

use super::Arms;
use crate::check::{Check, CheckName, CheckState};
use crate::figures::digits;
use crate::metric::{Measure, Metric, Origin};
use crate::sums::Tails;

/// Units of a variant for each unit of the squared skewness.
const UNITS: f64 = 355.0;
/// Up to this skewness, the rule is not needed.
const SKEWED: f64 = 1.0;

impl Arms<'_> {
    /// Whether each variant has enough units for the skewness of each metric that is compared by means.
    pub(super) fn skewness(&self) -> Vec<Check> {
        let metrics = self.metrics.iter().zip(&self.sums.metrics);
        metrics.filter_map(|(metric, sums)| self.skewness_of(metric, &sums.tails)).collect()
    }

    fn skewness_of(&self, metric: &Metric, tails: &[Tails]) -> Option<Check> {
        let of = |arms: &dyn Fn(usize) -> bool| {
            let slots = tails.iter().enumerate();
            let slots = slots.filter(|(slot, _)| arms(slot % self.shape.arms.max(1)));
            slots.fold(Tails::default(), |mut sum, (_, tails)| {
                sum.merge(tails);
                sum
            })
        };
        // A small variant of skewed values has often missed the large ones, so it borrows those of all.
        let all = of(&|_| true).skewness()?;
        let needs = |arm: usize| {
            let own = of(&|other| other == arm);
            let skewness =
                own.skewness().map_or(all, |own| if own.abs() > all.abs() { own } else { all });
            let needed = if skewness.abs() > SKEWED { UNITS * skewness * skewness } else { 0.0 };
            (own.units > 0).then_some((arm, own.units, skewness, needed))
        };
        let arms = (0..self.shape.arms).filter_map(needs);
        let missing = |(_, units, _, needed): &(usize, u64, f64, f64)| needed / float(*units);
        let worst = arms.max_by(|a, b| missing(a).total_cmp(&missing(b)))?;
        let (arm, units, skewness, needed) = worst;
        let value = missing(&worst);
        let (name, failed) = (&metric.name, value > 1.0);
        let message = if failed {
            format!(
                "{name} is skewed (skewness {}): its test is reliable from about {} units in each \
                 variant on, and {} has {units}. {}",
                digits(skewness, 3),
                digits((needed / 100.0).ceil() * 100.0, 3),
                self.names.get(arm).copied().unwrap_or("?"),
                cure(metric)
            )
        } else {
            format!("each variant has enough units for the skewness of {name}")
        };
        let by_arm = |arm: usize| {
            let own = of(&|other| other == arm).skewness()?;
            Some((self.names.get(arm).copied()?.to_owned(), own))
        };
        Some(Check {
            name: CheckName::Skewness,
            state: if failed { CheckState::Warning } else { CheckState::Ok },
            subject: Some(name.clone()),
            value: Some(value),
            limit: 1.0,
            variants: (0..self.shape.arms).filter_map(by_arm).collect(),
            message,
        })
    }
}

/// What to do about a skewed metric.
fn cure(metric: &Metric) -> String {
    let name = &metric.name;
    match (metric.origin, metric.measure) {
        _ if metric.model.is_some() => "Plan more units".to_owned(),
        (Origin::Column(_), _) if metric.cap.is_some() => {
            "Plan a lower cap, or more units".to_owned()
        }
        (Origin::Column(_), Measure::Mean) => {
            format!("Plan a cap (cap: {{{name}: 99.9%}}), or more units")
        }
        (Origin::Column(_), _) => format!(
            "Plan a mean per unit with a cap ({name}=mean, cap: {{{name}: 99.9%}}), or more units"
        ),
        _ => "Plan a quantile, such as latency_p95, or more units".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Goal, Role};
    use crate::join::Shape;
    use crate::metric::Absent;
    use crate::sums::{MetricSums, Sums};

    const SHAPE: Shape = Shape { strata: 2, arms: 2, baseline: 0 };

    fn metric() -> Metric {
        Metric {
            name: "revenue".to_owned(),
            role: Role::Primary,
            measure: Measure::Mean,
            origin: Origin::Column(0),
            goal: Goal::Increase,
            absent: Absent::Zero,
            margin: None,
            cap: None,
            model: None,
            llm: None,
            per: None,
        }
    }

    /// The check of residuals by slot.
    fn check(slots: [&[f64]; 4], metric: Metric) -> Option<Check> {
        let tails = slots.map(Tails::of).to_vec();
        let sums = Sums {
            metrics: vec![MetricSums { tails, ..MetricSums::default() }],
            ..Sums::default()
        };
        let arms = Arms {
            sums: &sums,
            shape: SHAPE,
            phases: &[],
            names: &["plain", "fancy"],
            metrics: &[metric],
            by_request: false,
            planned: 10_000,
        };
        arms.skewness().into_iter().next()
    }

    /// One unit in `of` has `of − 1`, the others −1: the skewness is (of − 2) / √(of − 1).
    fn rare(of: usize, units: usize) -> Vec<f64> {
        (0..units).map(|unit| if unit % of == 0 { of as f64 - 1.0 } else { -1.0 }).collect()
    }

    #[test]
    fn each_variant_needs_355_times_the_squared_skewness() {
        // scipy.stats.skew of 1 in 50: 48 / 7, so 355 × 47.02 = 16692 units.
        let found = |units: usize| {
            let (one, two) = (rare(50, 40_000), rare(50, units));
            check([&one, &two, &[], &[]], metric()).unwrap()
        };
        let few = found(16_650);
        assert_eq!(few.state, CheckState::Warning);
        assert!((few.variants["fancy"] - 48.0 / 7.0).abs() < 1e-9, "{few:?}");
        assert_eq!(
            few.message,
            "revenue is skewed (skewness 6.86): its test is reliable from about 16700 units in each \
             variant on, and fancy has 16650. Plan a cap (cap: {revenue: 99.9%}), or more units"
        );
        let enough = found(16_700);
        assert_eq!((enough.state, enough.limit), (CheckState::Ok, 1.0));
        assert!(enough.value.unwrap() < 1.0 && few.value.unwrap() > 1.0);
    }

    #[test]
    fn a_variant_borrows_the_skewness_of_all_and_its_units_of_all_phases() {
        // The candidate has not met a large value yet.
        let (one, two) = (rare(50, 40_000), [1.0, -1.0].repeat(500));
        assert_eq!(check([&one, &two, &[], &[]], metric()).unwrap().state, CheckState::Warning);
        // Half of the units in each phase.
        let half = rare(50, 8350);
        let found = check([&one, &half, &one, &half], metric()).unwrap();
        assert_eq!((found.state, found.value.unwrap() < 1.0), (CheckState::Ok, true));
    }

    #[test]
    fn values_that_are_not_skewed_need_nothing() {
        let even = [1.0, -1.0].repeat(5);
        let found = check([&even, &even, &[], &[]], metric()).unwrap();
        assert_eq!((found.state, found.value), (CheckState::Ok, Some(0.0)));
        assert_eq!(check([&[0.0; 9], &[0.0; 9], &[], &[]], metric()), None, "nothing varies");
    }

    #[test]
    fn the_cure_fits_the_metric() {
        let words = |metric: Metric| {
            let tails = rare(50, 100);
            check([&tails, &tails, &[], &[]], metric).unwrap().message
        };
        let capped = Metric { cap: sidetrack::config::quantile("99%"), ..metric() };
        assert!(words(capped).ends_with("Plan a lower cap, or more units"));
        let ratio = Metric { measure: Measure::Ratio, ..metric() };
        assert!(words(ratio).contains("(revenue=mean, cap: {revenue: 99.9%})"));
        let latency = Metric { origin: Origin::Latency, measure: Measure::Ratio, ..metric() };
        assert!(words(latency).ends_with("such as latency_p95, or more units"));
    }
}
