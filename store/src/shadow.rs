//! Predictions of the mirror beside those of the baseline, paired by request.
//!
//! A prediction names no experiment. It belongs to all experiments of the store but those that its request is known not to be of.

use std::collections::{BTreeMap, HashSet};

use rusqlite::params;
use serde::Serialize;
use serde_json::{Map, Value};
use sidetrack::names::log;

use crate::error::Error;
use crate::live::Failure;
use crate::outcome::Source;
use crate::store::Store;
use crate::verdict::hash;
use crate::writer::{predictions_of, same};

/// Rows that are read at once.
const CHUNK: i64 = 5000;

/// How far the mirror agrees with the baseline.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Comparison {
    /// Requests with a prediction of both.
    pub(crate) paired: u64,
    /// Requests with a prediction of one only.
    pub(crate) baseline_only: u64,
    pub(crate) mirror_only: u64,
    pub(crate) values: BTreeMap<String, Agreement>,
}

/// How far the two agree in a value.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Agreement {
    /// Pairs in which both predictions have the value.
    pub(crate) pairs: u64,
    /// Pairs in which it is equal.
    pub(crate) equal: u64,
    /// The share of equal pairs, from 0 to 1.
    pub(crate) agreement: f64,
    /// Where both are numbers: the mirror's minus the baseline's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) difference: Option<Difference>,
}

/// Differences of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub(crate) pairs: u64,
    pub(crate) mean: f64,
    pub(crate) mean_absolute: f64,
    pub(crate) largest_absolute: f64,
}

impl Comparison {
    fn add(&mut self, baseline: &Map<String, Value>, mirror: &Map<String, Value>) {
        self.paired += 1;
        for (name, one) in baseline.iter().filter(|(name, _)| *name != log::TIME) {
            let Some(other) = mirror.get(name) else { continue };
            self.values.entry(name.clone()).or_default().add(one, other);
        }
    }
}

impl Agreement {
    /// Adds a pair. Means are updated as they grow, so no sum loses its digits.
    fn add(&mut self, baseline: &Value, mirror: &Value) {
        self.pairs += 1;
        self.equal += u64::from(same(baseline, mirror));
        self.agreement = to_f64(self.equal) / to_f64(self.pairs);
        if let (Some(one), Some(other)) = (baseline.as_f64(), mirror.as_f64()) {
            let sums = self.difference.get_or_insert_default();
            let difference = other - one;
            sums.pairs += 1;
            sums.mean += (difference - sums.mean) / to_f64(sums.pairs);
            sums.mean_absolute += (difference.abs() - sums.mean_absolute) / to_f64(sums.pairs);
            sums.largest_absolute = sums.largest_absolute.max(difference.abs());
        }
    }
}

/// The request and the values of a prediction.
type Row = (String, Map<String, Value>);

/// How exported rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    Lines,
    Csv,
}

impl Store {
    /// The mirror beside the baseline, in requests that are not of other experiments.
    pub(crate) fn comparison(&self, experiment: &str) -> Result<Comparison, Error> {
        let foreign = self.requests_of_others(
            experiment,
            &self.log(experiment)?,
            &Source::ALL.map(predictions_of),
        )?;
        let work = || -> Result<Comparison, Failure> {
            let database = self.reader()?;
            let mut found = Comparison::default();
            let (ours, theirs) = (predictions_of(Source::Baseline), predictions_of(Source::Mirror));
            let mut pairs = database.prepare(&format!(
                "SELECT request_id, one.row, other.row FROM {ours} AS one
                 LEFT JOIN {theirs} AS other USING (request_id)"
            ))?;
            let mut rows = pairs.query([])?;
            while let Some(row) = rows.next()? {
                if foreign.contains(&hash(&row.get::<_, String>(0)?)) {
                    continue;
                }
                let (one, other): (String, Option<String>) = (row.get(1)?, row.get(2)?);
                match other {
                    Some(other) => found.add(&object(&one), &object(&other)),
                    None => found.baseline_only += 1,
                }
            }
            let mut alone = database.prepare(&format!(
                "SELECT request_id FROM {theirs} AS other WHERE NOT EXISTS
                 (SELECT 1 FROM {ours} AS one WHERE one.request_id = other.request_id)"
            ))?;
            let mut rows = alone.query([])?;
            while let Some(row) = rows.next()? {
                let is_foreign = foreign.contains(&hash(&row.get::<_, String>(0)?));
                found.mirror_only += u64::from(!is_foreign);
            }
            Ok(found)
        };
        work().map_err(|error| self.failure(error))
    }

