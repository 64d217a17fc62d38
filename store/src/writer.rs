//! The writer: one thread that commits for all senders that wait, so that a sync of the disk serves many of them.
//!
//! A sender is answered after the commit. When a commit fails, nothing of it is stored, and each of its senders is told. The
//! queue is bounded by records; a sender that finds it full is refused at once.

mod sums;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde_json::{Map, Value};
use sidetrack::names::log;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::Error;
use crate::exposure::Exposure;
use crate::outcome::{NewNames, Outcome, Source, Subject};
use sums::Sums;

/// How many records wait at most.
pub(crate) const QUEUE: u32 = 100_000;
/// How many records a commit has at most, one sender's aside.
const GROUP: usize = 20_000;

/// What a sender wants to be stored.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) exposures: Vec<Exposure>,
    /// Outcomes and predictions.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) names: NewNames,
    /// Evaluations that clients asked for.
    pub(crate) asked: Vec<Asked>,
    /// How far a log has been read with these exposures.
    pub(crate) mark: Option<Mark>,
}

/// An evaluation that a client asked for: no request took it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) time: u64,
    pub(crate) experiment: String,
    pub(crate) trial: String,
    /// As the log names it.
    pub(crate) unit: String,
    pub(crate) variant: String,
}

/// A position in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) path: String,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) offset: u64,
    /// The digest of the last bytes before the offset.
    pub(crate) tail: Option<[u8; 32]>,
    /// When it was stored; zero if it was not yet.
    pub(crate) stored: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Exposures that are new.
    pub(crate) new: u64,
    /// Exposures that were stored before.
    pub(crate) repeated: u64,
    /// Rows of outcomes or predictions that changed nothing.
    pub(crate) unchanged: u64,
    /// Values of them that replaced another one.
    pub(crate) replaced: u64,
}

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

#[expect(clippy::large_enum_variant, reason = "jobs are few, and moved once")]
enum Job {
    Write(Batch, oneshot::Sender<Result<Written, Error>>, OwnedSemaphorePermit),
    /// Anything else that changes the database.
    Run(Work),
}

/// The sender's end.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Sender<Job>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    /// Commits with something new, so that a result can be kept as long as nothing changes.
    pub(crate) version: Arc<AtomicU64>,
}

impl Batch {
    fn len(&self) -> usize {
        self.exposures.len() + self.outcomes.len() + self.asked.len()
    }
}

impl Writer {
    pub(crate) fn start(database: Connection, file: PathBuf) -> Result<Self, Error> {
        let (queue, jobs) = channel();
        let version = Arc::new(AtomicU64::new(0));
        let loop_ = Loop { database, file: file.clone(), version: Arc::clone(&version) };
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let thread = thread.spawn(move || loop_.run(&jobs)).map_err(Error::io(&file))?;
        let room = Arc::new(Semaphore::new(QUEUE as usize));
        Ok(Self { queue, room, thread: Some(thread), version })
    }

    /// How many records wait.
    pub(crate) fn waiting(&self) -> usize {
        (QUEUE as usize).saturating_sub(self.room.available_permits())
    }

    /// Stores a batch; returns when it is durable. Refuses it if too many records wait.
    pub(crate) async fn write(&self, batch: Batch) -> Result<Written, Error> {
        let count = u32::try_from(batch.len()).unwrap_or(QUEUE).clamp(1, QUEUE);
        let room = Arc::clone(&self.room).try_acquire_many_owned(count);
        let room = room.map_err(|_| Error::Busy)?;
        self.send(batch, room)?.await.map_err(|_| Error::Closed)?
    }

    /// Like [`Self::write`], for threads: waits for room.
    pub(crate) fn write_blocking(&self, batch: Batch) -> Result<Written, Error> {
        let count = u32::try_from(batch.len()).unwrap_or(QUEUE).clamp(1, QUEUE);
        let room = loop {
            if self.room.is_closed() {
                return Err(Error::Closed);
            }
            match Arc::clone(&self.room).try_acquire_many_owned(count) {
                Ok(room) => break room,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        };
        self.send(batch, room)?.blocking_recv().map_err(|_| Error::Closed)?
    }

    fn send(
        &self,
        batch: Batch,
        room: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Written, Error>>, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job::Write(batch, answer, room)).map_err(|_| Error::Closed)?;
        Ok(answered)
    }

