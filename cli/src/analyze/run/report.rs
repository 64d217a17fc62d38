//! The analysis for people at a terminal: the verdict in words, then whether the data can be trusted, then the numbers.

use std::io::Write;

use super::super::figures::{digits, signed};
use super::analysis::{Analysis, CandidateResult, LineCounts, MetricResult};
use crate::out::{Ink, Out};
use crate::words::grouped;

/// `promote enhanced-predictor`.
pub(super) fn headline(analysis: &Analysis) -> String {
    let baseline = analysis.variants.iter().find(|variant| variant.role == "baseline");
    let baseline = baseline.map_or("the baseline", |variant| variant.name.as_str());
    match (analysis.decision, &analysis.winner) {
        ("promote", Some(winner)) => {
            format!("Promote {winner}: it is better than {baseline}, and no guardrail is broken")
        }
        ("keep_baseline", _) => format!("Keep {baseline}"),
        ("invalid", _) => "Do not decide: these data cannot be trusted".to_owned(),
        _ => "Not decided yet: keep the experiment running".to_owned(),
    }
}

/// A difference with its interval: `+3.6 points (95 % CI +2.9 to +4.3)`.
pub(super) fn effect(metric: &MetricResult, result: &CandidateResult) -> String {
    let Some(diff) = result.diff else { return "undefined".to_owned() };
    match result.ci {
        [Some(low), Some(high)] => {
            format!("{} (CI {} to {})", change(metric, diff), bare(metric, low), bare(metric, high))
        }
        _ => change(metric, diff),
    }
}

/// A change with its sign and unit.
pub(super) fn change(metric: &MetricResult, value: f64) -> String {
    let text = bare(metric, value);
    if metric.is_share {
        format!("{text} points")
    } else if metric.unit == Some("s") {
        format!("{text} ms")
    } else {
        text
    }
}

fn bare(metric: &MetricResult, value: f64) -> String {
    signed(value * scale(metric), 3)
}

fn scale(metric: &MetricResult) -> f64 {
    if metric.is_share {
        100.0
    } else if metric.unit == Some("s") {
        1000.0
    } else {
        1.0
    }
}

/// A value with its unit: `91.2 %`, `143 ms`.
pub(super) fn amount(metric: &MetricResult, value: f64) -> String {
    let text = digits(value * scale(metric), 4);
    if metric.is_share {
        format!("{text} %")
    } else if metric.unit == Some("s") {
        format!("{text} ms")
    } else {
        text
    }
}

/// A guardrail's margin: `0.5 points`, `20 ms`.
pub(super) fn margin(metric: &MetricResult, value: f64) -> String {
    let text = digits(value * scale(metric), 3);
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if metric.is_share {
        format!("{text} points")
    } else if metric.unit == Some("s") {
        format!("{text} ms")
    } else {
        text.to_owned()
    }
}

/// `0.0123`, `1e-400`.
pub(super) fn p_value(result: &CandidateResult) -> String {
    match (result.p_adjusted.or(result.p_value), result.log10_p) {
        (Some(p), _) if p >= 1e-300 => {
            if p < 1e-4 {
                format!("{p:.1e}")
            } else {
                digits(p, 3)
            }
        }
        (Some(_), Some(log)) => format!("1e{log:.0}"),
        _ => "–".to_owned(),
    }
}

/// A decision in words.
pub(super) fn decided(metric: &MetricResult, decision: &str) -> &'static str {
    match (metric.role, decision) {
        (_, "better") => "better",
        (_, "worse") => "worse",
        (_, "non_inferior") => "within its margin",
        (_, "inferior") => "broken",
        ("guardrail", "no_difference_shown") => "not settled yet",
        (_, "no_difference_shown") => "no difference shown",
        _ => "undefined",
    }
}

