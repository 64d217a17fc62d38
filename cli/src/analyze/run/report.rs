//! The analysis for people at a terminal: the decision with its reasons, whether the data can be trusted, the numbers.

mod table;

use std::io::Write;

use sidetrack_analysis::Analysis;
use sidetrack_analysis::answer::{
    Decision, LineCounts, MetricResult, OutcomeCounts, Role, SrmVerdict,
};

use super::words::{
    WITHOUT_BREAKER, headline, left_out, looks, other_trial, p_text, planned, share, skipped, title,
};
use crate::out::{Ink, Out};
use crate::wrap::{self, wrapped};
use table::table;

pub(super) fn print(analysis: &Analysis, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let headline = headline(analysis);
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
    writeln!(out)?;
    about(analysis, ink, out)?;
    split(analysis, ink, out)?;
    for role in [Role::Primary, Role::Guardrail, Role::Exploratory] {
        let metrics: Vec<&MetricResult> =
            analysis.metrics.iter().filter(|metric| metric.role == role).collect();
        if !metrics.is_empty() {
            writeln!(out, "\n{}", ink.bold(title(role)))?;
            metrics.iter().try_for_each(|metric| table(metric, ink, out))?;
        }
    }
    if let Some(metrics) = &analysis.without_breaker {
        writeln!(out, "\n{}", ink.bold(WITHOUT_BREAKER))?;
        let metrics: Vec<&MetricResult> =
            metrics.iter().filter(|metric| metric.role != Role::Exploratory).collect();
        metrics.iter().try_for_each(|metric| table(metric, ink, out))?;
    }
    for worth in &analysis.worth {
        writeln!(out, "\n{}\n{}", ink.bold("Value"), wrapped("  ", &worth.sentence))?;
    }
    writeln!(out)?;
    lines(&analysis.lines, ink, out)?;
    analysis.outcomes.as_ref().map_or(Ok(()), |outcomes| rows(outcomes, ink, out))
}

fn about(analysis: &Analysis, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let span = match (&analysis.from, &analysis.to) {
        (Some(from), Some(to)) => format!("{from} to {to}"),
        _ => "no data".to_owned(),
    };
    writeln!(out, "{}  {}", ink.bold(&analysis.experiment), ink.dim(span))?;
    let looks = looks(analysis);
    writeln!(out, "{}", ink.dim(format!("by {}; {looks}", analysis.unit_of_analysis.as_str())))?;
    for line in planned(analysis) {
        writeln!(out, "{}", ink.dim(wrapped("", &line)))?;
    }
    for trial in analysis.other_trials.iter().take(5) {
        writeln!(out, "{} {}", ink.note("other"), other_trial(trial))?;
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

fn split(analysis: &Analysis, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let srm = &analysis.srm;
    let verdict = match srm.verdict {
        SrmVerdict::Ok => ink.good("split as configured").to_string(),
        SrmVerdict::Mismatch => ink.bad("SAMPLE RATIO MISMATCH").to_string(),
        SrmVerdict::Undefined => ink.note("split not tested").to_string(),
    };
    let p = srm.p_value.map(|p| format!("  p = {}", p_text(p))).unwrap_or_default();
    writeln!(out, "{verdict}{p}")?;
    if let Some(note) = &srm.note {
        writeln!(out, "{}", wrap::note("  ", note, ink))?;
    }
    let width = analysis.variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0);
    let noun = format!("{}s", analysis.unit_of_analysis.as_str());
    for variant in &analysis.variants {
        let share = share(variant, &analysis.variants);
        let (units, requests) = (variant.units, variant.requests);
        let name = &variant.name;
        writeln!(out, "  {name:<width$}  {units:>11} {noun} ({share})  {requests:>11} requests")?;
        if variant.served_elsewhere > 0 {
            let elsewhere = variant.served_elsewhere;
            writeln!(out, "    {elsewhere} of them served by another variant")?;
        }
    }
    for phase in srm.phases.iter().filter(|_| srm.phases.len() > 1) {
        let parts: Vec<String> = phase
            .observed
            .iter()
            .zip(&phase.expected)
            .map(|((name, count), (_, share))| {
                format!("{name} {} (target {:.2} %)", *count, share * 100.0)
            })
            .collect();
        let p =
            phase.p_value.map_or_else(|| "not tested".to_owned(), |p| format!("p = {}", p_text(p)));
        let name = phase.phase.as_deref().unwrap_or("all");
        let text = format!("phase {name}: {}; {p}", parts.join(", "));
        writeln!(out, "{}", wrapped("  ", &text))?;
    }
    Ok(())
}

fn lines(lines: &LineCounts, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let parts = left_out(lines);
    let left =
        if parts.is_empty() { String::new() } else { format!("; left out: {}", parts.join(", ")) };
    let text = format!("{} lines read, {} used{left}", lines.read, lines.used);
    writeln!(out, "{}", ink.dim(wrapped("", &text)))?;
    if lines.malformed > 0 {
        writeln!(out, "{}", wrap::note("", &skipped(lines), ink))?;
        for example in &lines.examples {
            writeln!(out, "  {example}")?;
        }
    }
    Ok(())
}

fn rows(outcomes: &OutcomeCounts, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let matched = outcomes.matched;
    let mut text = format!("{} outcome rows, {matched} match the logs", outcomes.rows);
    if !outcomes.ignored_columns.is_empty() {
        text += &format!("; columns that are no metrics: {}", outcomes.ignored_columns.join(", "));
    }
    if outcomes.nameless_columns > 0 {
        text += &format!("; columns without a name: {}", outcomes.nameless_columns);
    }
    writeln!(out, "{}", ink.dim(wrapped("", &text)))?;
    let mut examples = |what: String, examples: &[String]| -> anyhow::Result<()> {
        writeln!(out, "{} {what}; the first ones:", ink.note("note:"))?;
        examples.iter().try_for_each(|example| writeln!(out, "{}", wrapped("  ", example)))?;
        Ok(())
    };
    if outcomes.malformed > 0 {
        let what = format!("outcome rows that cannot be read: {}", outcomes.malformed);
        examples(what, &outcomes.examples)?;
    }
    for column in outcomes.unreadable.iter().filter(|column| !column.examples.is_empty()) {
        let what = format!(
            "{}: values that cannot be read, their units are left out: {}",
            column.column, column.rows
        );
        examples(what, &column.examples)?;
    }
    Ok(())
}
