//! The logs as blocks of whole lines: plain or gzip, any number of files, `-` for stdin.
//!
//! Whether a file is gzip is seen by its first bytes, not by its name. A gzip file that breaks off, as one does while a
//! log is rotated, gives the lines it has and a warning. Memory is one block, however long a file is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use flate2::bufread::MultiGzDecoder;

use crate::words::visible;

/// How much is read at once.
const BLOCK: usize = 1 << 20;
/// A longer line is no log line.
const LONGEST: usize = 8 << 20;

/// Whole lines of one file.
pub(super) struct Block {
    /// Where in the order of all blocks.
    pub(super) number: u64,
    /// Which file.
    pub(super) file: usize,
    /// The number of its first line, from 1.
    pub(super) first_line: u64,
    pub(super) text: Vec<u8>,
    /// Lines before this block that were too long to be kept.
    pub(super) too_long: u64,
}

/// The files of an analysis.
#[derive(Clone)]
pub(super) struct Logs {
    paths: Vec<PathBuf>,
    /// Bytes on disk, 0 when unknown.
    pub(super) size: u64,
    /// Bytes read so far, for the progress.
    pub(super) done: Arc<AtomicU64>,
}

impl Logs {
    /// Looks at the files without reading them.
    ///
    /// # Errors
    /// A file that is not there, that is a folder, or that is given twice.
    pub(super) fn new(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut seen = Vec::new();
        let mut size = 0;
        for path in paths {
            let name = name(path);
            let same = if path == Path::new("-") {
                path.clone()
            } else {
                let about =
                    std::fs::metadata(path).with_context(|| format!("cannot read {name}"))?;
                anyhow::ensure!(
                    !about.is_dir(),
                    "cannot read {name}: it is a folder, give the files in it"
                );
                size += about.len();
                path.canonicalize().with_context(|| format!("cannot read {name}"))?
            };
            anyhow::ensure!(
                !seen.contains(&same),
                "--exposures {name}: the file is given twice, so each of its requests would count twice"
            );
            seen.push(same);
        }
        Ok(Self { paths: paths.to_vec(), size, done: Arc::default() })
    }

    /// What to call a file.
    pub(super) fn name(&self, file: usize) -> String {
        self.paths.get(file).map(|path| name(path)).unwrap_or_default()
    }

    /// Whether the logs can be read a second time.
    pub(super) fn can_repeat(&self) -> bool {
        !self.paths.iter().any(|path| path == Path::new("-"))
    }

    /// Gives every block to `take`, in order, until it refuses one. Returns warnings.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn read(&self, mut take: impl FnMut(Block) -> bool) -> anyhow::Result<Vec<String>> {
        self.done.store(0, Ordering::Relaxed);
        let mut warnings = Vec::new();
        let mut number = 0;
        for (file, path) in self.paths.iter().enumerate() {
            let told = || format!("cannot read {}", name(path));
            let raw: Box<dyn Read> = if path == Path::new("-") {
                Box::new(io::stdin())
            } else {
                Box::new(File::open(path).with_context(told)?)
            };
            let counted = Counted { raw, done: Arc::clone(&self.done) };
            let mut raw = BufReader::with_capacity(1 << 18, counted);
            let gzip = raw.fill_buf().with_context(told)?.starts_with(&[0x1f, 0x8b]);
            let text: Box<dyn Read> =
                if gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
            let mut lines =
                Lines { text, rest: Vec::new(), first_line: 1, ended: false, damage: None };
            loop {
                match lines.next(file, number) {
                    Ok(Some(block)) => {
                        number += 1;
                        if !take(block) {
                            return Ok(warnings);
                        }
                    }
                    Ok(None) => break,
                    Err(error) if gzip && is_damage(&error) => {
                        warnings.push(format!(
                            "{}: its gzip data breaks off ({error}); the {} lines before that were read",
                            name(path),
                            crate::words::grouped(lines.first_line - 1)
                        ));
                        break;
                    }
                    Err(error) => return Err(error).with_context(told),
                }
            }
        }
        Ok(warnings)
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
    )
}

