//! The whole way of an analysis: source → rows → join → sums → checks → comparisons → verdict.

use std::collections::BTreeSet;
use std::num::NonZero;

use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::Timestamp;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::sequential::ConfidenceSequence;

use crate::answer::{Analysis, AnalysisUnit, MetricResult, Role, SrmVerdict};
use crate::checks::{self, Evidence, share};
use crate::compare::Data;
use crate::error::{Error, Part};
use crate::expected_value::{Price, expected_values};
use crate::join::{Joined, Shape, join};
use crate::judge::{Look, Names, judge};
use crate::metric::{Available, Metric, MetricRequests, Origin};
use crate::over_time::{Series, series};
use crate::reason::{Note, Reason};
use crate::row::Excluded;
use crate::source::outcomes::Outcomes;
use crate::source::{AccessLogs, Logs};
use crate::strata::Strata;
use crate::sums::{Placed, Summation, Sums, place};
use crate::verdict::{Grounds, verdict};

/// The planned units if the user gives none: the confidence sequence is narrowest around this number.
const DEFAULT_UNITS: u64 = 10_000;

/// What is analyzed.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its strata.
    pub strata: &'a Strata,
    /// The hash of its file.
    pub config_hash: &'a str,
    /// The access logs.
    pub logs: &'a Logs,
    /// The outcomes.
    pub outcomes: Option<&'a Outcomes>,
}

/// How it is analyzed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Requested metrics.
    pub metrics: MetricRequests,
    /// Prices of metrics.
    pub prices: Vec<Price>,
    /// Units planned for all variants together.
    pub planned_units: Option<u64>,
    /// The level of significance.
    pub level: Fraction,
    /// Decide despite a sample ratio mismatch.
    pub allow_srm: bool,
    /// Decide by requests although users were randomized.
    pub assume_independent_requests: bool,
    /// Leave out, for all variants, the minutes in which a breaker was open.
    pub exclude_breaker: bool,
    /// How many threads work; the result does not depend on it.
    pub threads: NonZero<usize>,
}

/// Which pass over the logs is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Over all lines.
    All,
    /// Without the minutes in which a breaker was open.
    WithoutBreaker,
}

/// Analyzes. `progress` is called with the pass and the number of lines so far.
///
/// # Errors
/// A mistake in the input, or a file that cannot be read.
pub fn analyze(
    input: Input<'_>,
    settings: &Settings,
    progress: &(dyn Fn(Pass, u64) + Sync),
) -> Result<(Analysis, Series), Error> {
    let none = Outcomes::default();
    let work = Work {
        input,
        settings,
        outcomes: input.outcomes.unwrap_or(&none),
        shape: Shape::new(input.experiment, input.strata),
        progress,
    };
    work.run()
}

/// An analysis at work.
struct Work<'a> {
    input: Input<'a>,
    settings: &'a Settings,
    outcomes: &'a Outcomes,
    shape: Shape,
    progress: &'a (dyn Fn(Pass, u64) + Sync),
}

/// The result of one pass over the logs.
struct Read {
    joined: Joined,
    sums: Sums,
    placed: Option<Placed>,
    metrics: Vec<Metric>,
    /// Whether units are compared.
    units: bool,
}

