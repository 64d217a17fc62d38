//! What exposures, outcomes and other tables may be written in, and where they may be: JSON lines, CSV, Parquet and OTLP, each plain,
//! gzip or zstd; files, folders and patterns of names.
//!
//! Formats and compressions are detected by content, never by name. The analysis judges the rows of all formats by the
//! same rules; here, a format only becomes fields with the names of the log. A record that cannot be read is given as lost.

mod expand;
mod open;
pub mod otlp;
mod outcomes;
mod parquet;
#[cfg(feature = "remote")]
mod remote;
#[cfg(not(feature = "remote"))]
#[path = "no_remote.rs"]
mod remote;

use std::path::PathBuf;
use std::sync::Arc;

pub use expand::{Mistake, expand};
pub use open::Files;
pub use outcomes::{outcomes, table};
use sidetrack_analysis::{Error, Logs};

/// The logs in these files, of any format.
///
/// # Errors
/// A file that does not exist, that is a directory, or that is given twice.
pub fn logs(paths: &[PathBuf]) -> Result<Logs, Error> {
    Logs::opened_by(paths, Arc::new(Files))
}
