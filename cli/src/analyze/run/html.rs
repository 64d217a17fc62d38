//! The analysis as a single HTML page: the decision with its reasons, plots and tables. The page has no
//! scripts and loads nothing.
//!
//! This module formats numbers and draws plots as SVG; the template only arranges them.

mod plot;
mod svg;

use anyhow::Context as _;
use minijinja::{Value, context};

use sidetrack_analysis::answer::{
    CandidateResult, Goal, MetricResult, OutcomeCounts, Role, SrmPhase, SrmVerdict, Variant,
};
use sidetrack_analysis::{Analysis, Check, CheckState, Effect, Scale, Series};

use super::headline::{headline, next};
use super::words::{
    WITHOUT_BREAKER, by_phase, concluded, left_out, lift, looks, note, other_trial, outcome_rows,
    p_text, p_value, planned, result, share, skipped, title, unreadable_rows,
};
use crate::analyze::figures;
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
            next => next(analysis),
            decision => analysis.decision.as_str(),
            analysis => value(analysis)?,
            looks => looks(analysis),
            planned => planned(analysis),
            trials => analysis.other_trials.iter().map(other_trial).collect::<Vec<_>>(),
            cards => cards(analysis),
            variants => variant_rows(analysis),
            srm => srm(analysis),
            phases => srm_phases(analysis),
            checks => checks(&analysis.checks),
            sections => sections(analysis),
            left_out => left_out(&analysis.lines),
            read => analysis.lines.read,
            used => analysis.lines.used,
            skipped => skipped(&analysis.lines),
            rows => analysis.outcomes.as_ref().map(rows),
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
                lift => lift(result).to_vec(),
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
        let units = analysis.variants.iter().map(|variant| {
            let name = &variant.name;
            let units = phase.observed.get(name).copied().unwrap_or_default();
            let target = phase.expected.get(name).copied().unwrap_or_default();
            context! { name, units, target => figures::percent(target) }
        });
        context! {
            name => phase.phase.clone(),
            from => phase.from.clone(),
            to => phase.to.clone(),
            units => units.collect::<Vec<_>>(),
            p => phase.p_value.map(p_text),
        }
    };
    phases.map(row).collect()
}

/// The checks, those that need attention first.
fn checks(checks: &[Check]) -> Vec<Value> {
    let row = |check: &Check| {
        context! {
            name => check.name.as_str(),
            subject => check.subject.clone(),
            state => check.state.as_str(),
            result => result(check.state),
            message => check.message.clone(),
        }
    };
    let mut sorted: Vec<&Check> = checks.iter().collect();
    sorted.sort_by_key(|check| match check.state {
        CheckState::Blocking => 0,
        CheckState::Accepted => 1,
        CheckState::Warning => 2,
        CheckState::Ok => 3,
    });
    sorted.into_iter().map(row).collect()
}

/// The rows of the outcomes, with the first that cannot be read.
fn rows(outcomes: &OutcomeCounts) -> Value {
    let unreadable = unreadable_rows(outcomes).into_iter();
    let unreadable =
        unreadable.map(|(title, examples)| context! { title, examples => examples.to_vec() });
    context! { read => outcome_rows(outcomes), unreadable => unreadable.collect::<Vec<_>>() }
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
    for role in [Role::Primary, Role::Guardrail, Role::Exploratory] {
        add(title(role), note(role), of(role));
    }
    let without =
        analysis.without_breaker.iter().flatten().filter(|metric| metric.role != Role::Exploratory);
    add(
        WITHOUT_BREAKER,
        "While a breaker is open, the baseline serves the candidate's requests, which hides failures. These minutes are left out for all variants",
        without.collect(),
    );
    sections
}

fn row(metric: &MetricResult) -> Value {
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
            let phases = by_phase(metric, result).into_iter();
            let phases = phases.map(|(name, difference)| format!("{name}: {difference}"));
            context! {
                variant => result.variant.clone(),
                value => value(result),
                change => shown(metric, result.diff, Scale::change),
                interval => interval(metric, result),
                lift => lift(result).to_vec(),
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
        margin => metric.margin.map(|margin| metric.scale().margin(margin)),
        baseline => metric.baseline.variant.clone(),
        value => once.then(|| shown(metric, metric.baseline.value, Scale::amount)),
        n => metric.baseline.n,
        candidates,
    }
}