    /// Runs something else on the writer's connection, between two commits.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<Result<T, rusqlite::Error>, Error> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let work: Work = Box::new(move |database| {
            // Without a receiver, nobody waits any more.
            answer.send(work(database)).ok();
        });
        self.queue.send(Job::Run(work)).map_err(|_| Error::Closed)?;
        answered.recv().map_err(|_| Error::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when all senders are gone, after what waits.
        self.room.close();
        let (gone, _) = channel();
        drop(std::mem::replace(&mut self.queue, gone));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Loop {
    database: Connection,
    file: PathBuf,
    version: Arc<AtomicU64>,
}

impl Loop {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let (mut group, mut rooms, mut next) = (Vec::new(), Vec::new(), None);
            let mut records = 0;
            let mut job = Some(job);
            while let Some(one) = job.take() {
                match one {
                    Job::Write(batch, answer, room) => {
                        records += batch.len();
                        group.push((batch, answer));
                        rooms.push(room);
                    }
                    Job::Run(work) => {
                        next = Some(work);
                        break;
                    }
                }
                if records < GROUP {
                    job = jobs.try_recv().ok();
                }
            }
            self.commit(group);
            drop(rooms);
            if let Some(work) = next {
                work(&mut self.database);
                self.version.fetch_add(1, Ordering::Release);
            }
        }
    }

    fn commit(&mut self, group: Vec<(Batch, oneshot::Sender<Result<Written, Error>>)>) {
        if group.is_empty() {
            return;
        }
        let (batches, answers): (Vec<Batch>, Vec<_>) = group.into_iter().unzip();
        match insert_all(&mut self.database, &batches) {
            Ok(written) => {
                self.version.fetch_add(1, Ordering::Release);
                batches.into_iter().for_each(|batch| batch.names.keep());
                for (answer, written) in answers.into_iter().zip(written) {
                    // A sender that has gone will send again.
                    answer.send(Ok(written)).ok();
                }
            }
            Err(error) => {
                drop(batches);
                let error = Error::database(&self.file)(error);
                for answer in answers {
                    answer.send(Err(error.again())).ok();
                }
            }
        }
    }
}

fn insert_all(
    database: &mut Connection,
    batches: &[Batch],
) -> Result<Vec<Written>, rusqlite::Error> {
    // Begins as a writer: a transaction that begins as a reader fails at once if anything else writes.
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let mut sums = Sums::default();
    let mut all = Vec::new();
    let mut exposures = transaction.prepare_cached(INSERT)?;
    let mut line = String::new();
    for batch in batches {
        let mut written = Written::default();
        for exposure in &batch.exposures {
            line.clear();
            exposure.write_line(&mut line);
            let (experiment, trial) = (exposure.experiment(), exposure.trial());
            let row = params![exposure.key, time(exposure.time), experiment, trial, line];
            if exposures.execute(row)? > 0 {
                written.new += 1;
                sums.add(exposure);
            } else {
                written.repeated += 1;
            }
        }
        for outcome in &batch.outcomes {
            put(&transaction, outcome, now, &mut written, &mut sums)?;
        }
        for Asked { time: at, experiment, trial, unit, variant } in &batch.asked {
            let asked = params![time(*at), experiment, trial, unit, variant];
            transaction
                .prepare_cached("INSERT INTO asked VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(asked)?;
        }
        if let Some(mark) = &batch.mark {
            put_mark(&transaction, mark)?;
        }
        all.push(written);
    }
    drop(exposures);
    sums.write(&transaction)?;
    transaction.commit()?;
    Ok(all)
}

/// Stores an exposure, if it is new.
const INSERT: &str = "INSERT INTO exposure (key, time, experiment, trial, line)
    SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM rolled WHERE key = ?1)
    ON CONFLICT (key) DO NOTHING";

fn put<'a>(
    transaction: &Transaction<'_>,
    outcome: &'a Outcome,
    now: i64,
    written: &mut Written,
    sums: &mut Sums<'a>,
) -> Result<(), rusqlite::Error> {
    match &outcome.subject {
        Subject::Request(id) => OUTCOMES.put(transaction, id, &outcome.row, now, written, sums),
        Subject::Prediction { request, source } => {
            let table = match source {
                Source::Baseline => &PREDICTIONS_BASELINE,
                Source::Mirror => &PREDICTIONS_MIRROR,
            };
            table.put(transaction, request, &outcome.row, now, written, sums)
        }
        Subject::Unit { experiment, unit, key } => {
            let changed = transaction
                .prepare_cached(
                    "INSERT INTO outcome_unit (key, experiment, unit, row, received)
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO NOTHING",
                )?
                .execute(params![key, experiment, unit, text(&outcome.row), now])?;
            if changed == 0 {
                written.unchanged += 1;
            } else {
                sums.names_of(OUTCOME_NAMES, &outcome.row);
            }
            Ok(())
        }
    }
}

