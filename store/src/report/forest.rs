//! Forest plots: the effect within each segment, below the effect on all units.

use std::fmt::Write as _;

use sidetrack_analysis::answer::{CandidateResult, MetricResult, SegmentResult, SegmentedMetric};
use sidetrack_analysis::words::{lift, p_value, segment_concluded};
use sidetrack_analysis::{Analysis, Effect};

use super::plot::{Plot, color, scale, short_signed};
use super::svg::{escaped, ticks};

/// The drawing's width; the page scales it.
const WIDTH: f64 = 420.0;
/// Where the plot begins, behind the names.
const LEFT: f64 = 128.0;
const RIGHT: f64 = 14.0;
const ROW: f64 = 22.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 26.0;

/// How many letters of a name are drawn.
const LONGEST_NAME: usize = 18;

/// A row: its name, units, and the result.
struct Row<'r> {
    name: String,
    units: u64,
    metric: &'r MetricResult,
    result: &'r CandidateResult,
}

impl Row<'_> {
    fn ends(&self, factor: f64) -> Option<(f64, f64)> {
        let [Some(low), Some(high)] = self.result.ci else { return None };
        Some((low * factor, high * factor))
    }
}

/// The plots of a dimension: one for each metric and candidate.
pub(super) fn forests(
    analysis: &Analysis,
    result: &SegmentResult,
    variants: &[String],
) -> Vec<Plot> {
    let metrics = result.metrics.iter().filter_map(|segmented| {
        let total = analysis.metrics.iter().find(|metric| metric.name == segmented.name)?;
        Some((segmented, total))
    });
    let plots = metrics.flat_map(|(segmented, total)| {
        let candidates = total.candidates.iter().enumerate();
        candidates.map(move |(index, own)| {
            forest(result, segmented, (total, own), index, (variants, analysis.alpha))
        })
    });
    plots.collect()
}

fn forest(
    result: &SegmentResult,
    segmented: &SegmentedMetric,
    (total, own): (&MetricResult, &CandidateResult),
    index: usize,
    (variants, alpha): (&[String], f64),
) -> Plot {
    let units = |metric: &MetricResult, result: &CandidateResult| metric.baseline.n + result.n;
    let all =
        Row { name: "all units".to_owned(), units: units(total, own), metric: total, result: own };
    let parts = result.segments.iter().zip(&segmented.segments).filter_map(|(segment, metric)| {
        let result = metric.candidates.get(index)?;
        let name = segment.name().to_owned();
        Some(Row { name, units: units(metric, result), metric, result })
    });
    let rows: Vec<Row<'_>> = std::iter::once(all).chain(parts).collect();
    let title = format!("{}: {} by {}", total.name, own.variant, result.dimension);
    let interaction = segmented.candidates.get(index);
    let words = interaction
        .map(|found| sidetrack_analysis::words::interaction(total, found, alpha))
        .unwrap_or_default();
    let caption = format!("Difference from {} with its interval: {words}.", total.baseline.variant);
    let svg = drawn(&rows, total, &color(&own.variant, variants), (&title, &caption));
    let numbers = rows.iter().map(|row| {
        let [lift, lift_interval] = lift(row.result);
        let change = row.result.diff.map(|diff| row.metric.scale().change(diff));
        let interval = Effect::of(row.metric, row.result).range().unwrap_or_default();
        [
            row.name.clone(),
            row.units.to_string(),
            if lift_interval.is_empty() { lift } else { format!("{lift} ({lift_interval})") },
            change
                .map_or_else(|| "undefined".to_owned(), |change| format!("{change} ({interval})")),
            p_value(row.result),
            segment_concluded(row.result.decision).to_owned(),
        ]
    });
    let columns = ["segment", "units", "relative lift", "difference", "p", "result"];
    Plot::new(title.clone(), caption.clone(), svg).numbers(columns, numbers.collect())
}

/// The range of the axis: all of the total, and of the segments up to four times its width.
fn range(rows: &[Row<'_>], factor: f64) -> (f64, f64) {
    let total = rows.first().and_then(|row| row.ends(factor)).unwrap_or((0.0, 0.0));
    let reach = 4.0 * (total.1 - total.0);
    let (mut low, mut high) = (total.0.min(0.0), total.1.max(0.0));
    for (start, end) in rows.iter().filter_map(|row| row.ends(factor)) {
        let bounded = reach > 0.0;
        low = low.min(if bounded { start.max(total.0 - reach) } else { start });
        high = high.max(if bounded { end.min(total.1 + reach) } else { end });
    }
    if high > low { (low, high) } else { (low - 0.5, high + 0.5) }
}

fn drawn(
    rows: &[Row<'_>],
    total: &MetricResult,
    class: &str,
    (title, caption): (&str, &str),
) -> String {
    let (factor, unit) = scale(total);
    let (low, high) = range(rows, factor);
    let count = u32::try_from(rows.len()).map_or(0.0, f64::from);
    let height = TOP + ROW * count + BOTTOM;
    let x = |value: f64| {
        let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
        LEFT + part * (WIDTH - LEFT - RIGHT)
    };
    let mut out = format!(
        r#"<svg class="forest" viewBox="0 0 {WIDTH} {height}" role="img"><title>{}</title><desc>{}</desc>"#,
        escaped(title),
        escaped(caption)
    );
    let floor = height - BOTTOM;
    for value in ticks((low, high), 3) {
        write!(
            out,
            r#"<line class="grid" x1="{0:.1}" x2="{0:.1}" y1="{TOP}" y2="{floor}"/><text class="x" x="{1:.1}" y="{2:.1}">{3}</text>"#,
            x(value),
            x(value).clamp(LEFT + 10.0, WIDTH - 24.0),
            height - 8.0,
            escaped(&format!("{}{unit}", short_signed(value)))
        )
        .ok();
    }
    write!(
        out,
        r#"<line class="line zero" x1="{0:.1}" x2="{0:.1}" y1="{TOP}" y2="{floor}"/>"#,
        x(0.0)
    )
    .ok();
    let mut y = TOP + 0.5 * ROW;
    for (at, row) in rows.iter().enumerate() {
        let mut name: String = row.name.chars().take(LONGEST_NAME).collect();
        if name.len() < row.name.len() {
            name.push('…');
        }
        let all = if at == 0 { " all" } else { "" };
        write!(out, r#"<text class="key{all}" x="0" y="{:.1}">{}</text>"#, y + 4.0, escaped(&name))
            .ok();
        if let Some((start, end)) = row.ends(factor) {
            write!(
                out,
                r#"<line class="line {class}{all}" x1="{:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/>"#,
                x(start),
                x(end)
            )
            .ok();
        }
        if let Some(diff) = row.result.diff {
            let at = x(diff * factor);
            let shape = if all.is_empty() {
                format!(r#"<circle class="mark {class}" cx="{at:.1}" cy="{y:.1}" r="3.4"/>"#)
            } else {
                format!(
                    r#"<path class="mark {class}" transform="translate({at:.1} {y:.1})" d="M0-6l6 6-6 6-6-6z"/>"#
                )
            };
            out += &shape;
        }
        y += ROW;
    }
    out + "</svg>"
}
