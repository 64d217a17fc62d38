//! Rows about units that say again what an earlier row said.
//!
//! A unit may buy the same twice, so such a row by itself shows nothing. But where whole runs of rows come again in the
//! same order, the file, or a part of it, was delivered twice.

use std::ops::Range;

use hashbrown::HashTable;

/// So many rows in the order of earlier ones, about so many units, are no chance.
const RUN: u64 = 10;
const UNITS: usize = 3;

/// The rows so far.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// The latest row with this content: hash and place.
    latest: HashTable<(u64, u64)>,
    /// The last row's content: equal rows that follow one another, as the items of an order, are one place in a run.
    last: Option<u64>,
    places: u64,
    /// How many rows there are.
    pub(super) rows: u64,
    run: Run,
    /// Rows that are equal to an earlier one.
    pub(super) repeated: u64,
    /// Those of them within runs.
    pub(super) in_runs: u64,
    /// The numbers of these.
    pub(super) delivered: Vec<Range<u64>>,
}

/// Rows that follow one another as the earlier rows do to which they are equal.
#[derive(Debug, Default)]
struct Run {
    /// The place of the earlier row of the last row.
    earlier: u64,
    /// The first row.
    first: u64,
    length: u64,
    /// Rows beside these that are equal to the row before them.
    more: u64,
    /// Its first units.
    units: Vec<u64>,
    is_counted: bool,
}

impl Again {
    /// Adds a row; whether it is equal to an earlier one. `content` is the hash of the unit and all values.
    pub(super) fn add(&mut self, unit: u64, content: u64) -> bool {
        let row = self.rows;
        self.rows += 1;
        if self.last.replace(content) == Some(content) {
            self.repeated += 1;
            if self.run.is_counted {
                self.lengthen(1);
            } else if self.run.length > 0 {
                self.run.more += 1;
            }
            return true;
        }
        let place = self.places;
        self.places += 1;
        let entry = self.latest.entry(content, |(known, _)| *known == content, |entry| entry.0);
        let mut entry = entry.or_insert((content, place));
        let earlier = std::mem::replace(&mut entry.get_mut().1, place);
        if earlier == place {
            self.run = Run::default();
            return false;
        }
        self.repeated += 1;
        if self.run.length == 0 || self.run.earlier + 1 != earlier {
            self.run = Run { first: row, ..Run::default() };
        }
        let run = &mut self.run;
        run.earlier = earlier;
        run.length += 1;
        if run.units.len() < UNITS && !run.units.contains(&unit) {
            run.units.push(unit);
        }
        if run.is_counted {
            self.lengthen(1);
        } else if run.length >= RUN && run.units.len() == UNITS {
            run.is_counted = true;
            let (first, rows) = (run.first, run.length + run.more);
            self.delivered.push(first..first);
            self.lengthen(rows);
        }
        true
    }

    /// Adds rows to the last run.
    fn lengthen(&mut self, rows: u64) {
        self.in_runs += rows;
        if let Some(run) = self.delivered.last_mut() {
            run.end += rows;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a unit and a value: how many repeat an earlier one, and how many of them are in runs.
    fn counts(rows: impl IntoIterator<Item = (u64, u64)>) -> (u64, u64) {
        let mut again = Again::default();
        for (unit, value) in rows {
            again.add(unit, crate::row::mix(unit, value));
        }
        (again.repeated, again.in_runs)
    }

    fn file(rows: u64) -> impl Iterator<Item = (u64, u64)> + Clone {
        (0..rows).map(|row| (row / 2, row % 7 + 1))
    }

    #[test]
    fn a_file_that_comes_again_is_a_run() {
        assert_eq!(counts(file(100)), (0, 0));
        assert_eq!(counts(file(100).chain(file(100))), (100, 100));
        assert_eq!(counts(file(100).chain(file(100)).chain(file(100))), (200, 200));
        assert_eq!(counts(file(100).chain(file(120).skip(80))), (20, 20), "an overlap");
    }

    #[test]
    fn equal_items_of_an_order_do_not_hide_a_file_that_comes_again() {
        let items = file(100).flat_map(|row| std::iter::repeat_n(row, 1 + (row.1 == 3) as usize));
        let (all, pairs) = (items.clone().count() as u64, 14);
        assert_eq!(counts(items.clone()), (pairs, 0));
        assert_eq!(counts(items.clone().chain(items.clone())), (pairs + all, all));
        let mut again = Again::default();
        for (unit, value) in items.clone().chain(items).chain(file(200).skip(150)) {
            again.add(unit, crate::row::mix(unit, value));
        }
        let runs: Vec<_> = again.delivered.iter().map(|run| (run.start, run.end)).collect();
        assert_eq!(runs, [(all, 2 * all)], "which rows");
    }

    #[test]
    fn purchases_of_the_same_are_no_run() {
        let same = (0..500u64).map(|row| (row / 5, 1));
        assert_eq!(counts(same), (400, 0), "each unit five times, sorted by unit");
        let often = (0..5000u64).map(|row| (crate::row::mix(7, row) % 97, 1));
        assert_eq!(counts(often), (4903, 0), "in the order of events");
        assert_eq!(counts((0..100).map(|_| (1, 1))).1, 0, "one unit");
        assert_eq!(counts(file(100).chain(file(9))), (9, 0), "short");
    }
}
