//! Log files as pieces: blocks of whole lines, or parts of records. Any number of files, `-` for stdin.
//!
//! Gzip is detected by the first bytes, not by the name. A file that breaks off, as during log rotation, yields the lines
//! before the damage and a warning. Memory is one piece per thread, however long a file is.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::Piece;
use super::blocks::{Blocks, is_damage};
use super::file::{Count, Local, Opened, Opener};
use crate::error::{Damage, Error, Part, in_words};
use crate::figures::visible;
use crate::reason::Note;

/// A log that is not a file: a store's. It gives the same text each time it is opened.
pub trait Text: Send + Sync {
    /// Opens it at the beginning.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(&self) -> io::Result<Box<dyn Read>>;
}

/// The files of an analysis.
#[derive(Clone)]
pub struct Logs {
    paths: Vec<PathBuf>,
    opener: Arc<dyn Opener>,
    /// In place of the files, with a name for messages.
    text: Option<(String, Arc<dyn Text>)>,
    /// Bytes on disk, 0 when unknown.
    size: u64,
    /// Bytes read so far, for the progress.
    done: Count,
}

impl Logs {
    /// Checks the files without reading them: text, plain or gzip.
    ///
    /// # Errors
    /// A file that does not exist, that is a directory, or that is given twice.
    pub fn new(paths: &[PathBuf]) -> Result<Self, Error> {
        Self::opened_by(paths, Arc::new(Local))
    }

    /// Checks the files without reading them. Paths with a scheme (`s3://…`) are left to the opener.
    ///
    /// # Errors
    /// As [`Logs::new`].
    pub fn opened_by(paths: &[PathBuf], opener: Arc<dyn Opener>) -> Result<Self, Error> {
        let mut seen = Vec::new();
        let (mut size, mut is_known) = (0, true);
        for path in paths {
            let name = name(path);
            let same = if path == Path::new("-") {
                path.clone()
            } else if path.to_string_lossy().contains("://") {
                is_known = false;
                path.clone()
            } else {
                let about = std::fs::metadata(path).map_err(Error::read(&name))?;
                if about.is_dir() {
                    let directory = io::Error::from(ErrorKind::IsADirectory);
                    return Err(Error::read(&name)(directory));
                }
                size += about.len();
                path.canonicalize().map_err(Error::read(&name))?
            };
            if seen.contains(&same) {
                let twice = "the file is given twice; each of its requests would count twice";
                return Err(Error::input(Part::Exposures(Some(name)), twice));
            }
            seen.push(same);
        }
        let size = if is_known { size } else { 0 };
        Ok(Self { paths: paths.to_vec(), opener, text: None, size, done: Count::default() })
    }

    /// A log that is not a file.
    #[must_use]
    pub fn of(name: &str, text: Arc<dyn Text>) -> Self {
        Self {
            paths: Vec::new(),
            opener: Arc::new(Local),
            text: Some((name.to_owned(), text)),
            size: 0,
            done: Count::default(),
        }
    }

    /// The name of a file in messages.
    #[must_use]
    pub fn name(&self, file: usize) -> String {
        match &self.text {
            Some((name, _)) => name.clone(),
            None => self.paths.get(file).map(|path| name(path)).unwrap_or_default(),
        }
    }

    /// The size on disk in bytes; 0 if unknown.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes read so far, for progress.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.done.bytes()
    }

    /// Whether the logs can be read a second time.
    #[must_use]
    pub fn can_repeat(&self) -> bool {
        !self.paths.iter().any(|path| path == Path::new("-"))
    }

    /// Gives every piece to `take`, in order, until it refuses one. Returns notes on damaged files.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn read(&self, take: &mut dyn FnMut(Piece) -> bool) -> Result<Vec<Note>, Error> {
        self.done.reset();
        let mut warnings = Vec::new();
        if let Some((name, text)) = &self.text {
            let raw = self.done.of(text.open().map_err(Error::read(name))?);
            read_text(0, name, Box::new(raw), &mut warnings, take)?;
            return Ok(warnings);
        }
        for (file, path) in self.paths.iter().enumerate() {
            let name = name(path);
            let more = match self.opener.open(path, &self.done).map_err(Error::read(&name))? {
                Opened::Text(raw) => read_text(file, &name, raw, &mut warnings, take)?,
                Opened::Records(parts) => {
                    let mut more = true;
                    for part in parts {
                        match part {
                            Ok(records) => more = take(Piece::Records { file, records }),
                            Err(error) if is_told(&error) => {
                                let error = in_words(&error).to_string();
                                warnings.push(Note::DamagedRecords { file: name.clone(), error });
                            }
                            Err(error) => return Err(Error::read(&name)(error)),
                        }
                        if !more {
                            break;
                        }
                    }
                    more
                }
            };
            if !more {
                break;
            }
        }
        Ok(warnings)
    }
}

/// Gives the blocks of a text. Returns whether `take` wants more.
fn read_text(
    file: usize,
    name: &str,
    raw: Box<dyn Read>,
    warnings: &mut Vec<Note>,
    take: &mut dyn FnMut(Piece) -> bool,
) -> Result<bool, Error> {
    let mut raw = BufReader::with_capacity(1 << 18, raw);
    let gzip = raw.fill_buf().map_err(Error::read(name))?.starts_with(&[0x1f, 0x8b]);
    let text: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    let mut blocks = Blocks::new(text);
    loop {
        match blocks.next(file) {
            Ok(Some(block)) => {
                if !take(Piece::Text(block)) {
                    return Ok(false);
                }
            }
            Ok(None) => return Ok(true),
            Err(error) if gzip && is_damage(&error) || is_told(&error) => {
                warnings.push(Note::Damaged {
                    file: name.to_owned(),
                    error: in_words(&error).to_string(),
                    lines: blocks.lines_so_far(),
                });
                return Ok(true);
            }
            Err(error) => return Err(Error::read(name)(error)),
        }
    }
}

