//! A log that grows: each complete line is stored once, through rotations and restarts.
//!
//! The position in the log is committed together with the lines before it. The file is known by its device and inode, so a
//! rotation is noticed: the rest of the old file is read first, also after a restart, if it is still in its folder and not
//! compressed. An inode can be given to another file, and a log can be truncated and grow again: so a digest of the last bytes
//! before the position is kept as well. If they are no longer there, the rest is looked for in copies of the log.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::OptionalExtension as _;
use sha2::{Digest as _, Sha256};
use sidetrack_analysis::Clock;

use crate::error::Error;
use crate::exposure::{Fields, Unfit};
use crate::store::Store;
use crate::upkeep::now;
use crate::writer::Mark;

/// How long a follower waits at the end of a log.
const PAUSE: Duration = Duration::from_millis(100);
/// How long it waits after an error.
const RETRY: Duration = Duration::from_secs(1);
/// How much is read at once, in bytes.
const PART: u64 = 4 << 20;
/// How many bytes before the position are compared.
const TAIL: usize = 4096;
/// How far the times of files may be behind those of commits, in milliseconds.
const BEHIND: u64 = 1000;
/// A longer line is skipped.
const LONGEST: usize = 1 << 20;

/// Follows a log until it is dropped.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner have in common.
#[derive(Debug, Default)]
struct Shared {
    /// End at once.
    stop: AtomicBool,
    /// End when everything is stored.
    finish: AtomicBool,
    problem: Mutex<Option<String>>,
    /// The device and the inode of the file whose lines are being stored. Those of all earlier ones are.
    file: Mutex<Option<(u64, u64)>>,
}

