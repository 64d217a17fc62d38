//! The report as one page of HTML: the verdict in words, then plots and tables. Nothing is fetched, nothing runs.
//!
//! The page is a template; this puts numbers into words and plots into SVG, so that the template only arranges.

mod plot;
mod svg;

use anyhow::Context as _;
use minijinja::{Environment, Value, context};

use super::super::figures::digits;
use super::analysis::{Analysis, CandidateResult, MetricResult};
use super::growth::Plots;
use super::report::{
    amount, change, decided, effect, headline, left_out, looks, margin, p_value, skipped,
};
use crate::words::grouped;

const TEMPLATE: &str = include_str!("../../../templates/report.html");

/// Makes the page.
///
/// # Errors
/// A template that cannot be rendered, which a test would have seen.
pub(super) fn page(analysis: &Analysis, plots: &Plots) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.add_template("report.html", TEMPLATE).context("the report's template")?;
    let template = environment.get_template("report.html").context("the report's template")?;
    let variants: Vec<String> =
        analysis.variants.iter().map(|variant| variant.name.clone()).collect();
    let whole: Value = serde_json::from_value(serde_json::to_value(analysis)?)?;
    let page = template.render(context! {
        title => format!("{}: {}", analysis.experiment, headline(analysis)),
        headline => headline(analysis),
        decision => analysis.decision,
        analysis => whole,
        looks => looks(analysis),
        cards => cards(analysis),
        variants => variant_rows(analysis),
        srm => srm(analysis),
        phases => srm_phases(analysis),
        sections => sections(analysis),
        left_out => left_out(&analysis.lines).into_iter().map(|(count, why)| format!("{} {why}", grouped(count))).collect::<Vec<_>>(),
        read => grouped(analysis.lines.read),
        used => grouped(analysis.lines.used),
        skipped => skipped(&analysis.lines),
        plots => drawn(analysis, plots, &variants),
    });
    page.context("the report's template")
}

/// The plots that there are data for: title, drawing, and what it shows.
fn drawn(analysis: &Analysis, plots: &Plots, variants: &[String]) -> Vec<Value> {
    let mut out = Vec::new();
    let mut add = |title: String, svg: Option<String>, caption: String| {
        if let Some(svg) = svg {
            out.push(context! { title, caption, svg => Value::from_safe_string(svg) });
        }
    };
    if let Some((name, lines)) = &plots.growth
        && let Some(metric) = analysis.metrics.iter().find(|metric| metric.name == *name)
    {
        add(
            format!("Effect on {name}, as units joined"),
            plot::growth(metric, lines, plots.span, variants),
            format!(
                "Difference to {} among the units that had joined by then, with its interval. The dashed line is no difference.",
                metric.baseline.variant
            ),
        );
    }
    if let Some(metric) = analysis.metrics.first() {
        add(
            format!("What is believed of {}", metric.name),
            plot::belief(metric, variants),
            "How probable each difference is after these data, before which all were equally probable."
                .to_owned(),
        );
    }
    add(
        "Split against target".to_owned(),
        plot::split(&plots.split, plots.span, variants),
        "Each candidate's share of all units so far (line) and what the weights promise (dashed)."
            .to_owned(),
    );
    add(
        "Latency".to_owned(),
        plot::latencies(&plots.latencies, variants),
        "Share of requests by latency, up to the slowest hundredth; ticks below mark the 50th and 95th percentile.".to_owned(),
    );
    out
}

/// The numbers to see first: each primary metric and candidate.
fn cards(analysis: &Analysis) -> Vec<Value> {
    let primary = analysis.metrics.iter().filter(|metric| metric.role == "primary");
    let pairs =
        primary.flat_map(|metric| metric.candidates.iter().map(move |result| (metric, result)));
    pairs
        .map(|(metric, result)| {
            let value = |value: Option<f64>| {
                value.map_or_else(|| "undefined".to_owned(), |value| amount(metric, value))
            };
            context! {
                metric => metric.name.clone(),
                variant => result.variant.clone(),
                change => result.diff.map_or_else(|| "undefined".to_owned(), |diff| change(metric, diff)),
                interval => interval(metric, result),
                values => format!("{} → {}", value(metric.baseline.value), value(result.value)),
                best => result.p_best.map(percent),
                decision => result.decision,
                decided => decided(metric, result.decision),
            }
        })
        .collect()
}

/// Never "100 %" for what is not certain.
fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p > 99.9 => "> 99.9 %".to_owned(),
        p if p < 0.1 => "< 0.1 %".to_owned(),
        p => format!("{p:.1} %"),
    }
}

fn interval(metric: &MetricResult, result: &CandidateResult) -> String {
    let text = effect(metric, result);
    text.split_once("(CI ")
        .map_or_else(String::new, |(_, rest)| rest.trim_end_matches(')').to_owned())
}

