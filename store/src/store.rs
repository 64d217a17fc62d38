//! A store that is open: its folder, its writer, and what it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use rusqlite::Connection;

use crate::breaker::Observed;
use crate::catalog::Catalog;
use crate::error::Error;
use crate::exposure::{Exposure, Unfit};
use crate::follow::Follower;
use crate::outcome::{Kind, Known, Names};
use crate::replaced::Replaced;
use crate::rows::{Format, Rejected, Rows, weight};
use crate::schema::{self, Folder};
use crate::source::StoredLog;
use crate::verdict::Cached;
use crate::writer::{Asked, Batch, Writer, Written};

/// How much a store keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest size of the database in bytes; `None`: as the disk allows.
    pub max_size: Option<u64>,
    /// The most metrics that outcomes may have, all rows together, and the most values of predictions.
    pub max_metrics: usize,
    /// How many days exposures and outcomes are kept; `None`: for ever.
    pub retention: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_size: None, max_metrics: 200, retention: None }
    }
}

/// What happened to records, as numbers for Prometheus.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) stored: AtomicU64,
    pub(crate) repeated: AtomicU64,
    /// In no experiment.
    pub(crate) outside: AtomicU64,
    /// Of an experiment that no file has.
    pub(crate) unknown: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) outcomes: RowCounts,
    pub(crate) predictions: RowCounts,
    /// Batches that were refused because too many records waited.
    pub(crate) refused: AtomicU64,
    /// Batches that could not be written.
    pub(crate) failed: AtomicU64,
    /// Whether days could not move to segments, or be deleted.
    pub(crate) upkeep_fails: AtomicBool,
}

/// What happened to rows of outcomes or predictions.
#[derive(Debug, Default)]
pub(crate) struct RowCounts {
    pub(crate) accepted: AtomicU64,
    pub(crate) unchanged: AtomicU64,
    /// Values that replaced another one.
    pub(crate) replaced: AtomicU64,
    pub(crate) rejected: AtomicU64,
}

/// An experiment store. One process opens a folder at a time.
#[derive(Debug)]
pub struct Store {
    pub(crate) folder: Folder,
    pub(crate) writer: Writer,
    pub(crate) limits: Limits,
    pub(crate) counts: Counts,
    /// The names of the values of outcomes, and of predictions.
    metrics: Names,
    values: Names,
    catalog: RwLock<Arc<Catalog>>,
    /// Held while rows move between the database and segments.
    pub(crate) moving: RwLock<()>,
    /// Held by whatever writes segments.
    pub(crate) upkeep: Mutex<()>,
    pub(crate) is_closing: AtomicBool,
    pub(crate) verdicts: Mutex<BTreeMap<String, Cached>>,
    pub(crate) replaced: Mutex<BTreeMap<String, Replaced>>,
    /// Why the last write failed; empty after a success.
    problem: Mutex<Option<String>>,
    /// What the proxies' metrics say about breakers.
    pub(crate) observed: Mutex<Observed>,
    /// The address of the proxy, if this store has only one.
    pub(crate) proxy: OnceLock<String>,
}

/// What became of records of exposures.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) written: Written,
    /// Records that cannot be read or are of an experiment that no file has.
    pub(crate) rejected: u64,
    /// Why the first one was rejected.
    pub(crate) example: Option<String>,
}

/// What became of rows of outcomes or predictions.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Accepted {
    pub(crate) accepted: u64,
    pub(crate) rejected: Vec<Rejected>,
    /// All rejected rows, also those that are not listed.
    pub(crate) rejected_rows: u64,
    pub(crate) unchanged: u64,
    pub(crate) replaced_values: u64,
}

