//! Checks of the outcomes as they were read: rows and values that cannot be used.

use sidetrack_stats::float;

use super::arms::chernoff;
use super::share;
use crate::answer::OutcomeCounts;
use crate::answer::Role;
use crate::check::{Check, CheckName, CheckState};
use crate::metric::{Metric, Origin};
use crate::source::outcomes::EqualRows;
use crate::summary::RowFacts;
use crate::sums::Echoes;
use std::collections::BTreeMap;

/// Above this share of rows that cannot be used, the remaining rows are not a random sample: in a metric of 1 % that only
/// the buyers have, one lost row in a hundred may be every buyer.
pub(crate) const LOST: f64 = 0.01;

/// Above this share of rows from shortly before their unit's first request, the clocks differ.
const EARLY: f64 = 0.05;

/// Above this share of rows that say what an earlier row of their unit says, they are no accident.
const MANY: f64 = 0.2;

/// Above this share of requests that share a row, an id does not identify a request.
const SHARED: f64 = 0.1;

/// All checks of the rows.
pub(super) fn rows(outcomes: &RowFacts, counts: &OutcomeCounts, metrics: &[Metric]) -> Vec<Check> {
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
        checks.push(echoing(counts).unwrap_or_else(|| repeated(outcomes)));
    } else {
        checks.push(shared(counts));
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

/// Rows from shortly before their unit's first request: such rows are rare unless the clocks differ. So are rows from the
/// hours before it, without as many from the hours before those.
fn early(counts: &OutcomeCounts) -> Check {
    let before = counts.before;
    let rounded = share(before.rounded, counts.matched);
    if let Some(length) = before.resolution.filter(|_| rounded > LOST) {
        let unit = if length > 3_600_000 { "day" } else { "hour" };
        let message = format!(
            "the times of the outcomes are whole {unit}s, and {} rows ({:.1} %) are from the {unit} of \
             their unit's first request: it is unknown whether they are from before it, so they do not \
             count. Give times to the second",
            before.rounded,
            rounded * 100.0
        );
        return Check {
            name: CheckName::EarlyRows,
            state: CheckState::Blocking,
            subject: None,
            value: Some(rounded),
            limit: LOST,
            variants: BTreeMap::new(),
            message,
        };
    }
    let shifted = share(before.hours, before.after);
    if shifted > EARLY && before.hours > 10 && before.hours > 4 * before.earlier {
        let message = format!(
            "{} outcome rows ({:.1} % of those that show it) are from ten minutes to fourteen hours \
             before their unit's first request, and {} from the fourteen hours before: the clock of \
             the outcomes is behind that of the proxies, as of times in a local time zone that were \
             written without their offset",
            before.hours,
            shifted * 100.0,
            before.earlier
        );
        return Check {
            name: CheckName::EarlyRows,
            state: CheckState::Blocking,
            subject: None,
            value: Some(shifted),
            limit: EARLY,
            variants: BTreeMap::new(),
            message,
        };
    }
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

/// Rows of one variant come again a moment later, and those of the others do not: a pipeline delivers them several times,
/// and gives each delivery a time or an identifier of its own. They count each.
fn echoing(counts: &OutcomeCounts) -> Option<Check> {
    // As large a part of the sound rows in all variants; a variant may change a little how often a unit does the same again.
    const RATIO: f64 = 2.0;
    const CHANCE: f64 = 1e-6;
    let sum = |of: fn(&Echoes) -> u64| counts.echoes.iter().map(|(_, echoes)| of(echoes)).sum();
    let (rows, again, units): (u64, u64, u64) =
        (sum(|arm| arm.rows), sum(|arm| arm.again), sum(|arm| arm.units));
    let part = |arm: &Echoes| share(arm.again, arm.rows - arm.again);
    let lost = |(name, arm): &(String, Echoes)| {
        let others = share(again - arm.again, rows - arm.rows - (again - arm.again));
        let own = share(arm.rows - arm.again, rows - again - (arm.rows - arm.again));
        let (found, units) = (float(arm.units), float(units));
        let is_chance =
            chernoff(found, own * units, units) * float(counts.echoes.len() as u64) > CHANCE;
        let is_far = part(arm) > RATIO * others && part(arm) - others > LOST;
        (is_far && found > own * units && !is_chance).then(|| (name.clone(), part(arm), others))
    };
    let found = counts.echoes.iter().filter_map(lost);
    let (name, value, others) = found.max_by(|one, two| one.1.total_cmp(&two.1))?;
    let message = format!(
        "{:.1} % of the outcome rows of {name} have the unit and the values of another row that came \
         less than a minute before, or of which no time is known, and {:.1} % of the others': the rows \
         of {name} were delivered several times. Remove copies",
        value * 100.0,
        others * 100.0
    );
    let variants = counts.echoes.iter().map(|(name, arm)| (name.clone(), part(arm))).collect();
    let (name, state) = (CheckName::RepeatedRows, CheckState::Blocking);
    Some(Check {
        name,
        state,
        subject: None,
        value: Some(value),
        limit: RATIO * others,
        variants,
        message,
    })
}

/// Rows without a time that come again in the same order: a part of the file was delivered twice. They count twice, since
/// other rows of a unit may be equal.
fn repeated(outcomes: &RowFacts) -> Check {
    let (timed, untimed) = (outcomes.timed, outcomes.untimed);
    let again = [
        (timed.scattered + timed.alike, {
            let skipped = timed.equal == EqualRows::Skip;
            format!(
                "have the unit, the time and the values of another row; {} are equal to it and {}, and \
                 {} differ in another column and count. They are deliveries or copies of a join, or \
                 purchases of one moment, as the items of an order. Remove copies{}",
                timed.scattered,
                if skipped { "were skipped" } else { "count" },
                timed.alike,
                if skipped {
                    "; if all are purchases, --allow repeated_rows counts each"
                } else {
                    ""
                }
            )
        }),
        (if untimed.diverse { untimed.repeated - untimed.in_runs } else { 0 }, {
            "are equal to an earlier row of their unit, and the values are too diverse for chance: \
             they were delivered several times. Remove these rows, or add a column `time`"
                .to_owned()
        }),
    ];
    for (rows, words) in again {
        let value = share(rows, outcomes.read.saturating_sub(rows));
        if value > MANY && rows >= 10 {
            return Check {
                name: CheckName::RepeatedRows,
                state: CheckState::Blocking,
                subject: None,
                value: Some(value),
                limit: MANY,
                variants: BTreeMap::new(),
                message: format!(
                    "{rows} of {} outcome rows ({:.2} %) {words}",
                    outcomes.read,
                    value * 100.0
                ),
            };
        }
    }
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
             a part of it, was delivered twice, or has a table for each day. Remove rows that were \
             delivered twice; of tables for each day, add up the rows to one for each unit, or give \
             each row its `time`",
            outcomes.read,
            value * 100.0
        ),
    };
    let variants = BTreeMap::new();
    let name = CheckName::RepeatedRows;
    Check { name, state, subject: None, value: Some(value), limit: LOST, variants, message }
}

