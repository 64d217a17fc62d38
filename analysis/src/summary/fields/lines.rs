//! The lines: how many there are, when they came, and what identifies them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::exchange::Exchange;
use super::{DAY, numbers, signed};
use crate::analyze::Read;
use crate::join::{Damage, Minute, Shape, Tally};
use crate::row::Place;
use crate::short::Short;

/// Reasons for which lines do not count, in the order of [`crate::row::Excluded`].
const EXCLUDED: [&str; crate::row::Excluded::COUNT] = [
    "other_experiment",
    "overridden",
    "missing_unit",
    "breaker",
    "not_started",
    "disabled",
    "excluded",
    "other_weights",
    "other_trial",
    "other_time",
    "other_variant",
    "repeated",
];

/// The counts of lines, and when requests came.
pub(super) fn tally(tally: &mut Tally, x: &mut Exchange<'_>, shape: Shape) {
    for (name, count) in [
        ("read", &mut tally.lines),
        ("used", &mut tally.used),
        ("malformed", &mut tally.malformed),
        ("default_format", &mut tally.default_logs),
        ("with_unit", &mut tally.named),
        ("without_trial", &mut tally.untold),
        ("of_another_salt", &mut tally.foreign),
    ] {
        x.count("lines", name, count);
    }
    for (name, count) in EXCLUDED.iter().zip(&mut tally.excluded) {
        x.count("lines_left_out", name, count);
    }
    x.span("requests", "", &mut tally.span);
    let mut minutes = BTreeMap::new();
    for (minute, arms) in &tally.minutes {
        for (arm, of) in arms.iter().enumerate() {
            let counts = [of.requests, of.aborted, of.breaker].map(i64::from);
            if counts != [0; 3] {
                let item = [vec![signed(*minute)], counts.to_vec()].concat();
                let key = (None, Some(arm), Some(signed(minute / DAY)));
                minutes.entry(key).or_insert_with(Vec::new).push(item);
            }
        }
    }
    x.lists("minutes", "", &mut minutes);
    let mut active = BTreeMap::new();
    for (phase, all) in (0..).zip(&tally.active) {
        for minute in all {
            let key = (Some(phase), None, Some(signed(minute / DAY)));
            active.entry(key).or_insert_with(Vec::new).push(vec![signed(*minute)]);
        }
    }
    x.lists("active_minutes", "", &mut active);
    let mut spans = BTreeMap::new();
    for (phase, span) in (0..).zip(&tally.spans) {
        if let Some((first, last)) = span {
            spans.insert((Some(phase), None, None), vec![vec![signed(*first), signed(*last)]]);
        }
    }
    x.lists("phase_span", "", &mut spans);
    if x.writes() {
        return;
    }
    for ((_, arm, _), list) in minutes {
        for item in list {
            let [minute, requests, aborted, breaker] = numbers(&item);
            let arms = tally.minutes.entry(minute);
            let arms = arms.or_insert_with(|| vec![Minute::default(); shape.arms]);
            if let Some(minute) = arm.and_then(|arm| arms.get_mut(arm)) {
                let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
                let (requests, aborted) = (small(requests), small(aborted));
                *minute = Minute { requests, aborted, breaker: small(breaker) };
            }
        }
    }
    tally.active.resize(shape.strata, BTreeSet::new());
    tally.spans.resize(shape.strata, None);
    for ((phase, ..), list) in active {
        let all = phase.and_then(|phase| tally.active.get_mut(phase as usize));
        all.into_iter().for_each(|all| all.extend(list.iter().map(|item| numbers::<1>(item)[0])));
    }
    for ((phase, ..), list) in spans {
        let place = phase.and_then(|phase| tally.spans.get_mut(phase as usize));
        if let Some((place, item)) = place.zip(list.first()) {
            let [first, last] = numbers(item);
            *place = Some((first, last));
        }
    }
}

/// What identifies the lines, and those that cannot be read.
pub(super) fn lines(of: &mut Read, x: &mut Exchange<'_>) {
    let tally = &mut of.joined.tally;
    x.count("lines", "not_compared", &mut of.joined.unchecked);
    x.names("other_experiment", &mut tally.seen.experiments);
    let mut plans = of_shorts(&tally.seen.plans, |count| *count);
    x.names("plan", &mut plans);
    let mut trials = of_shorts(&tally.seen.trials, |trial| trial.lines);
    x.names("other_trial", &mut trials);
    for (trial, lines) in &trials {
        let short = trial.parse().ok();
        let mut span = tally.seen.trials.get(&short).and_then(|found| found.span);
        x.span("trial_span", &format!("{trial} "), &mut span);
        if !x.writes() {
            let found = tally.seen.trials.entry(short).or_default();
            (found.lines, found.span) = (*lines, span);
        }
    }
    if !x.writes() {
        let plans = plans.into_iter().map(|(plan, count)| (plan.parse().ok(), count));
        tally.seen.plans = plans.collect();
    }
    let mut damaged = tally.damage.lines();
    x.count("lines", "damaged", &mut damaged);
    let mut first: Vec<(Place, String)> = tally.damage.first().cloned().into_iter().collect();
    for (name, all) in [("malformed", &mut tally.examples), ("damaged", &mut first)] {
        let mut shown: Vec<(u64, String)> = all
            .iter()
            .map(|(place, problem)| (place.line, format!("{} {problem}", place.file)))
            .collect();
        x.texts("line", name, &mut shown);
        *all = shown
            .into_iter()
            .filter_map(|(line, text)| {
                let (file, problem) = text.split_once(' ')?;
                Some((Place { file: file.parse().ok()?, line }, problem.to_owned()))
            })
            .collect();
    }
    if !x.writes() {
        tally.damage = Damage::of(damaged, first.pop());
    }
    let mut notes: Vec<(u64, String)> = of.joined.notes.drain(..).map(|note| (0, note)).collect();
    x.texts("line", "note", &mut notes);
    of.joined.notes = notes.into_iter().map(|(_, note)| note).collect();
}

/// Counts by trial or plan; lines that name none have an empty name.
fn of_shorts<T>(
    all: &BTreeMap<Option<Short>, T>,
    count: impl Fn(&T) -> u64,
) -> BTreeMap<String, u64> {
    let name = |short: &Option<Short>| short.map_or_else(String::new, |short| short.to_string());
    all.iter().map(|(short, of)| (name(short), count(of))).collect()
}