/// A row as it is stored.
fn text(row: &Map<String, Value>) -> String {
    // A map of values with names of text cannot fail.
    serde_json::to_string(row).unwrap_or_default()
}

/// The names of outcomes and of predictions.
const OUTCOME_NAMES: &str = "metric";
const PREDICTION_NAMES: &str = "prediction_value";

/// The table of the predictions of a model.
pub(crate) const fn predictions_of(source: Source) -> &'static str {
    match source {
        Source::Baseline => "prediction_baseline",
        Source::Mirror => "prediction_mirror",
    }
}

/// A table with one row per request, and the table of the names of its values.
struct ByRequest {
    names: &'static str,
    insert: &'static str,
    find: &'static str,
    update: &'static str,
}

macro_rules! by_request {
    ($table:literal, $names:expr) => {
        ByRequest {
            names: $names,
            insert: concat!(
                "INSERT INTO ",
                $table,
                " (request_id, row, received) VALUES (?1, ?2, ?3) ON CONFLICT (request_id) DO NOTHING"
            ),
            find: concat!("SELECT row FROM ", $table, " WHERE request_id = ?1"),
            update: concat!(
                "UPDATE ",
                $table,
                " SET row = ?2, received = ?3 WHERE request_id = ?1"
            ),
        }
    };
}

const OUTCOMES: ByRequest = by_request!("outcome_request", OUTCOME_NAMES);
const PREDICTIONS_BASELINE: ByRequest = by_request!("prediction_baseline", PREDICTION_NAMES);
const PREDICTIONS_MIRROR: ByRequest = by_request!("prediction_mirror", PREDICTION_NAMES);

impl ByRequest {
    /// Stores a row, or merges it with the one that the request has.
    fn put<'a>(
        &self,
        transaction: &Transaction<'_>,
        id: &'a str,
        row: &'a Map<String, Value>,
        now: i64,
        written: &mut Written,
        sums: &mut Sums<'a>,
    ) -> Result<(), rusqlite::Error> {
        let names = self.names;
        // Most rows are the first of their request.
        let insert = params![id, text(row), now];
        if transaction.prepare_cached(self.insert)?.execute(insert)? > 0 {
            sums.names_of(names, row);
            return Ok(());
        }
        let found: String =
            transaction.prepare_cached(self.find)?.query_row([id], |row| row.get(0))?;
        let old: Map<String, Value> = serde_json::from_str(&found).unwrap_or_default();
        let mut merged = old.clone();
        for (name, value) in row {
            match merged.insert(name.clone(), value.clone()) {
                Some(old) if same(&old, value) => {}
                Some(_) if name != log::TIME => {
                    written.replaced += 1;
                    if names == OUTCOME_NAMES {
                        sums.add_replaced(id, name);
                    }
                }
                Some(_) => {}
                None => sums.add_name(names, name),
            }
        }
        if merged == old {
            written.unchanged += 1;
            return Ok(());
        }
        transaction.prepare_cached(self.update)?.execute(params![id, text(&merged), now])?;
        Ok(())
    }
}

/// Whether two values of a metric are equal: 1 and 1.0 are.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
        _ => one == other,
    }
}

fn put_mark(transaction: &Transaction<'_>, mark: &Mark) -> Result<(), rusqlite::Error> {
    let bits = |number: u64| number.cast_signed();
    transaction
        .prepare_cached(
            "INSERT INTO followed (path, device, inode, offset) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (path) DO UPDATE SET device = ?2, inode = ?3, offset = ?4",
        )?
        .execute(params![mark.path, bits(mark.device), bits(mark.inode), bits(mark.offset)])?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO followed_tail VALUES (?1, ?2, ?3)")?
        .execute(params![mark.path, mark.tail.unwrap_or_default(), bits(crate::upkeep::now())])?;
    Ok(())
}

/// Milliseconds since 1970, as the database has them.
pub(crate) fn time(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
