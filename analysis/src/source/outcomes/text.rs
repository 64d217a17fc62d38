//! The text of a table: gzip, byte order marks, UTF-16 and line ends, as one stream of UTF-8 bytes with line feeds.
//!
//! Formats that are not text are refused by name, so that no one reads a table of unreadable rows.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Part};

/// How many bytes are looked at before reading.
const PEEK: usize = 1 << 18;

/// Files that are not text, by their first bytes, and what to do.
const FOREIGN: [(&[u8], &str); 5] = [
    (b"PAR1", "this is a Parquet file; export it as CSV"),
    (b"PK\x03\x04", "this is a zip archive or an Excel workbook; export it as CSV"),
    (b"\xd0\xcf\x11\xe0", "this is an Excel workbook; export it as CSV"),
    (b"\x28\xb5\x2f\xfd", "this is compressed with zstd; decompress it, or use gzip"),
    (b"SQLite format 3", "this is an SQLite database; export the table as CSV"),
];

/// Opens a table, plain or gzip; `-` is stdin.
///
/// # Errors
/// A file that cannot be read or is not text.
pub(super) fn open(path: &Path, name: &str) -> Result<Box<dyn BufRead>, Error> {
    #[expect(clippy::disallowed_methods, reason = "`-` names the standard input")]
    let raw: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(Error::read(name))?)
    };
    let mut raw = BufReader::with_capacity(PEEK, raw);
    let gzip = raw.fill_buf().map_err(Error::read(name))?.starts_with(&[0x1f, 0x8b]);
    let text: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    decode(text, name)
}

/// Decodes a text.
///
/// # Errors
/// As [`open`].
pub(super) fn decode(mut text: Box<dyn Read>, name: &str) -> Result<Box<dyn BufRead>, Error> {
    let mut head = Vec::new();
    text.by_ref().take(PEEK as u64).read_to_end(&mut head).map_err(Error::read(name))?;
    let foreign = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic));
    if let Some((_, problem)) = foreign {
        return Err(Error::input(Part::Outcomes(Some(name.to_owned())), *problem));
    }
    if let Some(utf16) = Utf16::of(&head) {
        text.read_to_end(&mut head).map_err(Error::read(name))?;
        return Ok(Box::new(Cursor::new(utf16.decode(&head))));
    }
    // A byte order mark is not part of the first column's name.
    let start = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let only_returns = !head.contains(&b'\n') && head.contains(&b'\r');
    let mut head = Cursor::new(head);
    head.set_position(start);
    let text = BufReader::with_capacity(PEEK, head.chain(text));
    // Line ends of former times: carriage returns alone.
    Ok(if only_returns { Box::new(BufReader::new(Returns(text))) } else { Box::new(text) })
}

/// UTF-16 by the order of its bytes.
#[derive(Clone, Copy)]
enum Utf16 {
    Little,
    Big,
}

impl Utf16 {
    /// By the byte order mark or, without one, by the zero bytes of the first two letters.
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0xff, 0xfe, ..] => Some(Self::Little),
            [0xfe, 0xff, ..] => Some(Self::Big),
            [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some(Self::Little),
            [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some(Self::Big),
            _ => None,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<u8> {
        let (pairs, _) = bytes.as_chunks::<2>();
        let units = pairs.iter().map(|pair| match self {
            Self::Little => u16::from_le_bytes(*pair),
            Self::Big => u16::from_be_bytes(*pair),
        });
        let text: String = char::decode_utf16(units)
            .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
            .filter(|letter| *letter != '\u{feff}')
            .collect();
        text.into_bytes()
    }
}

/// Line feeds instead of carriage returns.
struct Returns<R>(R);

impl<R: Read> Read for Returns<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        for byte in buffer.iter_mut().take(read).filter(|byte| **byte == b'\r') {
            *byte = b'\n';
        }
        Ok(read)
    }
}
