//! Rows about units that say again what a row of their unit said a moment before: pipelines that deliver at least once, and
//! give each delivery a number or a time of its own.

use super::Outcomes;
use super::table::DIVERSE;
use crate::row::mix;

/// Deliveries of one row are closer, in milliseconds.
const MOMENT: u64 = 60_000;

/// What is known of such rows.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    /// By row; empty if the values are so few that equal ones are no sign.
    pub(super) rows: Vec<bool>,
    /// Rows with the time and the values of an earlier row.
    pub(super) alike: u64,
}

/// Finds them. A row without a time may be of any moment.
pub(super) fn echoes(outcomes: &Outcomes) -> Echoes {
    if outcomes.by_request || outcomes.columns.is_empty() {
        return Echoes::default();
    }
    let mut contents: Vec<u64> = Vec::with_capacity(outcomes.rows());
    let mut rows: Vec<(u64, u64, u32)> = Vec::with_capacity(outcomes.rows());
    for (number, ([key, _], time, values)) in (0..).zip(outcomes.units()) {
        let content = values.iter().fold(1, |hash, value| mix(hash, value.to_bits()));
        // A row without any value says nothing.
        if values.iter().any(|value| !value.is_nan()) {
            rows.push((mix(key, content), time.unwrap_or(u64::MAX), number));
            contents.push(content);
        }
    }
    rows.sort_unstable();
    let mut found = Echoes { rows: vec![false; outcomes.rows()], alike: 0 };
    for (one, two) in rows.iter().zip(rows.iter().skip(1)) {
        if one.0 == two.0 && two.1 - one.1 < MOMENT {
            found.alike += u64::from(one.1 == two.1 && two.1 < u64::MAX);
            if let Some(echo) = found.rows.get_mut(two.2 as usize) {
                *echo = true;
            }
        }
    }
    let all = contents.len();
    contents.sort_unstable();
    contents.dedup();
    if contents.len() < DIVERSE && 3 * contents.len() <= all {
        found.rows = Vec::new();
    }
    found
}
