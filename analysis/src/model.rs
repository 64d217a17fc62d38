//! Metrics of models: predictions beside their labels.
//!
//! Most are ratios over units: of hits, of losses, of errors by the number of labeled predictions. AUC, F1 and RMSE are
//! no ratios: they are linearized (see [`sidetrack_stats::linearized`]), so that each unit has a value whose mean is the
//! figure and whose spread is that of the figure. Everything above the sums treats them as ratios.

mod linear;
mod predictions;
mod report;

use sidetrack::config::{Model, Task};

use crate::answer::Goal;
pub(crate) use linear::{Ground, linearize};
pub(crate) use predictions::{Given, Piece, Predictions};
pub(crate) use report::report;

/// A metric of predictions and their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModelMetric {
    Accuracy,
    Precision,
    Recall,
    F1,
    MacroF1,
    Auc,
    LogLoss,
    Brier,
    Rmse,
    Mae,
    Mape,
    Bias,
}

/// What of a prediction a metric is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// The predicted class.
    Class,
    /// The score.
    Score,
    /// The predicted number.
    Number,
}

/// The names of the metrics of predictions and labels.
#[expect(clippy::indexing_slicing, reason = "evaluated while compiling, within both arrays")]
pub const MODEL_METRICS: [&str; ModelMetric::ALL.len()] = {
    let mut names = [""; ModelMetric::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = ModelMetric::ALL[at].as_str();
        at += 1;
    }
    names
};

impl ModelMetric {
    /// All of them, in the order of a report.
    pub(crate) const ALL: [Self; 12] = [
        Self::Accuracy,
        Self::Precision,
        Self::Recall,
        Self::F1,
        Self::MacroF1,
        Self::Auc,
        Self::LogLoss,
        Self::Brier,
        Self::Rmse,
        Self::Mae,
        Self::Mape,
        Self::Bias,
    ];

    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accuracy => crate::ACCURACY,
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::F1 => "f1",
            Self::MacroF1 => "macro_f1",
            Self::Auc => "auc",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::Mape => "mape",
            Self::Bias => "bias",
        }
    }

    /// The metric of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == name)
    }

    /// Which direction is better. `None`: a bias is best at 0.
    pub(crate) const fn goal(self) -> Option<Goal> {
        match self {
            Self::Bias => None,
            Self::LogLoss | Self::Brier | Self::Rmse | Self::Mae | Self::Mape => {
                Some(Goal::Decrease)
            }
            _ => Some(Goal::Increase),
        }
    }

    /// Whether each prediction is 0 or 1.
    pub(crate) const fn is_share(self) -> bool {
        matches!(self, Self::Accuracy | Self::Precision | Self::Recall)
    }

    /// Whether it is a mean over predictions, and no function of several.
    pub(crate) const fn is_mean(self) -> bool {
        !matches!(self, Self::F1 | Self::MacroF1 | Self::Auc | Self::Rmse)
    }

    /// Metrics that have a value wherever this one could have one, the first that there is: its column tells how complete
    /// the labels are.
    pub(crate) const fn complete(self) -> &'static [Self] {
        match self {
            Self::Accuracy | Self::Precision | Self::Recall | Self::F1 | Self::MacroF1 => {
                &[Self::Accuracy]
            }
            Self::Auc | Self::LogLoss | Self::Brier => &[Self::Brier],
            Self::Rmse | Self::Mae | Self::Mape => &[Self::Mae],
            Self::Bias => &[Self::Brier, Self::Mae],
        }
    }
}

/// The metrics that a model has with these columns, and what each is about.
pub(crate) fn metrics(model: &Model, is_binary: bool) -> Vec<(ModelMetric, About)> {
    use ModelMetric::{
        Accuracy, Auc, Bias, Brier, F1, LogLoss, MacroF1, Mae, Mape, Precision, Recall, Rmse,
    };
    let of = |about: About, metrics: &[ModelMetric]| -> Vec<(ModelMetric, About)> {
        metrics.iter().map(|metric| (*metric, about)).collect()
    };
    if model.task == Task::Regression {
        return of(About::Number, &[Rmse, Mae, Mape, Bias]);
    }
    if !is_binary {
        return of(About::Class, &[Accuracy, MacroF1]);
    }
    let mut found = of(About::Class, &[Accuracy, Precision, Recall, F1]);
    if model.score.is_some() {
        found.extend(of(About::Score, &[Auc, LogLoss, Brier, Bias]));
    }
    found
}
