//! Breakers as the proxies' own metrics have them: their state now, and each change over time.
//!
//! Exposures show a breaker only while requests arrive. Whoever can read the metrics of the proxies gives what they say to
//! [`Store::observe_breakers`], or lets [`Store::watch_breakers`] ask. A state is known for a while after each reading; then the
//! exposures have to do again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use serde::Serialize;

use crate::error::Error;
use crate::live::Breakers;
use crate::store::Store;
use crate::upkeep::now;

/// How often the end of a state that lasts is written, in milliseconds.
const EXTENDED: i64 = 60_000;
/// How many counters are kept beside those of the last reading.
const MOST_COUNTERS: usize = 10_000;

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// The candidate serves its users.
    Closed,
    /// It serves some of them.
    HalfOpen,
    /// The baseline serves them.
    Open,
}

impl BreakerState {
    /// Its word in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// The breaker of a candidate in one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerReading {
    /// The proxy, by a name that it keeps.
    pub proxy: String,
    /// The experiment.
    pub experiment: String,
    /// The candidate.
    pub variant: String,
    /// Its state.
    pub state: BreakerState,
    /// How often it has opened since the proxy's start.
    pub trips: u64,
}

/// What the last readings said.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Until when that is known.
    until: Option<Instant>,
    /// By experiment and variant.
    now: BTreeMap<String, BTreeMap<String, Breakers>>,
    /// The counter of trips by proxy, experiment and variant.
    counters: BTreeMap<[String; 3], u64>,
    /// By experiment and variant: the last row in the database, and its end.
    rows: BTreeMap<[String; 2], (Breakers, i64)>,
}

/// A row that begins or lasts.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    experiment: String,
    variant: String,
    /// The state that begins, and the trips since the last reading; `None`: the row lasts.
    begins: Option<(Breakers, u64)>,
    /// Whether the row before lasted until now.
    extends: bool,
}

impl Observed {
    /// What is known of an experiment.
    pub(crate) fn of(&self, experiment: &str) -> Option<&BTreeMap<String, Breakers>> {
        self.until.filter(|until| Instant::now() < *until)?;
        self.now.get(experiment)
    }

    /// Takes a reading of all proxies. Returns what is to be written.
    fn take(&mut self, readings: &[BreakerReading], time: i64, valid: Duration) -> Vec<Change> {
        // The first reading tells nothing about trips: the proxies may have run for weeks.
        let is_first = self.until.is_none();
        let is_gap = self.until.is_none_or(|until| until < Instant::now());
        self.until = Some(Instant::now() + valid);
        let mut trips: BTreeMap<[&str; 2], u64> = BTreeMap::new();
        let mut counters = BTreeMap::new();
        self.now.clear();
        for BreakerReading { proxy, experiment, variant, state, trips: count } in readings {
            let variants = self.now.entry(experiment.clone()).or_default();
            variants.entry(variant.clone()).or_default().add(*state);
            let key = [proxy.clone(), experiment.clone(), variant.clone()];
            let new = match self.counters.get(&key) {
                // A proxy that began again counts from zero.
                Some(old) => count.checked_sub(*old).unwrap_or(*count),
                None if is_first => 0,
                None => *count,
            };
            *trips.entry([experiment, variant]).or_default() += new;
            counters.insert(key, *count);
        }
        // A proxy that is missing once may be back with the same counter; one that is gone for good is not kept for ever.
        if self.counters.len() > MOST_COUNTERS {
            self.counters.clear();
        }
        self.counters.append(&mut counters);
        let mut changes = Vec::new();
        for (experiment, variants) in &self.now {
            for (variant, breakers) in variants {
                let trips = trips.get(&[experiment.as_str(), variant]).copied().unwrap_or(0);
                let row = self.rows.get(&[experiment.clone(), variant.clone()]);
                let lasts = row.is_some_and(|(old, _)| !is_gap && trips == 0 && old == breakers);
                if lasts && row.is_some_and(|(_, end)| time - end < EXTENDED) {
                    continue;
                }
                changes.push(Change {
                    experiment: experiment.clone(),
                    variant: variant.clone(),
                    begins: (!lasts).then_some((*breakers, trips)),
                    extends: row.is_some() && !is_gap,
                });
                self.rows.insert([experiment.clone(), variant.clone()], (*breakers, time));
            }
        }
        changes
    }
}

