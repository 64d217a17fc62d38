//! Predictions and labels while a table is read: which columns hold them, and what they turn out to be when all rows are
//! known.

use std::collections::HashMap;

use sidetrack::config::{Model, Task};

use super::classes::{Classes, boolean, exact, fold};
use super::columns::{Column, UNREADABLE, Unreadable};
use super::head::Head;
use super::records::Record;
use super::value::{Cause, Value, is_missing_class, value};
use crate::figures::visible;
use crate::model::{About, ModelMetric, Piece, Predictions};

/// The score from which on the positive class is predicted, without a threshold.
const THRESHOLD: f64 = 0.5;
/// How many labels are kept for messages.
const SHOWN: usize = 20;

/// A column of the model: where it is, and what was met in it.
struct Part {
    at: usize,
    column: Column,
}

/// Predictions and labels of a table that is being read.
pub(super) struct Labeled {
    model: Model,
    label: Part,
    prediction: Option<Part>,
    score: Option<Part>,
    /// The number of each class.
    numbers: HashMap<String, u32>,
    classes: Vec<String>,
    /// By row; classes as numbers.
    rows: Vec<Piece>,
    merged: u64,
}

/// What the rows turn out to be.
pub(super) struct Finished {
    pub(super) predictions: Predictions,
    /// By row and metric.
    pub(super) values: Vec<f64>,
    /// By metric.
    pub(super) unreadable: Vec<Unreadable>,
    /// Predicted and true classes; empty without a column of predictions.
    pub(super) classes: Classes,
}

impl Labeled {
    /// Takes the model's columns from the header; `None` if it has none of them.
    ///
    /// # Errors
    /// The header has some of the columns, but not all, or a column with the name of one of the model's metrics.
    pub(super) fn new(model: &Model, head: &mut Head) -> Result<Option<Self>, String> {
        let named = [
            ("label", Some(&model.label)),
            ("prediction", model.prediction.as_ref()),
            ("score", model.score.as_ref()),
        ];
        let find = |name: &String| head.names.iter().position(|known| known == name);
        let parts: Vec<_> = named
            .into_iter()
            .filter_map(|(key, name)| name.map(|name| (key, name, find(name))))
            .collect();
        if parts.iter().all(|(.., at)| at.is_none()) {
            return Ok(None);
        }
        if let Some((key, name, _)) = parts.iter().find(|(.., at)| at.is_none()) {
            let names: Vec<String> = head.names.iter().map(|name| visible(name)).collect();
            return Err(format!(
                "no column is called {}, which the model of the plan names as its {key}; the columns \
                 are: {}\n  hint: rename the column, or name it as analysis.model.{key}",
                visible(name),
                names.join(", ")
            ));
        }
        let part = |wanted: &str| {
            let (_, name, at) = parts.iter().find(|(key, ..)| *key == wanted)?;
            Some(Part { at: (*at)?, column: Column::new((*name).clone()) })
        };
        let (Some(label), prediction, score) = (part("label"), part("prediction"), part("score"))
        else {
            return Ok(None);
        };
        let own: Vec<usize> = parts.iter().filter_map(|(.., at)| *at).collect();
        head.take(&own);
        let columns = head.columns();
        let taken = columns.iter().find(|name| ModelMetric::named(name).is_some());
        if let Some(name) = taken {
            return Err(format!(
                "the column {name} has the name of a metric of the model, which is computed from \
                 predictions and labels\n  hint: rename the column"
            ));
        }
        let (numbers, classes) = (HashMap::new(), Vec::new());
        let (model, rows) = (model.clone(), Vec::new());
        Ok(Some(Self { model, label, prediction, score, numbers, classes, rows, merged: 0 }))
    }

    /// Reads the prediction and the label of a row.
    pub(super) fn read(&mut self, line: u64, record: &Record, comma: bool) -> Piece {
        let mut piece = Piece::NONE;
        let parts = [
            (&mut piece.label, Some(&mut self.label)),
            (&mut piece.prediction, self.prediction.as_mut()),
        ];
        for (place, part) in parts {
            let Some(part) = part else { continue };
            let field = record.get(part.at).unwrap_or_default();
            *place = if self.model.task == Task::Regression {
                part.number(line, field, record, comma)
            } else {
                class(part, line, field, &mut self.numbers, &mut self.classes)
            };
        }
        if let Some(part) = &mut self.score {
            let field = record.get(part.at).unwrap_or_default();
            let score = part.number(line, field, record, comma);
            piece.score = score;
            if score.is_finite() && !(0.0..=1.0).contains(&score) {
                part.column.unreadable(line, field, Cause::NotProbability, comma);
                piece.score = UNREADABLE;
            }
        }
        piece
    }

