//! The plots of an analysis. Each has its numbers as a table, for readers who do not see it.

use minijinja::{Value, context};
use sidetrack::quantity::Timestamp;
use sidetrack_analysis::answer::{CandidateResult, Goal, MetricResult, TestMode};
use sidetrack_analysis::figures::{short, signed};
use sidetrack_analysis::{Analysis, LiftOverTime, Scale, SplitOverTime};

use super::svg::Frame;

/// The most moments in a table of numbers.
const MOMENTS: usize = 16;

/// A plot.
#[derive(Debug)]
pub(crate) struct Plot {
    title: String,
    caption: String,
    svg: String,
    /// The head of the table of its numbers.
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Plot {
    pub(super) fn new(title: String, caption: String, svg: String) -> Self {
        Self { title, caption, svg, columns: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn numbers<const N: usize>(
        mut self,
        columns: [&str; N],
        rows: Vec<[String; N]>,
    ) -> Self {
        self.columns = columns.map(str::to_owned).into();
        self.rows = rows.into_iter().map(Vec::from).collect();
        self
    }

    /// For a template.
    pub(crate) fn value(self) -> Value {
        let Self { title, caption, svg, columns, rows } = self;
        context! { title, caption, columns, rows, svg => Value::from_safe_string(svg) }
    }
}

/// Some of many points, always with the last one.
fn thinned<T>(points: &[T]) -> impl Iterator<Item = &T> {
    let step = points.len().div_ceil(MOMENTS).max(1);
    points.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev()
}

/// A moment in a table.
fn in_table(time: u64) -> String {
    let text = Timestamp::new(time).to_string();
    let (date, clock) = (text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
    format!("{date} {clock}")
}

/// The class that colors a variant.
pub(crate) fn color(variant: &str, variants: &[String]) -> String {
    format!("c{}", variants.iter().position(|name| name == variant).unwrap_or(0) % 6)
}

/// What values are multiplied with, and their unit on an axis.
pub(super) fn scale(metric: &MetricResult) -> (f64, &'static str) {
    let scale = metric.scale();
    let unit = match scale {
        Scale::Share => " pt",
        Scale::Seconds => " ms",
        Scale::Plain => "",
    };
    (scale.factor(), unit)
}

pub(super) fn short_signed(value: f64) -> String {
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
    analysis: &Analysis,
    metric: &MetricResult,
    lines: &[LiftOverTime],
    span: (u64, u64),
    variants: &[String],
) -> Option<Plot> {
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
    let title = format!("Effect on {} as units joined", metric.name);
    let confidence = short(100.0 * (1.0 - analysis.alpha), 3);
    let kind = match analysis.test {
        TestMode::AlwaysValid => format!("always-valid {confidence} % interval"),
        TestMode::GroupSequential => format!("{confidence} % interval of the planned looks"),
        TestMode::Fixed => format!("{confidence} % interval of the fixed test"),
    };
    let caption = format!(
        "Difference from {} among the units that had joined by then, with its {kind}. Dashed: no difference.",
        metric.baseline.variant
    );
    let x = (at(span.0), at(span.1));
    let mut frame = Frame::over_time(x, (low - pad, high + pad), &title, &caption);
    let mut rows = Vec::new();
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
        rows.extend(thinned(&line.points).map(|point| {
            let interval = point.interval.map(|interval| metric.scale().range(interval));
            [
                in_table(point.time),
                line.variant.clone(),
                metric.scale().change(point.difference),
                interval.unwrap_or_else(|| "undefined".to_owned()),
            ]
        }));
    }
    frame.level(0.0, "zero");
    let svg = frame.done(&|x| on_axis(time(x), span), &|y| format!("{}{unit}", short_signed(y)));
    let columns = ["time (UTC)", "variant", "difference", "interval"];
    Some(Plot::new(title, caption, svg).numbers(columns, rows))
}

/// The normal distribution around each candidate's difference.
pub(super) fn belief(metric: &MetricResult, variants: &[String]) -> Option<Plot> {
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
    let title = format!("Posterior of {}", metric.name);
    let caption = "The probability of each difference, after a flat prior.".to_owned();
    let mut frame = Frame::new((low, high), (0.0, top), &title, &caption);
    let mut rows = Vec::new();
    for (result, center, se) in known {
        let class = color(&result.variant, variants);
        let curve: Vec<(f64, f64)> = (0..=80)
            .map(|i| center + se * (f64::from(i) / 10.0 - 4.0))
            .map(|x| (x, 0.398_942 / se * (-0.5 * ((x - center) / se).powi(2)).exp()))
            .collect();
        let floor: Vec<(f64, f64)> = curve.iter().map(|(x, _)| (*x, 0.0)).collect();
        frame.band(&floor, &curve, &class);
        frame.line(curve.iter().copied(), &class);
        let best = result.p_best.map(super::certainty);
        let named = best.as_ref().map(|best| format!(" best: {best}")).unwrap_or_default();
        frame.named(&format!("{}{named}", result.variant), &class);
        rows.push([
            result.variant.clone(),
            format!("{}{unit}", short_signed(center)),
            format!("{}{unit}", short(se, 3)),
            best.unwrap_or_else(|| "undefined".to_owned()),
        ]);
    }
    frame.upright(0.0, "zero");
    let svg = frame.done(&|x| format!("{}{unit}", short_signed(x)), &|_| String::new());
    let columns = ["variant", "mean", "standard error", "best with probability"];
    Some(Plot::new(title, caption, svg).numbers(columns, rows))
}

/// Observed and configured shares.
pub(super) fn split(
    lines: &[SplitOverTime],
    span: (u64, u64),
    variants: &[String],
) -> Option<Plot> {
    let points = || lines.iter().flat_map(|line| line.points.iter().skip(line.points.len() / 12));
    points().next()?;
    let low = points().map(|(_, a, b)| a.min(*b)).fold(1.0, f64::min) * 100.0;
    let high = points().map(|(_, a, b)| a.max(*b)).fold(0.0, f64::max) * 100.0;
    let pad = (0.15 * (high - low)).max(0.5);
    let range = ((low - pad).max(0.0), (high + pad).min(100.0));
    let title = "Split and target".to_owned();
    let caption =
        "Each candidate's share of the units seen in the phase so far (line), and its configured share (dashed)."
            .to_owned();
    let mut frame = Frame::over_time((at(span.0), at(span.1)), range, &title, &caption);
    let percent = |share: f64| format!("{} %", short(share * 100.0, 4));
    let mut rows = Vec::new();
    for line in lines {
        let class = color(&line.variant, variants);
        frame.line(line.points.iter().map(|(x, share, _)| (at(*x), share * 100.0)), &class);
        frame.line(
            line.points.iter().map(|(x, _, aim)| (at(*x), aim * 100.0)),
            &format!("{class} dashed"),
        );
        frame.named(&line.variant, &class);
        rows.extend(thinned(&line.points).map(|(x, share, aim)| {
            [in_table(*x), line.variant.clone(), percent(*share), percent(*aim)]
        }));
    }
    let svg = frame.done(&|x| on_axis(time(x), span), &|y| format!("{} %", short(y, 3)));
    let columns = ["time (UTC)", "variant", "share", "target"];
    Some(Plot::new(title, caption, svg).numbers(columns, rows))
}

/// How latencies are distributed, as a share of requests per equal step.
pub(super) fn latencies(
    variants_points: &[(String, Vec<(f64, f64)>)],
    variants: &[String],
) -> Option<Plot> {
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
        let marks = [0.5, 0.95, 0.99].map(|share| quantile(points, share));
        curves.push((name, curve, marks));
    }
    let top =
        curves.iter().flat_map(|(_, curve, _)| curve).map(|(_, share)| *share).fold(0.0, f64::max);
    let title = "Latency".to_owned();
    let caption =
        "Share of requests by latency, without the slowest hundredth. Ticks: 50th and 95th \
                   percentile."
            .to_owned();
    let mut frame = Frame::new((0.0, steps * step), (0.0, top * 1.05), &title, &caption);
    let mut rows = Vec::new();
    for (name, curve, marks) in &curves {
        let class = color(name, variants);
        let floor: Vec<(f64, f64)> = curve.iter().map(|(x, _)| (*x, 0.0)).collect();
        frame.band(&floor, curve, &class);
        frame.line(curve.iter().copied(), &class);
        let [half, most, nearly_all] = marks;
        for mark in [half, most].into_iter().flatten() {
            frame.tick(*mark, &class);
        }
        frame.named(name, &class);
        let shown = |mark: &Option<f64>| mark.map_or_else(String::new, |ms| format!("{ms} ms"));
        rows.push([(*name).clone(), shown(half), shown(most), shown(nearly_all)]);
    }
    let svg = frame.done(&|x| format!("{} ms", short(x, 3)), &|y| format!("{} %", short(y, 3)));
    let columns = ["variant", "50th percentile", "95th percentile", "99th percentile"];
    Some(Plot::new(title, caption, svg).numbers(columns, rows))
}

/// Requests of variants in equal steps of time.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// How long a step is: `minute`, `hour`, `day`.
    pub(crate) each: &'static str,
    /// When each step begins, in milliseconds since 1970.
    pub(crate) times: Vec<u64>,
    /// By variant: requests that it served, and those that failed.
    pub(crate) served: Vec<(String, Vec<[f64; 2]>)>,
}

impl Traffic {
    fn span(&self) -> Option<(u64, u64)> {
        Some((*self.times.first()?, *self.times.last()?))
    }