impl Store {
    /// Takes what the metrics of all proxies say about breakers now. It is known to be so for the time `valid`, or until the next
    /// reading.
    ///
    /// # Errors
    /// A change cannot be written.
    pub fn observe_breakers(
        &self,
        readings: &[BreakerReading],
        valid: Duration,
    ) -> Result<(), Error> {
        let catalog = self.catalog();
        let known: Vec<BreakerReading> = readings
            .iter()
            .filter(|reading| catalog.get(&reading.experiment).is_some())
            .cloned()
            .collect();
        let time = crate::writer::time(now());
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = observed.take(&known, time, valid);
        drop(observed);
        if changes.is_empty() {
            return Ok(());
        }
        let trials: Vec<String> = changes
            .iter()
            .map(|change| catalog.get(&change.experiment).map(|entry| entry.trial.clone()))
            .map(Option::unwrap_or_default)
            .collect();
        let write = move |database: &mut Connection| {
            let transaction = database.transaction()?;
            for (change, trial) in changes.iter().zip(&trials) {
                let Change { experiment, variant, begins, extends } = change;
                if *extends {
                    transaction.execute(
                        "UPDATE breaker SET last = ?3 WHERE seq = (SELECT max(seq) FROM breaker
                         WHERE experiment = ?1 AND variant = ?2)",
                        params![experiment, variant, time],
                    )?;
                }
                if let Some((breakers, trips)) = begins {
                    let Breakers { closed, half_open, open } = breakers;
                    let trips = i64::try_from(*trips).unwrap_or(i64::MAX);
                    transaction.execute(
                        "INSERT INTO breaker (experiment, trial, variant, first, last, closed, half_open,
                            open, trips) VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8)",
                        params![experiment, trial, variant, time, closed, half_open, open, trips],
                    )?;
                }
            }
            transaction.commit()
        };
        self.writer.run(write)?.map_err(Error::database(&self.folder.database()))
    }

    /// Asks a source for the breakers of all proxies again and again, until the result is dropped.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch_breakers(
        self: &Arc<Self>,
        every: Duration,
        mut source: impl FnMut() -> Result<Vec<BreakerReading>, String> + Send + 'static,
    ) -> Result<BreakerWatch, Error> {
        let shared = Arc::new(Shared::default());
        let (of_thread, store) = (Arc::clone(&shared), Arc::downgrade(self));
        let valid = every * 3;
        let work = move || {
            let mut since_good = Instant::now();
            while !of_thread.is_stopped.load(Ordering::Relaxed) {
                let read = source();
                let Some(store) = store.upgrade() else { return };
                let result = read.and_then(|readings| {
                    store.observe_breakers(&readings, valid).map_err(|error| error.to_string())
                });
                if result.is_ok() {
                    since_good = Instant::now();
                } else if since_good.elapsed() > valid {
                    // Verdicts that were kept show states that are not known any more.
                    store.writer.version.fetch_add(1, Ordering::Release);
                }
                *of_thread.problem.lock().unwrap_or_else(PoisonError::into_inner) = result.err();
                drop(store);
                std::thread::park_timeout(every);
            }
        };
        let thread = std::thread::Builder::new().name("store-breakers".to_owned());
        let thread = thread.spawn(work).map_err(Error::io(self.path()))?;
        Ok(BreakerWatch { shared, thread: thread.thread().clone() })
    }
}

#[derive(Debug, Default)]
struct Shared {
    is_stopped: AtomicBool,
    problem: Mutex<Option<String>>,
}

/// Asks for breakers until it is dropped.
#[derive(Debug)]
pub struct BreakerWatch {
    shared: Arc<Shared>,
    thread: std::thread::Thread,
}

impl BreakerWatch {
    /// Why the last reading failed, if it did.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.shared.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for BreakerWatch {
    fn drop(&mut self) {
        // It is not waited for: a source may take seconds to answer.
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests;