    /// A row that cannot be read as a whole.
    pub(super) const LOST: Piece =
        Piece { label: UNREADABLE, prediction: UNREADABLE, score: UNREADABLE };

    pub(super) fn add(&mut self, piece: Piece) {
        self.rows.push(piece);
    }

    /// Whether a row says the same of its request as an earlier one, as far as both say something; what is new is added.
    /// `None` if it contradicts it.
    pub(super) fn merge(&mut self, row: u32, piece: Piece) -> Option<Merged> {
        let known = self.rows.get_mut(row as usize)?;
        let fields = |piece: Piece| [piece.label, piece.prediction, piece.score];
        let pairs = || fields(*known).into_iter().zip(fields(piece));
        #[expect(clippy::float_cmp, reason = "the same value, as it was read")]
        if pairs().any(|(one, two)| one != two && !one.is_nan() && !two.is_nan()) {
            return None;
        }
        let merged = if pairs().any(|(one, two)| one.is_nan() && !two.is_nan()) {
            self.merged += 1;
            Merged::New
        } else {
            Merged::Known
        };
        let either = |one: f64, two: f64| if one.is_nan() { two } else { one };
        *known = Piece {
            label: either(known.label, piece.label),
            prediction: either(known.prediction, piece.prediction),
            score: either(known.score, piece.score),
        };
        Some(merged)
    }

    /// Settles what only all rows can: which class is positive, and what each row adds to the metrics.
    ///
    /// # Errors
    /// Predictions and labels cannot be compared, or there is no positive class for the scores.
    pub(super) fn finish(mut self, first: usize) -> Result<Finished, String> {
        for part in [Some(&mut self.label), self.prediction.as_mut(), self.score.as_mut()] {
            let Some(part) = part else { continue };
            if !part.column.is_unclear() {
                continue;
            }
            return Err(format!(
                "{}: {}",
                part.column.name,
                part.column.unreadable.examples.first().map_or("unclear numbers", String::as_str)
            ));
        }
        let labels = self.labels();
        let mut classes = Classes::declared();
        let mut right: Vec<Option<bool>> = Vec::new();
        let is_class = self.model.task == Task::Classification;
        if is_class && self.prediction.is_some() {
            for piece in &self.rows {
                let pair = self.text(piece.prediction).zip(self.text(piece.label));
                classes.add(pair);
            }
            right = classes.right()?;
        }
        let positive = if is_class { self.positives(&labels)? } else { None };
        let is_binary = positive.is_some();
        if let Some(positive) = &positive {
            let is_positive = |class: f64| {
                index(class)
                    .and_then(|class| positive.get(class))
                    .map_or(class, |is| f64::from(u8::from(*is)))
            };
            let threshold = self.model.threshold.unwrap_or(THRESHOLD);
            let by_score = self.prediction.is_none();
            for piece in &mut self.rows {
                piece.label = is_positive(piece.label);
                piece.prediction = match piece.score {
                    _ if !by_score => is_positive(piece.prediction),
                    score if score.is_finite() => f64::from(u8::from(score >= threshold)),
                    unknown => unknown,
                };
            }
            if by_score {
                let same = |piece: &Piece| (piece.prediction - piece.label).abs() < 0.5;
                right = self.rows.iter().map(|piece| Some(same(piece))).collect();
            }
        }
        let metrics = crate::model::metrics(&self.model, is_binary);
        let mut values = Vec::with_capacity(self.rows.len() * metrics.len());
        for (row, piece) in self.rows.iter().enumerate() {
            let right = right.get(row).copied().flatten();
            values
                .extend(metrics.iter().map(|(metric, about)| piece.value(*metric, *about, right)));
        }
        let unreadable = metrics.iter().map(|(_, about)| self.unreadable(*about)).collect();
        let named = positive.as_ref().and_then(|positive| {
            let mut all = self.classes.iter().zip(positive);
            all.find(|(_, is)| **is).map(|(class, _)| class.clone())
        });
        let predictions = Predictions {
            task: self.model.task,
            positive: named.or_else(|| self.model.positive.clone()).filter(|_| is_binary),
            threshold: (is_binary && self.prediction.is_none())
                .then(|| self.model.threshold.unwrap_or(THRESHOLD)),
            has_score: is_binary && self.score.is_some(),
            labels,
            metrics: metrics
                .into_iter()
                .zip(first..)
                .map(|((m, about), at)| (m, about, at))
                .collect(),
            given: self.given(),
            rows: self.rows,
        };
        Ok(Finished { predictions, values, unreadable, classes })
    }

