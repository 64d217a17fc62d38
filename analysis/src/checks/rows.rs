//! Checks of the outcomes as they were read: rows and values that cannot be used.

use super::share;
use crate::answer::OutcomeCounts;
use crate::answer::Role;
use crate::check::{Check, CheckName, CheckState};
use crate::metric::{Metric, Origin};
use crate::source::outcomes::Outcomes;
use std::collections::BTreeMap;

/// Above this share of rows that cannot be used, the remaining rows are not a random sample: in a metric of 1 % that only
/// the buyers have, one lost row in a hundred may be every buyer.
pub(crate) const LOST: f64 = 0.01;

/// Above this share of rows from shortly before their unit's first request, the clocks differ.
const EARLY: f64 = 0.05;

/// All checks of the rows.
pub(super) fn rows(outcomes: &Outcomes, counts: &OutcomeCounts, metrics: &[Metric]) -> Vec<Check> {
    let mut checks = vec![matched(outcomes, counts)];
    let first = |examples: &[String]| {
        examples.first().map_or_else(String::new, |example| format!("; first: {example}"))
    };
    checks.push(lost(CheckName::MalformedRows, None, counts.malformed, outcomes.read, |part| {
        format!("{part} cannot be read{}", first(&counts.examples))
    }));
    for metric in metrics.iter().filter(|metric| metric.role != Role::Exploratory) {
        let Origin::Column(column) = metric.origin else { continue };
        let Some(unreadable) = outcomes.unreadable.get(column) else { continue };
        let name = Some(metric.name.clone());
        let value = |part| {
            format!("{} cannot be read in {part}{}", metric.name, first(&unreadable.examples))
        };
        checks.push(lost(CheckName::UnreadableValues, name, unreadable.rows, outcomes.read, value));
    }
    if !outcomes.by_request {
        checks.push(ambiguous(counts));
        checks.push(early(counts));
        checks.push(repeated(outcomes));
    }
    let rows = outcomes.conflicting;
    checks.push(lost(CheckName::ConflictingRows, None, rows, outcomes.read, |part| {
        format!("{part} contradict an earlier row with the same request_id, which counts")
    }));
    checks
}

/// Rows are lost: up to [`LOST`] of them is a note, more blocks.
fn lost(
    name: CheckName,
    subject: Option<String>,
    rows: u64,
    of: u64,
    words: impl Fn(String) -> String,
) -> Check {
    let value = share(rows, of.saturating_sub(rows));
    let state = match rows {
        0 => CheckState::Ok,
        _ if value > LOST => CheckState::Blocking,
        _ => CheckState::Warning,
    };
    let part = format!("{rows} of {of} outcome rows ({:.2} %)", value * 100.0);
    let message = words(part);
    let variants = BTreeMap::new();
    Check { name, state, subject, value: Some(value), limit: LOST, variants, message }
}

/// Rows without a time that may belong to another trial: its variant is another draw, so such rows hide or make a
/// difference.
fn ambiguous(counts: &OutcomeCounts) -> Check {
    let rows = counts.ambiguous;
    let value = share(rows, counts.matched.saturating_sub(rows));
    let state = match rows {
        0 => CheckState::Ok,
        _ if value > LOST => CheckState::Blocking,
        _ => CheckState::Warning,
    };
    let message = match rows {
        0 => "no row without a time may belong to another trial".to_owned(),
        _ => format!(
            "{rows} outcome rows ({:.1} %) have no `time`, and other trials in the logs may have \
             exposed their units as well, so it is unknown to which trial they belong. Give the \
             outcomes a column `time`",
            value * 100.0
        ),
    };
    let variants = BTreeMap::new();
    let name = CheckName::AmbiguousRows;
    Check { name, state, subject: None, value: Some(value), limit: LOST, variants, message }
}

/// Rows from shortly before their unit's first request: such rows are rare unless the clocks differ.
fn early(counts: &OutcomeCounts) -> Check {
    let rows = counts.shortly_before;
    let value = share(rows, counts.matched);
    let state = match value {
        _ if value > EARLY => CheckState::Blocking,
        _ if value > LOST => CheckState::Warning,
        _ => CheckState::Ok,
    };
    let message = format!(
        "{rows} outcome rows ({:.1} %) are from less than ten minutes before their unit's first \
         request{}",
        value * 100.0,
        if value > LOST { ": the clocks of the outcomes and of the proxies differ" } else { "" }
    );
    let variants = BTreeMap::new();
    let name = CheckName::EarlyRows;
    Check { name, state, subject: None, value: Some(value), limit: EARLY, variants, message }
}

/// Rows without a time that come again in the same order: a part of the file was delivered twice. They count twice, since
/// other rows of a unit may be equal.
fn repeated(outcomes: &Outcomes) -> Check {
    let untimed = outcomes.untimed;
    let value = share(untimed.in_runs, outcomes.read.saturating_sub(untimed.in_runs));
    let all = share(untimed.repeated, outcomes.read.saturating_sub(untimed.repeated));
    let is_rare = !untimed.diverse || all <= LOST;
    let state = match untimed.in_runs {
        _ if value > LOST => CheckState::Blocking,
        0 if is_rare => CheckState::Ok,
        _ => CheckState::Warning,
    };
    let message = match untimed.in_runs {
        0 if untimed.repeated == 0 => "no row repeats an earlier one".to_owned(),
        0 => format!(
            "{} of {} outcome rows ({:.2} %) are equal to an earlier row of their unit and count as \
             well; with a column `time`, deliveries are told from purchases",
            untimed.repeated,
            outcomes.read,
            all * 100.0
        ),
        runs => format!(
            "{runs} of {} outcome rows ({:.2} %) repeat earlier rows in the same order: the file, or \
             a part of it, was delivered twice. Remove these rows, or add a column `time`",
            outcomes.read,
            value * 100.0
        ),
    };
    let variants = BTreeMap::new();
    let name = CheckName::RepeatedRows;
    Check { name, state, subject: None, value: Some(value), limit: LOST, variants, message }
}

/// Whether any row matches the logs.
fn matched(outcomes: &Outcomes, counts: &OutcomeCounts) -> Check {
    let key = if outcomes.by_request { "request_id" } else { "unit" };
    let state = if counts.matched == 0 { CheckState::Blocking } else { CheckState::Ok };
    let message = match counts.matched {
        0 if counts.early > 0 => format!(
            "all {} outcome rows that match a unit are from before its first request; compare the \
             clocks and the time zones of `time` in the outcomes and in the logs",
            counts.early
        ),
        0 if outcomes.read == 0 => "the outcomes have no rows".to_owned(),
        0 => format!(
            "no outcome row matches the logs; the outcomes name {key} {}",
            outcomes.first.join(", ")
        ),
        matched => format!("{matched} of {} outcome rows match the logs", outcomes.read),
    };
    let value = Some(share(counts.matched, outcomes.read.saturating_sub(counts.matched)));
    let variants = BTreeMap::new();
    let name = CheckName::MatchedRows;
    Check { name, state, subject: None, value, limit: 0.0, variants, message }
}
