//! A reader's text as blocks of whole lines: the unit of work that threads share.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

use super::table::{Head, end_of_records};

/// How much is read at once.
pub(super) const BLOCK: usize = 1 << 20;
/// A longer line is skipped.
pub(super) const LONGEST: usize = 8 << 20;

/// Whole lines of one file.
#[derive(Debug)]
pub struct Block {
    /// Which file.
    pub(crate) file: usize,
    /// The number of its first line, from 1.
    pub(crate) first_line: u64,
    pub(crate) text: Vec<u8>,
    /// Lines before this block that were too long and skipped.
    pub(crate) too_long: u64,
    /// The header of the table that the lines belong to.
    pub(super) head: Option<Arc<Head>>,
}

/// Cuts a text into blocks at line ends.
pub(super) struct Blocks {
    text: Box<dyn Read>,
    /// The beginning of a line whose end is not read yet.
    rest: Vec<u8>,
    first_line: u64,
    ended: bool,
    damage: Option<io::Error>,
    /// Of a table, whose first line this is.
    head: Option<Arc<Head>>,
}

impl Blocks {
    pub(super) fn new(text: Box<dyn Read>) -> Self {
        let (rest, damage, head) = (Vec::new(), None, None);
        Self { text, rest, first_line: 1, ended: false, damage, head }
    }

    /// How many lines the blocks so far have.
    pub(super) const fn lines_so_far(&self) -> u64 {
        self.first_line - 1
    }

    /// The next block.
    ///
    /// # Errors
    /// The text cannot be read further.
    pub(super) fn next(&mut self, file: usize) -> io::Result<Option<Block>> {
        let mut too_long = 0;
        if let Some(damage) = self.damage.take() {
            return Err(damage);
        }
        while !self.ended {
            let mut text = std::mem::take(&mut self.rest);
            text.reserve(BLOCK);
            let before = text.len();
            match self.text.by_ref().take(BLOCK as u64).read_to_end(&mut text) {
                Ok(read) => self.ended = read == 0,
                // The text before the damage is good; the error follows with the next call.
                Err(error) if text.len() > before && is_damage(&error) => self.damage = Some(error),
                Err(error) => return Err(error),
            }
            let end = if self.ended {
                text.len()
            } else if self.head.is_some() {
                end_of_records(&text)
            } else {
                memchr::memrchr(b'\n', &text).map_or(0, |newline| newline + 1)
            };
            self.rest = text.split_off(end);
            if self.rest.len() > LONGEST {
                self.skip_line()?;
                too_long += 1;
            }
            if self.first_line == 1 && self.head.is_none() {
                self.head = Head::of(&text).map(Arc::new);
            }
            if !text.is_empty() || too_long > 0 {
                let first_line = self.first_line;
                let count = memchr::memchr_iter(b'\n', &text).count() as u64;
                self.first_line += count
                    + too_long
                    + u64::from(self.ended && !text.ends_with(b"\n") && !text.is_empty());
                let head = self.head.clone();
                return Ok(Some(Block { file, first_line, text, too_long, head }));
            }
        }
        Ok(None)
    }

    /// Drops the current line up to its end.
    fn skip_line(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = self.text.read(&mut buffer)?;
            let Some(new) = buffer.get(..read).filter(|new| !new.is_empty()) else {
                self.rest.clear();
                return Ok(());
            };
            if let Some(newline) = memchr::memchr(b'\n', new) {
                self.rest = new.get(newline + 1..).unwrap_or_default().to_vec();
                return Ok(());
            }
        }
    }
}

/// Whether the error means that compressed data break off or are damaged.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
    )
}
