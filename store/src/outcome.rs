//! What a row means: an outcome of a request or of a unit, or a prediction about a request.
//!
//! Values are kept as they were written; what they mean is decided by the analysis, as for a file. Of a row about a request, each
//! metric has one value: a later one replaces it. A row about a unit is an event; the same row again is the same event, so two
//! equal ones need different times. A prediction is what one of two models answered to a request, so its key is the request with
//! the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use sidetrack_analysis::Clock;

use crate::catalog::Catalog;

/// The most values that a row may have.
const MOST_VALUES: usize = 64;
/// The longest name of a value, text or id, in characters.
const LONGEST: usize = 512;

fn is_long(text: &str) -> bool {
    text.len() > LONGEST && text.chars().count() > LONGEST
}

/// What the rows of a body are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Outcomes,
    Predictions,
}

impl Kind {
    /// What a value of a row is called.
    const fn noun(self) -> &'static str {
        match self {
            Self::Outcomes => "metric",
            Self::Predictions => "value",
        }
    }

    /// Whether a table with these columns can have rows of this kind.
    pub(crate) fn check_header(self, header: &csv::StringRecord) -> Result<(), String> {
        let has = |wanted: &str| header.iter().any(|name| name == wanted);
        let (is_good, missing, example) = match self {
            Self::Outcomes => (
                has("request_id") || has("unit"),
                "neither request_id nor unit",
                "request_id,accuracy",
            ),
            Self::Predictions => (
                has("request_id") && has("source"),
                "not both request_id and source",
                "request_id,source,score",
            ),
        };
        if is_good {
            return Ok(());
        }
        let names: Vec<&str> = header.iter().collect();
        Err(format!(
            "the header has {missing}: {}; the first line names the columns, as in {example}",
            names.join(",")
        ))
    }
}

/// The model that made a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The one whose response the client got.
    Baseline,
    /// The one that got a copy of the request.
    Mirror,
}

impl Source {
    pub(crate) const ALL: [Self; 2] = [Self::Baseline, Self::Mirror];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Mirror => "mirror",
        }
    }
}

/// The names of the values so far. Their number is limited, so that no sender chooses how much the store keeps.
#[derive(Debug)]
pub(crate) struct Names {
    held: Arc<Mutex<Held>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Held {
    stored: BTreeSet<String>,
    /// Those of rows that wait to be stored, with the number of bodies that bring them.
    waiting: BTreeMap<String, usize>,
}

impl Held {
    fn count(&self) -> usize {
        self.stored.len() + self.waiting.len()
    }
}

/// The new names of a body. They count while it waits, and for good if it is stored.
#[derive(Debug, Default)]
pub(crate) struct NewNames {
    names: BTreeSet<String>,
    held: Option<Arc<Mutex<Held>>>,
}

impl NewNames {
    /// The body is stored.
    pub(crate) fn keep(mut self) {
        let Some(held) = self.held.take() else { return };
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        for name in std::mem::take(&mut self.names) {
            held.waiting.remove(&name);
            held.stored.insert(name);
        }
    }
}

impl Drop for NewNames {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.names {
            match held.waiting.get_mut(name) {
                Some(bodies @ 2..) => *bodies -= 1,
                _ => drop(held.waiting.remove(name)),
            }
        }
    }
}

impl Names {
    pub(crate) fn new(stored: BTreeSet<String>, most: usize) -> Self {
        let held = Held { stored, waiting: BTreeMap::new() };
        Self { held: Arc::new(Mutex::new(held)), most }
    }

    /// Takes note of the values of a row of a body.
    fn admit(&self, row: &Map<String, Value>, kind: Kind, of: &mut NewNames) -> Result<(), String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |name: &&String| {
            *name != "time" && !held.stored.contains(*name) && !of.names.contains(*name)
        };
        let new: Vec<&String> = row.keys().filter(is_new).collect();
        let more = new.iter().filter(|name| !held.waiting.contains_key(**name));
        if let Some(first) = more.clone().next()
            && held.count() + more.count() > self.most
        {
            return Err(format!(
                "{first:?} would be more than {} different {}s; --max-metrics raises the limit",
                self.most,
                kind.noun()
            ));
        }
        for name in new {
            *held.waiting.entry(name.clone()).or_default() += 1;
            of.names.insert(name.clone());
        }
        of.held.get_or_insert_with(|| Arc::clone(&self.held));
        Ok(())
    }

    /// How many there are, with those of rows that wait to be stored.
    pub(crate) fn count(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).count()
    }
}

/// What a row may be about.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) kind: Kind,
    pub(crate) catalog: &'a Catalog,
    pub(crate) names: &'a Names,
}

/// What a row is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Request(String),
    /// The experiment and the unit as its log names it.
    Unit {
        experiment: String,
        unit: String,
        key: [u8; 16],
    },
    Prediction {
        request: String,
        source: Source,
    },
}

