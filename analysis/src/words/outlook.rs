//! What can still be found, and when the test ends, in words.

use crate::answer::{Analysis, DailyCandidate, Detectable, MetricResult};
use crate::figures::{digits, percent, short};

/// The smallest effects that can be found, and the days left.
#[must_use]
pub fn outlook(analysis: &Analysis) -> Vec<String> {
    let outlook = &analysis.outlook;
    let mut lines: Vec<String> =
        outlook.detectable.iter().filter_map(|found| detectable(analysis, found)).collect();
    let (Some(rate), Some(planned)) = (outlook.new_units_per_day, analysis.planned_units) else {
        return lines;
    };
    let days = match outlook.days {
        1 => "the last whole day".to_owned(),
        days => format!("the last {days} whole days"),
    };
    let arriving = format!("{} new units a day came in {days}", short(rate, 3));
    let falling = outlook.daily_change.map_or_else(String::new, |change| {
        format!(", and each day {} fewer", percent(1.0 - change))
    });
    match outlook.days_left {
        Some(left) => lines.push(format!(
            "{arriving}{falling}: the planned {planned} units take about {} more days",
            digits(left.max(0.1), 2)
        )),
        None if outlook.never => lines.push(format!(
            "{arriving}{falling}: if that goes on, the planned {planned} units will not be reached"
        )),
        None => {}
    }
    lines
}

fn detectable(analysis: &Analysis, found: &Detectable) -> Option<String> {
    let metric = analysis.metrics.iter().find(|metric| metric.name == found.metric)?;
    let scale = metric.scale();
    let relative = |size: f64| {
        let base = metric.baseline.value.filter(|base| *base != 0.0)?;
        Some(format!(" ({} of the baseline)", percent(size / base.abs())))
    };
    let shown = |size: f64| format!("{}{}", scale.margin(size), relative(size).unwrap_or_default());
    let now = found.now.map(|size| format!("{} with the units so far", shown(size)));
    let reached = analysis.is_plan_reached();
    let planned = found.planned.filter(|_| !reached);
    let planned = planned.map(|size| format!("{} with the planned units", shown(size)));
    let parts: Vec<String> = now.into_iter().chain(planned).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "smallest effect of {} on {} that is found with a power of 80 %: {}",
            found.variant,
            found.metric,
            parts.join(", ")
        )
    })
}

/// How the effect of a candidate changes with the days since the first request.
#[must_use]
pub fn trend(metric: &MetricResult, candidate: &DailyCandidate, alpha: f64) -> String {
    let Some(trend) = &candidate.trend else {
        return "too few days to see a trend".to_owned();
    };
    let slope = metric.scale().change(trend.slope);
    let p = trend.p_adjusted.map_or_else(String::new, |p| format!(", p {}", super::p_text(p)));
    let is_found = trend.p_adjusted.is_some_and(|p| p < alpha);
    if is_found {
        format!("the effect changes by {slope} a day since the first request{p}")
    } else {
        format!("no significant trend ({slope} a day{p})")
    }
}