    /// By class, whether it is the positive one; `None` if the labels are more than two classes.
    fn positives(&self, labels: &[(String, u64)]) -> Result<Option<Vec<bool>>, String> {
        let says = |class: &String| boolean(&exact(class));
        let is_boolean = labels.iter().all(|(label, _)| says(label).is_some());
        if let Some(positive) = &self.model.positive {
            let wanted = fold(&exact(positive));
            let is = |class: &String| match says(positive).filter(|_| is_boolean) {
                Some(yes) => says(class) == Some(yes),
                None => fold(&exact(class)) == wanted,
            };
            return Ok(Some(self.classes.iter().map(is).collect()));
        }
        if is_boolean {
            let yes = |class: &String| says(class) == Some(true);
            return Ok(Some(self.classes.iter().map(yes).collect()));
        }
        if let Some(score) = &self.score {
            let listed: Vec<String> =
                labels.iter().take(3).map(|(label, _)| format!("\"{}\"", visible(label))).collect();
            return Err(format!(
                "{} is the probability of one class, but the plan does not say of which: the labels \
                 are {}\n  hint: name it, as in analysis.model.positive: {}",
                visible(&score.column.name),
                listed.join(", "),
                labels.first().map_or("fraud", |(label, _)| label.as_str())
            ));
        }
        Ok(None)
    }

    /// The labels with their rows, the most frequent first, up to [`SHOWN`].
    fn labels(&self) -> Vec<(String, u64)> {
        if self.model.task == Task::Regression {
            return Vec::new();
        }
        let mut counts = vec![0_u64; self.classes.len()];
        for piece in &self.rows {
            if let Some(count) = index(piece.label).and_then(|class| counts.get_mut(class)) {
                *count += 1;
            }
        }
        let mut labels: Vec<(String, u64)> =
            self.classes.iter().cloned().zip(counts).filter(|(_, count)| *count > 0).collect();
        labels.sort_by(|one, two| two.1.cmp(&one.1).then_with(|| one.0.cmp(&two.0)));
        labels.truncate(SHOWN);
        labels
    }

    fn text(&self, class: f64) -> Option<&str> {
        self.classes.get(index(class)?).map(String::as_str)
    }

    /// Values that cannot be read and that a metric needs.
    fn unreadable(&self, about: About) -> Unreadable {
        let by_score = about == About::Score || self.prediction.is_none();
        let part = if by_score { self.score.as_ref() } else { self.prediction.as_ref() };
        let mut all = Unreadable::default();
        for part in [Some(&self.label), part].into_iter().flatten() {
            all.merge(&part.column.unreadable);
        }
        all
    }

    fn given(&self) -> crate::model::Given {
        let mut given = crate::model::Given { merged: self.merged, ..Default::default() };
        for piece in &self.rows {
            let predicted = piece.prediction.is_finite() || piece.score.is_finite();
            let labeled = piece.label.is_finite();
            given.predictions += u64::from(predicted);
            given.labels += u64::from(labeled);
            given.both += u64::from(predicted && labeled);
        }
        given
    }
}

/// What a further row about a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// What is known.
    Known,
    /// Something that the earlier rows did not say.
    New,
}

impl Part {
    fn number(&mut self, line: u64, field: &[u8], record: &Record, comma: bool) -> f64 {
        match value(field, comma) {
            Value::Absent => f64::NAN,
            Value::Number(number) => {
                let written = Some(field).filter(|_| !record.is_number(self.at));
                self.column.number(number, line, written);
                number
            }
            Value::Unreadable(cause) => {
                self.column.unreadable(line, field, cause, comma);
                UNREADABLE
            }
        }
    }
}

/// The number of a class.
fn class(
    part: &mut Part,
    line: u64,
    field: &[u8],
    numbers: &mut HashMap<String, u32>,
    classes: &mut Vec<String>,
) -> f64 {
    if field.is_empty() {
        return f64::NAN;
    }
    let cause = if is_missing_class(field) { Cause::Missing } else { Cause::Text };
    let Some(text) = std::str::from_utf8(field).ok().filter(|_| cause == Cause::Text) else {
        part.column.unreadable(line, field, cause, false);
        return UNREADABLE;
    };
    if let Some(number) = numbers.get(text) {
        return f64::from(*number);
    }
    let Ok(number) = u32::try_from(classes.len()) else { return UNREADABLE };
    numbers.insert(text.to_owned(), number);
    classes.push(text.to_owned());
    f64::from(number)
}

/// The index of a class, which was a number of 32 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of 32 bits")]
fn index(class: f64) -> Option<usize> {
    class.is_finite().then_some(class as usize)
}