impl Follower {
    pub(crate) fn start(store: &Arc<Store>, path: PathBuf) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let mut work = Work {
            store: Arc::clone(store),
            // The mark of a log is the same from whatever folder it is named.
            path: std::path::absolute(&path).unwrap_or(path),
            shared: Arc::clone(&shared),
            open: None,
            clock: Clock::default(),
        };
        let thread = std::thread::Builder::new().name("store-follow".to_owned());
        let thread = thread.spawn(move || work.run()).map_err(Error::io(store.path()))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Why the log cannot be followed now, if it cannot.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        locked(&self.shared.problem).clone()
    }

    /// Whether it reads the file that has this metadata, so that all lines of earlier files are stored.
    #[must_use]
    pub fn is_in(&self, file: &Metadata) -> bool {
        *locked(&self.shared.file) == Some((file.dev(), file.ino()))
    }

    /// Stores what the log has, then ends. The log should no longer grow. After an error, which is returned, the rest is
    /// stored when the log is followed again.
    ///
    /// # Errors
    /// Why the rest was not stored.
    pub fn finish(mut self) -> Result<(), String> {
        self.shared.finish.store(true, Ordering::Relaxed);
        self.join();
        self.problem().map_or(Ok(()), Err)
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn locked<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

/// A log that is open.
struct Open {
    file: File,
    mark: Mark,
    /// The last bytes before the position.
    tail: Vec<u8>,
    /// An earlier file of the log, which was renamed while the follower was away: the files after it, oldest first.
    next: Vec<PathBuf>,
}

struct Work {
    store: Arc<Store>,
    path: PathBuf,
    shared: Arc<Shared>,
    open: Option<Open>,
    clock: Clock,
}

impl Work {
    fn run(&mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            // Before the step: what was written until now is read by it.
            let is_last = self.shared.finish.load(Ordering::Relaxed);
            let (problem, pause) = match self.step() {
                Ok(true) => continue,
                Ok(false) => (None, PAUSE),
                Err(error) => {
                    // What was not committed is read again.
                    self.open = None;
                    (Some(error.to_string()), RETRY)
                }
            };
            *locked(&self.shared.problem) = problem;
            if is_last {
                return;
            }
            std::thread::sleep(pause);
        }
    }

    /// Reads what is new. Returns whether there may be more at once.
    fn step(&mut self) -> Result<bool, Error> {
        if self.open.is_none() {
            self.open = self.find()?;
        }
        let file = self.open.as_ref().map(|open| (open.mark.device, open.mark.inode));
        *locked(&self.shared.file) = file;
        let Some(open) = &mut self.open else { return Ok(false) };
        let from = open.mark.offset.saturating_sub(open.tail.len() as u64);
        open.file.seek(SeekFrom::Start(from)).map_err(Error::io(&self.path))?;
        let mut text = Vec::new();
        let most = PART + open.tail.len() as u64;
        open.file.by_ref().take(most).read_to_end(&mut text).map_err(Error::io(&self.path))?;
        if !text.starts_with(&open.tail) {
            // It was truncated, and may have grown again.
            let mark = Mark { stored: now(), ..open.mark.clone() };
            self.open = self.elsewhere(&mark)?;
            return Ok(self.open.is_some());
        }
        text.drain(..open.tail.len());
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if end > 0 {
            text.truncate(end);
            self.store(&text, &text, None)?;
            return Ok(true);
        }
        if text.len() as u64 == PART && text.len() > LONGEST {
            // A line without end is no line of the log.
            self.store(b"", &text, None)?;
            return Ok(true);
        }
        if !self.is_replaced()? {
            return Ok(false);
        }
        // Its writer has another file now, so what has no line break is complete.
        self.finish(&text)?;
        Ok(true)
    }

    /// Whether a newer file has the place of the one that is open.
    fn is_replaced(&self) -> Result<bool, Error> {
        let Some(open) = &self.open else { return Ok(false) };
        if !open.next.is_empty() {
            return Ok(true);
        }
        match fs::metadata(&self.path) {
            Ok(about) => Ok((about.dev(), about.ino()) != (open.mark.device, open.mark.inode)),
            // Renamed, and the writer has not opened the new file yet.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(&self.path)(error)),
        }
    }

    /// Stores the rest of a file, and goes on with the next one.
    fn finish(&mut self, rest: &[u8]) -> Result<(), Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // The writer may have added lines since the last read.
        let len = open.file.metadata().map_err(Error::io(&self.path))?.len();
        if len > open.mark.offset + rest.len() as u64 {
            return Ok(());
        }
        let mut next = std::mem::take(&mut open.next);
        let path = if next.is_empty() { self.path.clone() } else { next.remove(0) };
        let Some(mut new) = opened(&path, &self.name())? else { return Ok(()) };
        new.next = next;
        self.store(rest, rest, Some(new))
    }

    /// Opens the log where it was left.
    fn find(&self) -> Result<Option<Open>, Error> {
        let name = self.name();
        let file = self.store.folder.database();
        let mark = self
            .store
            .reader()?
            .query_row(
                "SELECT device, inode, offset, digest, coalesce(stored, 0)
                 FROM followed LEFT JOIN followed_tail USING (path) WHERE path = ?1",
                [&name],
                |row| {
                    let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
                    Ok(Mark {
                        path: name.clone(),
                        device: number(0)?,
                        inode: number(1)?,
                        offset: number(2)?,
                        tail: row.get(3)?,
                        stored: number(4)?,
                    })
                },
            )
            .optional()
            .map_err(Error::database(&file))?;
        let current = opened(&self.path, &name)?;
        let Some(mark) = mark else { return Ok(current) };
        if let Some(open) = current
            && open.is_of(&mark)
            && let Some(open) = open.at(&mark).map_err(Error::io(&self.path))?
        {
            return Ok(Some(open));
        }
        self.elsewhere(&mark)
    }

    /// Opens what follows a mark whose file no longer has the place of the log: the file itself or a copy of it, and those
    /// between it and the log. If it is gone, the files that were written since.
    fn elsewhere(&self, mark: &Mark) -> Result<Option<Open>, Error> {
        let name = self.name();
        let mut files = rotated(&self.path).map_err(Error::io(&self.path))?;
        files.sort_by_key(|(_, about)| (about.mtime(), about.mtime_nsec()));
        let mut found = None;
        for (at, (path, _)) in files.iter().enumerate() {
            let Some(open) = opened(path, &name)? else { continue };
            let is_old = open.is_of(mark);
            // Any file has nothing before its beginning; and without a digest, copies are not known.
            if !is_old && (mark.offset == 0 || mark.tail.is_none()) {
                continue;
            }
            if let Some(open) = open.at(mark).map_err(Error::io(path))? {
                found = Some((at, open));
                if is_old {
                    break;
                }
            }
        }
        if let Some((at, open)) = found {
            let after = files.into_iter().skip(at + 1).map(|(path, _)| path);
            let next = after.chain([self.path.clone()]).collect();
            return Ok(Some(Open { next, ..open }));
        }
        let is_new = |about: &Metadata| {
            let time = about.mtime().cast_unsigned().saturating_mul(1000);
            mark.stored > 0 && time.saturating_add(BEHIND) >= mark.stored
        };
        let new = files.into_iter().filter(|(_, about)| is_new(about)).map(|(path, _)| path);
        let mut new = new.chain([self.path.clone()]);
        let Some(first) = new.next() else { return Ok(None) };
        Ok(opened(&first, &name)?.map(|open| Open { next: new.collect(), ..open }))
    }

    fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Stores lines with the position behind what was read, or that of the next file.
    fn store(&mut self, lines: &[u8], read: &[u8], next: Option<Open>) -> Result<(), Error> {
        let Some(open) = &self.open else { return Ok(()) };
        let mut tail = open.tail.clone();
        tail.extend_from_slice(read.get(read.len().saturating_sub(TAIL)..).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(TAIL));
        let offset = open.mark.offset + read.len() as u64;
        let mark = Mark { offset, tail: Some(digest(&tail)), ..open.mark.clone() };
        let committed = next.as_ref().map_or(&mark, |next| &next.mark).clone();
        let catalog = self.store.catalog();
        let mut records = Vec::new();
        for line in lines.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let line = std::str::from_utf8(line)
                .map_err(|_| Unfit::Malformed("the line is not UTF-8 text".to_owned()));
            let fields = line.and_then(Fields::of_line);
            records.push(fields.and_then(|fields| fields.exposure(&catalog, &mut self.clock)));
        }
        self.store.take_blocking(records, committed)?;
        if next.is_some() {
            self.open = next;
        } else if let Some(open) = &mut self.open {
            open.mark = mark;
            open.tail = tail;
        }
        Ok(())
    }
}

