//! Files that change while they are read: a log that grows, a configuration that is replaced.
//!
//! Both readers are polled, need no inotify, and so work on every platform and file system.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Reads the lines that were appended to a file since the last read.
#[derive(Debug)]
pub struct LineReader {
    path: PathBuf,
    offset: u64,
}

impl LineReader {
    /// Starts at the beginning of the file, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), offset: 0 }
    }

    /// The complete new lines. A last line without its line break is returned by a later call, once it is complete.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn new_lines(&mut self) -> io::Result<Vec<String>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.offset {
            // Truncated: what it contains now is new.
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.offset += complete as u64;
        let text = String::from_utf8_lossy(bytes.get(..complete).unwrap_or_default()).into_owned();
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// Detects changes of a file's content. A rename over the file, as editors and Kubernetes do it, counts as a change.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    content: Vec<u8>,
    missing_since: Option<Instant>,
}

/// How long an editor may take to replace a file.
const MISSING: Duration = Duration::from_secs(2);

impl FileWatch {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        Ok(Self { content: fs::read(&path)?, path, missing_since: None })
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content as of the last read.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Reads the file again and returns the content if it differs. A file that is missing for a moment, between two
    /// steps of an editor, is unchanged; after two seconds, it is an error.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn changed(&mut self) -> io::Result<Option<&[u8]>> {
        self.changed_at(Instant::now())
    }

    fn changed_at(&mut self, now: Instant) -> io::Result<Option<&[u8]>> {
        let read = fs::read(&self.path);
        let is_missing = matches!(&read, Err(error) if error.kind() == io::ErrorKind::NotFound);
        if is_missing {
            let since = *self.missing_since.get_or_insert(now);
            if now.duration_since(since) < MISSING {
                return Ok(None);
            }
        } else {
            self.missing_since = None;
        }
        let content = read?;
        if content == self.content {
            return Ok(None);
        }
        self.content = content;
        Ok(Some(&self.content))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_are_returned_once_and_when_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut reader = LineReader::new(&path);
        assert!(reader.new_lines().unwrap().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(reader.new_lines().unwrap(), ["one"]);
        assert!(reader.new_lines().unwrap().is_empty());
        file.write_all(b"o\nthree\n").unwrap();
        assert_eq!(reader.new_lines().unwrap(), ["two", "three"]);
        fs::write(&path, "new\n").unwrap();
        assert_eq!(reader.new_lines().unwrap(), ["new"]);
    }

    #[test]
    fn a_changed_file_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("experiment.yaml");
        assert!(FileWatch::open(&path).is_err());
        fs::write(&path, "a").unwrap();
        let mut watch = FileWatch::open(&path).unwrap();
        assert_eq!(watch.changed().unwrap(), None);
        fs::write(&path, "b").unwrap();
        assert_eq!(watch.changed().unwrap(), Some(b"b".as_slice()));
        assert_eq!(watch.changed().unwrap(), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(watch.changed().unwrap(), None);
        let later = Instant::now() + MISSING;
        assert_eq!(watch.changed_at(later).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(watch.content(), b"b");
        let other = dir.path().join("other");
        fs::write(&other, "c").unwrap();
        fs::rename(other, &path).unwrap();
        assert_eq!(watch.changed().unwrap(), Some(b"c".as_slice()));
        assert_eq!(watch.content(), b"c");
        // The next removal has its own time.
        fs::remove_file(&path).unwrap();
        assert_eq!(watch.changed_at(later).unwrap(), None);
    }
}