fn variant_rows(analysis: &Analysis) -> Vec<Value> {
    let sum: u64 = analysis.variants.iter().map(|variant| variant.units).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let share = |units: u64| if sum == 0 { 0.0 } else { 100.0 * units as f64 / sum as f64 };
    let row = |(index, variant): (usize, &super::analysis::Variant)| {
        context! {
            index,
            name => variant.name.clone(),
            role => variant.role,
            units => grouped(variant.units),
            share => format!("{:.2} %", share(variant.units)),
            requests => grouped(variant.requests),
            elsewhere => grouped(variant.served_elsewhere),
        }
    };
    analysis.variants.iter().enumerate().map(row).collect()
}

fn srm(analysis: &Analysis) -> Value {
    let srm = &analysis.srm;
    context! {
        verdict => srm.verdict,
        words => match srm.verdict {
            "ok" => "The split is what the file promises.",
            "mismatch" => "Sample ratio mismatch: the variants did not get the units that the file promises.",
            _ => "The split was not tested.",
        },
        p => srm.p_value.map(|p| if p < 1e-4 { format!("{p:.1e}") } else { digits(p, 3) }),
        note => srm.note.clone(),
    }
}

fn srm_phases(analysis: &Analysis) -> Vec<Value> {
    let phases = analysis.srm.phases.iter().filter(|_| analysis.srm.phases.len() > 1);
    let row = |phase: &super::analysis::SrmPhase| {
        let parts =
            phase.observed.iter().zip(&phase.expected).map(|((name, count), (_, share))| {
                let count = grouped(count.as_u64().unwrap_or(0));
                format!(
                    "{name} {count} (aim {} %)",
                    digits(share.as_f64().unwrap_or(0.0) * 100.0, 3)
                )
            });
        context! {
            name => phase.phase.clone(),
            parts => parts.collect::<Vec<_>>(),
            p => phase.p_value.map(|p| digits(p, 3)),
        }
    };
    phases.map(row).collect()
}

/// The tables: metrics by role, and again without open breakers.
fn sections(analysis: &Analysis) -> Vec<Value> {
    let mut sections = Vec::new();
    let mut add = |title: &str, note: &str, metrics: Vec<&MetricResult>| {
        if !metrics.is_empty() {
            let rows: Vec<Value> = metrics.into_iter().map(row).collect();
            sections.push(context! { title, note, rows });
        }
    };
    let of = |role: &str| {
        analysis.metrics.iter().filter(|metric| metric.role == role).collect::<Vec<_>>()
    };
    add(
        "What the experiment is for",
        "P-values are adjusted for each other (Holm).",
        of("primary"),
    );
    add(
        "Guardrails",
        "Each must be shown not to be worse by more than its margin.",
        of("guardrail"),
    );
    add(
        "Also looked at",
        "Ideas, not findings; p-values are adjusted (Benjamini and Hochberg).",
        of("exploratory"),
    );
    let without =
        analysis.without_breaker.iter().flatten().filter(|metric| metric.role != "exploratory");
    add(
        "Without the minutes in which a breaker was open",
        "While it is open the baseline answers for the candidate, which hides failures. Here these minutes are left out for all.",
        without.collect(),
    );
    sections
}

fn row(metric: &MetricResult) -> Value {
    let candidates: Vec<Value> = metric
        .candidates
        .iter()
        .map(|result| {
            let phases = result.phases.iter().map(|phase| {
                let ci = match phase.ci {
                    [Some(low), Some(high)] => {
                        format!(" ({} to {})", change(metric, low), change(metric, high))
                    }
                    _ => String::new(),
                };
                format!("{}: {}{ci}", phase.phase, change(metric, phase.diff))
            });
            context! {
                variant => result.variant.clone(),
                value => result.value.map_or_else(|| "undefined".to_owned(), |value| amount(metric, value)),
                change => result.diff.map_or_else(|| "undefined".to_owned(), |diff| change(metric, diff)),
                interval => interval(metric, result),
                p => p_value(result),
                decision => result.decision,
                decided => decided(metric, result.decision),
                method => result.method.clone(),
                n => grouped(result.n),
                phases => phases.collect::<Vec<_>>(),
                bar => plot::bar(metric, result).map(Value::from_safe_string),
            }
        })
        .collect();
    context! {
        name => metric.name.clone(),
        goal => if metric.goal == "increase" { "more is better" } else { "less is better" },
        margin => metric.margin.map(|value| margin(metric, value)),
        baseline => metric.baseline.variant.clone(),
        value => metric.baseline.value.map_or_else(|| "undefined".to_owned(), |value| amount(metric, value)),
        n => grouped(metric.baseline.n),
        candidates,
    }
}
