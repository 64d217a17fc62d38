//! An analysis as HTML: the parts that a report in a file and the live page share, and the report itself.
//!
//! This module formats numbers and draws plots as SVG; the templates only arrange them.

mod daily;
mod forest;
mod model;
pub(crate) mod plot;
mod segments;
mod svg;

use minijinja::{Error, Value, context};
use sidetrack_analysis::answer::{
    CandidateResult, Goal, MetricResult, OutcomeCounts, Role, SrmPhase, SrmVerdict, Variant,
};
use sidetrack_analysis::words::{
    EXPLORATORY, WITHOUT_BREAKER, by_phase, concluded, headline, left_out, lift, looks, next, note,
    other_trial, outcome_rows, outlook, p_text, p_value, planned, result, share, skipped, title,
    unreadable_rows,
};
use sidetrack_analysis::{Analysis, Check, CheckState, Effect, Scale, Series, figures};

use crate::template;
use plot::Plot;
pub(crate) use svg::escaped;

/// The analysis as a single page without scripts, which loads nothing.
///
/// # Errors
/// A template that cannot be rendered; tests exclude it.
pub fn report(analysis: &Analysis, series: &Series) -> Result<String, Error> {
    template::render(
        "report.html",
        context! {
            title => format!("{}: {}", analysis.experiment, headline(analysis)),
            ..parts(analysis, series)?
        },
    )
}

/// What the templates of an analysis need.
pub(crate) fn parts(analysis: &Analysis, series: &Series) -> Result<Value, Error> {
    let variants: Vec<String> =
        analysis.variants.iter().map(|variant| variant.name.clone()).collect();
    Ok(context! {
        headline => headline(analysis),
        next => next(analysis),
        decision => analysis.decision.as_str(),
        analysis => template::value(analysis)?,
        looks => looks(analysis),
        planned => planned(analysis),
        trials => analysis.other_trials.iter().map(other_trial).collect::<Vec<_>>(),
        cards => cards(analysis),
        variants => variant_rows(analysis),
        srm => srm(analysis),
        phases => srm_phases(analysis),
        checks => checks(&analysis.checks),
        sections => sections(analysis),
        exploratory => exploratory(analysis),
        outlook => outlook(analysis),
        daily => daily::plots(analysis, &variants),
        segments => segments::segments(analysis, &variants),
        left_out => left_out(&analysis.lines),
        read => analysis.lines.read,
        used => analysis.lines.used,
        skipped => skipped(&analysis.lines),
        rows => analysis.outcomes.as_ref().map(rows),
        plots => plots(analysis, series, &variants),
    })
}

/// The plots with data.
fn plots(analysis: &Analysis, series: &Series, variants: &[String]) -> Vec<Value> {
    let lift = series.lift.as_ref().and_then(|(name, lines)| {
        let metric = analysis.metrics.iter().find(|metric| metric.name == *name)?;
        plot::lift(analysis, metric, lines, series.span, variants)
    });
    let belief = analysis.metrics.first().and_then(|metric| plot::belief(metric, variants));
    let split = plot::split(&series.split, series.span, variants);
    let latencies = plot::latencies(&series.latencies, variants);
    let found = analysis.model.as_ref();
    let calibration = found.and_then(|found| model::calibration(found, variants));
    let scores = found.and_then(|found| model::scores(found, variants));
    [lift, belief, split, latencies, calibration, scores]
        .into_iter()
        .flatten()
        .map(Plot::value)
        .collect()
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
                best => result.p_best.map(certainty),
                decision => result.decision.as_str(),
                decided => concluded(metric.role, result.decision),
            }
        })
        .collect()
}

/// Never "100 %" for what is not certain.
fn certainty(share: f64) -> String {
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
            let units = phase.seen.get(name).copied().unwrap_or_default();
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
        CheckState::NotChecked => 3,
        CheckState::Ok => 4,
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
    for role in [Role::Primary, Role::Guardrail] {
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

/// The table of metrics that decide nothing.
fn exploratory(analysis: &Analysis) -> Value {
    let metrics = analysis.metrics.iter().filter(|metric| metric.role == Role::Exploratory);
    let rows: Vec<Value> = metrics.map(row).collect();
    let [heading, purpose] = EXPLORATORY;
    let section =
        context! { title => title(Role::Exploratory), note => note(Role::Exploratory), rows };
    context! { title => heading, purpose, sections => vec![section] }
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
