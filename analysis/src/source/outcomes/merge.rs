//! Several files of outcomes as one: rows about the same request are one row, and rows about units are one list.
//!
//! A column may be in several files, as of one table in parts. Rows that two files have must then agree, or the files are
//! refused: which of them is right, nobody knows.

use std::collections::HashMap;

use super::echoes::echoes;
use super::{EXAMPLES, Outcomes, SegmentColumn};
use crate::answer::OutcomeFile;
use crate::error::{Error, Part};
use crate::figures::visible;
use crate::model::Piece;
use crate::segments::NO_VALUE;

/// How many files there can be: a bit of each is kept for each row.
const MOST: usize = 64;

/// A file of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    name: String,
    columns: Vec<String>,
    /// Rows that count.
    rows: u64,
    malformed: u64,
    repeated: u64,
    conflicting: u64,
}

const fn key_of(by_request: bool) -> &'static str {
    if by_request { "request_id" } else { "unit" }
}

impl Outcomes {
    /// Merges files, each with its name.
    ///
    /// # Errors
    /// There are too many, or two files contradict each other.
    pub fn merge(files: Vec<(String, Self)>) -> Result<Self, Error> {
        if files.len() > MOST {
            let problem = format!("{} files, but at most {MOST} can be merged", files.len());
            return Err(Error::input(Part::Outcomes(None), problem));
        }
        let mut files = files;
        // Predictions keep their rows, so their file comes first.
        files.sort_by_key(|(_, file)| file.predictions.is_none());
        let mut files = files.into_iter();
        let Some((first, rest)) = files.next().map(|first| (first, files)) else {
            return Ok(Self::default());
        };
        if rest.len() == 0 {
            return Ok(first.1);
        }
        let (name, mut all) = first;
        all.name_it(&name);
        all.origins = vec![1; all.rows()];
        for (name, mut new) in rest {
            let input = |problem| Error::input(Part::Outcomes(Some(name.clone())), problem);
            if new.by_request != all.by_request {
                let first = all.files.first().map(|file| file.name.as_str()).unwrap_or_default();
                let keys = [all.by_request, new.by_request].map(key_of);
                return Err(input(format!(
                    "its rows are by {}, and those of {first} are by {}; analyze each by itself, with \
                     --metric",
                    keys[1], keys[0]
                )));
            }
            new.name_it(&name);
            all.add(new).map_err(input)?;
        }
        Ok(all)
    }

    /// Names the rows so far, unless several files have them already.
    pub(super) fn begin_merge(&mut self, name: &str) {
        if self.files.is_empty() {
            self.name_it(name);
            self.origins = vec![1; self.rows()];
        }
    }

    /// Adds another source with a name, after [`Outcomes::begin_merge`] of both.
    pub(super) fn merge_next(&mut self, new: Self) -> Result<(), String> {
        if self.files.len() >= MOST {
            return Err(format!("{MOST} files, but at most {} beside the log", MOST - 1));
        }
        self.add(new)
    }

    /// The counts of each file; `matched`: the rows that match.
    pub(crate) fn counts_of_files(&self, matched: &[usize]) -> Vec<OutcomeFile> {
        let count = |(at, file): (usize, &File)| OutcomeFile {
            file: file.name.clone(),
            columns: file.columns.clone(),
            rows: file.rows,
            matched: matched.iter().filter(|row| self.is_of(**row, at)).count() as u64,
            malformed: file.malformed,
            repeated: file.repeated,
            conflicting: file.conflicting,
        };
        self.files.iter().enumerate().map(count).collect()
    }

    /// Whether one of the files has this row: its own number.
    fn is_of(&self, row: usize, file: usize) -> bool {
        self.origins.get(row).is_some_and(|files| files >> file & 1 == 1)
    }

    fn name_it(&mut self, name: &str) {
        let place = |example: &mut String| *example = format!("{name}, {example}");
        self.examples.iter_mut().for_each(place);
        self.unreadable.iter_mut().flat_map(|found| &mut found.examples).for_each(place);
        self.files = vec![File {
            name: name.to_owned(),
            columns: self.columns.clone(),
            rows: self.rows() as u64,
            malformed: self.malformed,
            repeated: self.repeated,
            conflicting: self.conflicting,
        }];
    }