impl Open {
    /// Whether it is the file of a mark by its device and inode.
    const fn is_of(&self, mark: &Mark) -> bool {
        self.mark.device == mark.device && self.mark.inode == mark.inode
    }

    /// The same at the position of a mark; `None` if what is before it is not what was read.
    fn at(self, mark: &Mark) -> io::Result<Option<Self>> {
        let length = TAIL.min(usize::try_from(mark.offset).unwrap_or(TAIL));
        let mut tail = vec![0; length];
        match self.file.read_exact_at(&mut tail, mark.offset - length as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        if mark.tail.is_some_and(|expected| expected != digest(&tail)) {
            return Ok(None);
        }
        let Mark { device, inode, .. } = self.mark;
        let mark = Mark { device, inode, ..mark.clone() };
        Ok(Some(Self { mark, tail, ..self }))
    }
}

fn digest(tail: &[u8]) -> [u8; 32] {
    Sha256::digest(tail).into()
}

/// Opens a file of a log at its beginning; `None` if it does not exist.
fn opened(path: &Path, name: &str) -> Result<Option<Open>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let about = file.metadata().map_err(Error::io(path))?;
    let mark = Mark {
        path: name.to_owned(),
        device: about.dev(),
        inode: about.ino(),
        offset: 0,
        tail: Some(digest(&[])),
        stored: 0,
    };
    Ok(Some(Open { file, mark, tail: Vec::new(), next: Vec::new() }))
}

/// The earlier files of a log: those whose names begin with its name, compressed ones aside.
fn rotated(path: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let name = name.to_string_lossy();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let other = entry.file_name().to_string_lossy().into_owned();
        let is_plain = ![".gz", ".zst", ".bz2", ".xz"].iter().any(|end| other.ends_with(end));
        if other.starts_with(&*name) && other != name && is_plain {
            let about = entry.metadata()?;
            if about.is_file() {
                files.push((entry.path(), about));
            }
        }
    }
    Ok(files)
}
