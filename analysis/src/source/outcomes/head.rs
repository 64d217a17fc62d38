//! The header of a table of outcomes: its separator, and what each column means.

use super::Wanted;
use super::records::{Record, SEPARATORS, split};
use crate::figures::visible;
use crate::metric::words;

/// The metric name of `correct`, or of `prediction` and `label`.
pub const ACCURACY: &str = "accuracy";

/// Names of a prediction and its label.
const PAIRS: [(&str, &str); 8] = [
    ("prediction", "label"),
    ("y_pred", "y_true"),
    ("predicted", "actual"),
    ("prediction", "actual"),
    ("prediction", "target"),
    ("prediction", "ground_truth"),
    ("predicted_label", "true_label"),
    ("predicted_class", "true_class"),
];

/// The meaning of each column.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) separator: u8,
    /// The names of all columns.
    pub(super) names: Vec<String>,
    pub(super) key: usize,
    pub(super) by_request: bool,
    /// There are both keys.
    pub(super) has_both: bool,
    pub(super) time: Option<usize>,
    /// Equal: 1, else 0.
    pub(super) pair: Option<(usize, usize)>,
    /// Columns of values: where, and their names.
    pub(super) values: Vec<(usize, String)>,
    /// Columns by which results are shown separately.
    pub(super) segments: Vec<(usize, String)>,
    /// Columns without a name, as data frames write their index.
    pub(super) nameless: usize,
}

impl Head {
    /// Reads the first line.
    ///
    /// # Errors
    /// It names no key, a column twice, or no values.
    pub(super) fn of(line: &[u8], wanted: Wanted<'_>) -> Result<Self, String> {
        let text = String::from_utf8_lossy(line);
        let read = |separator: &u8| {
            let mut record = Record::default();
            split(text.as_bytes(), *separator, &mut record).ok().filter(|whole| *whole)?;
            let names = record.fields().map(|name| String::from_utf8_lossy(name).into_owned());
            Some((*separator, names.collect::<Vec<String>>()))
        };
        let headers: Vec<(u8, Vec<String>)> = SEPARATORS.iter().filter_map(read).collect();
        let found = headers.iter().find(|(_, names)| has_key(names));
        let Some((separator, names)) = found else {
            let mut columns = headers.iter().flat_map(|(_, names)| names);
            let hint = columns.find_map(|name| like_key(name)).unwrap_or_else(|| {
                "the first line names the columns, as in request_id,correct".to_owned()
            });
            return Err(format!(
                "the header has neither request_id nor unit: {}\n  hint: {hint}",
                visible(text.trim_end())
            ));
        };
        Self::named(*separator, names, wanted)
    }

    /// Takes the keys of JSON as columns.
    ///
    /// # Errors
    /// As [`Head::of`].
    pub(super) fn of_keys(keys: &[String], wanted: Wanted<'_>) -> Result<Self, String> {
        if !has_key(keys) {
            let hint = keys
                .iter()
                .find_map(|key| like_key(key))
                .unwrap_or_else(|| "as in {\"request_id\": \"…\", \"correct\": true}".to_owned());
            let keys: Vec<String> = keys.iter().map(|key| visible(key)).collect();
            return Err(format!(
                "the objects have neither request_id nor unit: {}\n  hint: {hint}",
                keys.join(", ")
            ));
        }
        Self::named(b'\0', keys, wanted)
    }

    /// Whether a row is the header once more.
    pub(super) fn is_header(&self, record: &Record) -> bool {
        record.len() == self.names.len()
            && record.fields().zip(&self.names).all(|(field, name)| field == name.as_bytes())
    }

    /// Whether a row is the header of another table: it names a key, and no field is empty or begins as a number or a
    /// time does.
    pub(super) fn is_other_header(&self, record: &Record) -> bool {
        if self.separator == b'\0' {
            return false;
        }
        let fields = || {
            let parts =
                |field: &'_ [u8]| record.len() == 1 && field.iter().any(|b| SEPARATORS.contains(b));
            record.fields().flat_map(move |field| {
                field.split(move |byte| parts(field) && SEPARATORS.contains(byte))
            })
        };
        let is_name = |field: &[u8]| {
            field.first().is_some_and(|byte| !byte.is_ascii_digit() && !b"+-.".contains(byte))
        };
        let is_key = |field: &[u8]| {
            field == b"unit"
                || field == b"request_id"
                || self.names.get(self.key).is_some_and(|key| field == key.as_bytes())
        };
        fields().nth(1).is_some() && fields().any(is_key) && fields().all(is_name)
    }

