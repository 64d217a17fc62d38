//! Predictions and labels in the analysis plan: which columns of the outcomes hold them, and what they are.

use serde_json::{Value, json};

use super::decode::{Decode, Given, choices, object, ruled, wrong_type};
use super::node::Node;
use super::problem::{Code, Path, Problems};

/// What a model predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// One of several classes.
    #[default]
    Classification,
    /// A number.
    Regression,
}

impl Task {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Classification, Self::Regression];

    /// As the file writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
        }
    }
}

choices!(Task);

/// Which columns of the outcomes hold a model's predictions and their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// What it predicts.
    pub task: Task,
    /// The column of what turned out to be true.
    pub label: String,
    /// The column of what was predicted: a class, or a number.
    pub prediction: Option<String>,
    /// The column of the probability of the positive class, from 0 to 1.
    pub score: Option<String>,
    /// The label of the positive class; `None`: yes, of labels that say yes or no.
    pub positive: Option<String>,
    /// The score from which on the positive class is predicted, from 0 to 1.
    pub threshold: Option<f64>,
}

/// The name of a column.
#[derive(Clone, Debug)]
pub(crate) struct ColumnName(pub(crate) String);

impl Decode for ColumnName {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = "the name of a column of the outcomes";
        match node {
            Node::Text(text) if !text.is_empty() => Some(Self(text.clone())),
            _ => {
                wrong_type(node, at, problems, allowed, "as the header writes it: y_true");
                None
            }
        }
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

/// A label as the outcomes write it: a text, a number, or true or false.
#[derive(Clone, Debug)]
pub(crate) struct ClassName(pub(crate) String);

impl Decode for ClassName {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = "a label, such as fraud, 1 or true";
        match node {
            Node::Text(text) if !text.is_empty() => Some(Self(text.clone())),
            Node::Number(number) => Some(Self(number.clone())),
            Node::Bool(value) => Some(Self(value.to_string())),
            _ => {
                wrong_type(node, at, problems, allowed, "as the outcomes write it");
                None
            }
        }
    }

    fn schema() -> Value {
        ruled(
            json!({"type": ["string", "number", "boolean"], "minLength": 1}),
            "a label, such as fraud, 1 or true",
        )
    }
}

/// A probability from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probability(pub(crate) f64);

impl Decode for Probability {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = "a number from 0 to 1";
        let Node::Number(number) = node else {
            wrong_type(node, at, problems, allowed, "write a bare number: 0.5");
            return None;
        };
        let found = number.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
        if found.is_none() {
            let message = format!("found {number}; allowed: {allowed}");
            problems.push(at, Code::OutOfRange, message, "50 percent is 0.5");
        }
        found.map(Self)
    }

    fn schema() -> Value {
        ruled(json!({"type": "number", "minimum": 0, "maximum": 1}), "a number from 0 to 1")
    }
}

object! {
    /// Predictions and labels of the outcomes, for the metrics of models.
    RawModel {
        /// What the model predicts: classification (the default) or regression.
        task: Task = "task",
        /// The column of the outcomes with what turned out to be true.
        label: ColumnName = "label" required,
        /// The column with the predicted class, or the predicted number of a regression.
        prediction: ColumnName = "prediction",
        /// The column with the probability of the positive class, from 0 to 1.
        score: ColumnName = "score",
        /// The label of the positive class. Without it, labels that say yes or no (1, true) have one.
        positive: ClassName = "positive",
        /// The score from which on the positive class is predicted, where no column has the prediction; 0.5 by default.
        threshold: Probability = "threshold",
    }
}

impl Model {
    /// Checks the keys against each other.
    pub(super) fn check(raw: &RawModel, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let name = |given: &Given<ColumnName>| given.get().map(|name| name.0.clone());
        let model = Self {
            task: raw.task.get().copied().unwrap_or_default(),
            label: name(&raw.label)?,
            prediction: name(&raw.prediction),
            score: name(&raw.score),
            positive: raw.positive.get().map(|class| class.0.clone()),
            threshold: raw.threshold.get().map(|share| share.0),
        };
        if let Some((key, message, hint)) = model.contradiction() {
            problems.push(&at.key(key), Code::Conflict, message, hint);
        }
        Some(model)
    }

