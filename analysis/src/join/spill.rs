//! Spilling: what does not fit into memory goes to temporary files.
//!
//! No file is made before it is needed.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use super::plain::Plain;
use crate::error::Error;

/// How much is read or written at once.
const BUFFER: usize = 1 << 17;
/// How many values are turned into bytes at once.
const AT_ONCE: usize = 1 << 12;

/// Makes a temporary file, which is gone when it is closed.
type Make = Arc<dyn Fn() -> io::Result<File> + Send + Sync>;

/// How much memory the tables of units may take, and where the rest goes.
#[derive(Clone)]
pub struct Spill {
    /// In bytes. Half of it is for tables that grow while the logs are read, or that are loaded afterwards.
    memory: u64,
    /// Where temporary files are, for messages.
    folder: String,
    make: Make,
}

impl Spill {
    /// So many bytes; the rest goes to files that `make` makes in a folder. They must be empty, readable and writable, and
    /// nobody deletes them.
    #[must_use]
    pub fn new(
        memory: u64,
        folder: impl Into<String>,
        make: impl Fn() -> io::Result<File> + Send + Sync + 'static,
    ) -> Self {
        Self { memory, folder: folder.into(), make: Arc::new(make) }
    }

    /// How large all tables together may become before they go to files.
    pub(super) const fn most(&self) -> u64 {
        self.memory / 2
    }

    /// How many bytes may be used for what is held beside the tables.
    pub(super) const fn aside(&self) -> u64 {
        self.memory / 8
    }

    /// Makes a file to write to.
    pub(super) fn out(&self) -> io::Result<Out> {
        (self.make)().map(Out::over)
    }

    /// The error of a temporary file.
    pub(super) fn failed(&self, error: &io::Error) -> Error {
        Error::temporary(&self.folder, error)
    }
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, folder, .. } = self;
        f.debug_struct("Spill").field("memory", memory).field("folder", folder).finish()
    }
}

/// A temporary file that is written.
#[derive(Debug)]
pub(super) struct Out {
    file: BufWriter<File>,
    bytes: Vec<u8>,
}

impl Out {
    /// Writes a file anew.
    pub(super) fn again(mut file: File) -> io::Result<Self> {
        file.set_len(0)?;
        file.rewind()?;
        Ok(Self::over(file))
    }

    fn over(file: File) -> Self {
        Self { file: BufWriter::with_capacity(BUFFER, file), bytes: Vec::new() }
    }

    /// Appends values.
    pub(super) fn put<T: Plain>(&mut self, values: impl IntoIterator<Item = T>) -> io::Result<()> {
        self.bytes.clear();
        values.into_iter().for_each(|value| value.put(&mut self.bytes));
        self.file.write_all(&self.bytes)
    }

    /// Appends their number, and values.
    pub(super) fn list<T: Plain>(
        &mut self,
        values: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> io::Result<()> {
        let mut values = values.into_iter();
        self.put([values.len() as u64])?;
        while values.len() > 0 {
            self.put(values.by_ref().take(AT_ONCE))?;
        }
        Ok(())
    }

    /// The file, once everything is written.
    pub(super) fn finish(self) -> io::Result<File> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// A temporary file that is read from its beginning.
pub(super) struct In<'f> {
    file: BufReader<&'f File>,
    bytes: Vec<u8>,
}

impl<'f> In<'f> {
    pub(super) fn new(mut file: &'f File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file: BufReader::with_capacity(BUFFER, file), bytes: Vec::new() })
    }

    /// Whether everything is read.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.file.fill_buf()?.is_empty())
    }

    /// Takes so many values.
    pub(super) fn each<T: Plain>(&mut self, count: usize, mut f: impl FnMut(T)) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let now = left.min(AT_ONCE);
            self.bytes.resize(now * T::WIDTH, 0);
            self.file.read_exact(&mut self.bytes)?;
            let mut rest = self.bytes.as_slice();
            while let Some(value) = T::take(&mut rest) {
                f(value);
            }
            left -= now;
        }
        Ok(())
    }

    /// Takes one value.
    pub(super) fn one<T: Plain>(&mut self) -> io::Result<T> {
        let mut found = None;
        self.each(1, |value| found = Some(value))?;
        found.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// Takes the values of a list.
    pub(super) fn list<T: Plain>(&mut self, f: impl FnMut(T)) -> io::Result<()> {
        let count: u64 = self.one()?;
        self.each(usize::try_from(count).unwrap_or(usize::MAX), f)
    }
}
