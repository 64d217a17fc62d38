//! Placement of outcomes about units: each row goes to the phase of the unit's latest exposure before it.
//!
//! A row without a time goes to the unit's first phase. If no row has a time, a unit has outcomes in its first phase only.
//! With attribution, rows from after the window of the unit in its phase do not count, and the value of a row without a
//! time is unknown.
//! Rows of the unit's exposures in other trials do not count; see [`Others`].

mod others;

use std::collections::{BTreeMap, BTreeSet};

use sidetrack::quantity::Millis;

use crate::attribution::is_late;
use crate::error::Error;
use crate::join::{Hit, Joined, SHARDS, Sighted};
use crate::row::MINUTE;
use crate::sizes::Sizes;
use crate::source::Trial;
use crate::source::outcomes::Outcomes;
use crate::window::Window;
use others::Others;

/// How far the clock of the outcomes may be behind that of the proxies, in milliseconds.
pub(crate) const TOLERANCE: u64 = 5000;
/// A row from before its unit's first request by less is a sign of clocks that differ: by more, of an earlier visit.
const SHORTLY: u64 = 600_000;

/// Clocks that differ by the offset of a time zone differ by less, in milliseconds.
const SHIFT: u64 = 14 * 3_600_000;

/// Rows of units around their first request, if their file contains the time before it as well. Of rows from earlier
/// visits, as many are from one stretch of time as from the stretch before it; those of a shifted clock are all from the
/// hours of the shift.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// From after the first request.
    pub(crate) after: u64,
    /// From ten minutes to fourteen hours before it.
    pub(crate) hours: u64,
    /// From fourteen to twenty-eight hours before it.
    pub(crate) earlier: u64,
    /// Rows of all files that would be from after the first request, or of its moment, if their times were not rounded
    /// down, and to what they are, in milliseconds.
    pub(crate) rounded: u64,
    pub(crate) resolution: Option<u64>,
}

impl Before {
    /// Adds a row by its time and that of the unit's first request.
    const fn add(&mut self, time: u64, first: u64) {
        match first.saturating_sub(time) {
            0..=TOLERANCE => self.after += 1,
            before if before < SHORTLY => {}
            before if before < SHIFT => self.hours += 1,
            before if before < 2 * SHIFT => self.earlier += 1,
            _ => {}
        }
    }
}

/// Matched rows of a variant, and those that say again what a row of their unit said a moment before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Echoes {
    pub(crate) rows: u64,
    pub(crate) again: u64,
    /// How many units have such rows.
    pub(crate) units: u64,
}

/// Outcomes about units, beside the units of the log.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// The sizes of the values by column and variant.
    pub(crate) sizes: Vec<Vec<Sizes>>,
    pub(crate) matched: u64,
    /// The numbers of matched rows, if there are several files.
    pub(crate) rows: Vec<usize>,
    /// Matched rows with a time, by minute and variant.
    pub(crate) minutes: BTreeMap<u64, Vec<u64>>,
    pub(crate) unmatched: u64,
    /// Some row has a time, so a unit may have outcomes in each of its phases.
    pub(crate) timed: bool,
    /// Rows from before the unit's first request.
    pub(crate) early: u64,
    /// Those of them that are late enough to be a matter of clocks.
    pub(crate) shortly: u64,
    pub(crate) before: Before,
    /// By variant.
    pub(crate) echoes: Vec<Echoes>,
    /// Rows outside the time that is analyzed.
    pub(crate) other_time: u64,
    /// Matched rows from after the attribution window.
    pub(crate) late: u64,
    /// Matched rows without a time, which attribution needs.
    pub(crate) untimed: u64,
    /// Rows that belong, or may belong, to the unit's exposure in another trial.
    pub(crate) other_trial: u64,
    /// Rows that count, have no time, and may belong to another trial as well.
    pub(crate) ambiguous: u64,
}

