//! The result of a shadow comparison, typed, with serde both ways.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ShadowSettings;
use super::pairs::Pairs;
use crate::source::outcomes::{Cell, Cells};

/// Fewer pairs show little.
const FEW: u64 = 100;

/// How far the mirror agrees with the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shadow {
    /// The version of this form.
    pub version: u32,
    /// The experiment.
    pub experiment: String,
    /// The level of the intervals.
    pub alpha: f64,
    /// Requests with a prediction of both.
    pub pairs: u64,
    /// Units of the pairs; a pair without a known unit is one.
    pub units: u64,
    /// Whether the units are known: then intervals are by unit, else by request.
    pub by_unit: bool,
    /// Requests with a prediction of one side only.
    pub missing: Missing,
    /// Rows that were read, that could not be read, that repeat an earlier one, and that are of neither side.
    pub rows: Rows,
    /// Columns that were compared as classes.
    pub classes: Vec<Classes>,
    /// Columns that were compared as numbers.
    pub scores: Vec<Scores>,
    /// The time that both took.
    #[serde(default)]
    pub latency: Option<Latency>,
    /// Answers that failed.
    #[serde(default)]
    pub failures: Option<Failures>,
    /// The pairs that differ most, the worst first.
    pub worst: Vec<Worst>,
    /// Columns that were not compared.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// What was judged, and how.
    pub checks: Vec<Check>,
}

/// Rows of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Rows that could be read.
    pub read: u64,
    /// Rows that could not be read.
    pub malformed: u64,
    /// The first of them.
    pub examples: Vec<String>,
    /// Rows of a request and source that had one before; the last one counts.
    pub repeated: u64,
    /// Rows without a request id, or of another source.
    pub foreign: u64,
}

/// Requests with a prediction of one side only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// Without the baseline's.
    pub baseline: u64,
    /// Without the mirror's.
    pub mirror: u64,
    /// The same as shares of all requests.
    pub baseline_share: f64,
    /// The same as shares of all requests.
    pub mirror_share: f64,
}

/// A value with its interval; null without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: Option<f64>,
    /// The interval at the level.
    pub ci: Option<[f64; 2]>,
}

/// A column of classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// The column.
    pub column: String,
    /// Pairs in which both have a class.
    pub pairs: u64,
    /// Pairs in which it is the same.
    pub equal: u64,
    /// The share of equal pairs.
    pub agreement: Estimate,
    /// Agreement beyond chance (Cohen 1960): 1 is perfect, 0 is that of independent predictions. Null if both are constant.
    pub kappa: Option<f64>,
    /// The most common disagreements.
    pub changes: Vec<Change>,
}

/// A disagreement of classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The baseline's class.
    pub baseline: String,
    /// The mirror's class.
    pub mirror: String,
    /// Pairs.
    pub pairs: u64,
}

/// A column of numbers; a difference is the mirror's minus the baseline's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The column.
    pub column: String,
    /// Pairs in which both have a number.
    pub pairs: u64,
    /// Pairs in which it is the same.
    pub equal: u64,
    /// The mean of each side.
    pub baseline: Option<f64>,
    /// The mean of each side.
    pub mirror: Option<f64>,
    /// The mean difference.
    pub difference: Estimate,
    /// The mean of the absolute differences.
    pub absolute: Estimate,
    /// Quantiles of the differences.
    pub quantiles: Vec<Quantile>,
    /// Pearson's correlation; null if a side is constant.
    pub correlation: Option<f64>,
}

/// A quantile with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// From 0 to 1.
    pub quantile: f64,
    /// The value.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// The times of both sides, in the unit of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Pairs in which both have a time.
    pub pairs: u64,
    /// The baseline's.
    pub baseline: Side,
    /// The mirror's.
    pub mirror: Side,
    /// The mean difference.
    pub difference: Estimate,
}

/// The distribution of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The mean.
    pub mean: Estimate,
    /// The quantiles.
    pub quantiles: Vec<Quantile>,
}

/// Answers that failed: a status of 0, or of 500 and more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failures {
    /// Pairs in which both have a status.
    pub pairs: u64,
    /// The share of the baseline's answers.
    pub baseline: Estimate,
    /// The share of the mirror's answers.
    pub mirror: Estimate,
    /// The mirror's share minus the baseline's.
    pub difference: Estimate,
    /// Pairs in which only the mirror failed.
    pub mirror_only: u64,
    /// Pairs in which only the baseline failed.
    pub baseline_only: u64,
}

/// A pair that differs much: the values of the compared columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worst {
    /// The request.
    pub request_id: String,
    /// The baseline's values.
    pub baseline: BTreeMap<String, Option<String>>,
    /// The mirror's values.
    pub mirror: BTreeMap<String, Option<String>>,
}

/// A check of the data, or a limit that was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its stable name.
    pub name: String,
    /// How it ended.
    pub state: State,
    /// The value that was found.
    pub value: f64,
    /// Its limit.
    pub limit: f64,
    /// A sentence.
    pub message: String,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Within the limit.
    Ok,
    /// The limit lies within the interval: more pairs are needed.
    Unclear,
    /// A reader must know it.
    Warning,
    /// Beyond the limit that was given.
    Exceeded,
    /// The data cannot be used.
    Blocking,
}

