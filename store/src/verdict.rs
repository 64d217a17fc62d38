//! The verdict on what is stored, by the same analysis as `sidetrack analyze run` without options.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::num::NonZero;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Map, Value};
use sidetrack::config::Model;
use sidetrack::names::log;
use sidetrack::plan::Experiment;
use sidetrack_analysis::plan::AnalysisPlan;
use sidetrack_analysis::{
    ACCURACY, Analysis, Error as AnalysisError, Input, Logs, MODEL_METRICS, Outcomes, Part, Series,
    Settings, Wanted, analyze,
};

use crate::catalog::Entry;
use crate::error::Error;
use crate::live::{Failure, Live};
use crate::source::StoredLog;
use crate::store::Store;

/// What `analyze run --json` says of an experiment, and what is in force.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The analysis.
    #[serde(flatten)]
    pub analysis: Analysis,
    /// What is in force.
    pub live: Live,
    /// What is drawn.
    #[serde(skip)]
    pub series: Series,
}

/// A verdict that was computed.
#[derive(Debug)]
pub(crate) struct Cached {
    /// The version of the data and of the files.
    version: u64,
    begun: Instant,
    verdict: Arc<Verdict>,
}

/// Why there is no verdict.
#[derive(Debug)]
pub enum NoVerdict {
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

/// Outcomes of one kind: how to read them, and what they have.
struct Kind {
    /// The key of a row: `request_id` or `unit`.
    key: &'static str,
    /// Selects keys and rows, in the order of their arrival.
    query: &'static str,
    /// The names of the columns in the order in which rows bring them, the key among them.
    columns: Vec<String>,
}

impl Kind {
    const fn new(key: &'static str, query: &'static str) -> Self {
        Self { key, query, columns: Vec::new() }
    }

    /// Takes note of what a row has.
    fn meet(&mut self, row: &str) {
        let Ok(row) = serde_json::from_str::<Map<String, Value>>(row) else { return };
        let mut names: Vec<&str> = row.keys().map(String::as_str).chain([self.key]).collect();
        names.sort_unstable();
        for name in names {
            if !self.columns.iter().any(|known| known == name) {
                self.columns.push(name.to_owned());
            }
        }
    }

    fn has(&self, wanted: Wanted<'_>) -> usize {
        planned(wanted, |name| self.columns.iter().any(|column| column == name))
    }

    /// Takes predictions of the same requests as well.
    fn with_predictions(self) -> Self {
        // A prediction comes before its label.
        let query = "SELECT request_id, row, part FROM
             (SELECT 0 AS part, seq, request_id, row FROM prediction_baseline
              UNION ALL SELECT 1, seq, request_id, row FROM outcome_request)
             WHERE ?1 != '' ORDER BY part, seq";
        Self { query, ..self }
    }

    /// A stored row with its key, as a JSON object.
    fn object(&self, id: &str, row: &str) -> String {
        let Self { key, .. } = self;
        let id = Value::from(id);
        match row.strip_prefix('{') {
            Some("}") | None => format!("{{\"{key}\":{id}}}"),
            Some(rest) => format!("{{\"{key}\":{id},{rest}"),
        }
    }
}

impl Store {
    /// The verdict on an experiment. Kept until something is stored, or the files change.
    ///
    /// # Errors
    /// There is no verdict, and why.
    pub fn verdict(&self, name: &str) -> Result<Arc<Verdict>, NoVerdict> {
        if self.catalog().get(name).is_none() {
            return Err(NoVerdict::Unknown);
        }
        // One analysis at a time: each uses all cores. Requests that wait for it share the next one.
        let arrived = Instant::now();
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the catalog is read: a file that changes meanwhile makes the result an old one.
        let version = self.version();
        let good = |cached: &&Cached| cached.version == version || cached.begun >= arrived;
        if let Some(cached) = verdicts.get(name).filter(good) {
            return Ok(Arc::clone(&cached.verdict));
        }
        let begun = Instant::now();
        let catalog = self.catalog();
        let entry = catalog.get(name).ok_or(NoVerdict::Unknown)?;
        let _still = self.still();
        let log = self.log(name)?;
        let (analysis, series) = self.analyzed(entry, &log)?;
        let verdict = Arc::new(Verdict { analysis, live: self.live(name)?, series });
        let cached = Cached { version, begun, verdict: Arc::clone(&verdict) };
        verdicts.insert(name.to_owned(), cached);
        Ok(verdict)
    }