/// A row that can be stored.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) subject: Subject,
    /// Values, and the time.
    pub(crate) row: Map<String, Value>,
}

impl Known<'_> {
    /// Checks a row and adds what is to be stored of it.
    pub(crate) fn read(
        self,
        mut row: Map<String, Value>,
        into: &mut Vec<Outcome>,
        names: &mut NewNames,
    ) -> Result<(), String> {
        let key = self.kind.take_key(&mut row)?;
        check_values(&mut row, self.kind)?;
        self.names.admit(&row, self.kind, names)?;
        match key {
            Key::Request(id) => into.push(Outcome { subject: Subject::Request(id), row }),
            Key::Prediction(request, source) => {
                into.push(Outcome { subject: Subject::Prediction { request, source }, row });
            }
            Key::Unit(unit) => {
                for entry in self.catalog.all() {
                    let unit = if entry.plain || is_digest(&unit) {
                        unit.clone()
                    } else {
                        entry.experiment.exposure.pseudonym(unit.as_bytes())
                    };
                    let experiment = entry.experiment.name.clone();
                    let key = identity(&experiment, &unit, &row);
                    let subject = Subject::Unit { experiment, unit, key };
                    into.push(Outcome { subject, row: row.clone() });
                }
            }
        }
        Ok(())
    }
}

enum Key {
    Request(String),
    Unit(String),
    Prediction(String, Source),
}

impl Kind {
    /// Takes the key out of a row. A unit beside a request is dropped: the exposure has it.
    fn take_key(self, row: &mut Map<String, Value>) -> Result<Key, String> {
        let request = take_text(row, "request_id")?;
        let unit = take_text(row, "unit")?;
        match (self, request, unit) {
            (Self::Outcomes, Some(request), _) => Ok(Key::Request(request)),
            (Self::Outcomes, None, Some(unit)) => Ok(Key::Unit(unit)),
            (Self::Outcomes, None, None) => Err("request_id or unit is missing".to_owned()),
            (Self::Predictions, Some(request), _) => {
                let source = take_text(row, "source")?;
                let source = source.ok_or("source is missing, but must be baseline or mirror")?;
                let found = Source::ALL.into_iter().find(|known| known.name() == source);
                let found = found.ok_or_else(|| {
                    format!("source is {source:?}, but must be baseline or mirror")
                })?;
                Ok(Key::Prediction(request, found))
            }
            (Self::Predictions, None, _) => Err("request_id is missing".to_owned()),
        }
    }
}

fn take_text(row: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match row.remove(name) {
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if is_long(&text) => {
            Err(format!("{name} is longer than {LONGEST} characters"))
        }
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Null) | None => Ok(None),
        Some(other) => Err(format!("{name} is {other}, but must be text")),
    }
}

/// Whether a unit is a pseudonym already.
fn is_digest(unit: &str) -> bool {
    unit.len() == 32 && unit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Checks what remains of a row without its key.
fn check_values(row: &mut Map<String, Value>, kind: Kind) -> Result<(), String> {
    let noun = kind.noun();
    let is_name =
        |name: &String| !name.is_empty() && !is_long(name) && !name.chars().any(char::is_control);
    if !row.keys().all(is_name) {
        return Err(format!("the name of a {noun} must be text of 1 to {LONGEST} characters"));
    }
    // A missing value is no value.
    row.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    if let Some(time) = row.get_mut("time") {
        *time = normal_time(time)?.into();
    }
    let values = row.iter().filter(|(name, _)| *name != "time");
    if values.clone().count() == 0 {
        return Err(format!("the row has no {noun}"));
    }
    if values.clone().count() > MOST_VALUES {
        return Err(format!("the row has more than {MOST_VALUES} {noun}s"));
    }
    for (name, value) in values {
        match value {
            Value::Array(_) | Value::Object(_) => {
                return Err(format!(
                    "{name} is {value}, but must be a number, text, true or false"
                ));
            }
            Value::String(text) if is_long(text) => {
                return Err(format!("{name} is longer than {LONGEST} characters"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The time as the analysis reads it.
fn normal_time(time: &Value) -> Result<String, String> {
    let text = match time {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let read = Clock::default().read(&text);
    let time = read.ok_or_else(|| {
        format!("time is {time}, but must be a time as in 2026-11-23T09:00:00Z, or since 1970")
    })?;
    Ok(sidetrack::quantity::Timestamp::new(time).to_string())
}

fn identity(experiment: &str, unit: &str, row: &Map<String, Value>) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(experiment);
    hash.update([0]);
    hash.update(unit);
    // In the order of the names, whatever the order of the row.
    for (name, value) in row.iter().collect::<BTreeMap<_, _>>() {
        hash.update([0]);
        hash.update(name);
        hash.update([0]);
        hash.update(value.to_string());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = [0; 16];
    key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    key
}
