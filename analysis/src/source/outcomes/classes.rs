//! Classes: when a prediction equals its label although the two are spelled differently.
//!
//! Certain spellings are equal: `1` and `1.0` always, `True` and `1` if both columns are yes or no, `Cat` and `cat` unless
//! the labels themselves tell these apart. What stays different is a mistake, or columns that have no class in common,
//! whose accuracy would be zero.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use crate::figures::visible;
use crate::row::key;

/// How many classes are kept apart. Answers in free text may have more, and are compared as they are.
const MOST: usize = 10_000;
/// Labels that are numbers and have more than so many values are measurements, not classes, unless the plan says so.
const CLASSES: usize = 100;
/// With more classes, no table of predictions and labels is kept.
const NUMBERED: usize = 256;
/// How many classes a message shows.
const SHOWN: usize = 3;

/// In what sense a prediction equals its label.
#[derive(Clone, Copy, Debug, Default)]
struct Equal {
    exactly: bool,
    /// Without regard to case, and to spaces, underscores and hyphens in words.
    folded: bool,
    /// Both say yes, or both say no.
    boolean: bool,
}

/// The classes of a column.
#[derive(Debug, Default)]
struct Seen {
    /// Each folded spelling with the first spelling.
    folded: BTreeMap<String, String>,
    /// Two spellings of the column are the same when folded.
    collides: bool,
    /// There are more than [`MOST`].
    many: bool,
    /// Values that say neither yes nor no.
    others: bool,
    /// Numbers with decimals, and an example.
    decimals: u64,
    decimal: String,
    /// Numbers, and an example.
    numbers: u64,
    number: String,
}

/// The classes of each row as numbers: of the prediction and of the label. Empty if there are too many.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    rows: Vec<Option<[u16; 2]>>,
    names: Vec<String>,
}

