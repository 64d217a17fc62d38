//! The analysis for people at a terminal: the decision with its reasons, whether the data can be trusted, the numbers.

mod data;
mod days;
mod model;
mod segments;
mod table;

use std::io::Write;

use sidetrack_analysis::Analysis;
use sidetrack_analysis::answer::{Decision, MetricResult, Role};

use crate::out::{Ink, Out};
use crate::wrap::wrapped;
use sidetrack_analysis::words::{
    EXPLORATORY, WITHOUT_BREAKER, headline, looks, next, note, other_trial, outlook, planned, title,
};
use table::{details, table};

pub(super) fn print(analysis: &Analysis, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let headline = wrapped("", &headline(analysis));
    match analysis.decision {
        Decision::Promote => writeln!(out, "{}", ink.good(headline))?,
        Decision::Invalid => writeln!(out, "{}", ink.bad(headline))?,
        Decision::KeepBaseline | Decision::Inconclusive => {
            writeln!(out, "{}", ink.bold(headline))?;
        }
    }
    for reason in &analysis.reasons {
        writeln!(out, "{}", wrapped("  - ", &reason.to_string()))?;
    }
    let next = wrapped("Next: ", &next(analysis));
    writeln!(out, "{}\n", next.replacen("Next:", &ink.bold("Next:").to_string(), 1))?;
    about(analysis, ink, out)?;
    data::split(analysis, ink, out)?;
    data::checks(&analysis.checks, ink, out)?;
    for role in [Role::Primary, Role::Guardrail] {
        metrics(analysis, role, ink, out)?;
    }
    let expected = outlook(analysis);
    if !expected.is_empty() {
        writeln!(out, "\n{}", ink.bold("Outlook"))?;
    }
    for line in expected {
        writeln!(out, "{}", wrapped("  - ", &line))?;
    }
    model::model(analysis.model.as_ref(), ink, out)?;
    if let Some(metrics) = &analysis.without_breaker {
        writeln!(out, "\n{}", ink.bold(WITHOUT_BREAKER))?;
        let metrics: Vec<&MetricResult> =
            metrics.iter().filter(|metric| metric.role != Role::Exploratory).collect();
        metrics.iter().try_for_each(|metric| table(metric, ink, out))?;
    }
    let [title, note] = EXPLORATORY;
    writeln!(
        out,
        "\n{}",
        wrapped("", &format!("{title}: {note}")).replacen(title, &ink.bold(title).to_string(), 1)
    )?;
    metrics(analysis, Role::Exploratory, ink, out)?;
    days::days(analysis, ink, out)?;
    segments::segments(analysis, ink, out)?;
    if !analysis.worth.is_empty() {
        writeln!(out, "\n{}", ink.bold("Value"))?;
    }
    for worth in &analysis.worth {
        writeln!(out, "{}", wrapped("  ", &worth.sentence))?;
    }
    writeln!(out)?;
    data::lines(&analysis.lines, ink, out)?;
    analysis.outcomes.as_ref().map_or(Ok(()), |outcomes| data::rows(outcomes, ink, out))
}

fn metrics(analysis: &Analysis, role: Role, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let metrics: Vec<&MetricResult> =
        analysis.metrics.iter().filter(|metric| metric.role == role).collect();
    if !metrics.is_empty() {
        writeln!(out, "\n{}  {}", ink.bold(title(role)), ink.dim(note(role)))?;
    }
    for metric in metrics {
        table(metric, ink, out)?;
        if role == Role::Primary {
            details(metric, ink, out)?;
        }
    }
    Ok(())
}

fn about(analysis: &Analysis, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let span = match (&analysis.from, &analysis.to) {
        (Some(from), Some(to)) => format!("{from} to {to}"),
        _ => "no data".to_owned(),
    };
    writeln!(out, "{}  {}", ink.bold(&analysis.experiment), ink.dim(span))?;
    let unit = analysis.unit_of_analysis.as_str();
    let looks = format!("trial {}; by {unit}; {}", analysis.trial, looks(analysis));
    writeln!(out, "{}", ink.dim(wrapped("", &looks)))?;
    for line in planned(analysis) {
        writeln!(out, "{}", ink.dim(wrapped("", &line)))?;
    }
    for trial in analysis.other_trials.iter().take(5) {
        let text = wrapped("other ", &other_trial(trial));
        writeln!(out, "{}", text.replacen("other", &ink.note("other").to_string(), 1))?;
    }
    for interval in analysis.breaker.intervals.iter().take(5) {
        writeln!(
            out,
            "{} {} from {} to {}, {} requests",
            ink.note("breaker:"),
            interval.variant,
            interval.from,
            interval.to,
            interval.requests
        )?;
    }
    if analysis.breaker.intervals.len() > 5 {
        writeln!(
            out,
            "  and {} more intervals (--json has all)",
            analysis.breaker.intervals.len() - 5
        )?;
    }
    Ok(())
}
