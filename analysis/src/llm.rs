//! Metrics of language models: tokens, cost and speed of each request.
//!
//! They are made from fields of the access log where no file of outcomes has a column of that name, and are then rows of
//! outcomes by request: everything above treats them as it treats a column of a file. The log writes one unit for all
//! variants, and the prices are in the plan, so a factor between the variants is an effect, not another unit.

use sidetrack::config::ModelPrice;
use sidetrack::plan::Experiment;

use crate::analyze::trial;
use crate::answer::Goal;
use crate::error::{Error, Part};
use crate::phases::Book;
use crate::short::Short;
use crate::source::outcomes::Outcomes;
use crate::source::{AccessLogs, Logs, Trial};
use crate::strata::Strata;
use crate::window::Window;

/// A metric of the use of a language model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LlmMetric {
    /// Tokens of the request.
    TokensIn,
    /// Tokens of the answer.
    TokensOut,
    /// What both cost, in the currency of the prices.
    Cost,
    /// Seconds until the answer began.
    FirstToken,
    /// Tokens of the answer per second from then on.
    TokensPerSecond,
}

/// The names of the metrics of language models.
#[expect(clippy::indexing_slicing, reason = "evaluated while compiling, within both arrays")]
pub const LLM_METRICS: [&str; LlmMetric::ALL.len()] = {
    let mut names = [""; LlmMetric::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = LlmMetric::ALL[at].as_str();
        at += 1;
    }
    names
};

impl LlmMetric {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::TokensIn, Self::TokensOut, Self::Cost, Self::FirstToken, Self::TokensPerSecond];

    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TokensIn => "tokens_in",
            Self::TokensOut => "tokens_out",
            Self::Cost => "cost",
            Self::FirstToken => "first_token",
            Self::TokensPerSecond => "tokens_per_second",
        }
    }

    /// The metric of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == name)
    }

    /// Which direction is better where the metric decides nothing.
    pub(crate) const fn goal(self) -> Goal {
        match self {
            Self::TokensPerSecond => Goal::Increase,
            _ => Goal::Decrease,
        }
    }
}

/// What is asked of the log.
#[derive(Clone, Copy, Debug)]
pub struct LlmSource<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its strata.
    pub strata: &'a Strata,
    /// The access logs.
    pub logs: &'a Logs,
    /// The trial; `None`: that of the experiment file.
    pub trial: Option<Short>,
    /// The time.
    pub window: Window,
    /// What tokens cost.
    pub prices: &'a [ModelPrice],
    /// The metrics that must be there, or are a mistake. Others have no meaning here.
    pub required: &'a [&'a str],
    /// The metrics that are left out if the log does not have them.
    pub optional: &'a [&'a str],
}

impl LlmSource<'_> {
    /// Adds the metrics of language models that are asked for and that the outcomes do not have. The logs are read only if
    /// there are any.
    ///
    /// # Errors
    /// A required metric whose fields no request has; a model without a price; outcomes about units; logs that can be read
    /// only once.
    pub fn extend(self, outcomes: Option<Outcomes>) -> Result<Option<Outcomes>, Error> {
        let known = outcomes.as_ref().map_or(&[][..], Outcomes::columns);
        let has = |metric: LlmMetric| known.iter().any(|column| column == metric.as_str());
        let of = |names: &[&str], metric: LlmMetric| names.contains(&metric.as_str());
        let wanted = |metric: &LlmMetric| {
            let optional = of(self.optional, *metric)
                && (*metric != LlmMetric::Cost || !self.prices.is_empty());
            !has(*metric) && (of(self.required, *metric) || optional)
        };
        let wanted: Vec<LlmMetric> = LlmMetric::ALL.into_iter().filter(wanted).collect();
        let Some(first) = wanted.first() else { return Ok(outcomes) };
        let required: Vec<LlmMetric> =
            wanted.iter().copied().filter(|metric| of(self.required, *metric)).collect();
        let by_unit = outcomes.as_ref().is_some_and(|outcomes| !outcomes.by_request());
        let cause = if required.contains(&LlmMetric::Cost) && self.prices.is_empty() {
            Some((
                "no outcome has cost, and a cost from the access log needs the prices of the \
                 models\n  hint: analysis: {prices: {large: {input: 2.5, output: 10}}}, per million \
                 tokens"
                    .to_owned(),
                Part::Outcomes(None),
            ))
        } else if by_unit {
            let problem = format!(
                "the rows are by unit, and {} of the access log is by request_id; analyze each by \
                 itself, with --metric",
                required.first().unwrap_or(first).as_str()
            );
            Some((problem, Part::Outcomes(None)))
        } else if !self.logs.can_repeat() {
            let problem = format!(
                "stdin can be read only once, and {} is made from the log before the log is \
                 analyzed; give the log as a file",
                required.first().unwrap_or(first).as_str()
            );
            Some((problem, Part::Exposures(None)))
        } else {
            None
        };
        match cause {
            Some((problem, part)) if !required.is_empty() => {
                return Err(Error::input(part, problem));
            }
            Some(_) => return Ok(outcomes),
            None => {}
        }
        let Some(found) = self.read(&wanted, &required)? else { return Ok(outcomes) };
        match outcomes {
            Some(outcomes) => outcomes.with_log(found).map(Some),
            None => Ok(Some(found)),
        }
    }

    fn read(self, wanted: &[LlmMetric], required: &[LlmMetric]) -> Result<Option<Outcomes>, Error> {
        let Self { experiment, strata, logs, window, .. } = self;
        let of_file = trial(experiment)?;
        let book = Book::new(experiment, strata);
        let source = AccessLogs {
            logs,
            experiment,
            trial: Trial { wanted: self.trial.unwrap_or(of_file), of_file },
            window,
            strata,
            book: &book,
            timeline: None,
            outcomes: &Outcomes::default(),
            dimensions: &[],
            closed: &std::collections::BTreeSet::new(),
        };
        source.llm(wanted, required, self.prices)
    }
}
