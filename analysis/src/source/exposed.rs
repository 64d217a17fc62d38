//! Exposures by themselves: the variant, the unit and the time of each request, for tables about requests or units.
//!
//! The rules are those of an analysis, so a line that does not count there has no variant here.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};
use sidetrack::plan::Experiment;

use super::line::{Key, Line};
use super::outcomes::{Cells, Outcomes};
use super::rules::{Judged, LineRules};
use super::{AccessLogs, Item, Logs, Trial, envelope};
use crate::error::Error;
use crate::phases::Book;
use crate::row::{Row, key};
use crate::short::Short;
use crate::source::envelope::Inside;
use crate::strata::Strata;
use crate::window::Window;

/// An exposure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The index of the assigned variant.
    pub arm: u8,
    /// The unit's [`key`]; `None` if the log names no units.
    pub unit: Option<u64>,
    /// Milliseconds since 1970.
    pub time: u64,
}

/// The exposures of a trial.
#[derive(Debug, Default)]
pub struct Exposures {
    /// By the [`key`] of the request id.
    pub requests: HashMap<u64, Exposed>,
    /// The first exposure of each unit, by its [`key`].
    pub units: HashMap<u64, Exposed>,
    /// Lines that count, and all others, without those that are empty.
    pub used: u64,
    /// Lines that do not count, or cannot be read.
    pub others: u64,
    /// Of lines that count: the request id, and the values of the fields that were asked for, empty if missing.
    pub fields: Vec<(String, Vec<String>)>,
}

impl Exposures {
    /// Reads the logs. `fields`: keys of the log whose values are wanted.
    ///
    /// # Errors
    /// A log that cannot be read, or weights of the file that cannot be.
    pub fn read(
        logs: &Logs,
        experiment: &Experiment,
        trial: Option<Short>,
        fields: &[String],
    ) -> Result<Self, Error> {
        let strata = Strata::new(experiment, "")?;
        let of_file = sidetrack::exposure::trial(experiment).parse().ok();
        let Some(of_file) = of_file else { return Ok(Self::default()) };
        let (outcomes, closed) = (Outcomes::default(), BTreeSet::new());
        let book = Book::new(experiment, &strata);
        let source = AccessLogs {
            logs,
            experiment,
            trial: Trial { wanted: trial.unwrap_or(of_file), of_file },
            window: Window::default(),
            strata: &strata,
            book: &book,
            timeline: None,
            outcomes: &outcomes,
            dimensions: &[],
            closed: &closed,
        };
        let mut rules = LineRules::new(source);
        let (mut found, mut seen) = (Self::default(), HashSet::new());
        logs.read(&mut |piece| {
            source.items(&piece, &mut |_, _, item| {
                match counted(&mut rules, item, fields) {
                    Some(line) if line.row.print.is_none_or(|print| seen.insert(print)) => {
                        found.add(line);
                    }
                    _ => found.others += 1,
                }
                true
            });
            true
        })?;
        Ok(found)
    }

    fn add(&mut self, line: Counted) {
        let Counted { row, request, values } = line;
        self.used += 1;
        let exposed = Exposed { arm: row.arm, unit: row.unit, time: row.time };
        if let Some(request) = &request {
            self.requests.insert(key(request), exposed);
        }
        if let Some(unit) = row.unit {
            let first = self.units.entry(unit).or_insert(exposed);
            if exposed.time < first.time {
                *first = exposed;
            }
        }
        if !values.is_empty() {
            self.fields.push((request.unwrap_or_default(), values));
        }
    }

    /// The values of the fields as a table by request.
    #[must_use]
    pub fn table(&self, fields: &[String]) -> Cells {
        Cells::of_requests(fields, &self.fields)
    }
}

/// A line that counts.
struct Counted {
    row: Row,
    request: Option<String>,
    /// The fields that were asked for.
    values: Vec<String>,
}

/// A line or a record that counts, with these fields.
fn counted(rules: &mut LineRules<'_>, item: Item<'_>, fields: &[String]) -> Option<Counted> {
    match item {
        Item::Lost(..) => None,
        Item::Fields(mut line, _) => {
            let request = line.request_id.id().ok()?.map(Cow::into_owned);
            let value = |field: &String| {
                let value = Key::of(field).and_then(|key| line.at(key).id().ok().flatten());
                value.map(Cow::into_owned).unwrap_or_default()
            };
            let values = fields.iter().map(value).collect();
            let Judged::Counts(row, _) = rules.judge_line(line, 0).ok()? else { return None };
            Some(Counted { row, request, values })
        }
        Item::Text(line) => {
            let line = envelope::without_prefix(line).ok()?;
            match rules.judge(line, 0).ok()? {
                Judged::Counts(row, _) => Some(of_text(row, line, fields)),
                Judged::OtherExperiment(None) => {
                    let Inside::Line(inner) = envelope::inside(line) else { return None };
                    match rules.judge(&inner, 0).ok()? {
                        Judged::Counts(row, _) => Some(of_text(row, &inner, fields)),
                        _ => None,
                    }
                }
                _ => None,
            }
        }
    }
}

/// A line of JSON, which may have fields that an analysis does not read.
fn of_text(row: Row, line: &[u8], fields: &[String]) -> Counted {
    let parsed = Line::parse(line).ok();
    let request = parsed.and_then(|line| Some(line.request_id.id().ok()??.into_owned()));
    let all: Map<String, Value> = if fields.is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(line).unwrap_or_default()
    };
    let value = |field: &String| match all.get(field) {
        Some(Value::String(text)) if text != "-" => text.clone(),
        None | Some(Value::Null | Value::String(_)) => String::new(),
        Some(value) => value.to_string(),
    };
    Counted { row, request, values: fields.iter().map(value).collect() }
}
