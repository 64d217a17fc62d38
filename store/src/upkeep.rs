//! What happens beside the traffic: days that are over become segments, days beyond the retention are deleted, and units are
//! forgotten.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};
use serde::Serialize;
use sidetrack::draw::{Draw, Purpose};
use sidetrack::names::log;
use sidetrack::quantity::Timestamp;

use crate::error::Error;
use crate::exposure::Exposure;
use crate::outcome::Source;
use crate::schema;
use crate::segment::{DAY, Segment};
use crate::store::Store;
use crate::writer::predictions_of;

/// How often the store looks for days that are over.
const PERIOD: Duration = Duration::from_secs(60);
/// Rows that are deleted in one commit, so that senders do not wait long.
const DELETED: i64 = 20_000;

/// How many days the identities of exposures are kept after these have moved to a segment.
const KEPT: u64 = 7;

/// What a store holds.
#[derive(Debug, Serialize)]
pub struct Info {
    /// By experiment and trial.
    pub trials: Vec<TrialInfo>,
    /// Rows of outcomes about requests.
    pub request_outcomes: i64,
    /// Rows of outcomes about units, of all experiments.
    pub unit_outcomes: i64,
    /// Predictions about requests, of the baseline and of the mirror.
    pub predictions: i64,
    /// Evaluations that clients asked for.
    pub asked: i64,
    /// Metrics of outcomes.
    pub metrics: Vec<String>,
    /// The size of the database in bytes.
    pub database_bytes: u64,
    /// The size of all segments in bytes.
    pub segment_bytes: u64,
    /// How many segments there are.
    pub segments: u64,
}

/// What a store holds of a trial.
#[derive(Debug, Serialize)]
pub struct TrialInfo {
    /// The experiment.
    pub experiment: String,
    /// The trial.
    pub trial: String,
    /// Exposures in the database and in segments; what is forgotten or too old is in neither.
    pub exposures: i64,
    /// The first exposure.
    pub from: String,
    /// The last exposure.
    pub to: String,
}

/// What was deleted of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Its exposures.
    pub exposures: u64,
    /// Rows of outcomes about it or its requests.
    pub outcomes: u64,
    /// Predictions about its requests.
    pub predictions: u64,
}

/// Starts the thread that looks after the store as long as it is open.
pub(crate) fn start(store: &Arc<Store>) -> Result<(), Error> {
    let weak: Weak<Store> = Arc::downgrade(store);
    let thread = std::thread::Builder::new().name("store-upkeep".to_owned());
    let work = move || {
        let mut waited = PERIOD;
        let mut problem = String::new();
        loop {
            // Short steps, so that the store's last user does not wait for this thread.
            std::thread::sleep(Duration::from_millis(200));
            waited += Duration::from_millis(200);
            let Some(store) = weak.upgrade() else { return };
            if store.is_closing.load(Ordering::Relaxed) {
                return;
            }
            if waited >= PERIOD {
                waited = Duration::ZERO;
                // Tried again in a minute; what fails here is in the database still. Each problem is told once.
                let found = store.upkeep(now()).err().map(|error| error.to_string());
                if let Some(found) = found.as_ref().filter(|found| **found != problem) {
                    writeln!(std::io::stderr().lock(), "warning: upkeep of the store: {found}")
                        .ok();
                }
                problem = found.unwrap_or_default();
            }
        }
    };
    thread.spawn(work).map(drop).map_err(Error::io(store.path()))
}

pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl Store {
    /// Rolls days that are over, and deletes what is older than the retention. What fails does not keep the rest from it.
    ///
    /// # Errors
    /// The first one: a segment is damaged, or it or the database cannot be written.
    pub fn upkeep(&self, now: u64) -> Result<(), Error> {
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        // A day is over when the next one is, so that records that come late find it open.
        let rolled = self.roll(now);
        let retained = self.limits.retention.map_or(Ok(()), |days| self.retain(now, days));
        let result = rolled.and(retained);
        self.counts.upkeep_fails.store(result.is_err(), Ordering::Relaxed);
        result
    }

    /// Moves the exposures of days before yesterday into segments.
    fn roll(&self, now: u64) -> Result<(), Error> {
        let before = (now / DAY).saturating_sub(1);
        let file = self.folder.database();
        let fail = |error| Error::database(&file)(error);
        let database = self.reader()?;
        let mut find = database
            .prepare(
                "SELECT DISTINCT time / ?1, experiment, trial FROM exposure WHERE time < ?2 * ?1
                 ORDER BY 1, 2, 3",
            )
            .map_err(fail)?;
        let bound = |day: u64| i64::try_from(day).unwrap_or(i64::MAX);
        let rows = find
            .query_map(params![bound(DAY), bound(before)], |row| {
                let day: i64 = row.get(0)?;
                let day = u64::try_from(day).unwrap_or(0);
                Ok(Segment { day, experiment: row.get(1)?, trial: row.get(2)? })
            })
            .map_err(fail)?;
        let days = rows.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        let is_rolled = !days.is_empty();
        let mut result = Ok(());
        for segment in days {
            if self.is_closing.load(Ordering::Relaxed) {
                return result;
            }
            let rolled = self.roll_day(&segment, bound(now / DAY));
            result = result.and(rolled);
        }
        if !is_rolled {
            return result;
        }
        let last = bound((now / DAY).saturating_sub(KEPT));
        let purge = move |database: &mut Connection| {
            database.execute("DELETE FROM rolled WHERE day < ?1", [last])
        };
        let purged = self.writer.run(purge)?.map(drop).map_err(fail);
        result.and(purged)
    }

    /// Moves the exposures of a day into its segment.
    fn roll_day(&self, segment: &Segment, today: i64) -> Result<(), Error> {
        let file = self.folder.database();
        let until = self.log(&segment.experiment)?.until;
        let rows = Stored::new(self.reader()?, &file, segment, until);
        let folder = self.folder.segments();
        // What was rolled before, then what came late. A repeat of the former is not new.
        let mut seen = HashSet::new();
        let old = segment.read(&folder)?;
        let is_late = old.is_some();
        let all = old.into_iter().flatten().chain(rows);
        let is_new = |row: &Result<Exposure, Error>| {
            !is_late || row.as_ref().map_or(true, |row| seen.insert(row.key))
        };
        let written = segment.write(&folder, all.filter(is_new))?;
        let _moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        written.publish()?;
        self.delete_rolled(segment, until, today)
    }

    /// Deletes what is in a segment from the database, and keeps its identities.
    fn delete_rolled(&self, segment: &Segment, until: i64, today: i64) -> Result<(), Error> {
        loop {
            let Segment { day, experiment, trial } = segment.clone();
            let (from, to) = (crate::writer::time(day * DAY), crate::writer::time((day + 1) * DAY));
            let delete = move |database: &mut Connection| {
                let transaction = database.transaction()?;
                let find = "SELECT seq FROM exposure WHERE time >= ?1 AND time < ?2
                    AND experiment = ?3 AND trial = ?4 AND seq <= ?5 ORDER BY seq LIMIT ?6";
                let mut find = transaction.prepare(find)?;
                let seqs = find
                    .query_map(params![from, to, experiment, trial, until, DELETED], |row| {
                        row.get(0)
                    })?
                    .collect::<Result<Vec<i64>, _>>()?;
                drop(find);
                let keep =
                    "INSERT OR IGNORE INTO rolled SELECT key, ?2 FROM exposure WHERE seq = ?1";
                for seq in &seqs {
                    transaction.prepare_cached(keep)?.execute([*seq, today])?;
                    transaction
                        .prepare_cached("DELETE FROM exposure WHERE seq = ?1")?
                        .execute([seq])?;
                }
                transaction.commit()?;
                Ok(seqs.len())
            };
            let deleted = self.writer.run(delete)?;
            let deleted = deleted.map_err(Error::database(&self.folder.database()))?;
            if deleted == 0 {
                return Ok(());
            }
        }
    }

    /// Deletes what is older than so many days. A clock that jumps ahead deletes nothing that is recent: days count from
    /// the newest exposure, if that is older.
    fn retain(&self, now: u64, days: u64) -> Result<(), Error> {
        let file = self.folder.database();
        let newest: i64 = self
            .reader()?
            .query_row("SELECT coalesce(max(last), 0) FROM state", [], |row| row.get(0))
            .map_err(Error::database(&file))?;
        let newest = u64::try_from(newest).unwrap_or(0);
        let before = (now.min(newest) / DAY).saturating_sub(days);
        let _moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        let folder = self.folder.segments();
        for segment in Segment::all(&folder, None)? {
            if segment.day < before {
                let path = segment.path(&folder);
                fs::remove_file(&path).map_err(Error::io(&path))?;
                path.parent().map_or(Ok(()), schema::sync)?;
            }
        }
        let time = crate::writer::time(before * DAY);
        let delete = move |database: &mut Connection| {
            let transaction = database.transaction()?;
            transaction.execute("DELETE FROM exposure WHERE time < ?1", [time])?;
            transaction.execute("DELETE FROM outcome_request WHERE received < ?1", [time])?;
            transaction.execute(
                "DELETE FROM replaced_outcome
                 WHERE request_id NOT IN (SELECT request_id FROM outcome_request)",
                [],
            )?;
            transaction.execute("DELETE FROM outcome_unit WHERE received < ?1", [time])?;
            transaction.execute("DELETE FROM prediction_baseline WHERE received < ?1", [time])?;
            transaction.execute("DELETE FROM prediction_mirror WHERE received < ?1", [time])?;
            transaction.execute("DELETE FROM breaker WHERE last < ?1", [time])?;
            transaction.execute("DELETE FROM asked WHERE time < ?1", [time])?;
            transaction.execute("DELETE FROM minute WHERE minute < ?1 / 60000", [time])?;
            transaction.execute("DELETE FROM state WHERE last < ?1", [time])?;
            transaction.commit()
        };
        self.writer.run(delete)?.map_err(Error::database(&file))
    }

    /// Deletes all exposures and outcomes of a unit, which is given in plain text. Sums by minute stay: they name no unit.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn forget(&self, unit: &str) -> Result<Forgotten, Error> {
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.folder.database();
        let fail = |error| Error::database(&file)(error);
        let database = self.reader()?;
        let mut find = database.prepare("SELECT salt FROM salt").map_err(fail)?;
        let salts = find.query_map([], |row| row.get::<_, String>(0)).map_err(fail)?;
        let mut names = vec![unit.to_owned()];
        for salt in salts {
            let salt = salt.map_err(fail)?;
            names.push(Draw::new(Purpose::Exposure, &salt).pseudonym(unit.as_bytes()));
        }
        let is_theirs = |row: &Exposure| {
            row.get(log::UNIT).is_some_and(|unit| names.iter().any(|name| name == unit))
        };
        let mut requests: Vec<String> = Vec::new();
        let mut forgotten = Forgotten::default();
        let _moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        let folder = self.folder.segments();
        let mut theirs = Vec::new();
        for segment in Segment::all(&folder, None)? {
            let before = forgotten.exposures;
            for row in segment.read(&folder)?.into_iter().flatten() {
                let row = row?;
                if is_theirs(&row) {
                    forgotten.exposures += 1;
                    requests.extend(row.get(log::REQUEST_ID).map(str::to_owned));
                }
            }
            if forgotten.exposures > before {
                theirs.push(segment);
            }
        }
        // First what only the requests in the segments find: whoever is interrupted finds the rest when he tries again.
        let known = names.clone();
        let delete = move |database: &mut Connection| {
            let transaction = database.transaction()?;
            for name in &known {
                let mut find = transaction.prepare_cached(
                    "SELECT seq, json_extract(line, '$.request_id') FROM exposure
                     WHERE json_extract(line, '$.unit') = ?1",
                )?;
                let rows = find.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let rows: Vec<(i64, Option<String>)> = rows.collect::<Result<_, _>>()?;
                for (seq, request) in rows {
                    requests.extend(request);
                    transaction.execute("DELETE FROM exposure WHERE seq = ?1", [seq])?;
                    forgotten.exposures += 1;
                }
                let gone =
                    transaction.execute("DELETE FROM outcome_unit WHERE unit = ?1", [name])?;
                forgotten.outcomes += u64::try_from(gone).unwrap_or(0);
                transaction.execute("DELETE FROM asked WHERE unit = ?1", [name])?;
            }
            for request in &requests {
                let gone = transaction
                    .execute("DELETE FROM outcome_request WHERE request_id = ?1", [request])?;
                forgotten.outcomes += u64::try_from(gone).unwrap_or(0);
                transaction
                    .execute("DELETE FROM replaced_outcome WHERE request_id = ?1", [request])?;
                for table in Source::ALL.map(predictions_of) {
                    let delete = format!("DELETE FROM {table} WHERE request_id = ?1");
                    let gone = transaction.prepare_cached(&delete)?.execute([request])?;
                    forgotten.predictions += u64::try_from(gone).unwrap_or(0);
                }
            }
            transaction.commit()?;
            // Free pages and the log contain deleted rows until they are overwritten.
            database.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
            Ok(forgotten)
        };
        let forgotten = self.writer.run(delete)?.map_err(Error::database(&file))?;
        for segment in theirs {
            let rows = segment.read(&folder)?.into_iter().flatten();
            let others = rows.filter(|row| !row.as_ref().is_ok_and(&is_theirs));
            segment.write(&folder, others)?.publish()?;
        }
        Ok(forgotten)
    }

    /// What the store holds.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn info(&self) -> Result<Info, Error> {
        let file = self.folder.database();
        let fail = |error| Error::database(&file)(error);
        let _still = self.still();
        let database = self.reader()?;
        let mut find = database
            .prepare(
                "SELECT experiment, trial, (SELECT count(*) FROM exposure
                    WHERE exposure.experiment = state.experiment AND exposure.trial = state.trial),
                    min(first), max(last)
                 FROM state GROUP BY 1, 2 ORDER BY 1, 4",
            )
            .map_err(fail)?;
        let time = |time: i64| Timestamp::new(u64::try_from(time).unwrap_or(0)).to_string();
        let trials = find.query_map([], |row| {
            Ok(TrialInfo {
                experiment: row.get(0)?,
                trial: row.get(1)?,
                exposures: row.get(2)?,
                from: time(row.get(3)?),
                to: time(row.get(4)?),
            })
        });
        let mut trials: Vec<TrialInfo> = trials.and_then(Iterator::collect).map_err(fail)?;
        let count = |table: &str| {
            let count = format!("SELECT count(*) FROM {table}");
            database.query_row(&count, [], |row| row.get(0)).map_err(fail)
        };
        let mut names = database.prepare("SELECT name FROM metric ORDER BY name").map_err(fail)?;
        let metrics = names.query_map([], |row| row.get(0));
        let metrics = metrics.and_then(Iterator::collect).map_err(fail)?;
        let folder = self.folder.segments();
        let segments = Segment::all(&folder, None)?;
        for segment in &segments {
            let is_its = |trial: &&mut TrialInfo| {
                trial.experiment == segment.experiment && trial.trial == segment.trial
            };
            if let Some(trial) = trials.iter_mut().find(is_its) {
                trial.exposures += segment.count(&folder)?;
            }
        }
        Ok(Info {
            trials,
            request_outcomes: count("outcome_request")?,
            unit_outcomes: count("outcome_unit")?,
            predictions: count("prediction_baseline")? + count("prediction_mirror")?,
            asked: count("asked")?,
            metrics,
            database_bytes: size(&file),
            segment_bytes: segments.iter().map(|segment| size(&segment.path(&folder))).sum(),
            segments: segments.len() as u64,
        })
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

