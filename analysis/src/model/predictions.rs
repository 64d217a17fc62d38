//! Predictions and labels of the outcomes, and what each row adds to the metrics.

use sidetrack::config::Task;

use super::{About, ModelMetric};
use crate::row::mix;

/// A probability of 0 or 1 counts as the closest one that a double tells apart from it, as in scikit-learn: the log loss
/// of a certain mistake is 36, not infinite.
const CLOSEST: f64 = f64::EPSILON;

/// A prediction and its label: NaN without a value, infinite if it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    /// Of two classes, 1 for the positive one, else 0; of several, the number of the class; of a regression, the number.
    pub(crate) label: f64,
    /// The same of the prediction.
    pub(crate) prediction: f64,
    /// The probability of the positive class.
    pub(crate) score: f64,
}

impl Piece {
    /// Nothing.
    pub(crate) const NONE: Self = Self { label: f64::NAN, prediction: f64::NAN, score: f64::NAN };

    /// What tells it from others.
    pub(crate) fn hash(self) -> u64 {
        [self.label, self.prediction, self.score]
            .iter()
            .fold(1, |hash, part| mix(hash, part.to_bits()))
    }

    /// What the row adds to a metric that is a mean; NaN if it adds nothing, infinite if that cannot be known. Of other
    /// metrics, only whether it can be known.
    ///
    /// `right`: whether prediction and label are the same class.
    pub(crate) fn value(self, metric: ModelMetric, about: About, right: Option<bool>) -> f64 {
        let Self { label, prediction, score } = self;
        let predicted = if about == About::Score { score } else { prediction };
        if label.is_infinite() || predicted.is_infinite() {
            return f64::INFINITY;
        }
        if label.is_nan() || predicted.is_nan() {
            return f64::NAN;
        }
        let only = |is: bool, value: f64| if is { value } else { f64::NAN };
        match metric {
            ModelMetric::Accuracy => right.map_or(f64::NAN, |right| f64::from(u8::from(right))),
            ModelMetric::Precision => only(prediction > 0.5, label),
            ModelMetric::Recall => only(label > 0.5, prediction),
            ModelMetric::LogLoss => {
                let likely = if label > 0.5 { score } else { 1.0 - score };
                -likely.clamp(CLOSEST, 1.0 - CLOSEST).ln()
            }
            ModelMetric::Brier => (score - label) * (score - label),
            ModelMetric::Mae => (prediction - label).abs(),
            ModelMetric::Mape => only(label != 0.0, ((prediction - label) / label).abs()),
            ModelMetric::Bias => predicted - label,
            ModelMetric::F1 | ModelMetric::MacroF1 | ModelMetric::Auc | ModelMetric::Rmse => {
                f64::NAN
            }
        }
    }
}

/// How many rows have what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// A prediction or a score.
    pub(crate) predictions: u64,
    /// A label.
    pub(crate) labels: u64,
    /// Both.
    pub(crate) both: u64,
    /// Rows that were added to an earlier one about the same request.
    pub(crate) merged: u64,
}

/// The predictions and labels of all rows.
#[derive(Debug)]
pub(crate) struct Predictions {
    pub(crate) task: Task,
    /// The label of the positive class, as the outcomes write it first; `None` if there are other than two classes.
    pub(crate) positive: Option<String>,
    /// The score from which on the positive class is predicted; `None` if a column has the prediction.
    pub(crate) threshold: Option<f64>,
    pub(crate) has_score: bool,
    /// The labels as the outcomes write them, up to some, the most frequent first.
    pub(crate) labels: Vec<(String, u64)>,
    /// The metrics with what they are about, and the columns of the outcomes that they have.
    pub(crate) metrics: Vec<(ModelMetric, About, usize)>,
    /// By row of the outcomes.
    pub(crate) rows: Vec<Piece>,
    pub(crate) given: Given,
}

impl Predictions {
    /// The column of a metric.
    pub(crate) fn column(&self, metric: ModelMetric) -> Option<usize> {
        self.metrics.iter().find(|(other, ..)| *other == metric).map(|(.., column)| *column)
    }

    pub(crate) fn row(&self, row: u32) -> Piece {
        self.rows.get(row as usize).copied().unwrap_or(Piece::NONE)
    }
}
