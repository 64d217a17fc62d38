//! The database of a store: where it is, its tables, and what makes a commit durable.
//!
//! `synchronous=FULL` in WAL mode syncs the log at each commit, so an acknowledged record survives a power failure. A lock on
//! a file of the folder keeps a second process out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::error::Error;

/// The tables, by the version of the store that brought them. A store of an earlier version gets those that it lacks.
const VERSIONS: [&str; 4] = [FIRST, SECOND, THIRD, FOURTH];

const FIRST: &str = "
-- Exposures of days that are not in a segment yet. The sequence is the order of their arrival.
CREATE TABLE exposure (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL UNIQUE,
    time INTEGER NOT NULL,
    experiment TEXT NOT NULL,
    trial TEXT NOT NULL,
    line TEXT NOT NULL
);
-- Identities of exposures that moved to a segment on this day, kept for repeats that come late.
CREATE TABLE rolled (key BLOB PRIMARY KEY, day INTEGER NOT NULL) WITHOUT ROWID;
-- Outcomes of requests: one row each, its metrics as a JSON object.
CREATE TABLE outcome_request (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    row TEXT NOT NULL,
    received INTEGER NOT NULL
);
-- Outcomes of units, by experiment: pseudonyms differ.
CREATE TABLE outcome_unit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL UNIQUE,
    experiment TEXT NOT NULL,
    unit TEXT NOT NULL,
    row TEXT NOT NULL,
    received INTEGER NOT NULL
);
-- Evaluations that clients asked for.
CREATE TABLE asked (
    time INTEGER NOT NULL, experiment TEXT NOT NULL, trial TEXT NOT NULL, unit TEXT NOT NULL,
    variant TEXT NOT NULL
);
-- The names of the metrics so far.
CREATE TABLE metric (name TEXT PRIMARY KEY, replaced INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
-- Requests by minute.
CREATE TABLE minute (
    experiment TEXT NOT NULL, trial TEXT NOT NULL, minute INTEGER NOT NULL,
    assigned TEXT NOT NULL, served TEXT NOT NULL,
    requests INTEGER NOT NULL, errors INTEGER NOT NULL, diverted INTEGER NOT NULL,
    probes INTEGER NOT NULL, milliseconds INTEGER NOT NULL,
    PRIMARY KEY (experiment, trial, minute, assigned, served)
) WITHOUT ROWID;
-- What was in force: configurations with their weights, from the first exposure to the last.
CREATE TABLE state (
    experiment TEXT NOT NULL, trial TEXT NOT NULL, config TEXT NOT NULL, weights TEXT NOT NULL,
    phase TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (experiment, trial, config, weights, phase)
) WITHOUT ROWID;
-- Salts of trials so far, by which a unit's pseudonyms are found when it must be forgotten.
CREATE TABLE salt (
    experiment TEXT NOT NULL, salt TEXT NOT NULL, PRIMARY KEY (experiment, salt)
) WITHOUT ROWID;
-- How far each log has been read.
CREATE TABLE followed (
    path TEXT PRIMARY KEY, device INTEGER NOT NULL, inode INTEGER NOT NULL, offset INTEGER NOT NULL
) WITHOUT ROWID;
";

const SECOND: &str = "
-- What the baseline and the mirror answered to requests: a row each, like outcomes.
CREATE TABLE prediction_baseline (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    row TEXT NOT NULL,
    received INTEGER NOT NULL
);
CREATE TABLE prediction_mirror (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    row TEXT NOT NULL,
    received INTEGER NOT NULL
);
-- The names of the values of predictions so far.
CREATE TABLE prediction_value (
    name TEXT PRIMARY KEY, replaced INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
-- Breakers as the proxies' metrics have them: a row from each change to the next, with the number of proxies by state.
CREATE TABLE breaker (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    experiment TEXT NOT NULL, trial TEXT NOT NULL, variant TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL,
    closed INTEGER NOT NULL, half_open INTEGER NOT NULL, open INTEGER NOT NULL,
    trips INTEGER NOT NULL
);
CREATE INDEX breaker_time ON breaker (experiment, last);
";

const THIRD: &str = "
-- What was read last of each log: a digest of the bytes before the position, and when it was stored.
CREATE TABLE IF NOT EXISTS followed_tail (
    path TEXT PRIMARY KEY, digest BLOB NOT NULL, stored INTEGER NOT NULL
) WITHOUT ROWID;
";

const FOURTH: &str = "
-- Identities begin with the time, so that their index grows at its end. What came before the first version that does this
-- keeps its digest. Those of segments are made anew where they are needed: each segment has its exposures once.
UPDATE exposure SET key = unhex(printf('%012x', time) || substr(hex(key), 1, 20));
DELETE FROM rolled;
-- How often values of outcomes were replaced.
CREATE TABLE replaced_outcome (
    request_id TEXT NOT NULL, name TEXT NOT NULL, replaced INTEGER NOT NULL,
    PRIMARY KEY (request_id, name)
) WITHOUT ROWID;
";

/// The names of the files in a store's folder.
const LOCK: &str = "lock";
const DATABASE: &str = "store.sqlite";
const SEGMENTS: &str = "exposures";

/// A folder that this process alone uses.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Folder {
    /// Opens or creates the folder, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        refuse_foreign(path)?;
        fs::create_dir_all(path.join(SEGMENTS)).map_err(Error::io(path))?;
        restrict(path)?;
        let file = path.join(LOCK);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&file);
        let lock = open.map_err(Error::io(&file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(Error::io(&file)(error)),
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.path.join(SEGMENTS)
    }
}

/// Refuses a folder that has files, and none of a store: they would become unreadable for others.
fn refuse_foreign(path: &Path) -> Result<(), Error> {
    if path.join(DATABASE).exists() || !path.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        let name = entry.map_err(Error::io(path))?.file_name();
        let name = name.to_string_lossy();
        let is_own = [LOCK, SEGMENTS, "lost+found"].contains(&&*name) || name.starts_with(DATABASE);
        if !is_own {
            return Err(Error::Input(format!(
                "{} is no store, and has files\n  hint: name a folder that is new or empty",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Only the owner reads what a store has.
#[cfg(unix)]
fn restrict(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(Error::io(path))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as elsewhere")]
fn restrict(_: &Path) -> Result<(), Error> {
    Ok(())
}

/// Makes a rename or a new file in this folder durable.
pub(crate) fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

/// The connection that writes. `most` is the largest size of the database in bytes.
pub(crate) fn writer(folder: &Folder, most: Option<u64>) -> Result<Connection, Error> {
    let file = folder.database();
    let fail = |error| Error::database(&file)(error);
    let database = Connection::open(&file).map_err(fail)?;
    let set =
        |name, value: &dyn rusqlite::ToSql| database.pragma_update(None, name, value).map_err(fail);
    set("journal_mode", &"WAL")?;
    set("synchronous", &"FULL")?;
    // macOS keeps data in the drive's cache unless it is told.
    set("fullfsync", &true)?;
    set("temp_store", &"MEMORY")?;
    set("cache_size", &-32_000)?;
    // A checkpoint each 16 MB: smaller ones write the same index pages again and again.
    set("wal_autocheckpoint", &4000)?;
    set("journal_size_limit", &(64 << 20))?;
    let damaged = |problem: String| Error::Damaged { file: file.clone(), problem };
    let found: String =
        database.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(fail)?;
    if found != "ok" {
        return Err(damaged(found));
    }
    let version: i64 =
        database.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
    let missing = usize::try_from(version).ok().and_then(|version| VERSIONS.get(version..));
    let Some(missing) = missing else {
        return Err(Error::Newer(folder.path().to_owned()));
    };
    if !missing.is_empty() {
        let version = VERSIONS.len();
        let script =
            format!("BEGIN; {} PRAGMA user_version = {version}; COMMIT;", missing.concat());
        database.execute_batch(&script).map_err(fail)?;
        sync(folder.path())?;
    }
    if let Some(most) = most {
        let size: i64 =
            database.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(fail)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        set("max_page_count", &(most / size.max(1)).max(1))?;
    }
    Ok(database)
}

/// A connection that only reads.
pub(crate) fn reader(file: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fail = |error| Error::database(file)(error);
    let database = Connection::open_with_flags(file, flags).map_err(fail)?;
    database.busy_timeout(std::time::Duration::from_secs(10)).map_err(fail)?;
    Ok(database)
}

#[cfg(test)]
mod tests;
