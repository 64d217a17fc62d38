//! The analysis as a single HTML page: the decision with its reasons, plots and tables. The page has no
//! scripts and loads nothing.
//!
//! This module formats numbers and draws plots as SVG; the template only arranges them.

mod plot;
mod svg;

use anyhow::Context as _;
use minijinja::{Value, context};

use sidetrack_analysis::answer::{
    CandidateResult, Goal, MetricResult, Role, SrmPhase, SrmVerdict, Variant,
};
use sidetrack_analysis::{Analysis, Effect, Scale, Series};

use super::words::{
    WITHOUT_BREAKER, concluded, headline, left_out, looks, other_trial, p_text, p_value, planned,
    share, skipped, title,
};
use crate::analyze::figures::digits;
use crate::template::{Escape, environment, value};

const TEMPLATE: &str = include_str!("../../../templates/report.html");

/// Renders the page.
///
/// # Errors
/// A template that cannot be rendered; tests exclude it.
pub(super) fn page(analysis: &Analysis, series: &Series) -> anyhow::Result<String> {
    let variants: Vec<String> =
        analysis.variants.iter().map(|variant| variant.name.clone()).collect();
    let page = environment(Escape::Html)?.render_str(
        TEMPLATE,
        context! {
            title => format!("{}: {}", analysis.experiment, headline(analysis)),
            headline => headline(analysis),
            decision => analysis.decision.as_str(),
            analysis => value(analysis)?,
            looks => looks(analysis),
            planned => planned(analysis),
            trials => analysis.other_trials.iter().map(other_trial).collect::<Vec<_>>(),
            cards => cards(analysis),
            variants => variant_rows(analysis),
            srm => srm(analysis),
            phases => srm_phases(analysis),
            sections => sections(analysis),
            left_out => left_out(&analysis.lines),
            read => analysis.lines.read,
            used => analysis.lines.used,
            skipped => skipped(&analysis.lines),
            plots => plots(analysis, series, &variants),
        },
    );
    page.context("the report's template")
}

/// The plots with data: title, drawing, caption.
fn plots(analysis: &Analysis, series: &Series, variants: &[String]) -> Vec<Value> {
    let mut out = Vec::new();
    let mut add = |title: String, svg: Option<String>, caption: String| {
        if let Some(svg) = svg {
            out.push(context! { title, caption, svg => Value::from_safe_string(svg) });
        }
    };
    if let Some((name, lines)) = &series.lift
        && let Some(metric) = analysis.metrics.iter().find(|metric| metric.name == *name)
    {
        add(
            format!("Effect on {name} as units joined"),
            plot::lift(metric, lines, series.span, variants),
            format!(
                "Difference from {} among the units that had joined by then, with its interval. Dashed: no difference.",
                metric.baseline.variant
            ),
        );
    }
    if let Some(metric) = analysis.metrics.first() {
        add(
            format!("Posterior of {}", metric.name),
            plot::belief(metric, variants),
            "The probability of each difference, after a flat prior.".to_owned(),
        );
    }
    add(
        "Split and target".to_owned(),
        plot::split(&series.split, series.span, variants),
        "Each candidate's share of all units so far (line), and its configured share (dashed)."
            .to_owned(),
    );
    add(
        "Latency".to_owned(),
        plot::latencies(&series.latencies, variants),
        "Share of requests by latency, without the slowest hundredth. Ticks: 50th and 95th percentile.".to_owned(),
    );
    out
}