impl Store {
    /// Opens a store, or makes a new one in an empty or missing folder.
    ///
    /// # Errors
    /// Another process uses it, a file is damaged, or the folder cannot be written.
    pub fn open(path: &Path, catalog: Catalog, limits: Limits) -> Result<Arc<Self>, Error> {
        let folder = Folder::open(path)?;
        let file = folder.database();
        let database = schema::writer(&folder, limits.max_size)?;
        let metrics = names(&database, "metric").map_err(Error::database(&file))?;
        let values = names(&database, "prediction_value").map_err(Error::database(&file))?;
        let writer = Writer::start(database, file)?;
        let store = Self {
            folder,
            writer,
            limits,
            counts: Counts::default(),
            metrics: Names::new(metrics, limits.max_metrics),
            values: Names::new(values, limits.max_metrics),
            catalog: RwLock::default(),
            moving: RwLock::default(),
            upkeep: Mutex::default(),
            is_closing: AtomicBool::new(false),
            verdicts: Mutex::default(),
            replaced: Mutex::default(),
            problem: Mutex::default(),
            observed: Mutex::default(),
            proxy: OnceLock::new(),
        };
        store.replace(catalog)?;
        let store = Arc::new(store);
        crate::upkeep::start(&store)?;
        Ok(store)
    }

    /// Takes new versions of the experiment files.
    ///
    /// # Errors
    /// The salts of new trials cannot be written.
    pub fn replace(&self, catalog: Catalog) -> Result<(), Error> {
        let salts: Vec<(String, String)> = catalog
            .all()
            .map(|entry| (entry.experiment.name.clone(), entry.experiment.salt.clone()))
            .collect();
        let write = move |database: &mut Connection| {
            let transaction = database.transaction()?;
            for salt in salts {
                transaction.execute("INSERT OR IGNORE INTO salt VALUES (?1, ?2)", salt)?;
            }
            transaction.commit()
        };
        self.writer.run(write)?.map_err(Error::database(&self.folder.database()))?;
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        // After the catalog: whatever is computed from the old one is of an older version.
        self.writer.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Names the proxy that requests must be sent to, if there is only one: a page without requests says so.
    pub fn name_proxy(&self, url: String) {
        // A second name is ignored: the proxy of a store keeps its address.
        self.proxy.set(url).ok();
    }

    /// Changes with what is stored and with the files.
    pub(crate) fn version(&self) -> u64 {
        self.writer.version.load(Ordering::Acquire)
    }

    /// The experiments that the store knows.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until what runs beside the traffic has ended, so that the process can end. What is still open is open to its
    /// users as before.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        drop(self.upkeep.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The store's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Follows an access log that grows and is rotated, until the follower is dropped. The file need not exist yet.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn follow(self: &Arc<Self>, log: impl Into<PathBuf>) -> Result<Follower, Error> {
        Follower::start(self, log.into())
    }

    /// Keeps rows where they are while it is held.
    pub(crate) fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that reads.
    pub(crate) fn reader(&self) -> Result<Connection, Error> {
        schema::reader(&self.folder.database())
    }

    /// The exposures of an experiment so far.
    pub(crate) fn log(&self, experiment: &str) -> Result<StoredLog, Error> {
        let file = self.folder.database();
        let newest = "SELECT coalesce(max(seq), 0) FROM exposure";
        let until = self.reader()?.query_row(newest, [], |row| row.get(0));
        Ok(StoredLog {
            segments: self.folder.segments(),
            experiment: experiment.to_owned(),
            until: until.map_err(Error::database(&file))?,
            database: file,
        })
    }

    /// Stores what is fit of these records.
    pub(crate) async fn take(&self, records: Vec<Result<Exposure, Unfit>>) -> Result<Taken, Error> {
        let (exposures, mut taken) = self.sort(records);
        if !exposures.is_empty() {
            let batch = Batch { exposures, ..Batch::default() };
            taken.written = self.written(self.writer.write(batch).await)?;
        }
        self.rejected(&taken);
        Ok(taken)
    }

    /// The same for a thread that follows a log, which waits when the store is busy.
    pub(crate) fn take_blocking(
        &self,
        records: Vec<Result<Exposure, Unfit>>,
        mark: crate::writer::Mark,
    ) -> Result<Taken, Error> {
        let (exposures, mut taken) = self.sort(records);
        let batch = Batch { exposures, mark: Some(mark), ..Batch::default() };
        taken.written = self.written(self.writer.write_blocking(batch))?;
        self.rejected(&taken);
        Ok(taken)
    }

