//! Opens a file: takes off its compression, and finds its format by its first bytes.

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use sidetrack_analysis::{Count, Damage, Opened, Opener};

use crate::{otlp, parquet, remote};

/// How many bytes are looked at.
const HEAD: u64 = 4096;
/// The first bytes of compressed data and of Parquet.
const GZIP: &[u8] = &[0x1f, 0x8b];
pub(crate) const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const PARQUET: &[u8] = b"PAR1";

/// Files of this machine and stdin, in all formats.
#[derive(Clone, Copy, Debug)]
pub struct Files;

impl Opener for Files {
    fn open(&self, path: &Path, count: &Count) -> io::Result<Opened> {
        match Content::open(path, count)? {
            Content::Parquet(file) => parquet::exposures(file, path, count),
            Content::Stream(head, rest) if otlp::is_otlp(&head) => {
                otlp::exposures(Cursor::new(head).chain(rest))
            }
            Content::Stream(head, rest) => {
                Ok(Opened::Text(Box::new(Cursor::new(head).chain(rest))))
            }
        }
    }
}

/// A file without its compression.
pub(crate) enum Content {
    /// Which needs to be read from its end.
    Parquet(File),
    /// The first bytes, and those after them.
    Stream(Vec<u8>, Box<dyn Read>),
}

impl Content {
    pub(crate) fn open(path: &Path, count: &Count) -> io::Result<Self> {
        let (head, rest) = if path == Path::new("-") {
            peek(Box::new(count.of(io::stdin())))?
        } else if remote::is_remote(path) {
            peek(Box::new(count.of(remote::open(path)?)))?
        } else {
            let mut file = File::open(path)?;
            let mut start = [0; 4];
            let is_parquet = file.read_exact(&mut start).is_ok() && start == PARQUET;
            file.rewind().ok();
            if is_parquet {
                return Ok(Self::Parquet(file));
            }
            peek(Box::new(count.of(file)))?
        };
        let (head, rest) = unpacked(head, rest)?;
        if !head.starts_with(PARQUET) {
            return Ok(Self::Stream(head, rest));
        }
        // Its end comes first.
        let mut file = tempfile::tempfile()?;
        io::copy(&mut Cursor::new(head).chain(rest), &mut file)?;
        Ok(Self::Parquet(file))
    }
}

/// The first bytes, and those after them.
fn peek(mut raw: Box<dyn Read>) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut head = Vec::new();
    raw.by_ref().take(HEAD).read_to_end(&mut head)?;
    Ok((head, raw))
}

/// Takes off the compression.
fn unpacked(head: Vec<u8>, rest: Box<dyn Read>) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let (is_gzip, is_zstd) = (head.starts_with(GZIP), head.starts_with(ZSTD));
    if !is_gzip && !is_zstd {
        return Ok((head, rest));
    }
    let raw = BufReader::with_capacity(1 << 18, Cursor::new(head).chain(rest));
    let unpacked: Box<dyn Read> = if is_gzip {
        Box::new(Unpacked { text: MultiGzDecoder::new(raw), name: "gzip" })
    } else {
        let decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
        Box::new(Unpacked { text: decoder, name: "zstd" })
    };
    let mut unpacked = unpacked;
    let mut head = Vec::new();
    match unpacked.by_ref().take(HEAD).read_to_end(&mut head) {
        Ok(_) => Ok((head, unpacked)),
        // The reader learns of it behind the bytes that are there.
        Err(error) => Ok((head, Box::new(Failed(Some(error))))),
    }
}

/// A decoder whose errors are in words.
struct Unpacked<R> {
    text: R,
    name: &'static str,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => error,
            ErrorKind::UnexpectedEof => Damage::error(format!("the {} data breaks off", self.name)),
            // Not from the disk.
            _ if error.raw_os_error().is_none() => {
                Damage::error(format!("the {} data is damaged", self.name))
            }
            _ => error,
        })
    }
}

/// A reader that fails.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