    fn named(separator: u8, written: &[String], wanted: Wanted<'_>) -> Result<Self, String> {
        let names = &meant(written);
        let at = |name: &str| names.iter().position(|known| known == name);
        let twice = names
            .iter()
            .enumerate()
            .find(|(column, name)| !is_nameless(name) && at(name).is_some_and(|at| at < *column));
        if let Some((_, name)) = twice {
            return Err(format!("the header has \"{}\" twice", visible(name)));
        }
        let by_request = at("request_id").is_some();
        let key = at("request_id").or_else(|| at("unit")).unwrap_or_default();
        // Beside `correct`, only the names that nothing else has are a contradiction.
        let pairs = PAIRS.iter().take(if at("correct").is_some() { 1 } else { PAIRS.len() });
        let pair = pairs.map(|(one, other)| at(one).zip(at(other))).find_map(|pair| pair);
        if pair.is_some() && at("correct").is_some() {
            return Err("the header has correct as well as prediction and label; both are the \
                        accuracy, so remove one"
                .to_owned());
        }
        let columns = names.iter().enumerate().filter(|(column, name)| {
            let is_paired = pair.is_some_and(|(one, other)| *column == one || *column == other);
            !["request_id", "unit", "time"].contains(&name.as_str()) && !is_paired
        });
        let (nameless, named): (Vec<_>, Vec<_>) = columns.partition(|(_, name)| is_nameless(name));
        let is_segment = |name: &str| wanted.segments.contains(&name);
        let segments: Vec<(usize, String)> = names
            .iter()
            .enumerate()
            .filter(|(column, name)| *column != key && is_segment(name))
            .map(|(column, name)| (column, name.clone()))
            .collect();
        let named = named
            .into_iter()
            .filter(|(_, name)| !is_segment(name) || wanted.named.contains(&name.as_str()));
        let values: Vec<(usize, String)> = named
            .map(|(column, name)| {
                (column, if name == "correct" { ACCURACY.to_owned() } else { name.clone() })
            })
            .collect();
        if values.is_empty() && pair.is_none() && segments.is_empty() {
            let found = names.iter().map(|name| visible(name)).collect::<Vec<_>>().join(", ");
            return Err(format!("no column has values: {found}"));
        }
        Ok(Self {
            separator,
            names: written.to_vec(),
            has_both: by_request && at("unit").is_some(),
            key,
            by_request,
            time: at("time"),
            pair,
            values,
            segments,
            nameless: nameless.len(),
        })
    }

    /// Takes columns out of the values: they are predictions and labels by the plan, so no others are.
    pub(super) fn take(&mut self, own: &[usize]) {
        for column in self.pair.take().map(|(one, other)| [one, other]).into_iter().flatten() {
            self.values.extend(self.names.get(column).map(|name| (column, name.clone())));
        }
        self.values.retain(|(column, _)| !own.contains(column));
        self.values.sort_by_key(|(column, _)| *column);
    }

    pub(super) const fn subject(&self) -> &'static str {
        if self.by_request { "request_id" } else { "unit" }
    }

    /// The names of the values; accuracy from a pair comes first.
    pub(super) fn columns(&self) -> Vec<String> {
        let pair = self.pair.map(|_| ACCURACY.to_owned());
        pair.into_iter().chain(self.values.iter().map(|(_, name)| name.clone())).collect()
    }
}

/// Names with a meaning in lower case, with underscores: `Unit` and `requestId` mean what `unit` and `request_id` do,
/// unless another column has that very name.
fn meant(written: &[String]) -> Vec<String> {
    let pairs = PAIRS.iter().flat_map(|(one, other)| [*one, *other]);
    let known: Vec<&str> =
        ["request_id", "unit", "time", "correct"].into_iter().chain(pairs).collect();
    let of = |name: &String| {
        let plain = words(name).join("_");
        let is_free = known.contains(&plain.as_str()) && !written.contains(&plain);
        if is_free { plain } else { name.clone() }
    };
    written.iter().map(of).collect()
}

fn has_key(names: &[String]) -> bool {
    meant(names).iter().any(|name| name == "request_id" || name == "unit")
}

/// What to do about a column that may be the key by another name.
fn like_key(name: &str) -> Option<String> {
    const WORDS: [&str; 12] = [
        "account", "client", "customer", "device", "id", "member", "session", "uid", "user",
        "userid", "uuid", "visitor",
    ];
    let is_like = words(name).iter().any(|word| WORDS.contains(&word.as_str()));
    let name = visible(name);
    is_like
        .then(|| format!("if {name} is what the experiment calls its unit, name the column unit"))
}

/// No name, or the one that pandas gives to a column without one.
fn is_nameless(name: &str) -> bool {
    name.is_empty() || name.starts_with("Unnamed: ")
}
