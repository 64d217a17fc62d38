//! Columns of the outcomes by which results are shown separately.

use super::head::Head;
use super::records::Record;
use crate::segments::{NO_VALUE, Texts, key_of};

/// A column with a value of each row.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentColumn {
    pub(crate) name: String,
    pub(crate) texts: Texts,
    /// By row; [`NO_VALUE`] without one.
    pub(crate) keys: Vec<u64>,
}

/// The columns of a table that is being read.
#[derive(Debug, Default)]
pub(super) struct SegmentColumns {
    columns: Vec<(usize, SegmentColumn)>,
    /// The values of the last row.
    last: Vec<u64>,
}

impl SegmentColumns {
    pub(super) fn of(head: &Head) -> Self {
        let column = |(at, name): &(usize, String)| {
            (*at, SegmentColumn { name: name.clone(), ..SegmentColumn::default() })
        };
        let columns: Vec<_> = head.segments.iter().map(column).collect();
        Self { last: vec![NO_VALUE; columns.len()], columns }
    }

    /// Reads the values of a row; [`SegmentColumns::keep`] keeps them.
    pub(super) fn read(&mut self, record: &Record) {
        for ((at, column), last) in self.columns.iter_mut().zip(&mut self.last) {
            let field = record.get(*at).map(String::from_utf8_lossy).unwrap_or_default();
            *last = key_of(&field);
            if *last != NO_VALUE {
                column.texts.add(*last, field.trim());
            }
        }
    }

    /// A row whose values cannot be read.
    pub(super) fn forget(&mut self) {
        self.last.fill(NO_VALUE);
    }

    /// The values of the last row, for what distinguishes rows.
    pub(super) fn last(&self) -> &[u64] {
        &self.last
    }

    /// The last row is one of the outcomes.
    pub(super) fn keep(&mut self) {
        for ((_, column), last) in self.columns.iter_mut().zip(&self.last) {
            column.keys.push(*last);
        }
    }

    pub(super) fn finish(self) -> Vec<SegmentColumn> {
        self.columns.into_iter().map(|(_, column)| column).collect()
    }
}