    /// A line for each variant.
    fn plot(
        &self,
        title: &str,
        caption: String,
        variants: &[String],
        value: &dyn Fn(&[f64; 2]) -> Option<f64>,
        unit: &str,
    ) -> Option<Plot> {
        let span = self.span().filter(|_| self.times.len() > 1)?;
        let values = self.served.iter().flat_map(|(_, steps)| steps).filter_map(value);
        let top = values.fold(0.0, f64::max).max(1.0) * 1.05;
        let mut frame = Frame::over_time((at(span.0), at(span.1)), (0.0, top), title, &caption);
        let mut rows = Vec::new();
        for (name, steps) in &self.served {
            let class = color(name, variants);
            let points: Vec<(u64, f64)> = self
                .times
                .iter()
                .zip(steps)
                .filter_map(|(time, step)| Some((*time, value(step)?)))
                .collect();
            frame.line(points.iter().map(|(time, value)| (at(*time), *value)), &class);
            frame.named(name, &class);
            rows.extend(thinned(&points).map(|(time, value)| {
                [in_table(*time), name.clone(), format!("{}{unit}", short(*value, 4))]
            }));
        }
        let svg = frame.done(&|x| on_axis(time(x), span), &|y| format!("{}{unit}", short(y, 3)));
        Some(
            Plot::new(title.to_owned(), caption, svg)
                .numbers(["time (UTC)", "variant", "value"], rows),
        )
    }