impl Numbers {
    /// The classes of a row; `None` without both values.
    pub(crate) fn pair(&self, row: usize) -> Option<[u16; 2]> {
        self.rows.get(row).copied().flatten()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the classes of another file, whose rows have these numbers here.
    pub(super) fn take(&mut self, other: &Self, moved: &[u32], rows: usize) {
        if other.is_empty() {
            return;
        }
        self.names.clone_from(&other.names);
        self.rows = vec![None; rows];
        for (pair, row) in other.rows.iter().zip(moved) {
            if let Some(slot) = self.rows.get_mut(*row as usize) {
                *slot = *pair;
            }
        }
    }

    /// The classes, as the outcomes write them first.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

/// Predictions and labels, row by row.
#[derive(Debug, Default)]
pub(super) struct Classes {
    numbers: Numbers,
    /// The number of each folded spelling.
    known: HashMap<String, u16>,
    /// In what sense they are equal, and a hash of the prediction.
    rows: Vec<Option<(Equal, u64)>>,
    compared: u64,
    /// The plan says that they are classes.
    declared: bool,
    predictions: Seen,
    labels: Seen,
}

impl Classes {
    /// Of columns that the plan calls classes.
    pub(super) fn declared() -> Self {
        Self { declared: true, ..Self::default() }
    }

    /// Adds a row; `None` without both values.
    pub(super) fn add(&mut self, pair: Option<(&str, &str)>) {
        let numbers = pair
            .and_then(|(prediction, label)| Some([self.number(prediction)?, self.number(label)?]));
        self.numbers.rows.push(numbers);
        self.rows.push(pair.map(|(prediction, label)| {
            self.compared += 1;
            self.predictions.add(prediction);
            self.labels.add(label);
            let (one, other) = (exact(prediction), exact(label));
            let equal = Equal {
                exactly: one == other,
                folded: fold(&one) == fold(&other),
                boolean: boolean(&one).is_some_and(|one| Some(one) == boolean(&other)),
            };
            (equal, key(&fold(&one)))
        }));
    }

    /// The number of a class; `None` if there are too many.
    fn number(&mut self, text: &str) -> Option<u16> {
        let folded = fold(&exact(text));
        if let Some(number) = self.known.get(&folded) {
            return Some(*number);
        }
        let number =
            u16::try_from(self.known.len()).ok().filter(|_| self.known.len() < NUMBERED)?;
        self.known.insert(folded, number);
        self.numbers.names.push(text.to_owned());
        Some(number)
    }

    /// The classes of each row. Empty if there are too many classes.
    pub(super) fn numbers(&mut self) -> Numbers {
        if self.known.len() < NUMBERED {
            std::mem::take(&mut self.numbers)
        } else {
            Numbers::default()
        }
    }

    /// Whether the class of a prediction is one of the labels, row by row; `None` without both values. Empty if there are
    /// too many classes to know.
    pub(super) fn known(&self) -> Vec<Option<bool>> {
        if self.labels.many {
            return Vec::new();
        }
        let is_boolean = !self.predictions.others && !self.labels.others;
        let labels: HashSet<u64> = self.labels.folded.keys().map(|class| key(class)).collect();
        let known = |(_, class): &(Equal, u64)| is_boolean || labels.contains(class);
        self.rows.iter().map(|row| row.as_ref().map(known)).collect()
    }

    /// Which predictions are right, row by row; `None` without both values.
    ///
    /// # Errors
    /// The columns are not classes, or have none in common.
    pub(super) fn right(&self) -> Result<Vec<Option<bool>>, String> {
        let (predictions, labels) = (&self.predictions, &self.labels);
        let pick = |equal: &Equal| {
            if !predictions.others && !labels.others {
                equal.boolean
            } else if labels.collides || labels.many {
                equal.exactly
            } else {
                equal.folded
            }
        };
        let right: Vec<Option<bool>> =
            self.rows.iter().map(|row| row.as_ref().map(|(equal, _)| pick(equal))).collect();
        let most = |count: u64| 2 * count > self.compared;
        if most(predictions.decimals) && !most(labels.decimals) {
            return Err(format!(
                "prediction is a score (\"{}\"), but accuracy compares classes\n  hint: write the \
                 predicted class, or say in the plan that it is a score: analysis.model: {{label: …, score: \
                 …, positive: …}}",
                predictions.decimal
            ));
        }
        if most(labels.numbers) && labels.folded.len() > CLASSES && !self.declared {
            return Err(format!(
                "label is a measurement (\"{}\"), but accuracy compares classes\n  hint: say in the \
                 plan that the model predicts numbers: analysis.model: {{task: regression, label: …, \
                 prediction: …}}",
                labels.number
            ));
        }
        let common = || {
            !(predictions.others || labels.others)
                || predictions.folded.keys().any(|class| labels.folded.contains_key(class))
        };
        let many = predictions.many || labels.many;
        if self.compared > 0 && !many && !right.contains(&Some(true)) && !common() {
            return Err(format!(
                "prediction and label have no class in common: the predictions are {}, and the \
                 labels are {}\n  hint: write both in the same way",
                predictions.listed(),
                labels.listed()
            ));
        }
        Ok(right)
    }
}

impl Seen {
    fn add(&mut self, text: &str) {
        let exact = exact(text);
        self.others |= boolean(&exact).is_none();
        if exact.contains('.') && exact.parse::<f64>().is_ok_and(|number| number.fract() != 0.0) {
            self.decimals += 1;
            if self.decimal.is_empty() {
                self.decimal = visible(text);
            }
        }
        if exact.parse::<f64>().is_ok() {
            self.numbers += 1;
            if self.number.is_empty() {
                self.number = visible(text);
            }
        }
        let folded = fold(&exact);
        match self.folded.get(&folded) {
            Some(known) => self.collides |= *known != exact,
            None if self.folded.len() < MOST => {
                self.folded.insert(folded, exact);
            }
            None => self.many = true,
        }
    }

    /// `"a", "b", …`.
    fn listed(&self) -> String {
        let mut text = String::new();
        for (at, class) in self.folded.values().take(SHOWN).enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(text, "{comma}\"{}\"", visible(class)).ok();
        }
        if self.folded.len() > SHOWN { text + ", …" } else { text }
    }
}

/// Numbers in one spelling: `1` for `1.0`, `+1` and `01`.
pub(super) fn exact(text: &str) -> String {
    let starts = text.starts_with(|letter: char| letter.is_ascii_digit() || "+-.".contains(letter));
    match text.parse::<f64>() {
        Ok(number) if starts && number.abs() < 1e15 => (number + 0.0).to_string(),
        _ => text.to_owned(),
    }
}

/// Without regard to case and to what separates words. Numbers stay as they are.
pub(super) fn fold(exact: &str) -> String {
    if !exact.contains(char::is_alphabetic) {
        return exact.to_owned();
    }
    exact.chars().filter(|letter| !" _-".contains(*letter)).flat_map(char::to_lowercase).collect()
}

/// Yes or no.
pub(super) fn boolean(exact: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| exact.eq_ignore_ascii_case(word));
    if is(&["1", "true", "yes", "t", "y"]) {
        Some(true)
    } else if is(&["0", "false", "no", "f", "n"]) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the pairs of a prediction and a label are right.
    fn right(pairs: &[(&str, &str)]) -> Result<Vec<Option<bool>>, String> {
        let mut classes = Classes::default();
        pairs.iter().for_each(|pair| classes.add(Some(*pair)));
        classes.right()
    }