    /// What contradicts itself: the key, what is wrong, and what to do.
    #[must_use]
    pub fn contradiction(&self) -> Option<(&'static str, String, &'static str)> {
        let (regression, predicted) = (self.task == Task::Regression, self.prediction.is_some());
        let only_classes = [
            ("score", self.score.is_some()),
            ("positive", self.positive.is_some()),
            ("threshold", self.threshold.is_some()),
        ];
        if let Some((key, _)) = only_classes.into_iter().find(|(_, given)| *given && regression) {
            let message = format!("found {key} beside task: regression; allowed: one of the two");
            return Some((key, message, "a regression predicts numbers: remove it"));
        }
        if !predicted && self.score.is_none() {
            let message = "found neither prediction nor score; one is needed".to_owned();
            return Some(("prediction", message, "name the column with what the model predicted"));
        }
        if self.threshold.is_some() && (predicted || self.score.is_none()) {
            let message =
                "found threshold, which needs a score and no column with the prediction".to_owned();
            return Some(("threshold", message, "remove it: the column says what was predicted"));
        }
        let columns = [Some(&self.label), self.prediction.as_ref(), self.score.as_ref()];
        let columns: Vec<&String> = columns.into_iter().flatten().collect();
        let repeated = columns
            .iter()
            .enumerate()
            .any(|(at, one)| columns.iter().skip(at + 1).any(|two| one == two));
        repeated.then(|| {
            let message = "found one column in two parts; allowed: a column of its own for each";
            ("label", message.to_owned(), "label, prediction and score are different columns")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Model>, Vec<String>) {
        let mut problems = Problems::default();
        let node = serde_json::from_str(text).unwrap();
        let raw = RawModel::decode(&node, &Path::Root, &mut problems);
        let model = raw.and_then(|raw| Model::check(&raw, &Path::Root, &mut problems));
        let text = |problem: &crate::config::Problem| format!("{} {}", problem.path, problem.code);
        (model, problems.0.iter().map(text).collect())
    }

    #[test]
    fn a_model_names_its_columns() {
        let (model, problems) =
            read(r#"{"label": "y_true", "score": "score", "positive": 1, "threshold": 0.3}"#);
        let wanted = Model {
            label: "y_true".to_owned(),
            score: Some("score".to_owned()),
            positive: Some("1".to_owned()),
            threshold: Some(0.3),
            ..Model::default()
        };
        assert_eq!((model, problems), (Some(wanted), vec![]));
        let (model, problems) =
            read(r#"{"task": "regression", "label": "actual", "prediction": "predicted"}"#);
        assert_eq!(problems, [""; 0]);
        assert_eq!(model.unwrap().task, Task::Regression);
    }

    #[test]
    fn keys_that_do_not_apply_are_mistakes() {
        for (text, wanted) in [
            (r#"{"prediction": "p"}"#, "label missing-key"),
            (r#"{"label": "y"}"#, "prediction conflict"),
            (r#"{"label": "y", "prediction": "y"}"#, "label conflict"),
            (r#"{"label": "y", "prediction": "p", "task": "ranking"}"#, "task not-one-of"),
            (r#"{"label": "y", "score": "s", "threshold": 50}"#, "threshold out-of-range"),
            (r#"{"label": "y", "prediction": "p", "threshold": 0.5}"#, "threshold conflict"),
            (
                r#"{"label": "y", "prediction": "p", "task": "regression", "score": "s"}"#,
                "score conflict",
            ),
            (
                r#"{"label": "y", "prediction": "p", "task": "regression", "positive": "a"}"#,
                "positive conflict",
            ),
            (r#"{"label": 7, "prediction": "p"}"#, "label wrong-type"),
            (r#"{"label": "y", "prediction": "p", "positive": []}"#, "positive wrong-type"),
        ] {
            assert_eq!(read(text).1, [wanted], "{text}");
        }
    }
}