/// The cards on top: each primary metric and candidate.
fn cards(analysis: &Analysis) -> Vec<Value> {
    let primary = analysis.metrics.iter().filter(|metric| metric.role == Role::Primary);
    let pairs =
        primary.flat_map(|metric| metric.candidates.iter().map(move |result| (metric, result)));
    pairs
        .map(|(metric, result)| {
            context! {
                metric => metric.name.clone(),
                variant => result.variant.clone(),
                change => shown(metric, result.diff, Scale::change),
                interval => interval(metric, result),
                values => format!(
                    "{} → {}",
                    shown(metric, result.baseline_value, Scale::amount),
                    shown(metric, result.value, Scale::amount)
                ),
                best => result.p_best.map(percent),
                decision => result.decision.as_str(),
                decided => concluded(metric.role, result.decision),
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
    Effect::of(metric, result).range().unwrap_or_default()
}

fn shown(metric: &MetricResult, value: Option<f64>, show: fn(Scale, f64) -> String) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| show(metric.scale(), value))
}

fn variant_rows(analysis: &Analysis) -> Vec<Value> {
    let row = |(index, variant): (usize, &Variant)| {
        context! {
            index,
            name => variant.name.clone(),
            units => variant.units,
            share => share(variant, &analysis.variants),
            requests => variant.requests,
            elsewhere => variant.served_elsewhere,
        }
    };
    analysis.variants.iter().enumerate().map(row).collect()
}

fn srm(analysis: &Analysis) -> Value {
    let srm = &analysis.srm;
    context! {
        verdict => srm.verdict.as_str(),
        words => match srm.verdict {
            SrmVerdict::Ok => "The split is as configured.",
            SrmVerdict::Mismatch => "Sample ratio mismatch: the split differs from the configured one.",
            SrmVerdict::Undefined => "The split was not tested.",
        },
        p => srm.p_value.map(p_text),
        note => srm.note.clone(),
    }
}

fn srm_phases(analysis: &Analysis) -> Vec<Value> {
    let phases = analysis.srm.phases.iter().filter(|_| analysis.srm.phases.len() > 1);
    let row = |phase: &SrmPhase| {
        let parts =
            phase.observed.iter().zip(&phase.expected).map(|((name, count), (_, share))| {
                format!("{name} {} (target {} %)", *count, digits(share * 100.0, 3))
            });
        context! {
            name => phase.phase.clone(),
            parts => parts.collect::<Vec<_>>(),
            p => phase.p_value.map(p_text),
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
    let of = |role: Role| {
        analysis.metrics.iter().filter(|metric| metric.role == role).collect::<Vec<_>>()
    };
    add(title(Role::Primary), "P-values are adjusted (Holm).", of(Role::Primary));
    add(
        title(Role::Guardrail),
        "Each must be within its margin with its whole interval.",
        of(Role::Guardrail),
    );
    add(
        title(Role::Exploratory),
        "These decide nothing. P-values are adjusted (Benjamini and Hochberg).",
        of(Role::Exploratory),
    );
    let without =
        analysis.without_breaker.iter().flatten().filter(|metric| metric.role != Role::Exploratory);
    add(
        WITHOUT_BREAKER,
        "While a breaker is open, the baseline serves the candidate's requests, which hides failures. These minutes are left out for all variants.",
        without.collect(),
    );
    sections
}

fn row(metric: &MetricResult) -> Value {
    let scale = metric.scale();
    let once = metric.has_one_baseline();
    let value = |result: &CandidateResult| {
        let own = shown(metric, result.value, Scale::amount);
        if once {
            own
        } else {
            format!("{} → {own}", shown(metric, result.baseline_value, Scale::amount))
        }
    };
    let candidates: Vec<Value> = metric
        .candidates
        .iter()
        .map(|result| {
            let phases = result.phases.iter().map(|phase| {
                let ci = match phase.ci {
                    [Some(low), Some(high)] => {
                        format!(" ({} to {})", scale.change(low), scale.change(high))
                    }
                    _ => String::new(),
                };
                format!("{}: {}{ci}", phase.phase, scale.change(phase.diff))
            });
            context! {
                variant => result.variant.clone(),
                value => value(result),
                change => shown(metric, result.diff, Scale::change),
                interval => interval(metric, result),
                p => p_value(result),
                decision => result.decision.as_str(),
                decided => concluded(metric.role, result.decision),
                method => result.method.clone(),
                n => result.n,
                phases => phases.collect::<Vec<_>>(),
                bar => plot::bar(metric, result).map(Value::from_safe_string),
            }
        })
        .collect();
    context! {
        name => metric.name.clone(),
        goal => match metric.goal {
            Goal::Increase => "more is better",
            Goal::Decrease => "less is better",
        },
        margin => metric.margin.map(|margin| scale.margin(margin)),
        baseline => metric.baseline.variant.clone(),
        value => once.then(|| shown(metric, metric.baseline.value, Scale::amount)),
        n => metric.baseline.n,
        candidates,
    }
}
