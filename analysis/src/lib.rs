//! The analysis of A/B tests: from exposures and outcomes to a verdict with reasons.
//!
//! | layer | module |
//! |---|---|
//! | where rows come from: access logs, outcomes | `source` |
//! | a request that counts, and why others do not | `row` |
//! | phases: contiguous runs of one set of weights | `weights`, `phases`, `strata` |
//! | rows by unit, in shards, on all cores | `join` |
//! | which outcomes of a unit count, and how much at most | `attribution`, `cap` |
//! | sums by stratum and variant; all further layers read only these | `sums` |
//! | is the split as configured, was a breaker open, what was left out? | `checks` |
//! | each candidate against the baseline, judged | `compare`, `judge` |
//! | what to do, and why | `verdict`, `reason` |
//! | the result, typed, with serde both ways | `answer` |
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
mod attribution;
pub mod calibrate;
mod cap;
mod check;
mod checks;
mod compare;
mod error;
mod expected_value;
pub mod figures;
mod histogram;
mod join;
mod judge;
mod metric;
mod over_time;
mod phases;
pub mod plan;
mod reason;
pub mod row;
mod scale;
mod short;
mod sizes;
pub mod source;
mod strata;
mod sums;
mod verdict;
mod weights;
mod window;

pub use analyze::{ALPHA, DEFAULT_UNITS, Input, Pass, Settings, analyze};
pub use answer::Analysis;
pub use cap::Cap;
pub use check::{Check, CheckName, CheckState};
pub use error::{Error, Part, in_words};
pub use expected_value::Price;
pub use metric::{BUILT_IN, MetricRequest, MetricRequests};
pub use over_time::{LiftOverTime, Point, Series, SplitOverTime};
pub use reason::{Effect, Finding, Note, Reason, RowProblem, Unusable};
pub use scale::Scale;
pub use short::Short;
pub use source::outcomes::{ACCURACY, EqualRows, Outcomes};
pub use source::{Clock, Logs, Text};
pub use strata::{MARK, Strata};
pub use window::{Moment, Window};
