//! What is known of the rows of the outcomes: counts and tables, without the rows.

use std::collections::BTreeMap;

use crate::answer::{LoggedColumn, OutcomeFile};
use crate::join::Tally;
use crate::sizes::Sizes;
use crate::source::outcomes::{ACCURACY, Ignored, Outcomes, Timed, Unreadable, Untimed};
use crate::sums::Placed;

/// Pairs of a predicted class and a label, by their numbers: how many rows have each, and how many of them are right.
pub(crate) type ClassTable = BTreeMap<[u16; 2], (u64, u64)>;

/// The facts about the rows of a file of outcomes that the checks read.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowFacts {
    /// Whether rows are about requests, else about units.
    pub(crate) by_request: bool,
    /// The names of the values.
    pub(crate) columns: Vec<String>,
    /// How many of the columns are metrics of predictions and labels.
    pub(crate) modeled: usize,
    /// Columns that are made from fields of the log.
    pub(crate) logged: Vec<LoggedColumn>,
    /// By column: nothing but 0 and 1.
    pub(crate) binary: Vec<bool>,
    /// By column.
    pub(crate) unreadable: Vec<Unreadable>,
    /// Columns that are no metrics.
    pub(crate) ignored: Vec<Ignored>,
    /// How many columns have no name.
    pub(crate) nameless: usize,
    /// Rows of the file.
    pub(crate) read: u64,
    /// Rows without malformed and repeated ones.
    pub(crate) rows: u64,
    /// Rows that cannot be read as a whole, and the first of them.
    pub(crate) malformed: u64,
    pub(crate) examples: Vec<String>,
    pub(crate) repeated: u64,
    pub(crate) conflicting: u64,
    pub(crate) untimed: Untimed,
    pub(crate) timed: Timed,
    /// The first keys of the file.
    pub(crate) first: Vec<String>,
    /// Rows that at least one request matched, and at least two.
    pub(crate) met: [u64; 2],
    /// Requests that have a row, and those of them that share it.
    pub(crate) sharing: (u64, u64),
    /// Rows about requests that no line of the logs has.
    pub(crate) unknown: u64,
    /// Rows about requests of other trials alone.
    pub(crate) of_other_trials: u64,
    /// By variant: predictions with a class that a label has, and others.
    pub(crate) known: Vec<[u64; 2]>,
    /// The sizes of the values of requests, by column and variant.
    pub(crate) sizes: Vec<Vec<Sizes>>,
    /// The classes, as the outcomes write them first.
    pub(crate) classes: Vec<String>,
    /// By variant.
    pub(crate) tables: Vec<ClassTable>,
    /// The counts of each file, if there are several; not in the table of a summary.
    pub(crate) files: Vec<OutcomeFile>,
}

impl RowFacts {
    /// Of outcomes and what the requests of the logs say of them; `arms`: the number of variants.
    pub(crate) fn new(
        outcomes: &Outcomes,
        tally: &Tally,
        placed: Option<&Placed>,
        arms: usize,
    ) -> Self {
        let columns = outcomes.columns.len();
        let mut facts = Self {
            by_request: outcomes.by_request,
            columns: outcomes.columns.clone(),
            modeled: outcomes.modeled(),
            logged: outcomes.logged.clone(),
            binary: (0..columns).map(|column| outcomes.is_binary(column)).collect(),
            unreadable: outcomes.unreadable.clone(),
            ignored: outcomes.ignored.clone(),
            nameless: outcomes.nameless,
            read: outcomes.read,
            rows: outcomes.rows() as u64,
            malformed: outcomes.malformed,
            examples: outcomes.examples.clone(),
            repeated: outcomes.repeated,
            conflicting: outcomes.conflicting,
            untimed: outcomes.untimed,
            timed: outcomes.timed,
            first: outcomes.first.clone(),
            met: [tally.met(1), tally.met(2)],
            sharing: tally.sharing(),
            unknown: tally.unknown(),
            of_other_trials: tally.of_other_trials(),
            known: vec![[0; 2]; arms],
            sizes: vec![vec![Sizes::default(); arms]; columns],
            classes: outcomes.classes.names().to_vec(),
            tables: vec![ClassTable::new(); arms],
            files: Vec::new(),
        };
        for (row, arm) in tally.rows() {
            facts.add(outcomes, row, arm);
        }
        if !outcomes.files.is_empty() {
            let matched: Vec<usize> = tally.rows().map(|(row, _)| row).collect();
            facts.files = outcomes.counts_of_files(placed.map_or(&matched, |placed| &placed.rows));
        }
        facts
    }

    /// A row that a request of this variant matched.
    fn add(&mut self, outcomes: &Outcomes, row: usize, arm: usize) {
        let known = outcomes.known.get(row).copied().flatten();
        if let Some((known, [as_labels, others])) = known.zip(self.known.get_mut(arm)) {
            *as_labels += u64::from(known);
            *others += u64::from(!known);
        }
        let values = outcomes.row(u32::try_from(row).unwrap_or(u32::MAX));
        for (sizes, value) in self.sizes.iter_mut().zip(values) {
            if let Some(sizes) = sizes.get_mut(arm) {
                sizes.add(*value);
            }
        }
        if let Some((pair, table)) = outcomes.classes.pair(row).zip(self.tables.get_mut(arm)) {
            let accuracy = self.columns.iter().position(|name| name == ACCURACY);
            let accuracy = accuracy.and_then(|column| values.get(column));
            let is_right = accuracy.is_some_and(|value| *value > 0.5);
            let (rows, right) = table.entry(pair).or_default();
            *rows += 1;
            *right += u64::from(is_right);
        }
    }

    /// A class as the outcomes write it first.
    pub(crate) fn class(&self, class: u16) -> Option<&str> {
        self.classes.get(usize::from(class)).map(String::as_str)
    }
}
