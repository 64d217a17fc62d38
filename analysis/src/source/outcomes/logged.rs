//! Outcomes that are made from fields of the access log: columns beside those of files.

use sidetrack::plan::Experiment;

use super::head::Head;
use super::records::Record;
use super::table::Table;
use super::{Outcomes, Wanted};
use crate::answer::LoggedColumn;
use crate::error::{Error, Part};

/// How reports name the log beside files of outcomes.
const LOG: &str = "the access log";

/// Takes rows with their numbers in the log.
pub(in crate::source) struct Rows<'e>(Table<'e>);

impl<'e> Rows<'e> {
    /// Of these columns, the first one of which is the request.
    ///
    /// # Errors
    /// Never, with names as the log has them.
    pub(in crate::source) fn new(
        columns: &[String],
        experiment: &'e Experiment,
        wanted: Wanted<'e>,
    ) -> Result<Self, Error> {
        let head = Head::of_keys(columns, wanted).map_err(wrong)?;
        Table::new(head, experiment, wanted).map(Self).map_err(wrong)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// There are too many.
    pub(in crate::source) fn add(&mut self, line: u64, record: &Record) -> Result<(), Error> {
        self.0.read(line, Ok(()), record).map_err(wrong)
    }

    /// The outcomes: those of these columns that have values.
    ///
    /// # Errors
    /// Never, without predictions.
    pub(in crate::source) fn finish(self, logged: Vec<LoggedColumn>) -> Result<Outcomes, Error> {
        let mut outcomes = self.0.finish().map_err(wrong)?;
        let columns = &outcomes.columns;
        let has = |logged: &LoggedColumn| columns.contains(&logged.column);
        outcomes.logged = logged.into_iter().filter(has).collect();
        Ok(outcomes)
    }
}

impl Outcomes {
    /// Adds columns that come from the log.
    ///
    /// # Errors
    /// There are too many files.
    pub(crate) fn with_log(mut self, log: Self) -> Result<Self, Error> {
        let mut log = log;
        self.begin_merge("the outcomes");
        self.logged = std::mem::take(&mut log.logged);
        log.begin_merge(LOG);
        self.merge_next(log).map_err(wrong)?;
        Ok(self)
    }
}

fn wrong(problem: String) -> Error {
    Error::input(Part::Exposures(None), problem)
}
