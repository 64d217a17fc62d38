//! The whole way of an analysis: source → rows → join → sums → checks → comparisons → verdict.

mod methods;
mod posteriors;
mod reading;
mod segmented;
mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;

use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::Timestamp;

use crate::answer::{
    Analysis, AnalysisUnit, Decision, OutcomeCounts, PlanCheck, Role, Srm, SrmVerdict,
};
use crate::check::{Check, CheckName, CheckState};
use crate::checks::{self, Arms, Evidence, Touched, Unmatched, share};
use crate::compare::Data;
use crate::error::{Error, Part};
use crate::expected_value::expected_values;
use crate::judge::Names;
use crate::metric::{Metric, Origin};
use crate::over_time::{Series, series};
use crate::phases::Book;
use crate::plan::{accepted, in_force};
use crate::reason::{Note, Reason, Unusable};
use crate::row::Excluded;
use crate::segments::{Located, locate};
use crate::source::outcomes::{ACCURACY, Outcomes};
use crate::source::{Logs, Trial};
use crate::strata::Strata;
use crate::summary::{RowFacts, Summary};
use crate::verdict::{Grounds, verdict};
pub(crate) use methods::look;
use reading::Reading;
pub(crate) use reading::{Read, selected, trial};
pub use settings::Settings;

/// The planned units if the user gives none: the confidence sequence is narrowest around this number.
pub const DEFAULT_UNITS: u64 = 10_000;

/// The level of significance if the user gives none.
pub const ALPHA: f64 = 0.05;

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

impl<'a> Input<'a> {
    /// What it is about.
    const fn subject(self) -> Subject<'a> {
        let Self { experiment, strata, config_hash, .. } = self;
        Subject { experiment, strata, config_hash }
    }
}

/// What data are about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its strata.
    pub strata: &'a Strata,
    /// The hash of its file.
    pub config_hash: &'a str,
}

/// Which pass over the logs is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pass {
    /// Over all lines.
    #[default]
    All,
    /// Over all lines again, since the same weights were in force several times.
    ByPhase,
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
    conclude(input.subject(), settings, &summarize(input, settings, progress)?)
}

/// The verdict from a summary.
///
/// # Errors
/// Too few planned units.
pub fn conclude(
    subject: Subject<'_>,
    settings: &Settings,
    summary: &Summary,
) -> Result<(Analysis, Series), Error> {
    Judging { subject, settings, summary }.answer()
}

/// Reads the data, and sums them up. `progress` is called with the pass and the number of lines so far.
///
/// # Errors
/// A mistake in the input, or a file that cannot be read.
pub fn summarize(
    input: Input<'_>,
    settings: &Settings,
    progress: &(dyn Fn(Pass, u64) + Sync),
) -> Result<Summary, Error> {
    let none = Outcomes::default();
    let of_file = trial(input.experiment)?;
    let work = Work {
        input,
        settings,
        outcomes: input.outcomes.unwrap_or(&none),
        dimensions: locate(&settings.segments, input.outcomes.unwrap_or(&none)),
        trial: Trial { wanted: settings.trial.unwrap_or(of_file), of_file },
        book: Book::new(input.experiment, input.strata),
        progress,
    };
    work.run()
}

/// Data that are read and summed up.
struct Work<'a> {
    input: Input<'a>,
    settings: &'a Settings,
    outcomes: &'a Outcomes,
    dimensions: Vec<Located>,
    trial: Trial,
    /// The sets of weights.
    book: Book,
    progress: &'a (dyn Fn(Pass, u64) + Sync),
}