    fn analyzed(&self, entry: &Entry, log: &StoredLog) -> Result<(Analysis, Series), NoVerdict> {
        let Entry { experiment, analysis, strata, config_hash, .. } = entry;
        let named = analysis.as_ref().map_or_else(Vec::new, AnalysisPlan::named);
        let segments = analysis.iter().flat_map(|plan| plan.segments.iter().map(String::as_str));
        let segments: Vec<&str> = segments.collect();
        let model = analysis.as_ref().and_then(|plan| plan.model.as_ref());
        let wanted = Wanted { named: &named, segments: &segments, model, ..Wanted::default() };
        let outcomes = self.outcomes_of(experiment, log, wanted)?;
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let settings = Settings::planned(analysis.as_ref(), threads)
            .map_err(|error| NoVerdict::NotYet(error.to_string()))?;
        let logs = Logs::of("the stored exposures", Arc::new(log.clone()));
        let input =
            Input { experiment, strata, config_hash, logs: &logs, outcomes: outcomes.as_ref() };
        let found = analyze(input, &settings, &|_, _| {}).map_err(not_yet)?;
        let by_request = outcomes.as_ref().is_some_and(Outcomes::by_request);
        let Some(rows) = self.not_of(&found.0, by_request) else { return Ok(found) };
        // What is known of requests alone may be all that the plan needs.
        analyze(Input { outcomes: None, ..input }, &settings, &|_, _| {}).map_err(|error| {
            match not_yet(error) {
                NoVerdict::NotYet(problem) => NoVerdict::NotYet(format!("{rows}; {problem}")),
                failed => failed,
            }
        })
    }

    /// What the outcomes are about, if none is about the trial in force: about its other trials, or perhaps about other
    /// experiments. Where there are neither, their ids are at fault, as the analysis says.
    fn not_of(&self, analysis: &Analysis, by_request: bool) -> Option<String> {
        let counts = analysis.outcomes.as_ref().filter(|counts| counts.matched == 0)?;
        // A row about a unit names its experiment.
        let others = by_request && self.catalog().names().count() > 1;
        let may_be_of_others = others && counts.unmatched > 0;
        (counts.other_trial > 0 || may_be_of_others).then(|| {
            format!(
                "no outcome of this trial yet: of {} rows, {} are about other trials, and {} about \
                 nothing that is stored",
                counts.rows, counts.other_trial, counts.unmatched
            )
        })
    }

    /// The outcomes about requests, or those about units: whichever have more of the planned metrics; of equals, those of
    /// which more rows belong to exposures. They are read from the database one by one, so that only their values are in
    /// memory.
    fn outcomes_of(
        &self,
        experiment: &Experiment,
        log: &StoredLog,
        wanted: Wanted<'_>,
    ) -> Result<Option<Outcomes>, NoVerdict> {
        let name = experiment.name.as_str();
        let fail = |error| Error::database(&log.database)(error);
        let mut database = self.reader()?;
        // Both times the same rows, whatever arrives meanwhile.
        let database = database.transaction().map_err(fail)?;
        let tables: &[&str] = match wanted.model {
            Some(_) => &["outcome_request", "prediction_baseline"],
            None => &["outcome_request"],
        };
        let foreign = self.requests_of_others(name, log, tables)?;
        let mut kinds = [
            Kind::new(
                log::REQUEST_ID,
                "SELECT request_id, row, 1 FROM outcome_request WHERE ?1 != '' ORDER BY seq",
            ),
            Kind::new(
                log::UNIT,
                "SELECT unit, row, 1 FROM outcome_unit WHERE experiment = ?1 ORDER BY seq",
            ),
        ];
        if wanted.model.is_some() {
            let [requests, units] = kinds;
            kinds = [requests.with_predictions(), units];
        }
        let is_own = |id: &str| !foreign.contains(&hash(id));
        let of = |row: &rusqlite::Row<'_>| stored(row, wanted.model);
        for kind in &mut kinds {
            let mut find = database.prepare(kind.query).map_err(fail)?;
            let mut rows = find.query([name]).map_err(fail)?;
            while let Some(row) = rows.next().map_err(fail)? {
                let (id, values) = of(row).map_err(fail)?;
                if kind.key != log::REQUEST_ID || is_own(&id) {
                    kind.meet(&values);
                }
            }
        }
        let [requests, units] = &kinds;
        let by_unit = if requests.columns.is_empty() || units.columns.is_empty() {
            requests.columns.is_empty()
        } else {
            match units.has(wanted).cmp(&requests.has(wanted)) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => has_more_units(&database, &kinds, log, wanted)?,
            }
        };
        let kind = if by_unit { units } else { requests };
        if kind.columns.is_empty() {
            return Ok(None);
        }
        let mut find = database.prepare(kind.query).map_err(fail)?;
        let rows = find.query_map([name], |row| {
            let (id, values) = of(row)?;
            Ok((by_unit || is_own(&id)).then(|| kind.object(&id, &values)))
        });
        let mut rows =
            rows.map_err(fail)?.filter_map(|row| row.map_err(io::Error::other).transpose());
        let source = "the stored outcomes";
        let outcomes = Outcomes::of_objects(&mut rows, &kind.columns, source, experiment, wanted);
        outcomes.map(Some).map_err(not_yet)
    }

