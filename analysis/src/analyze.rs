//! The whole way of an analysis: source → rows → join → sums → checks → comparisons → verdict.

mod methods;
mod reading;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;

use sidetrack::names::log;
use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::{Millis, Timestamp};
use sidetrack_stats::input::{Fraction, Invalid};
use sidetrack_stats::sequential::{ConfidenceSequence, is_planned_look};

use crate::answer::{
    Analysis, AnalysisUnit, Decision, MetricResult, OutcomeCounts, PlanCheck, Role, Srm, SrmVerdict,
};
use crate::cap::Cap;
use crate::check::{Check, CheckName, CheckState};
use crate::checks::{self, Arms, Evidence, Unmatched, share};
use crate::compare::Data;
use crate::error::{Error, Part};
use crate::expected_value::{Price, expected_values};
use crate::judge::{Look, Names, judge};
use crate::metric::{Available, Metric, MetricRequests, Origin};
use crate::over_time::{Series, series};
use crate::phases::Book;
use crate::plan::{AnalysisPlan, Exploratory, accepted, in_force};
use crate::reason::{Note, Reason, Unusable};
use crate::row::Excluded;
use crate::short::Short;
use crate::source::outcomes::{ACCURACY, Outcomes};
use crate::source::{Logs, Trial};
use crate::strata::Strata;
use crate::verdict::{Grounds, verdict};
use crate::window::Window;
use reading::{Read, Reading};

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

/// How it is analyzed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trial; `None`: that of the experiment file.
    pub trial: Option<Short>,
    /// The time.
    pub window: Window,
    /// Requested metrics.
    pub metrics: MetricRequests,
    /// What was asked for beyond the plan of the file.
    pub exploratory: Vec<Exploratory>,
    /// Prices of metrics.
    pub prices: Vec<Price>,
    /// Units planned for all variants together.
    pub planned_units: Option<u64>,
    /// How long after a unit's first request in a phase its outcomes count.
    pub attribution: Option<Millis>,
    /// Caps of metrics.
    pub caps: Vec<Cap>,
    /// The level of significance.
    pub level: Fraction,
    /// Decide despite a sample ratio mismatch.
    pub allow_srm: bool,
    /// Decide despite these checks.
    pub allowed: Vec<CheckName>,
    /// Decide by requests although users were randomized.
    pub assume_independent_requests: bool,
    /// Leave out, for all variants, the minutes in which a breaker was open.
    pub exclude_breaker: bool,
    /// How many threads work; the result does not depend on it.
    pub threads: NonZero<usize>,
}

impl Settings {
    /// The analysis that the plan of the file describes: what `analyze run` does without options.
    ///
    /// # Errors
    /// The level of significance is not a fraction, which cannot be.
    pub fn planned(
        planned: Option<&AnalysisPlan>,
        threads: NonZero<usize>,
    ) -> Result<Self, Invalid> {
        let mut exploratory = Vec::new();
        let nothing = MetricRequests::default();
        Ok(Self {
            trial: None,
            window: Window::default(),
            metrics: planned.map_or_else(
                || nothing.clone(),
                |plan| plan.metrics(nothing.clone(), &mut exploratory),
            ),
            caps: planned.map_or_else(Vec::new, |plan| plan.caps(&[], &mut exploratory)),
            attribution: planned.and_then(|plan| plan.attribution),
            exploratory,
            prices: Vec::new(),
            planned_units: planned.and_then(|plan| plan.planned_units),
            level: Fraction::new(ALPHA)?,
            allow_srm: false,
            allowed: Vec::new(),
            assume_independent_requests: false,
            exclude_breaker: false,
            threads,
        })
    }
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
    let none = Outcomes::default();
    let trial = sidetrack::exposure::trial(input.experiment).parse();
    let of_file = trial.map_err(|problem: String| Error::input(Part::Experiment, problem))?;
    let work = Work {
        input,
        settings,
        outcomes: input.outcomes.unwrap_or(&none),
        trial: Trial { wanted: settings.trial.unwrap_or(of_file), of_file },
        book: Book::new(input.experiment, input.strata),
        progress,
    };
    work.run()
}

/// An analysis at work.
struct Work<'a> {
    input: Input<'a>,
    settings: &'a Settings,
    outcomes: &'a Outcomes,
    trial: Trial,
    /// The sets of weights.
    book: Book,
    progress: &'a (dyn Fn(Pass, u64) + Sync),
}