impl Work<'_> {
    fn run(&self) -> Result<Summary, Error> {
        let metrics = self.metrics()?;
        let logs = self.input.logs;
        let mut reading =
            Reading { pass: Pass::All, closed: BTreeSet::new(), timeline: None, metrics: &metrics };
        let mut first = self.read(&reading)?;
        if first.timeline.returns {
            // A set of weights was in force several times, so its lines belong to several phases.
            reading.pass = Pass::ByPhase;
            reading.timeline = Some(Arc::clone(&first.timeline));
            first = self.read(&reading)?;
        }
        let minutes = first.joined.tally.minutes.iter();
        let touched = minutes.filter(|(_, arms)| arms.iter().any(|minute| minute.breaker > 0));
        let closed: BTreeSet<u64> = touched.map(|(minute, _)| *minute).collect();
        let exclude = self.settings.exclude_breaker;
        if exclude && !closed.is_empty() && !logs.can_repeat() {
            let problem = "stdin can be read only once; give the log as a file";
            return Err(Error::input(Part::ExcludeBreaker, problem));
        }
        let breaker = Touched::new(self.input.experiment, &first.joined.tally);
        reading = Reading {
            pass: Pass::WithoutBreaker,
            timeline: Some(Arc::clone(&first.timeline)),
            closed,
            metrics: &metrics,
        };
        let again = (!reading.closed.is_empty() && logs.can_repeat())
            .then(|| self.read(&reading))
            .transpose()?;
        let (main, other) = match again {
            Some(again) if exclude => (again, None),
            again => (first, again),
        };
        Ok(self.summary(main, other, breaker))
    }
}

/// A summary that is judged.
struct Judging<'a> {
    subject: Subject<'a>,
    settings: &'a Settings,
    summary: &'a Summary,
}

