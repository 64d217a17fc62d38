//! Effects by day, and by days since the first request: plots of the primary metrics.

use minijinja::Value;
use sidetrack::quantity::Timestamp;
use sidetrack_analysis::Analysis;
use sidetrack_analysis::answer::{DailyCandidate, DailyResult, DayEffect, MetricResult, Role};
use sidetrack_analysis::figures::short;
use sidetrack_analysis::words::trend;

use super::plot::{Plot, color, scale, short_signed};
use super::svg::Frame;

/// The plots, two for each primary metric.
pub(super) fn plots(analysis: &Analysis, variants: &[String]) -> Vec<Value> {
    let primary = analysis.daily.iter().filter_map(|daily| {
        let metric = analysis.metrics.iter().find(|metric| metric.name == daily.metric)?;
        Some((daily, metric)).filter(|_| metric.role == Role::Primary)
    });
    let confidence = short(100.0 * (1.0 - analysis.alpha), 3);
    let kind = format!("plain {confidence} % intervals of each day alone");
    let plots = primary.flat_map(|(daily, metric)| {
        let base = &metric.baseline.variant;
        let by_day = format!("Difference from {base} among the units of each day; {kind}.");
        let trends = daily.candidates.iter().map(|candidate| {
            format!("{}: {}", candidate.variant, trend(metric, candidate, analysis.alpha))
        });
        let since = format!(
            "Difference from {base} by days since the first request of a unit; {kind}. {}.",
            trends.collect::<Vec<_>>().join("; ")
        );
        let days = Series { of: |it| &it.days, x: at_day, shown: |x| date(x), first: "day (UTC)" };
        let dates = format!("{} by day", metric.name);
        let title = format!("{} by days since the first request", metric.name);
        let ages = Series {
            of: |it| &it.since,
            x: |day| day.parse().ok(),
            shown: |x| short(x, 3),
            first: "days since",
        };
        [
            drawn(daily, metric, &days, (dates, by_day), variants),
            drawn(daily, metric, &ages, (title, since), variants),
        ]
    });
    plots.flatten().map(Plot::value).collect()
}

/// Which series is drawn, and how its days are placed and named.
struct Series {
    of: fn(&DailyCandidate) -> &Vec<DayEffect>,
    x: fn(&str) -> Option<f64>,
    shown: fn(f64) -> String,
    first: &'static str,
}

/// Days since 1970.
#[expect(clippy::cast_precision_loss, reason = "days since 1970 are far below 2^53")]
fn at_day(date: &str) -> Option<f64> {
    Timestamp::parse(&format!("{date}T00:00:00Z")).map(|time| time.get() as f64 / 86_400_000.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a day within the span"
)]
fn date(day: f64) -> String {
    let text = Timestamp::new(day.round().max(0.0) as u64 * 86_400_000).to_string();
    text.get(5..10).unwrap_or_default().to_owned()
}

fn drawn(
    daily: &DailyResult,
    metric: &MetricResult,
    series: &Series,
    (title, caption): (String, String),
    variants: &[String],
) -> Option<Plot> {
    let (factor, unit) = scale(metric);
    let all = daily.candidates.iter().flat_map(|candidate| (series.of)(candidate));
    let places: Vec<f64> = all.clone().filter_map(|effect| (series.x)(&effect.day)).collect();
    let (first, last) =
        places.iter().fold((f64::INFINITY, 0.0f64), |(low, high), x| (low.min(*x), high.max(*x)));
    if last <= first {
        return None;
    }
    // All differences are within the range, and the intervals of the days with the most units: others are wide.
    let most = all.clone().map(|effect| effect.n[1]).max().unwrap_or_default();
    let (mut low, mut high) = (0.0f64, 0.0f64);
    for effect in all {
        let is_large = effect.n[1] * 4 >= most;
        let ends = effect.ci.map(|end| end.filter(|_| is_large).unwrap_or(effect.diff));
        let [start, end] = ends.map(|end| end * factor);
        low = low.min(start);
        high = high.max(end);
    }
    let pad = 0.08 * (high - low);
    let mut frame = Frame::new((first, last), (low - pad, high + pad), &title, &caption);
    let mut rows = Vec::new();
    for candidate in &daily.candidates {
        let class = color(&candidate.variant, variants);
        let effects = (series.of)(candidate);
        let points: Vec<(f64, &DayEffect)> =
            effects.iter().filter_map(|effect| Some(((series.x)(&effect.day)?, effect))).collect();
        let within = points.iter().filter_map(|(x, effect)| {
            let [Some(low), Some(high)] = effect.ci else { return None };
            Some(((*x, low * factor), (*x, high * factor)))
        });
        let (lower, upper): (Vec<_>, Vec<_>) = within.unzip();
        frame.band(&lower, &upper, &class);
        frame.line(points.iter().map(|(x, effect)| (*x, effect.diff * factor)), &class);
        frame.named(&candidate.variant, &class);
        rows.extend(effects.iter().map(|effect| {
            let [low, high] = effect.ci;
            let range = low.zip(high).map(|ends| metric.scale().range(ends));
            [
                effect.day.clone(),
                candidate.variant.clone(),
                format!("{} and {}", effect.n[0], effect.n[1]),
                metric.scale().change(effect.diff),
                range.unwrap_or_else(|| "undefined".to_owned()),
            ]
        }));
    }
    frame.level(0.0, "zero");
    let svg = frame.done(&|x| (series.shown)(x), &|y| format!("{}{unit}", short_signed(y)));
    let columns = [series.first, "variant", "units", "difference", "interval"];
    Some(Plot::new(title, caption, svg).numbers(columns, rows))
}