    /// How many requests each variant served.
    pub(crate) fn requests(&self, variants: &[String]) -> Option<Plot> {
        let caption = format!(
            "Requests that each variant served, by {0}. The last {0} may not be over.",
            self.each
        );
        self.plot("Requests", caption, variants, &|[all, _]| Some(*all), "")
    }

    /// Which share of them failed.
    pub(crate) fn errors(&self, variants: &[String]) -> Option<Plot> {
        let caption = format!("Share of each variant's requests that failed, by {}.", self.each);
        let share = |[all, failed]: &[f64; 2]| (*all > 0.0).then(|| 100.0 * failed / all);
        self.plot("Errors", caption, variants, &share, " %")
    }
}

/// A share beside its target, small, for a table's row.
pub(crate) fn share_bar(share: f64, target: f64, class: &str) -> String {
    let x = |share: f64| 120.0 * share.clamp(0.0, 1.0);
    format!(
        r#"<svg class="share {class}" viewBox="0 0 120 14" aria-hidden="true"><rect class="track" x="0" y="4" width="120" height="6" rx="3"/><rect class="fill" x="0" y="4" width="{:.1}" height="6" rx="3"/><line class="aim" x1="{1:.1}" x2="{1:.1}" y1="0" y2="14"/></svg>"#,
        x(share),
        x(target).clamp(1.0, 119.0)
    )
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
        r#"<svg class="bar" viewBox="0 0 120 16" role="img"><title>{} to {}</title><line class="line zero" x1="60" x2="60" y1="0" y2="16"/>{}<line class="reach" x1="{:.1}" x2="{:.1}" y1="8" y2="8"/><circle cx="{:.1}" cy="8" r="3.2"/></svg>"#,
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
