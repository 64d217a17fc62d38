//! Why the store cannot do something, in the words of a user.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store cannot do something.
#[derive(Debug)]
pub enum Error {
    /// Another process uses the folder.
    Locked(PathBuf),
    /// A file of the store is damaged.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The disk, or the store's own limit, is full.
    Full,
    /// A newer version of Sidetrack wrote the folder.
    Newer(PathBuf),
    /// Too many records wait to be written.
    Busy,
    /// The store has been closed.
    Closed,
    /// A mistake in what was asked.
    Input(String),
    /// Options of the server that do not fit together.
    Usage(String),
    /// A file cannot be read or written.
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database reports an error.
    Database(String),
}

impl Error {
    pub(crate) fn io(file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { file, source },
        }
    }

    /// An error of the database in this file.
    pub(crate) fn database(file: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let file = file.to_owned();
        move |error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { file, problem: error.to_string() }
            }
            _ => Self::Database(error.to_string()),
        }
    }

    /// The same error for another sender of the same commit.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Busy => Self::Busy,
            Self::Closed => Self::Closed,
            Self::Damaged { file, problem } => {
                Self::Damaged { file: file.clone(), problem: problem.clone() }
            }
            other => Self::Database(other.to_string()),
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        !matches!(self, Self::Input(_) | Self::Usage(_) | Self::Newer(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(folder) => write!(
                f,
                "the store {} is in use by another process\n  hint: stop the other `sidetrack serve` or \
                 `sidetrack run`, or choose another folder",
                folder.display()
            ),
            Self::Damaged { file, problem } => write!(
                f,
                "{} is damaged: {problem}\n  hint: restore the file from a backup, or move it away and \
                 start again; its records are then missing",
                file.display()
            ),
            Self::Full => f.write_str(
                "the disk or the store is full; nothing was stored\n  hint: free disk space, raise \
                 --max-size, or set --retention",
            ),
            Self::Newer(folder) => write!(
                f,
                "a newer version of Sidetrack wrote the store {}\n  hint: use that version",
                folder.display()
            ),
            Self::Busy => f.write_str("too many records wait to be written; try again"),
            Self::Closed => f.write_str("the store is shutting down; try again"),
            Self::Input(problem) | Self::Usage(problem) => f.write_str(problem),
            Self::Io { file, source } => {
                write!(f, "{}: {}", file.display(), sidetrack_analysis::in_words(source))
            }
            Self::Database(problem) => write!(f, "the database reports: {problem}"),
        }
    }
}

impl std::error::Error for Error {}
