//! Tables of segments: a row per segment and candidate, and whether the effect depends on the segment.

use std::io::Write;

use sidetrack_analysis::Effect;
use sidetrack_analysis::answer::{Analysis, SegmentResult, SegmentedMetric};
use sidetrack_analysis::words::{
    interaction, lift, p_value, segment_concluded, segment_notes, segment_title,
};

use crate::out::{Ink, Out};
use crate::table::{Align, Cell, Table};
use crate::wrap::wrapped;

/// The segment, the candidate, units of both, the relative lift, the difference, its interval, the p-value, the
/// conclusion.
const COLUMNS: [Align; 8] = [
    Align::Left,
    Align::Left,
    Align::Right,
    Align::Right,
    Align::Right,
    Align::Right,
    Align::Left,
    Align::Left,
];

pub(super) fn segments(analysis: &Analysis, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    for result in &analysis.segments {
        writeln!(out, "\n{}", ink.bold(segment_title(result)))?;
        for note in segment_notes(result) {
            writeln!(out, "{}", ink.dim(wrapped("  ", &note)))?;
        }
        for metric in &result.metrics {
            table(result, metric, analysis.alpha, out)?;
        }
    }
    Ok(())
}

fn table(
    result: &SegmentResult,
    metric: &SegmentedMetric,
    alpha: f64,
    out: &mut Out,
) -> anyhow::Result<()> {
    writeln!(out, "  {}", metric.name)?;
    let mut table = Table::new(&COLUMNS).keeping(3);
    for (segment, found) in result.segments.iter().zip(&metric.segments) {
        for candidate in &found.candidates {
            let [lift, _] = lift(candidate);
            let interval = Effect::of(found, candidate).range();
            let diff = candidate.diff.map(|diff| found.scale().bare(diff));
            let row: [Cell; 8] = [
                format!("  {}", segment.name()).into(),
                candidate.variant.clone().into(),
                format!("{} units", found.baseline.n + candidate.n).into(),
                lift.into(),
                diff.unwrap_or_else(|| "undefined".to_owned()).into(),
                interval.map_or_else(String::new, |interval| format!("({interval})")).into(),
                format!("p {}", p_value(candidate)).into(),
                segment_concluded(candidate.decision).into(),
            ];
            table.row(row);
        }
    }
    table.write(out)?;
    if let Some(first) = metric.segments.first() {
        for candidate in &metric.candidates {
            let text = interaction(first, candidate, alpha);
            writeln!(out, "{}", wrapped(&format!("    {}: ", candidate.variant), &text))?;
        }
    }
    Ok(())
}