pub(super) fn tell(analysis: &Analysis, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let headline = headline(analysis);
    match analysis.decision {
        "promote" => writeln!(out, "{}", ink.good(headline))?,
        "invalid" => writeln!(out, "{}", ink.bad(headline))?,
        _ => writeln!(out, "{}", ink.bold(headline))?,
    }
    for reason in &analysis.reasons {
        writeln!(out, "  - {reason}")?;
    }
    writeln!(out)?;
    about(analysis, ink, out)?;
    split(analysis, ink, out)?;
    for role in ["primary", "guardrail", "exploratory"] {
        let title = match role {
            "primary" => "What the experiment is for",
            "guardrail" => "Guardrails",
            _ => "Also looked at (p-values for many metrics)",
        };
        let metrics: Vec<&MetricResult> =
            analysis.metrics.iter().filter(|metric| metric.role == role).collect();
        if !metrics.is_empty() {
            writeln!(out, "\n{}", ink.bold(title))?;
            table(&metrics, ink, out)?;
        }
    }
    if let Some(metrics) = &analysis.without_breaker {
        writeln!(out, "\n{}", ink.bold("Without the minutes in which a breaker was open"))?;
        let metrics: Vec<&MetricResult> =
            metrics.iter().filter(|metric| metric.role != "exploratory").collect();
        table(&metrics, ink, out)?;
    }
    for worth in &analysis.worth {
        writeln!(out, "\n{} {}", ink.bold("Worth it?"), worth.sentence)?;
    }
    writeln!(out)?;
    lines(&analysis.lines, ink, out)
}

