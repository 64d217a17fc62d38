//! An exposure: the values of one line of the access log, whichever way they arrived.
//!
//! Its identity is what one request has in common however often its record is delivered: the same values by which the
//! analysis finds repeated lines, with the experiment and the trial. A client may use one request id for several calls, so
//! the id alone is not enough.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sidetrack::config::json_problem;
use sidetrack::exposure::values;
use sidetrack::names::log;
use sidetrack::quantity::Timestamp;
use sidetrack_analysis::Clock;

use crate::catalog::Catalog;

/// The fields that are stored, in the order of the columns of a segment. Paths and methods are not.
pub(crate) const FIELDS: [&str; 21] = [
    log::TIME,
    log::REQUEST_ID,
    log::EXPERIMENT,
    log::TRIAL,
    log::CONFIG,
    log::PLAN,
    log::WEIGHTS,
    log::UNIT,
    log::ASSIGNED,
    log::SERVED,
    log::REASON,
    log::BUCKET,
    log::PHASE,
    log::STATUS,
    log::FLAGS,
    log::DURATION,
    log::FIRST_BYTE,
    log::FIRST_BODY,
    log::ATTEMPTS,
    log::RESCUED,
    log::CLUSTER,
];

/// The fields that are whole numbers.
pub(crate) const NUMBERS: [&str; 6] =
    [log::BUCKET, log::STATUS, log::DURATION, log::FIRST_BYTE, log::FIRST_BODY, log::ATTEMPTS];

/// The longest value that is stored, in bytes.
const LONGEST: usize = 4096;
/// The longest name of a variant or a phase.
const LONGEST_NAME: usize = 63;

/// A record that is not an exposure, or not one of this store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Of a request that is in no experiment.
    None,
    /// Of an experiment that no file has.
    Unknown,
    /// It cannot be read.
    Malformed(String),
}

/// The values of a record, as they arrive.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    values: [Option<Cow<'a, str>>; FIELDS.len()],
    exposure: Option<Cow<'a, str>>,
}

/// An exposure that can be stored.
#[derive(Debug)]
pub(crate) struct Exposure {
    pub(crate) key: [u8; 16],
    /// Milliseconds since 1970.
    pub(crate) time: u64,
    values: Values,
}

/// The values, one behind the other: a record of twenty values is one allocation.
#[derive(Debug)]
struct Values {
    text: String,
    /// Where each one ends. It begins where the one before it ends; an empty one is missing.
    ends: [u32; FIELDS.len()],
}

impl Values {
    fn new<'v>(values: impl Iterator<Item = Option<&'v str>> + Clone) -> Self {
        let length = values.clone().flatten().map(str::len).sum();
        let mut all = Self { text: String::with_capacity(length), ends: [0; FIELDS.len()] };
        for (end, value) in all.ends.iter_mut().zip(values) {
            all.text.push_str(value.unwrap_or_default());
            *end = u32::try_from(all.text.len()).unwrap_or(u32::MAX);
        }
        all
    }

    fn get(&self, at: usize) -> Option<&str> {
        let from = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        let to = *self.ends.get(at)?;
        let value = self.text.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)?;
        (!value.is_empty()).then_some(value)
    }

    fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..FIELDS.len()).map(|at| self.get(at))
    }
}

fn place(name: &str) -> Option<usize> {
    FIELDS.iter().position(|field| *field == name)
}

