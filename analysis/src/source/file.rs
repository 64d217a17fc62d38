//! What a file of the logs is to the analysis: text, or records of another format. Other crates open what is neither a
//! plain file nor gzip: compressions, formats, and places beyond this machine.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::line::{Field, Line, Slot};

/// Opens files.
pub trait Opener: Send + Sync {
    /// Opens a file at its beginning; `-` is stdin. What is read of its bytes is added to the count.
    ///
    /// # Errors
    /// It cannot be read, or is of a format that cannot.
    fn open(&self, path: &Path, count: &Count) -> io::Result<Opened>;
}

/// A file that is open.
pub enum Opened {
    /// Lines of text, or a table with a header; plain or gzip.
    Text(Box<dyn Read>),
    /// Parts of records, in the order of the file. An error that is a [`Damage`](crate::Damage) ends the file.
    Records(Box<dyn Iterator<Item = io::Result<Box<dyn Records>>>>),
}

/// A part of a file whose records a thread decodes.
pub trait Records: Send {
    /// Gives the records in order, each with its number in the file, from 1, until one is refused.
    fn read(&self, take: &mut dyn FnMut(u64, Entry<'_>) -> bool);
}

/// A record.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack: a box would cost an allocation per row"
)]
pub enum Entry<'a> {
    /// The fields of an exposure.
    Fields(Record<'a>),
    /// A line of the access log, which a collector carries as text.
    Line(&'a [u8]),
    /// It cannot be read, and why.
    Lost(String),
}

/// A value of a record.
pub type Value<'a> = Field<'a>;

/// The fields of an exposure by the names of the log.
#[derive(Debug, Default)]
pub struct Record<'a> {
    pub(super) line: Line<'a>,
    pub(super) alike: Option<u64>,
}

impl<'a> Record<'a> {
    /// Says that all records of this part with the same number have the same values, but for those of slots that are a
    /// request's [own](Slot::is_own). What they have in common is then judged once.
    pub const fn set_alike(&mut self, number: u64) {
        self.alike = Some(number);
    }

    /// Sets a field. A name that the analysis does not read is skipped; `-` and empty text are missing values.
    ///
    /// # Errors
    /// The field has a value already.
    pub fn set(&mut self, name: &str, value: Value<'a>) -> Result<(), String> {
        Slot::of(name).map_or(Ok(()), |slot| self.put(slot, value))
    }

    /// Sets the field of a slot, as [`Record::set`] does.
    ///
    /// # Errors
    /// The field has a value already.
    pub fn put(&mut self, slot: Slot, value: Value<'a>) -> Result<(), String> {
        let value = match value {
            Field::Text(text) => Field::of_text(text),
            other => other,
        };
        self.line.put(slot, value)
    }
}

/// Bytes that were read, for the progress.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicU64>);

impl Count {
    /// How many there are.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins again.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Adds bytes.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A reader whose bytes are counted.
    #[must_use]
    pub fn of<R: Read>(&self, raw: R) -> Counted<R> {
        Counted { raw, count: self.clone() }
    }
}

/// A reader that counts bytes.
#[derive(Debug)]
pub struct Counted<R> {
    raw: R,
    count: Count,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.raw.read(buffer)?;
        self.count.add(read as u64);
        Ok(read)
    }
}

/// Files of this machine as they are, and stdin.
pub(super) struct Local;

impl Opener for Local {
    fn open(&self, path: &Path, count: &Count) -> io::Result<Opened> {
        #[expect(clippy::disallowed_methods, reason = "`-` names the standard input")]
        let raw: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path)?)
        };
        Ok(Opened::Text(Box::new(count.of(raw))))
    }
}