    /// The requests in these tables that other experiments took and this one did not: their rows are not about this one. As many
    /// as there are rows at most, which the analysis holds as well, however many requests the others have.
    pub(crate) fn requests_of_others(
        &self,
        name: &str,
        log: &StoredLog,
        tables: &[&str],
    ) -> Result<HashSet<u64>, Error> {
        let mut found = HashSet::new();
        let catalog = self.catalog();
        if catalog.names().all(|other| other == name) {
            return Ok(found);
        }
        let asked = self.requests_in(tables).map_err(|error| self.failure(error))?;
        for other in catalog.names().filter(|other| *other != name) {
            let log = StoredLog { experiment: other.to_owned(), ..log.clone() };
            each(&log, log::REQUEST_ID, |id| {
                if asked.contains(&id) {
                    found.insert(id);
                }
            })?;
        }
        // A mesh passes the id of a request on, so that several experiments may take it.
        if !found.is_empty() {
            each(log, log::REQUEST_ID, |id| {
                found.remove(&id);
            })?;
        }
        Ok(found)
    }
}

impl Store {
    /// The requests that have a row in these tables, as hashes.
    fn requests_in(&self, tables: &[&str]) -> Result<HashSet<u64>, Failure> {
        let database = self.reader()?;
        let mut found = HashSet::new();
        for table in tables {
            let mut find = database.prepare(&format!("SELECT request_id FROM {table}"))?;
            let mut rows = find.query([])?;
            while let Some(row) = rows.next()? {
                found.insert(hash(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?));
            }
        }
        Ok(found)
    }
}

/// A stored row with its key. Of a prediction, only what the model of the plan names: the rest is no outcome.
fn stored(row: &rusqlite::Row<'_>, model: Option<&Model>) -> rusqlite::Result<(String, String)> {
    let (id, values): (String, String) = (row.get(0)?, row.get(1)?);
    let Some(model) = model.filter(|_| row.get(2).is_ok_and(|part: i64| part == 0)) else {
        return Ok((id, values));
    };
    let named = [model.prediction.as_ref(), model.score.as_ref()];
    let mut all: Map<String, Value> = serde_json::from_str(&values).unwrap_or_default();
    all.retain(|name, _| named.contains(&Some(name)));
    Ok((id, Value::Object(all).to_string()))
}

/// Gives `to` a field of each exposure, as its hash.
fn each(log: &StoredLog, field: &str, mut to: impl FnMut(u64)) -> Result<(), Error> {
    for line in log.lines()? {
        let Ok(line) = serde_json::from_str::<Value>(&line?) else { continue };
        line.get(field).and_then(Value::as_str).map(hash).into_iter().for_each(&mut to);
    }
    Ok(())
}

/// How many of these metrics there are, if there are these columns.
fn planned(wanted: Wanted<'_>, has: impl Fn(&str) -> bool) -> usize {
    let has_labels = wanted.model.is_some_and(|model| has(&model.label));
    // What `accuracy` and the metrics of a model are made of.
    let is_made = |name: &str| name == ACCURACY && (has("correct") || has("prediction"));
    let is_there =
        |name: &str| has(name) || is_made(name) || (has_labels && MODEL_METRICS.contains(&name));
    wanted.named.iter().filter(|name| is_there(name)).count()
}

/// Whether more rows of units than of requests belong to exposures and have a planned metric.
fn has_more_units(
    database: &Connection,
    kinds: &[Kind; 2],
    log: &StoredLog,
    wanted: Wanted<'_>,
) -> Result<bool, Error> {
    let fail = |error| Error::database(&log.database)(error);
    let mut counts = [0_u64; 2];
    for (kind, count) in kinds.iter().zip(&mut counts) {
        let mut exposed = HashSet::new();
        each(log, kind.key, |id| {
            exposed.insert(id);
        })?;
        let mut find = database.prepare(kind.query).map_err(fail)?;
        let mut rows = find.query([&log.experiment]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let text = |at| row.get_ref(at).and_then(|value| Ok(value.as_str()?)).map_err(fail);
            if !exposed.contains(&hash(text(0)?)) {
                continue;
            }
            let Ok(row) = serde_json::from_str::<Map<String, Value>>(text(1)?) else { continue };
            let is_planned =
                wanted.named.is_empty() || planned(wanted, |name| row.contains_key(name)) > 0;
            *count += u64::from(is_planned);
        }
    }
    let [requests, units] = counts;
    Ok(units > requests)
}

pub(crate) fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn not_yet(error: AnalysisError) -> NoVerdict {
    match error {
        AnalysisError::Input { part: Part::Metric(_, name), problem }
            if !problem.contains(&name) =>
        {
            NoVerdict::NotYet(format!("{name}: {problem}"))
        }
        AnalysisError::Input { problem, .. } => NoVerdict::NotYet(problem),
        AnalysisError::Read { file, source } => {
            NoVerdict::Failed(Error::Database(format!("cannot read {file}: {source}")))
        }
        AnalysisError::Temporary { folder, source } => {
            let problem = format!("cannot use temporary files in {folder}: {source}");
            NoVerdict::Failed(Error::Database(problem))
        }
    }
}