impl Judging<'_> {
    fn answer(&self) -> Result<(Analysis, Series), Error> {
        let Subject { experiment, strata, .. } = self.subject;
        let Summary { main, other, trial, .. } = self.summary;
        let breaker = checks::breaker(experiment, &self.summary.breaker);
        let tally = &main.joined.tally;
        let phases = main.timeline.phases.as_slice();
        let observed = checks::observed(&main.sums, main.shape, main.units);
        let seen = checks::seen(&main.sums, main.shape, main.units);
        let units = main.counted(observed.iter().flatten().sum());
        let wandering = !strata.adaptive && main.timeline.wanders();
        let adaptive = strata.adaptive || wandering;
        let looks = self.settings.methods.looks;
        let (look, planned_reached, sequential) =
            look(self.settings.planned_units, self.settings.level, units, adaptive, looks)
                .map_err(|error| Error::input(Part::PlannedUnits, error.to_string()))?;
        let names = self.names(main);
        let results = self.judged(main, look, &names);
        let without_breaker = other.as_ref().map(|other| self.judged(other, look, &names));
        let srm = checks::srm(experiment, phases, &observed, &seen, main.units);
        let request_level = !main.units && experiment.assignment == Assignment::UserHash;
        let other_weights = share(tally.left_out(Excluded::OtherWeights), tally.used);
        let candidates: Vec<&str> =
            main.shape.candidates().filter_map(|arm| names.variants.get(arm).copied()).collect();
        let facts = self.summary.rows.as_ref();
        let outcomes = facts.map(|facts| {
            let counts = checks::outcome_counts(facts, main.placed.as_ref(), &names.variants);
            main.with_untimed(counts)
        });
        let rows = facts.zip(outcomes.as_ref());
        let arms = main.units.then(|| Arms {
            sums: &main.sums,
            shape: main.shape,
            phases,
            names: &names.variants,
            metrics: &main.metrics,
            by_request: facts.is_some_and(|facts| facts.by_request),
            planned: self.settings.planned_units.unwrap_or(DEFAULT_UNITS),
        });
        let few = main
            .units
            .then(|| checks::few_units(&self.data(main), &main.metrics, &results, &names.variants));
        let placed = main.placed.as_ref();
        let ends = placed.and_then(|placed| checks::ends(placed, tally, &names.variants));
        let of_rows = rows.map(|(facts, counts)| self.of_rows(facts, counts, &names));
        let labels = main.model.as_ref().and_then(|found| checks::labels(found, &main.metrics));
        let untold = main.units.then(|| checks::untold(tally, &main.sums));
        let more = few.into_iter().flatten().chain(ends).chain(of_rows.into_iter().flatten());
        let shown = self.shown(main, &results, look, &names, units);
        let more = more.chain(shown.checks).chain(labels).chain(untold);
        let more = more.chain(main.units.then(|| checks::twice(main.twice)));
        let mut checks = checks::checks(
            rows,
            &main.joined,
            arms.as_ref(),
            more,
            &main.metrics,
            &self.settings.allowed,
            self.settings.allow_srm,
        );
        checks::not_checked(&mut checks, &self.summary.not_checked);
        let mut verdict = verdict(&Grounds {
            metrics: &results,
            without_breaker: without_breaker.as_deref(),
            checks: &checks,
            srm_mismatch: srm.verdict == SrmVerdict::Mismatch,
            allow_srm: self.settings.allow_srm,
            request_level: request_level && !self.settings.assume_independent_requests,
            other_weights,
            planned_reached,
            candidates: &candidates,
            baseline: names.variants.get(names.baseline).copied().unwrap_or("the baseline"),
        });
        if let Some(unusable) = self.unusable(outcomes.as_ref()) {
            verdict.decision = Decision::Invalid;
            verdict.winner = None;
            let more = checks
                .iter()
                .filter(|check| check.blocks() && check.name != CheckName::MatchedRows);
            let more = more.cloned().map(Reason::from);
            verdict.reasons = std::iter::once(Reason::Unusable(unusable)).chain(more).collect();
        }
        let mut reasons = verdict.reasons;
        let noted = [CheckState::Warning, CheckState::Accepted];
        let warnings = checks.iter().filter(|check| noted.contains(&check.state));
        reasons.extend(warnings.cloned().map(Reason::from));
        reasons.extend(
            (request_level && tally.used > 0).then(|| Reason::from(Note::IndependentRequests)),
        );
        let notes = checks::notes(&Evidence {
            tally,
            units: main.units,
            adaptive: strata.adaptive.then_some(phases.len() as u64),
            wandering: wandering.then_some(phases.len() as u64),
            weights: (!adaptive && experiment.schedule.phases().is_empty())
                .then_some(phases.len() as u64),
            breaker: &breaker,
            other_weights,
            torn: if main.units { main.sums.torn } else { 0 },
            moved: main.sums.moved,
            untimed: main.placed.as_ref().is_some_and(|placed| !placed.timed),
            outcomes: outcomes.as_ref(),
        });
        let chosen = self.chosen_primary(&main.metrics);
        let attribution = main.attributed(&names);
        let methods = methods::notes(attribution.as_ref(), &results);
        let unchecked = Some(&self.summary.not_checked).filter(|checks| !checks.is_empty());
        let unchecked = unchecked.map(|checks| Note::NotChecked { checks: checks.clone() });
        let notes = unchecked.into_iter().chain(chosen).chain(notes);
        let notes = notes.chain(methods).chain(main.explained(&results));
        let notes = notes.chain(main.absent_zero());
        reasons.extend(notes.map(Reason::from));
        let data = self.data(main);
        let series = series(&data, &main.metrics, look, &names, phases, tally.span);
        let analysis = Analysis {
            version: 1,
            experiment: experiment.name.clone(),
            config_hash: self.subject.config_hash.to_owned(),
            trial: trial.wanted.to_string(),
            other_trials: checks::other_trials(tally),
            from: tally.span.map(|(first, _)| Timestamp::new(first).to_string()),
            to: tally.span.map(|(_, last)| Timestamp::new(last).to_string()),
            unit_of_analysis: if main.units { AnalysisUnit::Unit } else { AnalysisUnit::Request },
            test: look.mode(),
            alpha: self.settings.level.get(),
            planned_units: self.settings.planned_units,
            sequential,
            counted_units: Some(units),
            attribution,
            plan: self.plan(&srm, &checks),
            adaptive,
            lines: checks::line_counts(tally, &self.summary.files),
            outcomes,
            variants: checks::variants(experiment, &main.sums, main.shape, main.units),
            phases: checks::phases(
                experiment,
                phases,
                tally,
                &main.sums,
                (main.shape, main.units),
                &arms.as_ref().map(Arms::refusing).unwrap_or_default(),
            ),
            srm,
            checks,
            breaker,
            torn_units: if main.units { main.sums.torn } else { 0 },
            moved_units: main.sums.moved,
            worth: expected_values(&results, &self.settings.prices),
            metrics: results,
            segments: shown.segments,
            daily: shown.daily,
            outlook: shown.outlook,
            model: main.model.clone(),
            without_breaker,
            decision: verdict.decision,
            winner: verdict.winner,
            reasons,
        };
        Ok((analysis, series))
    }

    /// A column that decides although it was not named. Accuracy needs no name.
    fn chosen_primary(&self, metrics: &[Metric]) -> Option<Note> {
        let chosen = metrics.iter().find(|metric| metric.role == Role::Primary)?;
        let is_column = matches!(chosen.origin, Origin::Column(_)) && chosen.name != ACCURACY;
        (is_column && self.settings.metrics.primary.is_empty())
            .then(|| Note::DefaultPrimary { metric: chosen.name.clone() })
    }

    /// The plan of the file, and what goes beyond it.
    fn plan(&self, srm: &Srm, checks: &[Check]) -> PlanCheck {
        let main = &self.summary.main;
        let digest = self.subject.experiment.analysis.as_ref().map(sidetrack::exposure::short);
        let short = digest.as_ref().and_then(|digest| digest.parse().ok());
        let in_force = in_force(short, &main.joined.tally.seen.plans);
        // Without a plan, no option is beyond it.
        let window = self.outside(main).into_iter().filter(|_| digest.is_some());
        let all = self.settings.exploratory.iter().cloned().chain(window).chain(in_force);
        let all = all.chain(accepted(srm, self.settings.allow_srm, checks));
        let exploratory = all.map(|reason| reason.to_string()).collect();
        PlanCheck { digest, exploratory }
    }

    /// Why there is nothing to decide from.
    fn unusable(&self, counts: Option<&OutcomeCounts>) -> Option<Unusable> {
        let Subject { experiment, .. } = self.subject;
        let Summary { main, trial, rows, ids, .. } = self.summary;
        let lines = checks::unusable_lines(&experiment.name, *trial, &main.joined.tally);
        let independent = experiment.assignment == Assignment::RequestRandom
            || self.settings.assume_independent_requests;
        let planned = self.settings.planned_units.filter(|_| !main.units && !independent);
        let units = planned.map(|planned| Unusable::NoUnits { planned });
        let outcomes = rows.as_ref().zip(counts);
        lines.or(units).or_else(|| {
            outcomes.and_then(|(rows, counts)| checks::unusable_outcomes(rows, counts, *trial, ids))
        })
    }

    /// The checks of the outcomes that need the logs.
    fn of_rows(
        &self,
        outcomes: &RowFacts,
        counts: &OutcomeCounts,
        names: &Names<'_>,
    ) -> Vec<Check> {
        let (main, names) = (&self.summary.main, names.variants.as_slice());
        let unmatched = Unmatched { outcomes, counts, sample: &main.sample, names };
        let mut checks = vec![unmatched.check()];
        let placed = main.placed.as_ref();
        checks.extend(checks::scales(outcomes, placed, main.shape, &main.metrics, names));
        checks.extend(
            outcomes.by_request.then(|| checks::classes(outcomes, counts, names)).flatten(),
        );
        checks
    }

    fn data<'r>(&self, read: &'r Read) -> Data<'r> {
        let level = self.settings.level;
        Data { sums: &read.sums, shape: read.shape, units: read.units, level }
    }

    fn names<'n>(&'n self, read: &'n Read) -> Names<'n> {
        let variants = self.subject.experiment.variants.iter();
        let strata = read.timeline.phases.iter();
        Names {
            variants: variants.map(|variant| variant.name.as_str()).collect(),
            baseline: read.shape.baseline,
            strata: strata.map(|stratum| stratum.name.as_deref()).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