fn about(analysis: &Analysis, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let span = match (&analysis.from, &analysis.to) {
        (Some(from), Some(to)) => format!("{from} to {to}"),
        _ => "no data".to_owned(),
    };
    writeln!(out, "{}  {}", ink.bold(&analysis.experiment), ink.dim(span))?;
    let looks = looks(analysis);
    writeln!(out, "{}", ink.dim(format!("by {}; {looks}", analysis.unit_of_analysis)))?;
    for interval in analysis.breaker.intervals.iter().take(5) {
        writeln!(
            out,
            "{} {} from {} to {}, {} requests",
            ink.note("breaker:"),
            interval.variant,
            interval.from,
            interval.to,
            grouped(interval.requests)
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

/// How often the intervals may be looked at.
pub(super) fn looks(analysis: &Analysis) -> String {
    let confidence = digits(100.0 * (1.0 - analysis.alpha), 3);
    let confidence = confidence.trim_end_matches('0').trim_end_matches('.');
    match (analysis.test, analysis.planned_units) {
        ("fixed", Some(planned)) => {
            format!(
                "the planned {} units are reached: {confidence} % intervals for this one look",
                grouped(planned)
            )
        }
        (_, Some(planned)) => format!(
            "the planned {} units are not reached: {confidence} % intervals that hold however often you look",
            grouped(planned)
        ),
        _ => format!(
            "{confidence} % intervals that hold however often you look (no --planned-units)"
        ),
    }
}

fn split(analysis: &Analysis, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let srm = &analysis.srm;
    let verdict = match srm.verdict {
        "ok" => ink.good("split as promised").to_string(),
        "mismatch" => ink.bad("SAMPLE RATIO MISMATCH").to_string(),
        _ => ink.note("split not tested").to_string(),
    };
    let p = srm.p_value.map(|p| {
        if p < 1e-4 { format!("  p = {p:.1e}") } else { format!("  p = {}", digits(p, 3)) }
    });
    writeln!(out, "{verdict}{}", p.unwrap_or_default())?;
    if let Some(note) = &srm.note {
        writeln!(out, "  {} {note}", ink.note("note:"))?;
    }
    let width = analysis.variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0);
    let sum: u64 = analysis.variants.iter().map(|variant| variant.units).sum();
    let noun = format!("{}s", analysis.unit_of_analysis);
    for variant in &analysis.variants {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let share = if sum == 0 { 0.0 } else { 100.0 * variant.units as f64 / sum as f64 };
        let elsewhere = if variant.served_elsewhere > 0 {
            format!(", {} answered by another variant", grouped(variant.served_elsewhere))
        } else {
            String::new()
        };
        writeln!(
            out,
            "  {:<width$}  {:>11} {noun} ({share:.2} %)  {:>11} requests{elsewhere}",
            variant.name,
            grouped(variant.units),
            grouped(variant.requests)
        )?;
    }
    for phase in srm.phases.iter().filter(|_| srm.phases.len() > 1) {
        let parts: Vec<String> = phase
            .observed
            .iter()
            .zip(&phase.expected)
            .map(|((name, count), (_, share))| {
                format!("{name} {count} (aim {:.2} %)", share.as_f64().unwrap_or(0.0) * 100.0)
            })
            .collect();
        let p = phase
            .p_value
            .map_or_else(|| "not tested".to_owned(), |p| format!("p = {}", digits(p, 3)));
        writeln!(
            out,
            "  phase {}: {}  {p}",
            phase.phase.as_deref().unwrap_or("all"),
            parts.join(", ")
        )?;
    }
    Ok(())
}

fn table(metrics: &[&MetricResult], ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let mut rows: Vec<[String; 7]> =
        vec![["metric", "variant", "value", "difference", "interval", "p", ""].map(str::to_owned)];
    for metric in metrics {
        let value = |value: Option<f64>| {
            value.map_or_else(|| "undefined".to_owned(), |value| amount(metric, value))
        };
        let base = &metric.baseline;
        let margin = metric
            .margin
            .map(|value| format!("margin {}", margin(metric, value)))
            .unwrap_or_default();
        rows.push([
            metric.name.clone(),
            base.variant.clone(),
            value(base.value),
            String::new(),
            margin,
            String::new(),
            String::new(),
        ]);
        for result in &metric.candidates {
            let interval = match result.ci {
                [Some(low), Some(high)] => {
                    format!("{} to {}", bare(metric, low), bare(metric, high))
                }
                _ => "undefined".to_owned(),
            };
            rows.push([
                String::new(),
                result.variant.clone(),
                value(result.value),
                result.diff.map_or_else(|| "undefined".to_owned(), |diff| change(metric, diff)),
                interval,
                p_value(result),
                decided(metric, result.decision).to_owned(),
            ]);
        }
    }
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let w = |column: usize| widths.get(column).copied().unwrap_or(0);
    for (index, [name, variant, value, difference, interval, p, verdict]) in rows.iter().enumerate()
    {
        let line = format!(
            "  {name:<a$}  {variant:<b$}  {value:>c$}  {difference:>d$}  {interval:>e$}  {p:>f$}",
            a = w(0),
            b = w(1),
            c = w(2),
            d = w(3),
            e = w(4),
            f = w(5)
        );
        if index == 0 {
            writeln!(out, "{}", ink.dim(line.trim_end()))?;
            continue;
        }
        let verdict = match verdict.as_str() {
            "better" | "within its margin" => ink.good(verdict).to_string(),
            "worse" | "broken" => ink.bad(verdict).to_string(),
            _ => verdict.clone(),
        };
        writeln!(out, "{}", format!("{line}  {verdict}").trim_end())?;
    }
    Ok(())
}

fn lines(lines: &LineCounts, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    let parts: Vec<String> = left_out(lines)
        .into_iter()
        .map(|(count, why)| format!("{} {why}", grouped(count)))
        .collect();
    let left =
        if parts.is_empty() { String::new() } else { format!("; left out: {}", parts.join(", ")) };
    writeln!(
        out,
        "{}",
        ink.dim(format!("{} lines read, {} used{left}", grouped(lines.read), grouped(lines.used)))
    )?;
    if lines.malformed > 0 {
        writeln!(out, "{} {}", ink.note("note:"), skipped(lines))?;
        for example in &lines.examples {
            writeln!(out, "  {example}")?;
        }
    }
    Ok(())
}

/// That lines were skipped.
pub(super) fn skipped(lines: &LineCounts) -> String {
    match lines.malformed {
        1 => "1 malformed line was skipped:".to_owned(),
        many => format!("{} malformed lines were skipped, the first:", grouped(many)),
    }
}

/// Why lines do not count, where there are any.
pub(super) fn left_out(lines: &LineCounts) -> Vec<(u64, &'static str)> {
    let excluded = &lines.excluded;
    [
        (excluded.other_experiment, "of no or another experiment"),
        (excluded.overridden, "overridden"),
        (excluded.missing_unit, "without a unit"),
        (excluded.breaker, "while a breaker was open"),
        (excluded.not_started, "before the start"),
        (excluded.disabled, "switched off"),
        (excluded.excluded, "outside the layer's slots"),
        (excluded.aborted, "aborted by the caller"),
        (excluded.other_weights, "assigned by other weights"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .collect()
}
