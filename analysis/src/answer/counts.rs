//! Counts of the data: what became of the lines of the logs and of the rows of the outcomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sums::{Before, Echoes};

/// Lines of the logs, by what became of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LineCounts {
    /// All lines.
    pub read: u64,
    /// Lines that count.
    pub used: u64,
    /// Those that cannot be read; skipped.
    pub malformed: u64,
    /// Well-formed lines that do not count, by reason.
    pub excluded: ExcludedCounts,
    /// The first malformed lines, with their places.
    pub examples: Vec<String>,
}

/// Well-formed lines that do not count, by reason.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ExcludedCounts {
    /// Of another experiment, or of none.
    pub other_experiment: u64,
    /// An override chose the variant.
    #[serde(rename = "override")]
    pub overridden: u64,
    /// Without a unit.
    pub missing_unit: u64,
    /// While a breaker was open.
    pub breaker: u64,
    /// Before the start.
    pub not_started: u64,
    /// While the experiment was disabled.
    pub disabled: u64,
    /// Outside the slots of its layer.
    pub excluded: u64,
    /// The client disconnected before the response: not in the metrics of responses, but its unit counts.
    pub aborted: u64,
    /// Assigned with other weights than those of the line or, if it has none, of the file.
    pub other_weights: u64,
    /// Of another trial of the experiment.
    #[serde(default)]
    pub other_trial: u64,
    /// Before `--since` or after `--until`.
    #[serde(default)]
    pub other_time: u64,
    /// Of a variant that the file does not have.
    #[serde(default)]
    pub other_variant: u64,
    /// The same request in another line: a file that was delivered twice, rotations that overlap.
    #[serde(default)]
    pub repeated: u64,
}

/// Rows of the outcomes, by what became of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OutcomeCounts {
    /// All rows.
    pub rows: u64,
    /// Rows that match a request or unit.
    pub matched: u64,
    /// Rows that match nothing.
    pub unmatched: u64,
    /// Those that cannot be read as a whole. If their key can, the unit is left out of all metrics.
    pub malformed: u64,
    /// Rows that say again what a row before them said; skipped.
    pub repeated: u64,
    /// Rows that contradict a row before them about the same request; skipped.
    #[serde(default)]
    pub conflicting: u64,
    /// Rows that match several requests with the same id; the row counts for each.
    pub shared: u64,
    /// Rows with a time before the unit's first request, by more than the tolerance of clocks.
    pub early: u64,
    /// Those of them that are less than ten minutes before it, and after the beginning of the logs.
    #[serde(default)]
    pub shortly_before: u64,
    /// Rows around the first request of their unit.
    #[serde(skip)]
    pub(crate) before: Before,
    /// Requests with a row, and those that share it.
    #[serde(skip)]
    pub(crate) sharing: (u64, u64),
    /// Rows by unit that say again what another row said a moment before, by variant.
    #[serde(skip)]
    pub(crate) echoes: Vec<(String, Echoes)>,
    /// By variant: predictions of a class that labels have, and others.
    #[serde(skip)]
    pub(crate) classes: BTreeMap<String, [u64; 2]>,
    /// Rows about units with a time outside the one that is analyzed.
    #[serde(default)]
    pub other_time: u64,
    /// Rows about requests of another trial, or about units, that belong or may belong to an exposure in another trial;
    /// they do not count.
    #[serde(default)]
    pub other_trial: u64,
    /// Rows about units that count, although without a `time` they may belong to another trial.
    #[serde(default)]
    pub ambiguous: u64,
    /// The first malformed ones, with their places.
    pub examples: Vec<String>,
    /// Values that cannot be read; their units are left out of the metric.
    #[serde(default)]
    pub unreadable: Vec<UnreadableColumn>,
    /// Columns that are no metrics, and why.
    #[serde(default)]
    pub ignored_columns: Vec<String>,
    /// How many columns have no name, so that they are no metrics.
    #[serde(default)]
    pub nameless_columns: u64,
    /// Columns that are made from fields of the access log, as those of language models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logged: Vec<LoggedColumn>,
    /// The counts of each file, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<OutcomeFile>,
}

/// A column that is made from fields of the access log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LoggedColumn {
    /// Its name.
    pub column: String,
    /// Requests that count.
    pub requests: u64,
    /// Those of them without a value, since the log does not have its fields.
    pub missing: u64,
}

/// A file of outcomes beside others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OutcomeFile {
    /// Its name.
    pub file: String,
    /// Its metrics.
    pub columns: Vec<String>,
    /// Rows that count.
    pub rows: u64,
    /// Rows that match a request or unit.
    pub matched: u64,
    /// Rows that cannot be read as a whole.
    pub malformed: u64,
    /// Rows that say again what a row of the file before them said.
    pub repeated: u64,
    /// Rows that contradict a row of the file before them about the same request.
    pub conflicting: u64,
}

/// Values of a column that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct UnreadableColumn {
    /// Its name.
    pub column: String,
    /// In how many rows.
    pub rows: u64,
    /// The first ones, with their places.
    pub examples: Vec<String>,
}