impl Shadow {
    pub(super) fn new(
        experiment: &str,
        cells: &Cells,
        pairs: &Pairs,
        settings: &ShadowSettings,
    ) -> Self {
        let paired = pairs.rows.len() as u64;
        let all = sidetrack_stats::float(paired + pairs.baseline_only + pairs.mirror_only);
        let of_all = |count: u64| sidetrack_stats::float(count) / all.max(1.0);
        Self {
            version: 1,
            experiment: experiment.to_owned(),
            alpha: settings.alpha.get(),
            pairs: paired,
            units: pairs.count as u64,
            by_unit: pairs.known == paired,
            missing: Missing {
                baseline: pairs.mirror_only,
                mirror: pairs.baseline_only,
                baseline_share: of_all(pairs.mirror_only),
                mirror_share: of_all(pairs.baseline_only),
            },
            rows: Rows {
                read: cells.rows as u64,
                malformed: cells.malformed,
                examples: cells.examples.clone(),
                repeated: pairs.repeated,
                foreign: pairs.foreign,
            },
            classes: Vec::new(),
            scores: Vec::new(),
            latency: None,
            failures: None,
            worst: Vec::new(),
            ignored: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Judges the data, and the agreement by the limit.
    pub(super) fn judge(&mut self, settings: &ShadowSettings) {
        let most = settings.most_missing;
        let missing = [
            ("missing_baseline", self.missing.baseline_share, "the baseline"),
            ("missing_mirror", self.missing.mirror_share, "the mirror"),
        ];
        for (name, value, side) in missing {
            let percent = crate::figures::short(value * 100.0, 3);
            let state = if value > most { State::Blocking } else { State::Ok };
            let message = format!("{percent} % of the requests have no prediction of {side}");
            self.checks.push(Check { name: name.to_owned(), state, value, limit: most, message });
        }
        if self.classes.is_empty() && self.scores.is_empty() {
            self.checks.push(Check {
                name: "no_values".to_owned(),
                state: State::Blocking,
                value: 0.0,
                limit: 0.0,
                message: "no class and no score is known of both sides".to_owned(),
            });
        }
        let rows = self.rows.read + self.rows.malformed;
        let malformed =
            sidetrack_stats::float(self.rows.malformed) / sidetrack_stats::float(rows.max(1));
        self.checks.push(Check {
            name: "malformed_rows".to_owned(),
            state: if malformed > most { State::Blocking } else { State::Ok },
            value: malformed,
            limit: most,
            message: format!("{} of {rows} rows cannot be read", self.rows.malformed),
        });
        if self.pairs < FEW {
            let pairs = match self.pairs {
                1 => "1 pair is".to_owned(),
                pairs => format!("{pairs} pairs are"),
            };
            self.checks.push(Check {
                name: "few_pairs".to_owned(),
                state: State::Warning,
                value: sidetrack_stats::float(self.pairs),
                limit: sidetrack_stats::float(FEW),
                message: format!("{pairs} few; rare disagreements do not show"),
            });
        }
        let Some(least) = settings.least_agreement else { return };
        if self.classes.is_empty() && !self.scores.is_empty() {
            self.checks.push(Check {
                name: "agreement".to_owned(),
                state: State::Blocking,
                value: 0.0,
                limit: least,
                message: "no column has classes of both sides, so there is no agreement to judge"
                    .to_owned(),
            });
        }
        for class in &self.classes {
            let (Some(value), Some([low, high])) = (class.agreement.value, class.agreement.ci)
            else {
                self.checks.push(Check {
                    name: format!("agreement_{}", class.column),
                    state: State::Unclear,
                    value: 0.0,
                    limit: least,
                    message: format!(
                        "too few pairs to know how often {} agrees",
                        crate::figures::visible(&class.column)
                    ),
                });
                continue;
            };
            let state = if low >= least {
                State::Ok
            } else if high < least {
                State::Exceeded
            } else {
                State::Unclear
            };
            self.checks.push(Check {
                name: format!("agreement_{}", class.column),
                state,
                value,
                limit: least,
                message: format!(
                    "{} agrees in {} % of the pairs",
                    crate::figures::visible(&class.column),
                    crate::figures::short(value * 100.0, 4)
                ),
            });
        }
    }

    /// Judges how many pairs have a value of a column on one side only. A column that only one side reports at all is named, but
    /// may be meant.
    pub(super) fn judge_values(
        &mut self,
        column: &str,
        values: &[[Cell; 2]],
        settings: &ShadowSettings,
    ) {
        let count = |baseline: bool, mirror: bool| {
            let known = |cell: Cell| cell != Cell::Missing;
            let is = |[one, other]: &&[Cell; 2]| (known(*one), known(*other)) == (baseline, mirror);
            values.iter().filter(is).count() as u64
        };
        let both = count(true, true);
        let sides = [(count(false, true), "baseline"), (count(true, false), "mirror")];
        let pairs = sidetrack_stats::float((values.len() as u64).max(1));
        for (lacking, side) in sides.into_iter().filter(|(lacking, _)| *lacking > 0) {
            let (value, limit) = (sidetrack_stats::float(lacking) / pairs, settings.most_missing);
            let state = match () {
                () if both == 0 => State::Warning,
                () if value > limit => State::Blocking,
                () => State::Ok,
            };
            self.checks.push(Check {
                name: format!("missing_{side}_{column}"),
                state,
                value,
                limit,
                message: format!(
                    "{} % of the pairs have no {} of the {side}",
                    crate::figures::short(value * 100.0, 3),
                    crate::figures::visible(column)
                ),
            });
        }
    }

    /// The worst state of the checks.
    #[must_use]
    pub fn state(&self) -> State {
        let order = [State::Blocking, State::Exceeded, State::Unclear, State::Warning];
        let has = |state: &State| self.checks.iter().any(|check| check.state == *state);
        order.into_iter().find(has).unwrap_or(State::Ok)
    }
}
