//! Predictions and labels of each variant: how many there are, how well scores are calibrated, how they are spread.

use serde::{Deserialize, Serialize};

/// What is known of the predictions beside the metrics.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ModelResult {
    /// `classification` or `regression`.
    pub task: String,
    /// The label of the positive class; null of regressions and of more than two classes.
    pub positive: Option<String>,
    /// The score from which on the positive class is predicted; null if a column has the prediction.
    pub threshold: Option<f64>,
    /// Requests, or rows about units, of the outcomes with a prediction or a score, matched or not.
    pub predictions: u64,
    /// Those with a label.
    pub labels: u64,
    /// Those with both: only they count.
    pub labeled: u64,
    /// Rows that only completed an earlier row about the same request, as a label that came later does.
    pub completed: u64,
    /// The most frequent labels of a classification, with their rows.
    pub classes: Vec<LabelCount>,
    /// By variant.
    pub variants: Vec<ModelVariant>,
}

/// A label, as the outcomes write it first, and how many rows have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LabelCount {
    /// The label.
    pub label: String,
    /// Its rows, matched or not.
    pub rows: u64,
}

/// Labeled predictions of a variant, of all its phases together.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ModelVariant {
    /// Which variant.
    pub variant: String,
    /// Its labeled predictions.
    pub labeled: u64,
    /// Those whose label is the positive class; null without one.
    pub positives: Option<u64>,
    /// The mean of prediction (or score) minus label: above 0, the model predicts too much.
    pub bias: Option<f64>,
    /// The expected calibration error: the mean distance of score and share of positives over ten bins of equal width,
    /// each weighing as many predictions as it has. From 0 to 1; null without scores.
    pub ece: Option<f64>,
    /// The same of a perfectly calibrated model with so many predictions, by chance alone: a smaller variant has more.
    pub ece_by_chance: Option<f64>,
    /// The bins with predictions.
    pub calibration: Vec<CalibrationBin>,
    /// How scores are spread: twenty bins of equal width.
    pub scores: Vec<ScoreBin>,
}

/// Predictions with a score from `from` to `to`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CalibrationBin {
    /// The lowest score.
    pub from: f64,
    /// The first score of the next bin; the last bin includes 1.
    pub to: f64,
    /// How many.
    pub predictions: u64,
    /// Their mean score.
    pub score: f64,
    /// The share of them whose label is the positive class.
    pub share: f64,
    /// The 95 % interval of the share (Wilson, with the effective number of independent predictions).
    pub ci: [f64; 2],
}

/// Predictions with a score from `from` to `to`, by label.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ScoreBin {
    /// The lowest score.
    pub from: f64,
    /// The first score of the next bin; the last bin includes 1.
    pub to: f64,
    /// Those whose label is the positive class.
    pub positives: u64,
    /// The others.
    pub negatives: u64,
}
