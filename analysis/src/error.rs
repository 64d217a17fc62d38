//! Errors: a problem in the input, or a file that cannot be used.

use std::fmt;
use std::io::{self, ErrorKind};

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
    /// Units do not fit into memory, and a temporary file cannot be used.
    Temporary {
        /// Where temporary files are.
        folder: String,
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
    /// This covariate.
    Covariate(String),
    /// The choice to leave out the minutes of open breakers.
    ExcludeBreaker,
    /// The table of a summary.
    Summary,
}

impl Error {
    pub(crate) fn input(part: Part, problem: impl Into<String>) -> Self {
        Self::Input { part, problem: problem.into() }
    }

    pub(crate) fn read(file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        |source| Self::Read { file, source: in_words(&source) }
    }

    pub(crate) fn temporary(folder: &str, error: &io::Error) -> Self {
        let words = match error.kind() {
            ErrorKind::NotFound => "the folder does not exist",
            ErrorKind::UnexpectedEof => "a file is shorter than it was written",
            _ => {
                let source = in_words(error);
                return Self::Temporary { folder: folder.to_owned(), source };
            }
        };
        let source = io::Error::new(error.kind(), words);
        Self::Temporary { folder: folder.to_owned(), source }
    }
}

/// What is wrong with the data of a file, in words of this program. As the inside of an [`io::Error`], they are kept.
#[derive(Clone, Debug)]
pub struct Damage(pub String);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damage {}

impl Damage {
    /// An error of data that break off or are damaged: what came before counts.
    #[must_use]
    pub fn error(words: impl Into<String>) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, Self(words.into()))
    }
}

/// The error of a file in words of this program, of the same kind.
#[must_use]
pub fn in_words(error: &io::Error) -> io::Error {
    if let Some(damage) = error.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()) {
        return io::Error::new(error.kind(), damage.clone());
    }
    let words = match error.kind() {
        ErrorKind::NotFound => "the file does not exist",
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::IsADirectory => "it is a directory; name its files, as in DIRECTORY/*",
        ErrorKind::NotADirectory => "a part of its path is not a directory",
        ErrorKind::UnexpectedEof => "the gzip data breaks off",
        ErrorKind::InvalidData | ErrorKind::InvalidInput => "the gzip data is damaged",
        ErrorKind::InvalidFilename => "the file name is too long",
        kind => {
            let text = error.to_string();
            // The number of an error of the operating system means nothing to most readers.
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            return io::Error::new(kind, text);
        }
    };
    io::Error::new(error.kind(), words)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input { problem, .. } => f.write_str(problem),
            Self::Read { file, .. } => write!(f, "cannot read {file}"),
            Self::Temporary { folder, .. } => write!(
                f,
                "the units do not fit into --memory, and temporary files in {folder} cannot be used"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Input { .. } => None,
            Self::Read { source, .. } | Self::Temporary { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_files_are_in_words() {
        for (number, words) in [
            (2, "the file does not exist"),
            (13, "permission denied"),
            (21, "it is a directory; name its files, as in DIRECTORY/*"),
            (5, "Input/output error"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            let found = in_words(&error);
            assert_eq!((found.to_string().as_str(), found.kind()), (words, error.kind()));
        }
        assert_eq!(
            in_words(&ErrorKind::UnexpectedEof.into()).to_string(),
            "the gzip data breaks off"
        );
    }
}