/// Requests that share a row: one label for all requests with an empty id, or with that of a batch.
fn shared(counts: &OutcomeCounts) -> Check {
    let (all, shared) = counts.sharing;
    let value = share(shared, all.saturating_sub(shared));
    let state = if value > SHARED { CheckState::Blocking } else { CheckState::Ok };
    let message = format!(
        "{shared} of {all} requests with an outcome ({:.1} %) share its row with other requests of \
         the same request_id{}",
        value * 100.0,
        if value > SHARED { ": their outcomes are not known one by one" } else { "" }
    );
    let variants = BTreeMap::new();
    let name = CheckName::SharedRows;
    Check { name, state, subject: None, value: Some(value), limit: SHARED, variants, message }
}

/// Whether any row matches the logs.
fn matched(outcomes: &RowFacts, counts: &OutcomeCounts) -> Check {
    let key = if outcomes.by_request { "request_id" } else { "unit" };
    let state = if counts.matched == 0 { CheckState::Blocking } else { CheckState::Ok };
    let message = match counts.matched {
        0 if counts.early > 0 => format!(
            "all {} outcome rows that match a unit are from before its first request; compare the \
             clocks and the time zones of `time` in the outcomes and in the logs",
            counts.early
        ),
        0 if outcomes.read == 0 => "the outcomes have no rows".to_owned(),
        0 if counts.other_trial > 0 => format!(
            "no outcome row is about this trial; {} are about other trials of the experiment",
            counts.other_trial
        ),
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