    fn all(pairs: &[(&str, &str)], wanted: bool) {
        let found = right(pairs).unwrap();
        assert!(found.iter().all(|right| *right == Some(wanted)), "{pairs:?}: {found:?}");
    }

    #[test]
    fn spellings_of_one_class_are_equal() {
        all(&[("1", "1.0"), ("cat", "cat"), ("01", "+1"), ("1e3", "1000")], true);
        all(&[("Cat", "cat"), ("DOG", "dog"), ("New York", "new_york"), ("it-s", "its")], true);
        all(&[("True", "1"), ("false", "0"), ("true", "1.0")], true);
        all(&[("yes", "true"), ("N", "False"), ("t", "1"), ("no", "f")], true);
        all(&[("True", "0"), ("no", "1")], false);
    }

    #[test]
    fn labels_that_differ_by_case_alone_are_classes_of_their_own() {
        let pairs = [("a", "a"), ("A", "a"), ("a", "A"), ("B", "b")];
        let found = right(&pairs).unwrap();
        assert_eq!(found, [Some(true), Some(false), Some(false), Some(false)]);
        // Numbers differ by their signs, and a yes is a class like any other beside other classes.
        let found = right(&[("-1", "1"), ("1", "1"), ("true", "1"), ("2", "2")]).unwrap();
        assert_eq!(found, [Some(false), Some(true), Some(false), Some(true)]);
    }

    #[test]
    fn columns_without_a_common_class_are_refused() {
        let problem = right(&[("cat", "1"), ("dog", "2"), ("cat", "2"), ("cow", "3")]).unwrap_err();
        assert_eq!(
            problem,
            "prediction and label have no class in common: the predictions are \"cat\", \"cow\", \
             \"dog\", and the labels are \"1\", \"2\", \"3\"\n  hint: write both in the same way"
        );
        assert!(right(&[("spam", "ham"), ("ham", "spam")]).is_ok(), "always wrong, but comparable");
        assert!(right(&[("True", "ham")]).is_err());
        assert_eq!(right(&[]).unwrap(), []);
    }

    #[test]
    fn scores_and_measurements_are_no_classes() {
        let problem = right(&[("0.83", "1"), ("0.2", "0"), ("1.0", "1")]).unwrap_err();
        assert!(problem.contains("prediction is a score (\"0.83\")"), "{problem}");
        let values: Vec<String> = (0..300).map(|n| format!("{}.5", n)).collect();
        let pairs: Vec<(&str, &str)> = values.iter().map(|v| (v.as_str(), v.as_str())).collect();
        let problem = right(&pairs).unwrap_err();
        assert!(problem.contains("label is a measurement (\"0.5\")"), "{problem}");
        // Stars in halves are classes.
        all(&[("4.5", "4.5"), ("3.5", "3.50"), ("2", "2.0")], true);
    }

    #[test]
    fn answers_in_free_text_are_compared_as_they_are() {
        let texts: Vec<String> = (0..MOST + 10).map(|number| format!("answer {number}")).collect();
        let mut classes = Classes::default();
        for text in &texts {
            classes.add(Some((text, text)));
        }
        classes.add(Some(("Answer 1", "answer 1")));
        classes.add(None);
        let found = classes.right().unwrap();
        assert!(found[..texts.len()].iter().all(|right| *right == Some(true)));
        assert_eq!(found[texts.len()..], [Some(false), None]);
        assert_eq!(classes.labels.folded.len(), MOST);
    }
}