/// The exposures of a day in the database, in the order of their arrival, a part at a time.
struct Stored<'a> {
    database: Connection,
    file: &'a Path,
    segment: &'a Segment,
    last: i64,
    until: i64,
    part: VecDeque<Exposure>,
}

impl<'a> Stored<'a> {
    const fn new(database: Connection, file: &'a Path, segment: &'a Segment, until: i64) -> Self {
        Self { database, file, segment, last: 0, until, part: VecDeque::new() }
    }

    fn fill(&mut self) -> Result<(), rusqlite::Error> {
        let Segment { day, experiment, trial } = self.segment;
        let mut find = self.database.prepare_cached(
            "SELECT seq, time, line FROM exposure WHERE seq > ?1 AND seq <= ?2 AND time >= ?3
             AND time < ?4 AND experiment = ?5 AND trial = ?6 ORDER BY seq LIMIT ?7",
        )?;
        let (from, to) = (crate::writer::time(day * DAY), crate::writer::time((day + 1) * DAY));
        let parameters = params![self.last, self.until, from, to, experiment, trial, DELETED];
        let mut rows = find.query(parameters)?;
        while let Some(row) = rows.next()? {
            self.last = row.get(0)?;
            let (time, line): (i64, String) = (row.get(1)?, row.get(2)?);
            let time = u64::try_from(time).unwrap_or(0);
            self.part.extend(Exposure::of_stored_line(time, &line));
        }
        Ok(())
    }
}

impl Iterator for Stored<'_> {
    type Item = Result<Exposure, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.part.is_empty()
            && let Err(error) = self.fill()
        {
            return Some(Err(Error::database(self.file)(error)));
        }
        self.part.pop_front().map(Ok)
    }
}
