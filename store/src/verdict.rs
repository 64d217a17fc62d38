//! The verdict on what is stored, by the same analysis as `sidetrack analyze run` without options.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Cursor;
use std::num::NonZero;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value};
use sidetrack::names::log;
use sidetrack_analysis::{
    ACCURACY, Error as AnalysisError, Input, Logs, MetricRequest, Outcomes, Settings, analyze,
};

use crate::catalog::Entry;
use crate::error::Error;
use crate::source::StoredLog;
use crate::store::Store;

/// A verdict that was computed.
#[derive(Debug)]
pub(crate) struct Cached {
    /// The version of the data.
    version: u64,
    begun: Instant,
    verdict: Arc<Value>,
}

/// Why there is no verdict.
#[derive(Debug)]
pub(crate) enum NoVerdict {
    /// No file has the experiment.
    Unknown,
    /// The data do not carry the planned analysis yet.
    NotYet(String),
    /// The store cannot be read.
    Failed(Error),
}

impl From<Error> for NoVerdict {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Rows of outcomes as JSON lines, and the names of their metrics.
#[derive(Default)]
struct Table {
    text: String,
    metrics: BTreeSet<String>,
}

impl Table {
    fn add(&mut self, key: &str, id: &str, row: &str) {
        let Ok(mut row) = serde_json::from_str::<Map<String, Value>>(row) else { return };
        self.metrics.extend(row.keys().cloned());
        row.insert(key.to_owned(), id.into());
        self.text += &Value::Object(row).to_string();
        self.text.push('\n');
    }

    fn has(&self, names: &[&str]) -> usize {
        let has = |name: &str| self.metrics.contains(name);
        // What `accuracy` is made of.
        let is_there =
            |name: &str| has(name) || (name == ACCURACY && (has("correct") || has("prediction")));
        names.iter().filter(|name| is_there(name)).count()
    }
}

impl Store {
    /// What `analyze run --json` says of the experiment, and what is in force now. Kept until something is stored.
    pub(crate) fn verdict(&self, name: &str) -> Result<Arc<Value>, NoVerdict> {
        let catalog = self.catalog();
        let entry = catalog.get(name).ok_or(NoVerdict::Unknown)?;
        // One analysis at a time: each uses all cores. Requests that wait for it share the next one.
        let arrived = Instant::now();
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.writer.version.load(Ordering::Acquire);
        let good = |cached: &&Cached| cached.version == version || cached.begun >= arrived;
        if let Some(cached) = verdicts.get(name).filter(good) {
            return Ok(Arc::clone(&cached.verdict));
        }
        let begun = Instant::now();
        let _still = self.still();
        let log = self.log(name)?;
        let mut verdict = self.analyzed(entry, &log)?;
        if let Some(object) = verdict.as_object_mut() {
            let live = serde_json::to_value(self.live(name)?).unwrap_or_default();
            object.insert("live".to_owned(), live);
        }
        let verdict = Arc::new(verdict);
        let cached = Cached { version, begun, verdict: Arc::clone(&verdict) };
        verdicts.insert(name.to_owned(), cached);
        Ok(verdict)
    }

    fn analyzed(&self, entry: &Entry, log: &StoredLog) -> Result<Value, NoVerdict> {
        let Entry { experiment, analysis, strata, config_hash, .. } = entry;
        let planned = analysis.iter().flat_map(|plan| plan.metrics.iter().chain(&plan.guardrails));
        let named: Vec<&str> = planned.map(MetricRequest::name).collect();
        let rows = self.table(entry, log, &named)?;
        let outcomes = (!rows.is_empty())
            .then(|| {
                let rows = Box::new(Cursor::new(rows.into_bytes()));
                Outcomes::from_reader(rows, "the stored outcomes", experiment, &named)
            })
            .transpose()
            .map_err(not_yet)?;
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let settings = Settings::planned(analysis.as_ref(), threads)
            .map_err(|error| NoVerdict::NotYet(error.to_string()))?;
        let logs = Logs::of("the stored exposures", Arc::new(log.clone()));
        let input =
            Input { experiment, strata, config_hash, logs: &logs, outcomes: outcomes.as_ref() };
        let (analysis, _) = analyze(input, &settings, &|_, _| {}).map_err(not_yet)?;
        Ok(serde_json::to_value(&analysis).unwrap_or_default())
    }

    /// The outcomes about requests, or those about units: whichever have more of the planned metrics.
    fn table(&self, entry: &Entry, log: &StoredLog, named: &[&str]) -> Result<String, Error> {
        let name = entry.experiment.name.as_str();
        let fail = |error| Error::database(&log.database)(error);
        let database = self.reader()?;
        let foreign = self.requests_of_others(name, log)?;
        let mut requests = Table::default();
        let mut find = database
            .prepare("SELECT request_id, row FROM outcome_request ORDER BY seq")
            .map_err(fail)?;
        let mut rows = find.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let id: String = row.get(0).map_err(fail)?;
            let values: String = row.get(1).map_err(fail)?;
            if !foreign.contains(&hash(&id)) {
                requests.add(log::REQUEST_ID, &id, &values);
            }
        }
        let mut units = Table::default();
        let mut find = database
            .prepare("SELECT unit, row FROM outcome_unit WHERE experiment = ?1 ORDER BY seq")
            .map_err(fail)?;
        let mut rows = find.query([name]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let unit: String = row.get(0).map_err(fail)?;
            let values: String = row.get(1).map_err(fail)?;
            units.add(log::UNIT, &unit, &values);
        }
        let by_unit = requests.text.is_empty() || units.has(named) > requests.has(named);
        Ok(if by_unit { units.text } else { requests.text })
    }

    /// The requests that other experiments took: their outcomes are not about this one.
    fn requests_of_others(&self, name: &str, log: &StoredLog) -> Result<HashSet<u64>, Error> {
        let mut found = HashSet::new();
        let catalog = self.catalog();
        for other in catalog.names().filter(|other| *other != name) {
            let log = StoredLog { experiment: other.to_owned(), ..log.clone() };
            for line in log.lines()? {
                let Ok(line) = serde_json::from_str::<Value>(&line?) else { continue };
                found.extend(line.get(log::REQUEST_ID).and_then(Value::as_str).map(hash));
            }
        }
        Ok(found)
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn not_yet(error: AnalysisError) -> NoVerdict {
    match error {
        AnalysisError::Input { problem, .. } => NoVerdict::NotYet(problem),
        AnalysisError::Read { file, source } => {
            NoVerdict::Failed(Error::Database(format!("cannot read {file}: {source}")))
        }
    }
}
