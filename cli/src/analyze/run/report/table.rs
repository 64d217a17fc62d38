//! Tables of metrics: the metric's title, and below it a row per variant.

use std::io::Write;

use sidetrack_analysis::answer::{CandidateResult, Conclusion, Goal, MetricResult};
use sidetrack_analysis::{Effect, Scale};

use crate::out::{Ink, Out};
use crate::table::{Align, Cell, Table};
use sidetrack_analysis::words::{by_phase, concluded, lift, p_value};

/// The variant, its value, the relative lift, its interval, the difference, its interval, the p-value, the conclusion.
const COLUMNS: [Align; 8] = [
    Align::Left,
    Align::Right,
    Align::Right,
    Align::Right,
    Align::Right,
    Align::Right,
    Align::Left,
    Align::Left,
];

/// How many phases are shown; a bandit makes many.
const MOST_PHASES: usize = 12;

pub(super) fn table(metric: &MetricResult, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    writeln!(out, "  {}", title(metric))?;
    let mut table = Table::new(&COLUMNS).keeping(2);
    let base = &metric.baseline.variant;
    let baseline = |value| [indented(base), shown(metric, value, Scale::amount).into()];
    let once = metric.has_one_baseline();
    if once {
        table.row(baseline(metric.baseline.value));
    }
    for result in &metric.candidates {
        if !once {
            table.row(baseline(result.baseline_value));
        }
        table.row(candidate(metric, result, ink));
    }
    Ok(table.write(out)?)
}

/// The differences of each candidate within the phases, if there are several.
pub(super) fn details(metric: &MetricResult, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    for result in &metric.candidates {
        let rows = by_phase(metric, result);
        if rows.is_empty() {
            continue;
        }
        if metric.candidates.len() > 1 {
            writeln!(out, "    {}", ink.dim(format!("{} by phase", result.variant)))?;
        }
        let left = rows.len().saturating_sub(MOST_PHASES);
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, difference) in rows.iter().skip(left) {
            let text = format!("      {name:<width$}  {difference}");
            writeln!(out, "{}", ink.dim(text))?;
        }
        if left > 0 {
            writeln!(
                out,
                "      {}",
                ink.dim(format!("and {left} phases before (--json has all)"))
            )?;
        }
    }
    Ok(())
}

/// `latency_p95 in ms, lower is better, margin 20 ms`.
fn title(metric: &MetricResult) -> String {
    let scale = metric.scale();
    let unit = match scale {
        Scale::Share => " in points",
        Scale::Seconds => " in ms",
        Scale::Plain => "",
    };
    let margin = metric.margin.map(|margin| format!(", margin {}", scale.margin(margin)));
    let better = match metric.goal {
        Goal::Increase => "higher is better",
        Goal::Decrease => "lower is better",
    };
    format!("{}{unit}, {better}{}", metric.name, margin.unwrap_or_default())
}

fn candidate(metric: &MetricResult, result: &CandidateResult, ink: Ink) -> [Cell; 8] {
    let words = concluded(metric.role, result.decision);
    let conclusion = match result.decision {
        Conclusion::Better | Conclusion::NonInferior => ink.good(words).into(),
        Conclusion::Worse | Conclusion::Inferior => ink.bad(words).into(),
        Conclusion::NoDifferenceShown | Conclusion::Undefined => words.into(),
    };
    let interval = Effect::of(metric, result).range();
    let [lift, of_lift] = lift(result);
    let of_lift = if of_lift.is_empty() { of_lift } else { format!("({of_lift})") };
    [
        indented(&result.variant),
        shown(metric, result.value, Scale::amount).into(),
        lift.into(),
        of_lift.into(),
        shown(metric, result.diff, Scale::bare).into(),
        interval.map_or_else(String::new, |interval| format!("({interval})")).into(),
        format!("p {}", p_value(result)).into(),
        conclusion,
    ]
}

fn indented(variant: &str) -> Cell {
    format!("  {variant}").into()
}

fn shown(metric: &MetricResult, value: Option<f64>, show: fn(Scale, f64) -> String) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| show(metric.scale(), value))
}