    /// Adds another file with the same kind of key.
    fn add(&mut self, new: Self) -> Result<(), String> {
        let file = self.files.len();
        if new.predictions.is_some() {
            return Err(
                "two files have predictions and labels of the model; join these files: cat"
                    .to_owned(),
            );
        }
        let places = self.columns_of(&new);
        self.widen();
        let moved = if self.by_request {
            self.add_requests(&new, &places)?
        } else {
            self.add_units(&new, &places)?
        };
        self.add_segments(&new, &moved);
        let rows = self.rows();
        if let Some(predictions) = &mut self.predictions {
            predictions.rows.resize(rows, Piece::NONE);
        }
        for (at, found) in places.iter().zip(&new.unreadable) {
            if let Some(known) = self.unreadable.get_mut(*at) {
                known.rows += found.rows;
                let room = EXAMPLES.saturating_sub(known.examples.len());
                known.examples.extend(found.examples.iter().take(room).cloned());
            }
        }
        self.read += new.read;
        self.malformed += new.malformed;
        self.repeated += new.repeated;
        self.conflicting += new.conflicting;
        self.nameless += new.nameless;
        self.examples.extend(new.examples);
        self.examples.truncate(EXAMPLES);
        self.first.extend(new.first);
        self.first.truncate(EXAMPLES);
        self.ignored.extend(new.ignored);
        self.ids.merge(new.ids);
        self.untimed.repeated += new.untimed.repeated;
        self.untimed.in_runs += new.untimed.in_runs;
        self.untimed.diverse |= new.untimed.diverse;
        self.timed.scattered += new.timed.scattered;
        self.timed.equal = new.timed.equal;
        let found = echoes(self);
        self.timed.alike = found.alike;
        self.echoes = found.rows;
        debug_assert_eq!(self.files.len(), file);
        self.files.extend(new.files);
        Ok(())
    }

    /// Where the columns of a file are here; new ones are added behind the others.
    fn columns_of(&mut self, new: &Self) -> Vec<usize> {
        let old = self.columns.len();
        let mut places = Vec::new();
        for column in &new.columns {
            let known = self.columns.iter().position(|it| it == column);
            places.push(known.unwrap_or(self.columns.len()));
            if known.is_none() {
                self.columns.push(column.clone());
                self.unreadable.push(super::Unreadable::default());
            }
        }
        let width = self.columns.len();
        if width > old {
            let mut values = Vec::with_capacity(self.rows() * width);
            for row in 0..self.rows() {
                let start = row * old;
                values.extend(self.values.get(start..start + old).unwrap_or_default());
                values.resize((row + 1) * width, f64::NAN);
            }
            self.values = values;
        }
        places
    }

    /// Rows about requests have times if one file has them.
    fn widen(&mut self) {
        let rows = self.rows();
        if self.times.len() < rows {
            self.times.resize(rows, u64::MAX);
        }
        self.known.resize(rows, None);
    }

    /// Adds the segments of rows that are here now; of two values, the first one stays.
    fn add_segments(&mut self, new: &Self, moved: &[u32]) {
        let rows = self.rows();
        for column in &new.segments {
            if !self.segments.iter().any(|known| known.name == column.name) {
                let name = column.name.clone();
                self.segments.push(SegmentColumn { name, ..SegmentColumn::default() });
            }
        }
        for known in &mut self.segments {
            known.keys.resize(rows, NO_VALUE);
            let Some(column) = new.segments.iter().find(|column| column.name == known.name) else {
                continue;
            };
            known.texts.merge(&column.texts);
            for (row, key) in moved.iter().zip(&column.keys) {
                if let Some(slot) = known.keys.get_mut(*row as usize)
                    && *slot == NO_VALUE
                {
                    *slot = *key;
                }
            }
        }
    }

