//! Errors: a problem in the input, or a file that cannot be read.

use std::fmt;
use std::io;

use crate::answer::Role;

/// Why an analysis failed.
#[derive(Debug)]
pub enum Error {
    /// The input is invalid.
    Input {
        /// The invalid part.
        part: Part,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// A file cannot be read.
    Read {
        /// Its name.
        file: String,
        /// Why.
        source: io::Error,
    },
}

/// A part of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The experiment file.
    Experiment,
    /// A metric of this role and name.
    Metric(Role, String),
    /// The price of this metric.
    Price(String),
    /// The planned number of units.
    PlannedUnits,
    /// The logs; a file of them.
    Exposures(Option<String>),
    /// The outcomes; the file's name.
    Outcomes(Option<String>),
    /// The attribution window.
    Attribution,
    /// The cap of this metric.
    Cap(String),
    /// The choice to leave out the minutes of open breakers.
    ExcludeBreaker,
}

impl Error {
    pub(crate) fn input(part: Part, problem: impl Into<String>) -> Self {
        Self::Input { part, problem: problem.into() }
    }

    pub(crate) fn read(file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        |source| Self::Read { file, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input { problem, .. } => f.write_str(problem),
            Self::Read { file, .. } => write!(f, "cannot read {file}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Input { .. } => None,
            Self::Read { source, .. } => Some(source),
        }
    }
}
