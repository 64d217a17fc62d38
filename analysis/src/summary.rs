//! The summary of an analysis: everything between the data and the verdict, as one small value.
//!
//! [`summarize`](crate::summarize) makes it from logs and outcomes, [`conclude`](crate::conclude) makes the verdict from
//! it, and nothing else passes between them. [`Summary::table`] writes it as a table of numbers, which
//! [`Summary::of_table`] reads back without losing a bit. So any engine that can make such a table can take the place of
//! the first half.

mod exchange;
mod facts;
mod fields;
mod measures;
mod settings;
mod table;

use std::collections::BTreeMap;

use crate::analyze::{Read, Settings};
use crate::check::CheckName;
use crate::checks::Touched;
use crate::error::{Error, Part};
pub use crate::segments::LARGEST as LARGEST_SEGMENTS;
use crate::source::Trial;
pub use crate::sums::MOST_DAYS_SINCE as DAYS_SINCE;
pub(crate) use facts::RowFacts;
pub use measures::{Column, Measure, Of, measures};
pub use settings::Choices;
pub use table::{COLUMNS, Row, Table};

/// What is known of the data of an experiment, without the data.
#[derive(Debug)]
pub struct Summary {
    pub(crate) trial: Trial,
    /// How the data were chosen.
    pub(crate) choices: Choices,
    /// The names of the logs that have malformed lines, as far as they are shown.
    pub(crate) files: Vec<String>,
    /// The first ids of the logs, if no row of the outcomes has one.
    pub(crate) ids: Vec<String>,
    /// Checks that whoever made the summary cannot do, and why.
    pub(crate) not_checked: BTreeMap<CheckName, String>,
    /// Of all data, with the minutes that are left out.
    pub(crate) breaker: Touched,
    /// `None` without outcomes.
    pub(crate) rows: Option<RowFacts>,
    pub(crate) main: Read,
    /// The same without the minutes in which a breaker was open; `None` if there are none.
    pub(crate) other: Option<Read>,
}

impl Summary {
    /// Whether the summary has the covariates that are asked for.
    fn adjusts(&self, settings: &Settings) -> Result<(), Error> {
        let has = self.main.sums.covariates.counts.iter().map(|counts| &counts.name);
        let asked = &settings.methods.covariates;
        if self.rows.is_none() || !self.main.units || has.eq(asked) {
            return Ok(());
        }
        let problem = "the table has no sums of these covariates; make it again with them";
        Err(Error::input(Part::Covariate(asked.join(", ")), problem))
    }
}