    /// Gives the predictions to `sink` a part at a time, in the form in which they can be sent again, until it returns false.
    pub(crate) fn export(
        &self,
        experiment: &str,
        export: Export,
        mut sink: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<(), Error> {
        let foreign = self.requests_of_others(
            experiment,
            &self.log(experiment)?,
            &Source::ALL.map(predictions_of),
        )?;
        let mut names = Vec::new();
        if export == Export::Csv {
            names = self.prediction_values().map_err(|error| self.failure(error))?;
            let columns = ["request_id", "source", log::TIME].into_iter();
            let columns: Vec<_> = columns.chain(names.iter().map(String::as_str)).collect();
            if !sink(record(&columns)) {
                return Ok(());
            }
        }
        for source in Source::ALL {
            let mut last = 0;
            loop {
                let part = self.part(source, &mut last, &foreign);
                let Some(part) = part.map_err(|error| self.failure(error))? else { break };
                let text = part.into_iter().flat_map(|(id, row)| match export {
                    Export::Lines => line(id, source, row),
                    Export::Csv => cells(&id, source, &row, &names),
                });
                if !sink(text.collect()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The predictions of an experiment as JSON, one to a line, in the form in which they can be sent again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn predictions(&self, experiment: &str) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        self.export(experiment, Export::Lines, |part| {
            all.extend(part);
            true
        })?;
        Ok(all)
    }

    /// The names of the values of predictions.
    fn prediction_values(&self) -> Result<Vec<String>, Failure> {
        let database = self.reader()?;
        let mut find = database.prepare("SELECT name FROM prediction_value ORDER BY name")?;
        let names = find.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// The next rows of a model after `last`; none at the end. A part at a time, so that no reader holds up the database.
    fn part(
        &self,
        source: Source,
        last: &mut i64,
        foreign: &HashSet<u64>,
    ) -> Result<Option<Vec<Row>>, Failure> {
        let database = self.reader()?;
        let table = predictions_of(source);
        let mut find = database.prepare(&format!(
            "SELECT seq, request_id, row FROM {table} WHERE seq > ?1 ORDER BY seq LIMIT ?2"
        ))?;
        let mut rows = find.query(params![*last, CHUNK])?;
        let (mut part, mut is_end) = (Vec::new(), true);
        while let Some(row) = rows.next()? {
            is_end = false;
            *last = row.get(0)?;
            let id: String = row.get(1)?;
            if !foreign.contains(&hash(&id)) {
                part.push((id, object(&row.get::<_, String>(2)?)));
            }
        }
        Ok((!is_end).then_some(part))
    }
}

fn object(row: &str) -> Map<String, Value> {
    serde_json::from_str(row).unwrap_or_default()
}

fn line(id: String, source: Source, mut row: Map<String, Value>) -> Vec<u8> {
    row.insert("request_id".to_owned(), id.into());
    row.insert("source".to_owned(), source.name().into());
    let mut text = Value::Object(row).to_string().into_bytes();
    text.push(b'\n');
    text
}

fn cells(id: &str, source: Source, row: &Map<String, Value>, names: &[String]) -> Vec<u8> {
    let values = std::iter::once(log::TIME).chain(names.iter().map(String::as_str));
    let values = values.map(|name| match row.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    });
    let all = [id.to_owned(), source.name().to_owned()].into_iter().chain(values);
    record(&all.collect::<Vec<_>>())
}

/// A row of a table; writing to memory cannot fail.
fn record<T: AsRef<[u8]>>(cells: &[T]) -> Vec<u8> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(cells).ok();
    table.into_inner().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
const fn to_f64(count: u64) -> f64 {
    count as f64
}
