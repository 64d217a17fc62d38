//! Tables of metrics: a line per metric, and below it a line per variant.

use std::io::Write;

use sidetrack_analysis::answer::{CandidateResult, Conclusion, MetricResult};
use sidetrack_analysis::{Effect, Scale};

use super::super::words::{concluded, p_value};
use crate::out::{Ink, Out};

/// The head of the columns.
const HEAD: [&str; 5] = ["variant", "value", "difference", "interval", "p"];

/// A line: the cells, and the conclusion if it is a candidate's.
struct Row {
    cells: [String; 5],
    conclusion: Option<(Conclusion, &'static str)>,
}

pub(super) fn table(metrics: &[&MetricResult], ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let blocks: Vec<(String, Vec<Row>)> =
        metrics.iter().map(|metric| (title(metric), rows(metric))).collect();
    let head = Row { cells: HEAD.map(str::to_owned), conclusion: None };
    let all = || blocks.iter().flat_map(|(_, rows)| rows).chain([&head]);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    writeln!(out, "{}", ink.dim(line(&head, widths).trim_end()))?;
    for (title, rows) in &blocks {
        writeln!(out, "  {title}")?;
        for row in rows {
            let conclusion = row.conclusion.map_or_else(String::new, |(conclusion, words)| {
                match conclusion {
                    Conclusion::Better | Conclusion::NonInferior => ink.good(words).to_string(),
                    Conclusion::Worse | Conclusion::Inferior => ink.bad(words).to_string(),
                    Conclusion::NoDifferenceShown | Conclusion::Undefined => words.to_owned(),
                }
            });
            writeln!(out, "{}", format!("{}  {conclusion}", line(row, widths)).trim_end())?;
        }
    }
    Ok(())
}

fn line(row: &Row, [a, b, c, d, e]: [usize; 5]) -> String {
    let [variant, value, difference, interval, p] = &row.cells;
    format!("    {variant:<a$}  {value:>b$}  {difference:>c$}  {interval:>d$}  {p:>e$}")
}

/// `latency_p95, in ms, margin 20 ms`.
fn title(metric: &MetricResult) -> String {
    let scale = metric.scale();
    let unit = match scale {
        Scale::Share => ", in points",
        Scale::Seconds => ", in ms",
        Scale::Plain => "",
    };
    let margin = metric.margin.map(|margin| format!(", margin {}", scale.margin(margin)));
    format!("{}{unit}{}", metric.name, margin.unwrap_or_default())
}

fn rows(metric: &MetricResult) -> Vec<Row> {
    let base = &metric.baseline;
    let value = shown(metric, base.value, Scale::amount);
    let baseline = Row {
        cells: [base.variant.clone(), value, String::new(), String::new(), String::new()],
        conclusion: None,
    };
    let candidates = metric.candidates.iter().map(|result| candidate(metric, result));
    std::iter::once(baseline).chain(candidates).collect()
}

fn candidate(metric: &MetricResult, result: &CandidateResult) -> Row {
    let interval = Effect::of(metric, result).range();
    Row {
        cells: [
            result.variant.clone(),
            shown(metric, result.value, Scale::amount),
            shown(metric, result.diff, Scale::bare),
            interval.unwrap_or_else(|| "undefined".to_owned()),
            p_value(result),
        ],
        conclusion: Some((result.decision, concluded(metric.role, result.decision))),
    }
}

fn shown(metric: &MetricResult, value: Option<f64>, show: fn(Scale, f64) -> String) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| show(metric.scale(), value))
}
