//! The primary metric where none is requested.

use super::doubt::{Doubt, words};
use super::{Available, MetricRequest};
use crate::error::{Error, Part};
use crate::source::outcomes::{ACCURACY, Ignored};

impl Available<'_> {
    /// The primary metric where none is requested. A guess among several columns would decide by chance.
    pub(super) fn default_primary(&self, guardrails: &[MetricRequest]) -> Result<&str, Error> {
        let wrong = |problem| Error::input(Part::Outcomes(None), problem);
        if self.columns.iter().any(|name| name == ACCURACY) {
            return Ok(ACCURACY);
        }
        let free = |name: &&String| {
            !self.covariates.contains(name)
                && !guardrails.iter().any(|request| request.name == **name)
        };
        let free: Vec<&str> = self.columns.iter().filter(free).map(String::as_str).collect();
        match free.as_slice() {
            [only] if is_score(only) && self.ignored.iter().any(is_label) => Err(wrong(format!(
                "{only} is the only column that may decide, but beside labels it may be the score of a \
                 model\n  hint: name both in the plan, as in analysis.model: {{label: …, score: {only}, \
                 positive: …}}; else choose with --metric {only}"
            ))),
            [only] => match Doubt::of(only) {
                None => Ok(only),
                Some(doubt) => Err(wrong(format!(
                    "{only} is the only column that may decide, but {doubt}\n  hint: name it and its \
                     direction, as in --metric {only}:decrease"
                ))),
            },
            [] if self.columns.is_empty() && !self.ignored.is_empty() => {
                let ignored: Vec<String> = self.ignored.iter().map(Ignored::to_string).collect();
                Err(wrong(format!("no column is a metric: {}", ignored.join(", "))))
            }
            [] => Ok("error_rate"),
            several if several.iter().any(|name| Doubt::of(name) == Some(Doubt::Class)) => {
                Err(wrong(format!(
                    "several columns may be the primary metric: {}\n  hint: if they are predictions \
                     and labels, name them in the plan, as in analysis.model: {{label: …, \
                     prediction: …, score: …}}; else choose with --metric, as in --metric {}",
                    several.join(", "),
                    example(several)
                )))
            }
            several => Err(wrong(format!(
                "several columns may be the primary metric: {}\n  hint: choose with --metric, as \
                 in --metric {}",
                several.join(", "),
                example(several)
            ))),
        }
    }
}

/// Whether a column is called as scores of models are.
fn is_score(name: &str) -> bool {
    const SCORES: [&str; 6] = ["confidence", "prob", "proba", "probability", "score", "scores"];
    words(name).iter().any(|word| SCORES.contains(&word.as_str()))
}

/// Whether a column that is no metric is called as labels are.
fn is_label(ignored: &Ignored) -> bool {
    Doubt::of(&ignored.name) == Some(Doubt::Class)
}

/// How one of several columns is requested: one whose name says that higher is better, if there is one.
fn example(columns: &[&str]) -> String {
    let clear = columns.iter().find(|name| Doubt::of(name).is_none());
    let first = || columns.first().map(|name| format!("{name}:decrease"));
    clear.map(|name| (*name).to_owned()).or_else(first).unwrap_or_default()
}
