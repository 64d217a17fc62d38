//! The plots of the report.

use sidetrack::quantity::Timestamp;
use sidetrack_analysis::answer::{CandidateResult, Goal, MetricResult};
use sidetrack_analysis::{LiftOverTime, Scale, SplitOverTime};

use super::svg::Frame;
use crate::analyze::figures::{short, signed};

/// The class that colors a variant.
fn color(variant: &str, variants: &[String]) -> String {
    format!("c{}", variants.iter().position(|name| name == variant).unwrap_or(0) % 6)
}

/// What values are multiplied with, and their unit on an axis.
fn scale(metric: &MetricResult) -> (f64, &'static str) {
    let scale = metric.scale();
    let unit = match scale {
        Scale::Share => " pt",
        Scale::Seconds => " ms",
        Scale::Plain => "",
    };
    (scale.factor(), unit)
}

fn short_signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", short(value, 3)) } else { short(value, 3) }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^53")]
const fn at(time: u64) -> f64 {
    time as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a moment between two others"
)]
const fn time(at: f64) -> u64 {
    at as u64
}

/// The effect of each candidate over time.
pub(super) fn lift(
    metric: &MetricResult,
    lines: &[LiftOverTime],
    span: (u64, u64),
    variants: &[String],
) -> Option<String> {
    let (factor, unit) = scale(metric);
    // The first intervals are extremely wide; the settled ones decide the range.
    let settled = lines.iter().flat_map(|line| line.points.iter().skip(line.points.len() / 6));
    let (mut low, mut high) = (0.0f64, 0.0f64);
    for point in settled {
        let (a, b) = point.interval.unwrap_or((point.difference, point.difference));
        low = low.min(a * factor);
        high = high.max(b * factor);
    }
    if lines.iter().all(|line| line.points.len() < 2) {
        return None;
    }
    let pad = 0.08 * (high - low);
    let mut frame = Frame::over_time(
        (at(span.0), at(span.1)),
        (low - pad, high + pad),
        &format!("Effect on {} over time", metric.name),
    );
    for line in lines {
        let class = color(&line.variant, variants);
        let within = line.points.iter().filter_map(|point| Some((at(point.time), point.interval?)));
        let (lower, upper): (Vec<_>, Vec<_>) =
            within.map(|(x, (a, b))| ((x, a * factor), (x, b * factor))).unzip();
        frame.band(&lower, &upper, &class);
        frame.line(
            line.points.iter().map(|point| (at(point.time), point.difference * factor)),
            &class,
        );
        frame.named(&line.variant, &class);
    }
    frame.level(0.0, "zero");
    Some(frame.done(&|x| on_axis(time(x), span), &|y| format!("{}{unit}", short_signed(y))))
}

/// The normal distribution around each candidate's difference.
pub(super) fn belief(metric: &MetricResult, variants: &[String]) -> Option<String> {
    let (factor, unit) = scale(metric);
    let known = metric.candidates.iter().filter_map(|result| {
        let (diff, statistic) =
            (result.diff?, result.statistic.filter(|statistic| *statistic != 0.0)?);
        Some((result, diff * factor, (diff * factor / statistic).abs()))
    });
    let known: Vec<(&CandidateResult, f64, f64)> = known.filter(|(_, _, se)| *se > 0.0).collect();
    if known.is_empty() {
        return None;
    }
    let low = known.iter().map(|(_, center, se)| center - 4.0 * se).fold(0.0, f64::min);
    let high = known.iter().map(|(_, center, se)| center + 4.0 * se).fold(0.0, f64::max);
    let top = known.iter().map(|(_, _, se)| 1.0 / se).fold(0.0, f64::max) * 0.44;
    let mut frame = Frame::new(
        (low, high),
        (0.0, top),
        &format!("Posterior of the difference in {}", metric.name),
    );
    for (result, center, se) in known {
        let class = color(&result.variant, variants);
        let curve: Vec<(f64, f64)> = (0..=80)
            .map(|i| center + se * (f64::from(i) / 10.0 - 4.0))
            .map(|x| (x, 0.398_942 / se * (-0.5 * ((x - center) / se).powi(2)).exp()))
            .collect();
        let floor: Vec<(f64, f64)> = curve.iter().map(|(x, _)| (*x, 0.0)).collect();
        frame.band(&floor, &curve, &class);
        frame.line(curve.iter().copied(), &class);
        let best =
            result.p_best.map(|p| format!(" best: {}", super::percent(p))).unwrap_or_default();
        frame.named(&format!("{}{best}", result.variant), &class);
    }
    frame.upright(0.0, "zero");
    Some(frame.done(&|x| format!("{}{unit}", short_signed(x)), &|_| String::new()))
}