    /// Adds rows; returns where they are.
    fn add_requests(&mut self, new: &Self, places: &[usize]) -> Result<Vec<u32>, String> {
        if !new.classes.is_empty() && !self.classes.is_empty() {
            return Err("two files have predictions and labels; join these files: cat".to_owned());
        }
        let bit = 1_u64 << self.files.len();
        let mut differing: HashMap<usize, u64> = HashMap::new();
        let mut moved = Vec::with_capacity(new.rows());
        for (number, key) in (0..).zip(&new.keys) {
            let time = new.times.get(number as usize).copied().unwrap_or(u64::MAX);
            let row = match self.find(*key) {
                Some(row) => row,
                None => self.push_row(*key, time)?,
            };
            moved.push(row);
            let width = self.columns.len();
            for (at, value) in places.iter().zip(new.row(number)) {
                let Some(slot) = self.values.get_mut(row as usize * width + at) else { continue };
                if slot.is_nan() {
                    *slot = *value;
                } else if !value.is_nan() && slot.to_bits() != value.to_bits() {
                    *differing.entry(*at).or_default() += 1;
                }
            }
            if let Some(files) = self.origins.get_mut(row as usize) {
                *files |= bit;
            }
            let known = new.known.get(number as usize).copied().flatten();
            if let Some(slot) = self.known.get_mut(row as usize).filter(|_| known.is_some()) {
                *slot = known;
            }
            if let Some(slot) = self.times.get_mut(row as usize).filter(|slot| **slot == u64::MAX) {
                *slot = time;
            }
        }
        if let Some((at, rows)) = differing.into_iter().min() {
            let column = self.columns.get(at).map(|name| visible(name)).unwrap_or_default();
            return Err(format!(
                "{column} is in another file too, with other values for {rows} request{}; remove \
                 the column from one file",
                if rows == 1 { "" } else { "s" }
            ));
        }
        self.classes.take(&new.classes, &moved, self.rows());
        Ok(moved)
    }

    /// Adds a row without values.
    fn push_row(&mut self, key: u64, time: u64) -> Result<u32, String> {
        let row = u32::try_from(self.rows()).map_err(|_| "more rows than 2^32".to_owned())?;
        let keys = &self.keys;
        let hash = |row: &u32| keys.get(*row as usize).copied().unwrap_or(0);
        self.index.insert_unique(key, row, hash);
        self.keys.push(key);
        self.times.push(time);
        self.known.push(None);
        self.origins.push(0);
        self.values.resize(self.keys.len() * self.columns.len(), f64::NAN);
        Ok(row)
    }

    /// Adds rows; returns where they are.
    fn add_units(&mut self, new: &Self, places: &[usize]) -> Result<Vec<u32>, String> {
        let mut moved = Vec::with_capacity(new.rows());
        let bit = 1_u64 << self.files.len();
        // Of columns that both have: what rows of a unit and a time are there already.
        let mut known: HashMap<(u64, u64), u32> = HashMap::new();
        let shared: Vec<&String> = new
            .columns
            .iter()
            .filter(|column| self.files.iter().any(|file| file.columns.contains(column)))
            .collect();
        if let Some(column) = shared.first() {
            let untimed = self.times.iter().chain(&new.times).any(|time| *time == u64::MAX);
            if untimed {
                return Err(format!(
                    "{} is in another file too, and without a time in each row it is unknown which \
                     rows are the same; remove the column from one file",
                    visible(column)
                ));
            }
            known.extend(self.keys.iter().copied().zip(self.times.iter().copied()).zip(0..));
        }
        let width = self.columns.len();
        for (number, ((key, digest), time)) in
            (0..).zip(new.keys.iter().zip(&new.digests).zip(&new.times))
        {
            let mut values = vec![f64::NAN; width];
            for (at, value) in places.iter().zip(new.row(number)) {
                if let Some(slot) = values.get_mut(*at) {
                    *slot = *value;
                }
            }
            if let Some(row) = known.get(&(*key, *time)) {
                let both = values.iter().zip(self.row(*row));
                let differs = |(new, old): (&f64, &f64)| {
                    !new.is_nan() && !old.is_nan() && new.to_bits() != old.to_bits()
                };
                let has_both = |(new, old): (&f64, &f64)| !new.is_nan() && !old.is_nan();
                if both.clone().any(differs) {
                    return Err(format!(
                        "{} is in another file too, with another value for the same unit and time; \
                         remove the column from one file",
                        shared.first().map(|name| visible(name)).unwrap_or_default()
                    ));
                }
                if both.clone().any(has_both) {
                    // The same event: what it lacks is added.
                    for (at, value) in
                        values.iter().enumerate().filter(|(_, value)| !value.is_nan())
                    {
                        if let Some(slot) = self.values.get_mut(*row as usize * width + at) {
                            *slot = *value;
                        }
                    }
                    if let Some(files) = self.origins.get_mut(*row as usize) {
                        *files |= bit;
                    }
                    self.repeated += 1;
                    moved.push(*row);
                    continue;
                }
            }
            let row = u32::try_from(self.rows()).map_err(|_| "more rows than 2^32".to_owned())?;
            moved.push(row);
            self.keys.push(*key);
            self.digests.push(*digest);
            self.times.push(*time);
            self.known.push(None);
            self.origins.push(bit);
            self.values.extend(values);
        }
        Ok(moved)
    }
}