impl<'a> Fields<'a> {
    /// Sets a value; `-` and empty text are missing values.
    pub(crate) fn set(&mut self, name: &str, value: Cow<'a, str>) {
        if value.is_empty() || value == "-" {
            return;
        }
        if name == log::EXPOSURE {
            self.exposure = Some(value);
        } else if let Some(slot) = place(name).and_then(|at| self.values.get_mut(at)) {
            *slot = Some(value);
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        place(name).is_some_and(|at| matches!(self.values.get(at), Some(Some(_))))
    }

    /// The values of a line of the access log.
    pub(crate) fn of_line(line: &str) -> Result<Fields<'static>, Unfit> {
        let object: serde_json::Map<String, Value> =
            serde_json::from_str(line).map_err(|error| {
                Unfit::Malformed(format!("not a JSON object: {}", json_problem(&error)))
            })?;
        let mut fields = Fields::default();
        for (name, value) in object {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => whole(&number),
                Value::Bool(value) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
            };
            fields.set(&name, Cow::Owned(text));
        }
        Ok(fields)
    }

    fn get(&self, name: &str) -> Option<&str> {
        place(name).and_then(|at| self.values.get(at)?.as_deref())
    }

    fn put(&mut self, name: &str, value: Option<Cow<'a, str>>) {
        if let Some(slot) = place(name).and_then(|at| self.values.get_mut(at)) {
            *slot = value;
        }
    }

    /// Checks the values, and finds the experiment among those that are known.
    pub(crate) fn exposure(
        mut self,
        catalog: &Catalog,
        clock: &mut Clock,
    ) -> Result<Exposure, Unfit> {
        match self.exposure.take() {
            Some(Cow::Borrowed(exposure)) => {
                self.spread(exposure, Cow::Borrowed);
            }
            Some(Cow::Owned(exposure)) => {
                self.spread(&exposure, |value| Cow::Owned(value.to_owned()));
            }
            None => {}
        }
        let Some(experiment) = self.get(log::EXPERIMENT) else { return Err(Unfit::None) };
        if catalog.get(experiment).is_none() {
            return Err(Unfit::Unknown);
        }
        self.check()?;
        for field in NUMBERS {
            // One spelling: 200 and 0200 are one status. What is not checked above is left out if it cannot be read.
            let Some(text) = self.get(field) else { continue };
            let number = text.parse::<u64>().ok().map(|number| number.to_string());
            if number.as_deref() != Some(text) {
                self.put(field, number.map(Cow::Owned));
            }
        }
        let time = self.get(log::TIME).unwrap_or("missing");
        let time = clock.read(time).ok_or_else(|| bad(log::TIME, time, "a time"))?;
        let text = Timestamp::new(time).to_string();
        self.put(log::TIME, Some(Cow::Owned(text)));
        Ok(Exposure::new(time, self.values.iter().map(Option::as_deref)))
    }

    /// Takes the values of the filter's part. A field of its own wins, as in the analysis, except for the names that
    /// may mean something else in a log.
    fn spread<'v>(&mut self, exposure: &'v str, own: impl Fn(&'v str) -> Cow<'a, str>) {
        for (name, value) in values(exposure) {
            let Some(slot) = place(name).and_then(|at| self.values.get_mut(at)) else { continue };
            let wins = matches!(name, log::TRIAL | log::PLAN | log::WEIGHTS | log::CONFIG);
            if (wins || slot.is_none()) && !value.is_empty() && value != "-" {
                *slot = Some(own(value));
            }
        }
    }

    /// What the analysis would count as malformed is refused, so that the sender learns of it.
    fn check(&self) -> Result<(), Unfit> {
        let number = |field: &str, expected: &str, fits: &dyn Fn(u64) -> bool| {
            let value = self.get(field).unwrap_or("missing");
            let number = value.parse().ok().filter(|number| fits(*number));
            number.map(|_: u64| ()).ok_or_else(|| bad(field, value, expected))
        };
        number(log::STATUS, "an HTTP status", &|status| status < 1000)?;
        number(log::DURATION, "milliseconds", &|time| u32::try_from(time).is_ok())?;
        if self.get(log::BUCKET).is_some() {
            number(log::BUCKET, "from 0 to 999999", &|bucket| bucket < 1_000_000)?;
        }
        let assigned = self.get(log::ASSIGNED).ok_or_else(|| {
            Unfit::Malformed(format!(
                "{} is missing, but the request is in the experiment",
                log::ASSIGNED
            ))
        })?;
        let names = [Some(assigned), self.get(log::SERVED), self.get(log::PHASE)];
        if let Some(name) = names.into_iter().flatten().find(|name| name.len() > LONGEST_NAME) {
            return Err(bad("a name", name, "at most 63 bytes long"));
        }
        let is_short = |text: &str| text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        for field in [log::TRIAL, log::CONFIG, log::PLAN] {
            if let Some(value) = self.get(field).filter(|value| !is_short(value)) {
                return Err(bad(field, value, "eight hexadecimal digits"));
            }
        }
        let mut named = FIELDS.iter().zip(self.values.iter().map(Option::as_deref));
        let long = named.find(|(_, value)| value.is_some_and(|value| value.len() > LONGEST));
        long.map_or(Ok(()), |(field, value)| {
            Err(bad(field, value.unwrap_or_default(), "at most 4096 bytes long"))
        })
    }
}