/// Observed and configured shares.
pub(super) fn split(
    lines: &[SplitOverTime],
    span: (u64, u64),
    variants: &[String],
) -> Option<String> {
    let points = || lines.iter().flat_map(|line| line.points.iter().skip(line.points.len() / 12));
    points().next()?;
    let low = points().map(|(_, a, b)| a.min(*b)).fold(1.0, f64::min) * 100.0;
    let high = points().map(|(_, a, b)| a.max(*b)).fold(0.0, f64::max) * 100.0;
    let pad = (0.15 * (high - low)).max(0.5);
    let range = ((low - pad).max(0.0), (high + pad).min(100.0));
    let mut frame = Frame::over_time((at(span.0), at(span.1)), range, "Share of units over time");
    for line in lines {
        let class = color(&line.variant, variants);
        frame.line(line.points.iter().map(|(x, share, _)| (at(*x), share * 100.0)), &class);
        frame.line(
            line.points.iter().map(|(x, _, aim)| (at(*x), aim * 100.0)),
            &format!("{class} dashed"),
        );
        frame.named(&line.variant, &class);
    }
    Some(frame.done(&|x| on_axis(time(x), span), &|y| format!("{} %", short(y, 3))))
}

/// How latencies are distributed, as a share of requests per equal step.
pub(super) fn latencies(
    variants_points: &[(String, Vec<(f64, f64)>)],
    variants: &[String],
) -> Option<String> {
    const STEPS: u32 = 64;
    let quantile = |points: &[(f64, f64)], share: f64| {
        points.iter().find(|(_, below)| *below >= share).map(|(ms, _)| *ms)
    };
    let end =
        variants_points.iter().filter_map(|(_, points)| quantile(points, 0.99)).fold(0.0, f64::max);
    if end <= 0.0 {
        return None;
    }
    // Latencies are whole milliseconds; a fractional step would draw an artificial comb.
    let step = (end / f64::from(STEPS)).ceil();
    let steps = (end / step).ceil();
    let mut curves = Vec::new();
    for (name, points) in variants_points.iter().filter(|(_, points)| !points.is_empty()) {
        let below = |ms: f64| {
            let after = points.partition_point(|(edge, _)| *edge <= ms);
            after
                .checked_sub(1)
                .and_then(|index| points.get(index))
                .map_or(0.0, |(_, share)| *share)
        };
        let mut curve = vec![(0.0, 0.0)];
        let mut x = 0.0;
        while x < steps * step {
            curve.push((x + 0.5 * step, 100.0 * (below(x + step) - below(x))));
            x += step;
        }
        curves.push((name, curve, [quantile(points, 0.5), quantile(points, 0.95)]));
    }
    let top =
        curves.iter().flat_map(|(_, curve, _)| curve).map(|(_, share)| *share).fold(0.0, f64::max);
    let mut frame = Frame::new((0.0, steps * step), (0.0, top * 1.05), "Distribution of latencies");
    for (name, curve, marks) in &curves {
        let class = color(name, variants);
        let floor: Vec<(f64, f64)> = curve.iter().map(|(x, _)| (*x, 0.0)).collect();
        frame.band(&floor, curve, &class);
        frame.line(curve.iter().copied(), &class);
        for mark in marks.iter().flatten() {
            frame.tick(*mark, &class);
        }
        frame.named(name, &class);
    }
    Some(frame.done(&|x| format!("{} ms", short(x, 3)), &|y| format!("{} %", short(y, 3))))
}

/// An interval beside zero, small, for a table's row.
pub(super) fn bar(metric: &MetricResult, result: &CandidateResult) -> Option<String> {
    let ([Some(low), Some(high)], Some(diff)) = (result.ci, result.diff) else { return None };
    let margin =
        metric.margin.map(|margin| if metric.goal == Goal::Increase { -margin } else { margin });
    let reach =
        [low, high, margin.unwrap_or(0.0)].into_iter().map(f64::abs).fold(0.0, f64::max) * 1.1;
    if reach <= 0.0 {
        return None;
    }
    let x = |value: f64| 60.0 + 58.0 * value / reach;
    let margin = margin.map(|margin| {
        format!(r#"<line class="margin" x1="{0:.1}" x2="{0:.1}" y1="1" y2="15"/>"#, x(margin))
    });
    Some(format!(
        r#"<svg class="bar" viewBox="0 0 120 16" role="img" aria-label="{} to {}"><line class="line zero" x1="60" x2="60" y1="0" y2="16"/>{}<line class="reach" x1="{:.1}" x2="{:.1}" y1="8" y2="8"/><circle cx="{:.1}" cy="8" r="3.2"/></svg>"#,
        signed(low, 3),
        signed(high, 3),
        margin.unwrap_or_default(),
        x(low),
        x(high),
        x(diff)
    ))
}

/// `11-23 09:00`: a moment on an axis.
fn on_axis(time: u64, span: (u64, u64)) -> String {
    let text = Timestamp::new(time).to_string();
    let (date, clock) = (text.get(5..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
    if span.1 - span.0 > 3 * 86_400_000 { date.to_owned() } else { format!("{date} {clock}") }
}