    fn sort(&self, records: Vec<Result<Exposure, Unfit>>) -> (Vec<Exposure>, Taken) {
        let mut taken = Taken::default();
        let mut exposures = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Ok(exposure) => exposures.push(exposure),
                Err(Unfit::None) => add(&self.counts.outside, 1),
                Err(Unfit::Unknown) => {
                    add(&self.counts.unknown, 1);
                    taken.rejected += 1;
                    taken.example.get_or_insert_with(|| {
                        "a record of an experiment that no file of the store has".to_owned()
                    });
                }
                Err(Unfit::Malformed(problem)) => {
                    add(&self.counts.malformed, 1);
                    taken.rejected += 1;
                    taken.example.get_or_insert(problem);
                }
            }
        }
        (exposures, taken)
    }

    fn rejected(&self, taken: &Taken) {
        add(&self.counts.stored, taken.written.new);
        add(&self.counts.repeated, taken.written.repeated);
    }

    /// Stores the rows of a body.
    pub(crate) async fn put(&self, kind: Kind, rows: Rows) -> Result<Accepted, Error> {
        let batch = Batch { outcomes: rows.outcomes, names: rows.names, ..Batch::default() };
        let written = if batch.outcomes.is_empty() {
            Written::default()
        } else {
            self.written(self.writer.write(batch).await)?
        };
        let counts = match kind {
            Kind::Outcomes => &self.counts.outcomes,
            Kind::Predictions => &self.counts.predictions,
        };
        add(&counts.accepted, rows.accepted);
        add(&counts.unchanged, written.unchanged);
        add(&counts.replaced, written.replaced);
        add(&counts.rejected, rows.refused);
        Ok(Accepted {
            accepted: rows.accepted,
            rejected: rows.rejected,
            rejected_rows: rows.refused,
            unchanged: written.unchanged,
            replaced_values: written.replaced,
        })
    }

    /// Stores an evaluation that a client asked for.
    pub(crate) async fn asked(&self, asked: Asked) -> Result<(), Error> {
        let batch = Batch { asked: vec![asked], ..Batch::default() };
        self.written(self.writer.write(batch).await).map(drop)
    }

    /// How much memory the rows of a body take, in bytes. Of rows about units, as many are stored as there are experiments.
    pub(crate) fn weight(&self, kind: Kind, format: Format, body: &[u8]) -> usize {
        let copies = match kind {
            Kind::Outcomes => self.catalog().names().count(),
            Kind::Predictions => 1,
        };
        weight::of(format, body, copies)
    }

    /// Reads the rows of a body.
    pub(crate) fn rows(&self, kind: Kind, format: Format, body: &[u8]) -> Result<Rows, String> {
        Rows::read(format, body, self.known(kind, &self.catalog()))
    }

    /// Reads the row about one request.
    pub(crate) fn row(&self, kind: Kind, request_id: &str, body: &[u8]) -> Result<Rows, String> {
        Rows::of_request(request_id, body, self.known(kind, &self.catalog()))
    }

    fn known<'a>(&'a self, kind: Kind, catalog: &'a Catalog) -> Known<'a> {
        let names = match kind {
            Kind::Outcomes => &self.metrics,
            Kind::Predictions => &self.values,
        };
        Known { kind, catalog, names }
    }

    /// How many metrics outcomes have.
    pub(crate) fn metric_count(&self) -> usize {
        self.metrics.count()
    }

    /// Takes note of how a write ended.
    fn written(&self, result: Result<Written, Error>) -> Result<Written, Error> {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(_) => *problem = None,
            Err(Error::Busy) => add(&self.counts.refused, 1),
            Err(error) => {
                add(&self.counts.failed, 1);
                *problem = Some(error.to_string());
            }
        }
        result
    }

    /// Why the last write failed, if it did.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) fn add(count: &AtomicU64, number: u64) {
    count.fetch_add(number, Ordering::Relaxed);
}

fn names(database: &Connection, table: &str) -> Result<BTreeSet<String>, rusqlite::Error> {
    let mut statement = database.prepare(&format!("SELECT name FROM {table}"))?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}
