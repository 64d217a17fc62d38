//! The analysis of A/B tests: from exposures and outcomes to a verdict with reasons.
//!
//! | layer | module |
//! |---|---|
//! | where rows come from: access logs, outcomes | `source` |
//! | a request that counts, and why others do not | `row` |
//! | phases: contiguous runs of one set of weights | `weights`, `phases`, `strata` |
//! | rows by unit, in shards, on all cores | `join` |
//! | metrics of predictions and labels | `model` |
//! | tokens, cost and speed of language models, from the log | `llm` |
//! | which outcomes of a unit count, and how much at most | `attribution`, `cap` |
//! | what is known of a unit from before | `covariate` |
//! | sums by stratum and variant; all further layers read only these | `sums` |
//! | is the split as configured, was a breaker open, what was left out? | `checks` |
//! | each candidate against the baseline, judged | `compare`, `judge` |
//! | the same by segment and by day, which decides nothing | `segments`, `daily` |
//! | what can still be found, and when the test ends | `outlook` |
//! | what to do, and why | `verdict`, `reason` |
//! | the result, typed, with serde both ways | `answer` |
//! | the result in words, for every printer | `words` |
//! | how often all of this is wrong | `calibrate` |
//!
//! Everything is by the variant that was *assigned*, whichever served the request (intention to treat): a breaker moves only a
//! candidate's units, so leaving its requests out would compare the candidate's good hours with all of the baseline's.
//!
//! The same input gives the same result, bit for bit, whatever the number of threads. A line or row that cannot be read is
//! counted and shown, never a zero. The layers know no terminal, no HTML and no command line; printers read `answer`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod analyze;
pub mod answer;
pub mod assignments;
mod attribution;
pub mod calibrate;
mod cap;
mod check;
mod checks;
mod compare;
mod covariate;
mod daily;
mod dialect;
pub mod drift;
mod error;
mod expected_value;
pub mod figures;
mod histogram;
mod join;
mod judge;
mod llm;
mod metric;
mod model;
mod outlook;
mod over_time;
mod phases;
pub mod plan;
mod reason;
pub mod row;
mod scale;
mod segments;
pub mod shadow;
mod short;
mod sizes;
pub mod source;
mod strata;
pub mod summary;
mod sums;
mod verdict;
mod weights;
mod window;
pub mod words;

pub use analyze::{
    ALPHA, DEFAULT_UNITS, Input, Pass, Settings, Subject, analyze, conclude, summarize,
};
pub use answer::Analysis;
pub use cap::Cap;
pub use check::{Check, CheckName, CheckState};
pub use dialect::Dialect;
pub use error::{Damage, Error, Part, in_words};
pub use expected_value::Price;
pub use join::Spill;
pub use llm::{LLM_METRICS, LlmSource};
pub use metric::{BUILT_IN, MetricRequest, MetricRequests};
pub use model::MODEL_METRICS;
pub use over_time::{LiftOverTime, Point, Series, SplitOverTime};
pub use reason::{Effect, Finding, Note, Reason, RowProblem, Unusable};
pub use scale::Scale;
pub use segments::{Dimension, dimension};
pub use short::Short;
pub use source::outcomes::{ACCURACY, Cell, Cells, Column, EqualRows, Outcomes, Wanted};
pub use source::{
    Clock, Count, Counted, Entry, Logs, Opened, Opener, Record, Records, Slot, Text, Value,
    file_name,
};
pub use strata::{MARK, Strata};
pub use window::{Moment, Window};