/// Whether an opener reports damage.
fn is_told(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Damage>())
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.as_ref().map(|(name, _)| name);
        f.debug_struct("Logs").field("paths", &self.paths).field("text", &text).finish()
    }
}

/// The name of a file in messages.
#[must_use]
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { visible(&path.to_string_lossy()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::blocks::{BLOCK, Block, LONGEST};
    use super::*;

    fn block(piece: Piece) -> Block {
        let Piece::Text(block) = piece else { panic!("no text") };
        block
    }

    fn lines(content: &[u8]) -> (Vec<String>, Vec<u64>, u64, Vec<Note>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let logs = Logs::new(&[file.path().to_owned()]).unwrap();
        let (mut lines, mut numbers, mut too_long) = (Vec::new(), Vec::new(), 0);
        let warnings = logs
            .read(&mut |piece| {
                let block = block(piece);
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
        assert!(
            matches!(warnings[..], [Note::Damaged { lines, .. }] if lines == got.len() as u64),
            "{warnings:?}"
        );
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
    fn lines_have_numbers_also_after_one_that_was_too_long() {
        let mut text = b"1\n2\n".to_vec();
        text.extend(vec![b'x'; LONGEST + 3 * BLOCK]);
        text.extend(b"\n4\n5\n");
        text.extend(vec![b'y'; LONGEST + 3 * BLOCK]);
        text.extend(b"\n7\n8");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&text).unwrap();
        let logs = Logs::new(&[file.path().to_owned()]).unwrap();
        let (mut numbers, mut skipped) = (Vec::new(), Vec::new());
        let mut take = |piece: Piece| {
            let block = block(piece);
            assert!(block.file == 0 && (block.too_long > 0 || !block.text.is_empty()));
            let text = String::from_utf8(block.text).unwrap();
            let lines = text.lines().zip(block.first_line..);
            numbers.extend(lines.map(|(line, number)| (line.to_owned(), number)));
            if block.too_long > 0 {
                skipped.push((block.first_line, block.too_long));
            }
            true
        };
        logs.read(&mut take).unwrap();
        assert_eq!(skipped, [(3, 1), (6, 1)]);
        assert!(numbers.iter().all(|(line, number)| *line == number.to_string()), "{numbers:?}");
        assert_eq!(numbers.len(), 6);
    }

    #[test]
    fn a_gzip_file_that_breaks_off_at_once_has_no_lines() {
        let (got, _, _, warnings) = lines(&[0x1f, 0x8b, 0x08]);
        assert!(got.is_empty());
        assert!(matches!(warnings[..], [Note::Damaged { lines: 0, .. }]), "{warnings:?}");
    }

    /// Some text, and then an error.
    struct Failing(&'static [u8], ErrorKind);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            if read == 0 { Err(self.1.into()) } else { Ok(read) }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_further_is_an_error_at_once() {
        let first = |kind| Blocks::new(Box::new(Failing(b"one\ntwo", kind))).next(0);
        // Only where a file breaks off, the lines before it count.
        let text = first(ErrorKind::UnexpectedEof).unwrap().map(|block| block.text);
        assert_eq!(text.as_deref(), Some(&b"one\n"[..]));
        let error = first(ErrorKind::PermissionDenied).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_line_of_just_the_limit_counts() {
        let mut text = vec![b'x'; LONGEST];
        text.extend(b"\nlast");
        let (got, _, too_long, _) = lines(&text);
        assert_eq!((got.len(), got[0].len(), too_long), (2, LONGEST, 0));
    }

    #[test]
    fn files_have_sizes_and_names() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one\ntwo\n").unwrap();
        let mut other = tempfile::NamedTempFile::new().unwrap();
        other.write_all(b"three").unwrap();
        let logs = Logs::new(&[file.path().to_owned(), other.path().to_owned()]).unwrap();
        assert_eq!((logs.size(), logs.bytes_read(), logs.can_repeat()), (13, 0, true));
        assert_eq!(logs.name(1), other.path().to_string_lossy());
        for _ in 0..2 {
            logs.read(&mut |_| true).unwrap();
            assert_eq!(logs.bytes_read(), 13, "each pass counts anew");
        }
        let mut blocks = 0;
        logs.read(&mut |_| {
            blocks += 1;
            false
        })
        .unwrap();
        assert_eq!(blocks, 1, "the receiver stops after one block");
        let stdin = Logs::new(&[PathBuf::from("-"), file.path().to_owned()]).unwrap();
        assert_eq!((stdin.can_repeat(), stdin.name(0).as_str()), (false, "stdin"));
    }

    #[test]
    fn a_directory_and_a_missing_file_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: PathBuf| {
            let error = Logs::new(&[path]).unwrap_err();
            std::error::Error::source(&error).unwrap().to_string()
        };
        assert!(error(folder.path().to_owned()).starts_with("it is a directory"));
        assert_eq!(error(folder.path().join("none")), "the file does not exist");
    }

    #[test]
    fn a_file_counts_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = file.path().parent().unwrap().join(".").join(file.path().file_name().unwrap());
        let error = Logs::new(&[file.path().to_owned(), other]).err().unwrap().to_string();
        assert!(error.contains("given twice"), "{error}");
    }
}
