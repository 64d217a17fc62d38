//! Whether the outcomes of one variant end before those of the others, while its requests go on: an export that breaks
//! off, or a part of it that is not there yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use sidetrack::quantity::Timestamp;
use sidetrack_stats::float;

use super::rows::LOST;
use super::share;
use crate::check::{Check, CheckName, CheckState};
use crate::join::Tally;
use crate::row::MINUTE;
use crate::sums::Placed;

/// Significance level for all variants together: a less probable gap at the end of a variant's rows is not chance.
const LEVEL: f64 = 1e-9;

/// With fewer rows before the end, of the variant or of the others, its rate of rows is unknown.
const ENOUGH: u64 = 20;

/// What a variant has before and after the end of its outcomes.
#[derive(Default)]
struct Side {
    rows: u64,
    requests: u64,
}

/// `None` if no row has a time.
pub(crate) fn ends(placed: &Placed, tally: &Tally, variants: &[&str]) -> Option<Check> {
    let (_, last) = tally.span.filter(|_| !placed.minutes.is_empty())?;
    let found: Vec<(usize, u64, f64)> = (0..variants.len())
        .filter_map(|arm| {
            let (end, lost) = missing(placed, tally, arm, last / MINUTE, variants.len())?;
            Some((arm, end, lost))
        })
        .collect();
    let worst = found.iter().max_by(|a, b| a.2.total_cmp(&b.2)).filter(|found| found.2 > LOST);
    let message = worst.map_or_else(
        || "the outcomes of all variants end at the same time".to_owned(),
        |(arm, end, lost)| {
            format!(
                "the outcomes of {} end at {}, while its requests go on; {:.1} % of the others' rows \
                 are later. Its rows are missing from then on: give all rows, or end the analysis \
                 there with --until",
                variants.get(*arm).copied().unwrap_or_default(),
                Timestamp::new((end + 1) * MINUTE),
                lost * 100.0
            )
        },
    );
    let state = if worst.is_some() { CheckState::Blocking } else { CheckState::Ok };
    let value = Some(worst.map_or(0.0, |found| found.2));
    let name = CheckName::EndingRows;
    let variants = BTreeMap::new();
    Some(Check { name, state, subject: None, value, limit: LOST, variants, message })
}

/// The minute of a variant's last row (ignoring a single later row), and the share of the others' rows after it. `None`
/// if chance explains the gap. The expected count of a variant's rows after that minute is its number of requests then,
/// times its rows per request before; each later minute with a row of another variant is one Bernoulli trial.
fn missing(
    placed: &Placed,
    tally: &Tally,
    arm: usize,
    last: u64,
    arms: usize,
) -> Option<(u64, f64)> {
    let mut later = 0;
    let (end, _) = placed.minutes.iter().rev().find(|(_, rows)| {
        later += rows.get(arm).copied().unwrap_or(0);
        later > 1
    })?;
    let [mut own, mut others] = [(); 2].map(|()| [(); 2].map(|()| Side::default()));
    for (minute, rows) in &placed.minutes {
        for (of, rows) in rows.iter().enumerate() {
            let sides = if of == arm { &mut own } else { &mut others };
            if let Some(side) = sides.get_mut(usize::from(minute > end)) {
                side.rows += rows;
            }
        }
    }
    for (minute, counts) in &tally.minutes {
        for (of, counts) in counts.iter().enumerate() {
            let sides = if of == arm { &mut own } else { &mut others };
            if let Some(side) = sides.get_mut(usize::from(minute > end)) {
                side.requests += u64::from(counts.requests);
            }
        }
    }
    if own[0].rows.min(others[0].rows) < ENOUGH {
        return None;
    }
    let expected = |[before, after]: &[Side; 2]| {
        float(before.rows) * float(after.requests) / float(before.requests.max(1))
    };
    let (mine, theirs) = (expected(&own), expected(&others));
    let [before, after] = &others;
    let after_end = (Bound::Excluded(*end), Bound::Included(last));
    let has_others =
        |rows: &Vec<u64>| rows.iter().enumerate().any(|(of, rows)| of != arm && *rows > 0);
    let minutes = (*end < last)
        .then(|| placed.minutes.range(after_end).filter(|(_, rows)| has_others(rows)).count())?;
    let chance = float(minutes as u64) * (-mine / (mine + theirs).max(f64::MIN_POSITIVE)).ln_1p();
    let is_chance = chance > (LEVEL / float(arms as u64)).ln();
    (!is_chance).then(|| (*end, share(after.rows, before.rows)))
}
