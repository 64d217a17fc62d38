//! The smallest effect that an experiment can find, now and at the planned units, and how long these take.
//!
//! A difference of (z + z₈₀) standard errors is found with a power of 80 %: z is that of the interval, and standard errors
//! shrink with the square root of the units. It is a matter of the variance and not of the effect that was seen.

use sidetrack_stats::distribution::normal;
use sidetrack_stats::float;

use crate::answer::{Detectable, Outlook, Role};
use crate::compare::Data;
use crate::judge::{Look, Names};
use crate::metric::Metric;

/// How many whole days the rate of arrival is taken from.
const DAYS: usize = 7;

/// One minus the power.
const MISSED: f64 = 0.2;

/// From how many standard errors on the number of new units falls.
const FALLS: f64 = 3.0;

/// `units` count towards the planned ones.
pub(crate) fn outlook(
    data: &Data<'_>,
    metrics: &[Metric],
    look: Look,
    names: &Names<'_>,
    (units, planned): (u64, Option<u64>),
) -> Outlook {
    let mut outlook = arrivals(data);
    if let (Some(rate), Some(planned)) = (outlook.new_units_per_day, planned)
        && units < planned
    {
        let missing = float(planned - units);
        let days = days_left(missing, rate, outlook.daily_change);
        outlook.never = days.is_none() && rate > 0.0;
        outlook.days_left = days;
    }
    let primary = metrics.iter().zip(&data.sums.metrics);
    for (metric, sums) in primary.filter(|(metric, _)| metric.role == Role::Primary) {
        for found in data.compare(metric, sums) {
            let estimate = found.comparison.ok().map(|comparison| comparison.estimate);
            let se = estimate.map(|it| it.se()).filter(|se| se.is_finite() && *se > 0.0);
            let power = normal::quantile(MISSED);
            let own = found.sizes.0 + found.sizes.1;
            let now = look.critical(data.level, own).ok().zip(se);
            let fixed = normal::quantile(0.5 * data.level.get());
            // The planned units are of all variants; these two have the share that they have now.
            let at_plan = planned
                .filter(|_| units > 0)
                .zip(se)
                .map(|(planned, se)| (fixed + power) * se * (float(units) / float(planned)).sqrt());
            outlook.detectable.push(Detectable {
                metric: metric.name.clone(),
                variant: names.variant(found.candidate),
                now: now.map(|(critical, se)| (critical + power) * se),
                planned: at_plan,
            });
        }
    }
    outlook
}

/// New units of the last whole days.
fn arrivals(data: &Data<'_>) -> Outlook {
    let days = &data.sums.balance.days;
    let (Some(first), Some(last)) = (days.keys().next(), days.keys().next_back()) else {
        return Outlook::default();
    };
    // The first and the last day are hardly whole.
    let whole: Vec<u64> = (first + 1..*last)
        .map(|day| days.get(&day).map_or(0, |slots| slots.iter().sum()))
        .collect();
    let recent = whole.get(whole.len().saturating_sub(DAYS)..).unwrap_or_default();
    if recent.is_empty() {
        return Outlook::default();
    }
    let count = recent.len() as u64;
    Outlook {
        new_units_per_day: Some(float(recent.iter().sum()) / float(count)),
        days: count,
        daily_change: change(recent),
        ..Outlook::default()
    }
}

/// By which factor the number falls from day to day, if it does: users who return are not new, so that a product runs out
/// of new ones.
fn change(days: &[u64]) -> Option<f64> {
    let half = days.len() / 2;
    let sum = |days: &[u64]| float(days.iter().sum());
    let (early, late) = (sum(days.get(..half)?), sum(days.get(days.len() - half..)?));
    if half == 0 || early <= 0.0 || early - late < FALLS * (early + late).sqrt() {
        return None;
    }
    let apart = float((days.len() - half) as u64);
    Some((late / early).powf(apart.recip()))
}

/// How long so many units take; `None`: forever.
fn days_left(missing: f64, rate: f64, change: Option<f64>) -> Option<f64> {
    match change {
        // The sum of a geometric series.
        Some(change) if change < 1.0 => {
            let left = 1.0 - missing * (1.0 - change) / (rate * change);
            (left > 0.0).then(|| left.ln() / change.ln())
        }
        _ => (rate > 0.0).then(|| missing / rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_takes_as_long_as_it_takes_and_a_falling_one_may_never_arrive() {
        assert_eq!(days_left(1000.0, 250.0, None), Some(4.0));
        assert_eq!(days_left(1000.0, 0.0, None), None);
        // 100, 50, 25 … from tomorrow on: 175 after three days, and never more than 200.
        let found = days_left(175.0, 200.0, Some(0.5)).unwrap();
        assert!((found - 3.0).abs() < 1e-12, "{found}");
        assert_eq!(days_left(200.0, 200.0, Some(0.5)), None);
    }

    #[test]
    fn only_a_significant_fall_counts() {
        assert_eq!(change(&[1000, 990, 980, 1010, 970, 990]), None);
        assert_eq!(change(&[10, 8, 9, 7]), None);
        let found = change(&[1000, 800, 640, 512, 409, 328]).unwrap();
        assert!((found - 0.8).abs() < 0.001, "{found}");
        // More and more are no problem.
        assert_eq!(change(&[100, 200, 400, 800]), None);
        assert_eq!((change(&[5]), change(&[])), (None, None));
    }
}