impl Work<'_> {
    fn run(&self) -> Result<(Analysis, Series), Error> {
        let metrics = self.metrics()?;
        let logs = self.input.logs;
        let mut first = self.read(&BTreeSet::new(), Pass::All, &metrics)?;
        let minutes = first.joined.tally.minutes.iter();
        let touched = minutes.filter(|(_, arms)| arms.iter().any(|minute| minute.breaker > 0));
        let closed: BTreeSet<u64> = touched.map(|(minute, _)| *minute).collect();
        let exclude = self.settings.exclude_breaker;
        if exclude && !closed.is_empty() && !logs.can_repeat() {
            let problem = "stdin can be read only once; give the log as a file";
            return Err(Error::input(Part::ExcludeBreaker, problem));
        }
        let breaker = checks::breaker(self.input.experiment, &first.joined.tally);
        let again = (!closed.is_empty() && logs.can_repeat())
            .then(|| self.read(&closed, Pass::WithoutBreaker, &metrics))
            .transpose()?;
        let damage = std::mem::take(&mut first.joined.notes);
        let (main, other) = match again {
            Some(again) if exclude => (again, None),
            again => (first, again),
        };
        self.answer(&main, other.as_ref(), breaker, damage)
    }

    fn answer(
        &self,
        main: &Read,
        other: Option<&Read>,
        breaker: crate::answer::Breaker,
        damage: Vec<Note>,
    ) -> Result<(Analysis, Series), Error> {
        let Input { experiment, strata, .. } = self.input;
        let tally = &main.joined.tally;
        let observed = checks::observed(&main.sums, self.shape, main.units);
        let (look, planned_reached) = self.look(observed.iter().flatten().sum())?;
        let names = self.names();
        let results = self.judged(main, look, &names);
        let without_breaker = other.map(|other| self.judged(other, look, &names));
        let srm = checks::srm(experiment, strata, &observed, main.units);
        let request_level = !main.units && experiment.assignment == Assignment::UserHash;
        let other_weights = share(tally.left_out(Excluded::OtherWeights), tally.used);
        let candidates: Vec<&str> =
            self.shape.candidates().filter_map(|arm| names.variants.get(arm).copied()).collect();
        let verdict = verdict(&Grounds {
            metrics: &results,
            without_breaker: without_breaker.as_deref(),
            srm_mismatch: srm.verdict == SrmVerdict::Mismatch,
            allow_srm: self.settings.allow_srm,
            request_level: request_level && !self.settings.assume_independent_requests,
            other_weights,
            planned_reached,
            candidates: &candidates,
            baseline: names.variants.get(names.baseline).copied().unwrap_or("the baseline"),
        });
        let outcomes = self
            .input
            .outcomes
            .map(|outcomes| checks::outcome_counts(outcomes, tally, main.placed.as_ref()));
        let mut reasons = verdict.reasons;
        reasons.extend(request_level.then(|| Reason::from(Note::IndependentRequests)));
        let notes = checks::notes(&Evidence {
            experiment: &experiment.name,
            tally,
            units: main.units,
            adaptive: strata.adaptive.then_some(strata.list.len() as u64),
            breaker: &breaker,
            other_weights,
            torn: main.sums.torn,
            outcomes: outcomes.as_ref(),
        });
        reasons.extend(damage.into_iter().chain(notes).map(Reason::from));
        let data = self.data(main);
        let series = series(&data, &main.metrics, look, &names, strata, tally.span);
        let closed = BTreeSet::new();
        let source = self.source(&closed);
        let analysis = Analysis {
            version: 1,
            experiment: experiment.name.clone(),
            config_hash: self.input.config_hash.to_owned(),
            from: tally.span.map(|(first, _)| Timestamp::new(first).to_string()),
            to: tally.span.map(|(_, last)| Timestamp::new(last).to_string()),
            unit_of_analysis: if main.units { AnalysisUnit::Unit } else { AnalysisUnit::Request },
            test: look.mode(),
            alpha: self.settings.level.get(),
            planned_units: self.settings.planned_units,
            adaptive: strata.adaptive,
            lines: checks::line_counts(tally, &source),
            outcomes,
            variants: checks::variants(experiment, &main.sums, self.shape, &observed),
            srm,
            breaker,
            torn_units: main.sums.torn,
            worth: expected_values(&results, &self.settings.prices),
            metrics: results,
            without_breaker,
            decision: verdict.decision,
            winner: verdict.winner,
            reasons,
        };
        Ok((analysis, series))
    }

    fn metrics(&self) -> Result<Vec<Metric>, Error> {
        let outcomes = self.outcomes;
        let binary: Vec<bool> =
            (0..outcomes.columns.len()).map(|column| outcomes.is_binary(column)).collect();
        let available = Available {
            columns: &outcomes.columns,
            by_request: outcomes.by_request,
            binary: &binary,
        };
        let metrics = available.select(&self.settings.metrics)?;
        for price in &self.settings.prices {
            if !metrics.iter().any(|metric| metric.name == price.metric) {
                let known: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
                let problem = format!("unknown metric; expected one of: {}", known.join(", "));
                return Err(Error::input(Part::Price(price.metric.clone()), problem));
            }
        }
        Ok(metrics)
    }

    fn source<'s>(&'s self, closed: &'s BTreeSet<u64>) -> AccessLogs<'s> {
        AccessLogs {
            logs: self.input.logs,
            experiment: self.input.experiment,
            strata: self.input.strata,
            outcomes: self.outcomes,
            closed,
        }
    }

    fn read(&self, closed: &BTreeSet<u64>, pass: Pass, metrics: &[Metric]) -> Result<Read, Error> {
        let threads = self.settings.threads.get();
        let progress = |lines| (self.progress)(pass, lines);
        let mut joined = join(&self.source(closed), self.shape, self.outcomes, threads, &progress)?;
        let random = self.input.experiment.assignment == Assignment::RequestRandom;
        let units = joined.tally.named > 0 && !random;
        let by_unit = self.input.outcomes.is_some() && !self.outcomes.by_request;
        if by_unit && !units && joined.tally.used > 0 {
            let problem = if random {
                "the rows are about units, but each request is assigned by itself \
                 (assignment: request_random); give request_id"
            } else {
                "the rows are about units, but the log has none; give request_id, or set \
                 settings.exposure_unit to digest and log again"
            };
            return Err(Error::input(Part::Outcomes(None), problem));
        }
        let placed = (by_unit && units).then(|| place(&joined, self.outcomes));
        // The rate of aborted requests is worth a line only if there are any.
        let aborts = joined.tally.aborted() > 0;
        let wanted = |metric: &&Metric| {
            aborts || metric.origin != Origin::Aborts || metric.role != Role::Exploratory
        };
        let metrics: Vec<Metric> = metrics.iter().filter(wanted).cloned().collect();
        let summation = Summation {
            joined: &joined,
            placed: placed.as_ref(),
            metrics: &metrics,
            shape: self.shape,
            units,
            threads,
        };
        let sums = summation.run();
        // Everything else needs only the sums, and a second pass may need the memory.
        joined.shards = Vec::new();
        let placed = placed.map(Placed::counts);
        Ok(Read { joined, sums, placed, metrics, units })
    }

    fn data<'r>(&self, read: &'r Read) -> Data<'r> {
        let level = self.settings.level;
        Data { sums: &read.sums, shape: self.shape, units: read.units, level }
    }

    fn judged(&self, read: &Read, look: Look, names: &Names<'_>) -> Vec<MetricResult> {
        let data = self.data(read);
        let metrics = read.metrics.iter().zip(&read.sums.metrics);
        let compared: Vec<_> =
            metrics.map(|(metric, sums)| (metric.clone(), data.compare(metric, sums))).collect();
        judge(&compared, look, self.settings.level, names)
    }

    fn names(&self) -> Names<'_> {
        let variants = self.input.experiment.variants.iter();
        let strata = self.input.strata.list.iter();
        Names {
            variants: variants.map(|variant| variant.name.as_str()).collect(),
            baseline: self.shape.baseline,
            strata: strata.map(|stratum| stratum.name.as_deref()).collect(),
        }
    }

    /// A fixed test once the planned units are reached, always-valid intervals before; and whether they are reached.
    fn look(&self, units: u64) -> Result<(Look, bool), Error> {
        let planned = self.settings.planned_units;
        if planned.is_some_and(|planned| units >= planned) {
            return Ok((Look::Fixed, true));
        }
        let planned = planned.unwrap_or(DEFAULT_UNITS);
        let sequence = ConfidenceSequence::new(planned, self.settings.level)
            .map_err(|error| Error::input(Part::PlannedUnits, error.to_string()))?;
        Ok((Look::Always(sequence), false))
    }
}

#[cfg(test)]
mod tests;
