//! A log that grows: each complete line is stored once, through rotations and restarts.
//!
//! The position in the log is committed together with the lines before it. The file is known by its device and inode, so a
//! rotation is noticed: the rest of the old file is read first, also after a restart, if it is still in its folder and not
//! compressed. A file that becomes shorter was truncated and is read from its beginning.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::OptionalExtension as _;
use sidetrack_analysis::Clock;

use crate::error::Error;
use crate::exposure::{Fields, Unfit};
use crate::store::Store;
use crate::writer::Mark;

/// How long a follower waits at the end of a log.
const PAUSE: Duration = Duration::from_millis(100);
/// How long it waits after an error.
const RETRY: Duration = Duration::from_secs(1);
/// How much is read at once, in bytes.
const PART: u64 = 4 << 20;
/// A longer line is skipped.
const LONGEST: usize = 1 << 20;

/// Follows a log until it is dropped.
#[derive(Debug)]
pub struct Follower {
    stop: Arc<AtomicBool>,
    problem: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub(crate) fn start(store: &Arc<Store>, path: PathBuf) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let problem = Arc::new(Mutex::new(None));
        let mut work = Work {
            store: Arc::clone(store),
            // The mark of a log is the same from whatever folder it is named.
            path: std::path::absolute(&path).unwrap_or(path),
            stop: Arc::clone(&stop),
            open: None,
            clock: Clock::default(),
        };
        let reported = Arc::clone(&problem);
        let thread = std::thread::Builder::new().name("store-follow".to_owned());
        let thread = thread.spawn(move || {
            while !work.stop.load(Ordering::Relaxed) {
                let pause = match work.step() {
                    Ok(true) => continue,
                    Ok(false) => PAUSE,
                    Err(error) => {
                        // What was not committed is read again.
                        work.open = None;
                        report(&reported, Some(error.to_string()));
                        RETRY
                    }
                };
                if pause == PAUSE {
                    report(&reported, None);
                }
                std::thread::sleep(pause);
            }
        });
        let thread = thread.map_err(Error::io(store.path()))?;
        Ok(Self { stop, problem, thread: Some(thread) })
    }

    /// Why the log cannot be followed now, if it cannot.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn report(place: &Mutex<Option<String>>, problem: Option<String>) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = problem;
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A log that is open.
struct Open {
    file: File,
    mark: Mark,
    /// An earlier file of the log, which was renamed while the follower was away: the files after it, oldest first.
    next: Vec<PathBuf>,
}

struct Work {
    store: Arc<Store>,
    path: PathBuf,
    stop: Arc<AtomicBool>,
    open: Option<Open>,
    clock: Clock,
}

impl Work {
    /// Reads what is new. Returns whether there may be more at once.
    fn step(&mut self) -> Result<bool, Error> {
        if self.open.is_none() {
            self.open = self.find()?;
        }
        let Some(open) = &mut self.open else { return Ok(false) };
        let about = open.file.metadata().map_err(Error::io(&self.path))?;
        if about.len() < open.mark.offset {
            open.mark.offset = 0;
        }
        open.file.seek(SeekFrom::Start(open.mark.offset)).map_err(Error::io(&self.path))?;
        let mut text = Vec::new();
        open.file.by_ref().take(PART).read_to_end(&mut text).map_err(Error::io(&self.path))?;
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if end > 0 {
            text.truncate(end);
            let mark = Mark { offset: open.mark.offset + end as u64, ..open.mark.clone() };
            self.store(&text, mark)?;
            return Ok(true);
        }
        if text.len() as u64 == PART && text.len() > LONGEST {
            // A line without end is no line of the log.
            let mark = Mark { offset: open.mark.offset + PART, ..open.mark.clone() };
            self.store(b"", mark)?;
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
        let mark = new.mark.clone();
        self.store(rest, mark)?;
        self.open = Some(new);
        Ok(())
    }

    /// Opens the log where it was left.
    fn find(&self) -> Result<Option<Open>, Error> {
        let name = self.name();
        let file = self.store.folder.database();
        let mark = self
            .store
            .reader()?
            .query_row(
                "SELECT device, inode, offset FROM followed WHERE path = ?1",
                [&name],
                |row| {
                    let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
                    Ok(Mark {
                        path: name.clone(),
                        device: number(0)?,
                        inode: number(1)?,
                        offset: number(2)?,
                    })
                },
            )
            .optional()
            .map_err(Error::database(&file))?;
        let current = opened(&self.path, &name)?;
        let Some(mark) = mark else { return Ok(current) };
        if let Some(open) = current
            && (open.mark.device, open.mark.inode) == (mark.device, mark.inode)
        {
            return Ok(Some(Open { mark, ..open }));
        }
        // Rotated while nobody followed: the old file, and those between it and the current one.
        let mut files = rotated(&self.path).map_err(Error::io(&self.path))?;
        files.sort_by_key(|(_, about)| (about.mtime(), about.mtime_nsec()));
        let is_old = |about: &fs::Metadata| (about.dev(), about.ino()) == (mark.device, mark.inode);
        let Some(at) = files.iter().position(|(_, about)| is_old(about)) else {
            return opened(&self.path, &name);
        };
        let mut files = files.into_iter().skip(at).map(|(path, _)| path);
        let Some(old) = files.next() else { return Ok(None) };
        let next = files.chain([self.path.clone()]).collect();
        Ok(opened(&old, &name)?.map(|open| Open { mark, next, ..open }))
    }

    fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Stores lines with the position behind them.
    fn store(&mut self, lines: &[u8], mark: Mark) -> Result<(), Error> {
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
        self.store.take_blocking(records, mark.clone())?;
        if let Some(open) = &mut self.open {
            open.mark = mark;
        }
        Ok(())
    }
}

/// Opens a file of a log at its beginning; `None` if it does not exist.
fn opened(path: &Path, name: &str) -> Result<Option<Open>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let about = file.metadata().map_err(Error::io(path))?;
    let mark = Mark { path: name.to_owned(), device: about.dev(), inode: about.ino(), offset: 0 };
    Ok(Some(Open { file, mark, next: Vec::new() }))
}

/// The earlier files of a log: those whose names begin with its name, compressed ones aside.
fn rotated(path: &Path) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
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