/// A number as text; pipelines turn 200 into 200.0.
fn whole(number: &serde_json::Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn bad(field: &str, value: &str, expected: &str) -> Unfit {
    let value: String = value.chars().take(40).collect();
    Unfit::Malformed(format!("{field} is {value:?}, but must be {expected}"))
}

impl Exposure {
    /// An exposure from values that were checked, of which the first is the time.
    fn new<'v>(time: u64, values: impl Iterator<Item = Option<&'v str>> + Clone) -> Self {
        let mut exposure = Self { key: [0; 16], time, values: Values::new(values) };
        exposure.key = exposure.identity();
        exposure
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(place(name)?)
    }

    pub(crate) fn experiment(&self) -> &str {
        self.get(log::EXPERIMENT).unwrap_or_default()
    }

    /// Empty in logs of older versions.
    pub(crate) fn trial(&self) -> &str {
        self.get(log::TRIAL).unwrap_or_default()
    }

    /// An exposure from the values of a segment, which were checked when they arrived.
    pub(crate) fn stored(time: u64, values: &[Option<String>; FIELDS.len()]) -> Self {
        Self::new(time, values.iter().map(Option::as_deref))
    }

    /// An exposure from its line in the database.
    pub(crate) fn of_stored_line(time: u64, line: &str) -> Option<Self> {
        let fields = Fields::of_line(line).ok()?;
        Some(Self::new(time, fields.values.iter().map(Option::as_deref)))
    }

    /// The time, then a digest. Exposures arrive in the order of their times, so the index of the keys grows at its end: with
    /// a digest alone, each record would change a page of its own.
    fn identity(&self) -> [u8; 16] {
        const PRINT: [&str; 8] = [
            log::REQUEST_ID,
            log::EXPERIMENT,
            log::TRIAL,
            log::TIME,
            log::DURATION,
            log::STATUS,
            log::ASSIGNED,
            log::UNIT,
        ];
        // Without a request id, only a record that is the same in everything is a repeat.
        let fields =
            if self.get(log::REQUEST_ID).is_some() { PRINT.as_slice() } else { FIELDS.as_slice() };
        let mut hash = Sha256::new();
        for field in fields {
            hash.update(self.get(field).unwrap_or_default());
            hash.update([0]);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [_, _, time @ ..] = self.time.to_be_bytes();
        let mut key = [0; 16];
        key.iter_mut().zip(time.into_iter().chain(digest)).for_each(|(to, from)| *to = from);
        key
    }

    /// The line that the analysis reads, with its line break.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        self.write_line(&mut line);
        line
    }

    /// Adds the line to a text.
    pub(crate) fn write_line(&self, line: &mut String) {
        line.reserve(512);
        let mut before = '{';
        for (name, value) in FIELDS.iter().zip(self.values.iter()) {
            let Some(value) = value else { continue };
            line.push(before);
            before = ',';
            line.push('"');
            line.push_str(name);
            line.push_str("\":");
            let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
            if value.bytes().all(is_plain) {
                line.push('"');
                line.push_str(value);
                line.push('"');
            } else {
                line.push_str(&Value::from(value).to_string());
            }
        }
        line.push_str("}\n");
    }
}

#[cfg(test)]
pub(crate) mod tests;