fn name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { visible(&path.to_string_lossy()) }
}

/// Cuts a text into blocks behind line ends.
struct Lines {
    text: Box<dyn Read>,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    first_line: u64,
    ended: bool,
    damage: Option<io::Error>,
}

impl Lines {
    fn next(&mut self, file: usize, number: u64) -> io::Result<Option<Block>> {
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
                // What came before the damage is whole; it is told when that is delivered.
                Err(error) if text.len() > before && is_damage(&error) => self.damage = Some(error),
                Err(error) => return Err(error),
            }
            let end = if self.ended {
                text.len()
            } else {
                memchr::memrchr(b'\n', &text).map_or(0, |newline| newline + 1)
            };
            self.rest = text.split_off(end);
            if self.rest.len() > LONGEST {
                self.skip_line()?;
                too_long += 1;
            }
            if !text.is_empty() || too_long > 0 {
                let first_line = self.first_line;
                let count = memchr::memchr_iter(b'\n', &text).count() as u64;
                self.first_line += count
                    + too_long
                    + u64::from(self.ended && !text.ends_with(b"\n") && !text.is_empty());
                return Ok(Some(Block { number, file, first_line, text, too_long }));
            }
        }
        Ok(None)
    }

    /// Forgets the line that began, up to its end.
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

/// Counts what is read.
struct Counted {
    raw: Box<dyn Read>,
    done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.raw.read(buffer)?;
        self.done.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(content: &[u8]) -> (Vec<String>, Vec<u64>, u64, Vec<String>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let logs = Logs::new(&[file.path().to_owned()]).unwrap();
        let (mut lines, mut numbers, mut too_long) = (Vec::new(), Vec::new(), 0);
        let warnings = logs
            .read(|block| {
                let text = String::from_utf8(block.text).unwrap();
                numbers.push(block.first_line);
                lines.extend(text.lines().map(str::to_owned));
                too_long += block.too_long;
                true
            })
            .unwrap();
        (lines, numbers, too_long, warnings)
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(content).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn plain_and_gzip_give_the_same_lines() {
        let text: String = (0..200_000).map(|i| format!("line {i}\n")).collect();
        let (plain, numbers, ..) = lines(text.as_bytes());
        assert_eq!(plain.len(), 200_000);
        assert!(numbers.len() > 1, "more than one block");
        for (block, first) in numbers.iter().enumerate().skip(1) {
            assert!(*first > numbers[block - 1]);
        }
        // Two members in one file, as when logs are appended.
        let (head, tail) = text.split_at(text.len() / 2);
        let (zipped, ..) = lines(&[gzip(head.as_bytes()), gzip(tail.as_bytes())].concat());
        assert_eq!(plain, zipped);
    }

    #[test]
    fn a_gzip_file_that_breaks_off_gives_what_it_has() {
        let text: String = (0..500_000u64).map(|i| format!("line {}\n", i * 7919)).collect();
        let whole = gzip(text.as_bytes());
        let (got, _, _, warnings) = lines(&whole[..whole.len() / 2]);
        assert!(got.len() > 100_000 && got.len() < 500_000, "{}", got.len());
        assert!(warnings[0].contains("breaks off"), "{warnings:?}");
    }

    #[test]
    fn a_line_without_end_costs_no_memory_and_no_other_line() {
        let mut text = b"first\n".to_vec();
        text.extend(vec![b'x'; LONGEST + 3 * BLOCK]);
        text.extend(b"\nlast");
        let (got, _, too_long, _) = lines(&text);
        assert_eq!((got, too_long), (vec!["first".to_owned(), "last".to_owned()], 1));
    }

    #[test]
    fn a_file_counts_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = file.path().parent().unwrap().join(".").join(file.path().file_name().unwrap());
        let error = Logs::new(&[file.path().to_owned(), other]).err().unwrap().to_string();
        assert!(error.contains("given twice"), "{error}");
    }
}