impl Work<'_> {
    fn run(&self) -> Result<(Analysis, Series), Error> {
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
        let breaker = checks::breaker(self.input.experiment, &first.joined.tally);
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
        self.answer(&main, other.as_ref(), breaker)
    }

    fn answer(
        &self,
        main: &Read,
        other: Option<&Read>,
        breaker: crate::answer::Breaker,
    ) -> Result<(Analysis, Series), Error> {
        let Input { experiment, strata, .. } = self.input;
        let tally = &main.joined.tally;
        let phases = main.timeline.phases.as_slice();
        let observed = checks::observed(&main.sums, main.shape, main.units);
        let units = main.counted(observed.iter().flatten().sum());
        let wandering = !strata.adaptive && main.timeline.wanders();
        let adaptive = strata.adaptive || wandering;
        let (look, planned_reached) =
            look(self.settings.planned_units, self.settings.level, units, adaptive)
                .map_err(|error| Error::input(Part::PlannedUnits, error.to_string()))?;
        let names = self.names(main);
        let results = self.judged(main, look, &names);
        let without_breaker = other.map(|other| self.judged(other, look, &names));
        let srm = checks::srm(experiment, phases, &observed, main.units);
        let request_level = !main.units && experiment.assignment == Assignment::UserHash;
        let other_weights = share(tally.left_out(Excluded::OtherWeights), tally.used);
        let candidates: Vec<&str> =
            main.shape.candidates().filter_map(|arm| names.variants.get(arm).copied()).collect();
        let outcomes = self.input.outcomes.map(|outcomes| {
            let counts =
                checks::outcome_counts(outcomes, tally, main.placed.as_ref(), &names.variants);
            main.with_untimed(counts)
        });
        let rows = self.input.outcomes.zip(outcomes.as_ref());
        let arms = main.units.then(|| Arms {
            sums: &main.sums,
            shape: main.shape,
            phases,
            names: &names.variants,
            metrics: &main.metrics,
            by_request: self.outcomes.by_request,
            planned: self.settings.planned_units.unwrap_or(DEFAULT_UNITS),
        });
        let few = main
            .units
            .then(|| checks::few_units(&self.data(main), &main.metrics, &results, &names.variants));
        let placed = main.placed.as_ref();
        let ends = placed.and_then(|placed| checks::ends(placed, tally, &names.variants));
        let of_rows = rows.map(|(outcomes, counts)| self.of_rows(main, outcomes, counts, &names));
        let untold = main.units.then(|| checks::untold(tally, &main.sums));
        let more = few.into_iter().flatten().chain(ends).chain(of_rows.into_iter().flatten());
        let more = more.chain(untold).chain(main.units.then(|| main.twice.clone()));
        let checks = checks::checks(
            rows,
            &main.joined,
            arms.as_ref(),
            more,
            &main.metrics,
            &self.settings.allowed,
            self.settings.allow_srm,
        );
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
        if let Some(unusable) = self.unusable(main, outcomes.as_ref()) {
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
        let notes = chosen.into_iter().chain(notes).chain(methods).chain(main.absent_zero());
        reasons.extend(notes.map(Reason::from));
        let data = self.data(main);
        let series = series(&data, &main.metrics, look, &names, phases, tally.span);
        let analysis = Analysis {
            version: 1,
            experiment: experiment.name.clone(),
            config_hash: self.input.config_hash.to_owned(),
            trial: self.trial.wanted.to_string(),
            other_trials: checks::other_trials(tally),
            from: tally.span.map(|(first, _)| Timestamp::new(first).to_string()),
            to: tally.span.map(|(_, last)| Timestamp::new(last).to_string()),
            unit_of_analysis: if main.units { AnalysisUnit::Unit } else { AnalysisUnit::Request },
            test: look.mode(),
            alpha: self.settings.level.get(),
            planned_units: self.settings.planned_units,
            counted_units: Some(units),
            attribution,
            plan: self.plan(main, &srm, &checks),
            adaptive,
            lines: checks::line_counts(tally, self.input.logs),
            outcomes,
            variants: checks::variants(experiment, &main.sums, main.shape, &observed),
            srm,
            checks,
            breaker,
            torn_units: if main.units { main.sums.torn } else { 0 },
            moved_units: main.sums.moved,
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
            ignored: &outcomes.ignored,
            caps: &self.settings.caps,
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

    /// A column that decides although it was not named. Accuracy needs no name.
    fn chosen_primary(&self, metrics: &[Metric]) -> Option<Note> {
        let chosen = metrics.iter().find(|metric| metric.role == Role::Primary)?;
        let is_column = matches!(chosen.origin, Origin::Column(_)) && chosen.name != ACCURACY;
        (is_column && self.settings.metrics.primary.is_empty())
            .then(|| Note::DefaultPrimary { metric: chosen.name.clone() })
    }

    /// The plan of the file, and what goes beyond it.
    fn plan(&self, main: &Read, srm: &Srm, checks: &[Check]) -> PlanCheck {
        let digest = self.input.experiment.analysis.as_ref().map(sidetrack::exposure::short);
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
    fn unusable(&self, main: &Read, counts: Option<&OutcomeCounts>) -> Option<Unusable> {
        let Input { experiment, .. } = self.input;
        let lines = checks::unusable_lines(&experiment.name, self.trial, &main.joined.tally);
        let independent = experiment.assignment == Assignment::RequestRandom
            || self.settings.assume_independent_requests;
        let planned = self.settings.planned_units.filter(|_| !main.units && !independent);
        let units = planned.map(|planned| Unusable::NoUnits { planned });
        lines.or(units).or_else(|| {
            let reading = Reading::default();
            let field = if self.outcomes.by_request { log::REQUEST_ID } else { log::UNIT };
            let ids = || self.source(&reading).first(field);
            checks::unusable_outcomes(self.outcomes, counts?, self.trial, ids)
        })
    }

    /// The checks of the outcomes that need the logs.
    fn of_rows(
        &self,
        main: &Read,
        outcomes: &Outcomes,
        counts: &OutcomeCounts,
        names: &Names<'_>,
    ) -> Vec<Check> {
        let (tally, names) = (&main.joined.tally, names.variants.as_slice());
        let unmatched = Unmatched { outcomes, counts, tally, sample: &main.sample, names };
        let mut checks = vec![unmatched.check()];
        let placed = main.placed.as_ref();
        checks.extend(checks::scales(outcomes, tally, placed, main.shape, &main.metrics, names));
        checks.extend(
            outcomes.by_request.then(|| checks::classes(outcomes, counts, tally, names)).flatten(),
        );
        checks
    }

    fn data<'r>(&self, read: &'r Read) -> Data<'r> {
        let level = self.settings.level;
        Data { sums: &read.sums, shape: read.shape, units: read.units, level }
    }

    fn judged(&self, read: &Read, look: Look, names: &Names<'_>) -> Vec<MetricResult> {
        let data = self.data(read);
        let metrics = read.metrics.iter().zip(&read.sums.metrics);
        let compared: Vec<_> =
            metrics.map(|(metric, sums)| (metric.clone(), data.compare(metric, sums))).collect();
        let mut results = judge(&compared, look, self.settings.level, names);
        read.add_caps(&data, &mut results, names);
        results
    }

    fn names<'n>(&'n self, read: &'n Read) -> Names<'n> {
        let variants = self.input.experiment.variants.iter();
        let strata = read.timeline.phases.iter();
        Names {
            variants: variants.map(|variant| variant.name.as_str()).collect(),
            baseline: read.shape.baseline,
            strata: strata.map(|stratum| stratum.name.as_deref()).collect(),
        }
    }
}

/// A fixed test at the planned units, always-valid intervals before and beyond; and whether they are reached.
///
/// `adaptive`: the weights followed outcomes, as a bandit's do. How much each phase weighs then depends on what was found before, and a
/// fixed test calls equal variants different in 7 % of the experiments instead of 5 %; the always-valid test holds for any weights that
/// are set before a phase begins, so it decides at the planned units too.
///
/// # Errors
/// Too few planned units.
pub(crate) fn look(
    planned: Option<u64>,
    level: Fraction,
    units: u64,
    adaptive: bool,
) -> Result<(Look, bool), Invalid> {
    let reached = planned.is_some_and(|planned| units >= planned);
    if !adaptive && planned.is_some_and(|planned| is_planned_look(planned, units)) {
        return Ok((Look::Fixed, reached));
    }
    let sequence = ConfidenceSequence::new(planned.unwrap_or(DEFAULT_UNITS), level)?;
    Ok((Look::Always(sequence), reached))
}

#[cfg(test)]
mod tests;