/// Finds the unit of each row. A row from before a unit's first request cannot be an effect of the model.
///
/// # Errors
/// A temporary file cannot be used.
pub(crate) fn place(
    joined: &mut Joined,
    outcomes: &Outcomes,
    window: Window,
    attribution: Option<Millis>,
    trial: Trial,
    covariates: &[usize],
) -> Result<Placed, Error> {
    let mut placed =
        Placed { sizes: vec![Vec::new(); outcomes.columns.len()], ..Placed::default() };
    let others = Others::new(joined, trial)?;
    placed.before.resolution = outcomes.resolution();
    let mut untimed = 0;
    // Rows are known from here on.
    let known = outcomes.first_time().max(window.since.map(|since| since.time().get()));
    let mut echoing = BTreeSet::new();
    // A row of covariates is from before the experiment, and no outcome.
    let is_before = |values: &[f64]| {
        let mut known = values.iter().enumerate().filter(|(_, value)| !value.is_nan()).peekable();
        known.peek().is_some() && known.all(|(column, _)| covariates.contains(&column))
    };
    let mut rows = outcomes.units().enumerate();
    loop {
        let block: Vec<_> = rows.by_ref().take(joined.block()).collect();
        if block.is_empty() {
            break;
        }
        let seen =
            joined.see(block.iter().map(|(_, (keys, time, _))| (*keys, *time)), TOLERANCE)?;
        let mut counted = vec![Vec::new(); SHARDS];
        for ((row, (keys, time, values)), seen) in block.into_iter().zip(seen) {
            if is_before(values) {
                let is_known = seen.unit.is_some();
                placed.matched += u64::from(is_known);
                placed.unmatched += u64::from(!is_known);
                continue;
            }
            placed.timed |= time.is_some();
            if time.is_some_and(|time| !window.contains(time)) {
                placed.other_time += 1;
                continue;
            }
            let Some(Sighted { shard, first, at: cell }) = seen.unit else {
                let elsewhere = seen.is_elsewhere;
                placed.other_trial += u64::from(elsewhere);
                placed.unmatched += u64::from(!elsewhere);
                continue;
            };
            if time.is_some_and(|time| others.own(seen.other, cell.map(|cell| cell.first), time)) {
                placed.other_trial += 1;
                continue;
            }
            if let Some((time, known)) = time.zip(known)
                && known + 2 * SHIFT <= first.first
            {
                placed.before.add(time, first.first);
            }
            let Some(cell) = cell else {
                placed.early += 1;
                let first = first.first;
                let begun = joined.tally.span.map_or(0, |(begun, _)| begun);
                let shortly = |time: u64| time >= begun && time + SHORTLY >= first;
                placed.shortly += u64::from(time.is_some_and(shortly));
                let end = time.zip(placed.before.resolution).map(|(time, length)| time + length);
                placed.before.rounded += u64::from(end.is_some_and(|end| end > first));
                continue;
            };
            placed.matched += 1;
            if !outcomes.files.is_empty() {
                placed.rows.push(row);
            }
            if let Some(time) = time {
                let arms = placed.minutes.entry(time / MINUTE).or_default();
                arms.resize(arms.len().max(usize::from(cell.arm) + 1), 0);
                if let Some(rows) = arms.get_mut(usize::from(cell.arm)) {
                    *rows += 1;
                }
            }
            let is_unknown = attribution.is_some() && time.is_none();
            placed.untimed += u64::from(is_unknown);
            let is_late = |(time, length)| is_late(cell.first, time, length);
            if time.zip(attribution).is_some_and(is_late) {
                placed.late += 1;
                continue;
            }
            if time.is_none() {
                let known = seen.is_elsewhere;
                placed.ambiguous += u64::from(known);
                untimed += u64::from(!known);
            }
            let arm = usize::from(cell.arm);
            if let Some(again) = outcomes.echoes.get(row) {
                if placed.echoes.len() <= arm {
                    placed.echoes.resize(arm + 1, Echoes::default());
                }
                if let Some(echoes) = placed.echoes.get_mut(arm) {
                    echoes.rows += 1;
                    echoes.again += u64::from(*again);
                    echoes.units += u64::from(*again && echoing.insert(keys));
                }
            }
            for (sizes, value) in placed.sizes.iter_mut().zip(values) {
                if sizes.len() <= arm {
                    sizes.resize(arm + 1, Sizes::default());
                }
                if let Some(sizes) = sizes.get_mut(arm) {
                    sizes.add(*value);
                }
            }
            if let Some(counted) = counted.get_mut(shard) {
                let row = u32::try_from(row).unwrap_or(u32::MAX);
                let hit = Hit { row, cell: cell.number, stratum: cell.stratum, arm: cell.arm };
                counted.push((hit, !is_unknown));
            }
        }
        joined.place(counted, outcomes)?;
    }
    placed.ambiguous += others.shared(untimed);
    Ok(placed)
}
