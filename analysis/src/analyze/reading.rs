//! A pass over the logs: from lines to sums.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sidetrack::names::log;
use sidetrack::plan::{Assignment, Experiment};

use super::{Input, Pass, Settings, Work};
use crate::answer::ModelResult;
use crate::attribution::Attribution;
use crate::checks::{self, Sample, Touched};
use crate::covariate::{self, Covariates};
use crate::error::{Error, Part};
use crate::join::{Joined, Settled, Shape, Shards, join};
use crate::metric::{Available, Metric, Origin};
use crate::model::{Ground, linearize, report};
use crate::phases::Timeline;
use crate::segments::{Chosen, Texts};
use crate::short::Short;
use crate::source::AccessLogs;
use crate::summary::{Choices, RowFacts, Summary};
use crate::sums::{Placed, Summation, Sums, place};

/// The result of one pass over the logs.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) joined: Joined,
    pub(crate) sums: Sums,
    pub(crate) placed: Option<Placed>,
    pub(crate) attribution: Option<Attribution>,
    pub(crate) settled: Settled,
    pub(crate) metrics: Vec<Metric>,
    /// The segments of each dimension.
    pub(crate) chosen: Chosen,
    /// Whether units are compared.
    pub(crate) units: bool,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) shape: Shape,
    /// Plain units of a sample that are in the log as digests as well, and all of the sample.
    pub(crate) twice: [u64; 2],
    /// Units of the outcomes that were looked up.
    pub(crate) sample: Sample,
    /// Predictions by variant.
    pub(crate) model: Option<ModelResult>,
}

/// What a pass over the logs reads.
#[derive(Clone, Default)]
pub(super) struct Reading<'m> {
    pub(super) pass: Pass,
    /// Minutes to leave out.
    pub(super) closed: BTreeSet<u64>,
    /// The phases, when they are known.
    pub(super) timeline: Option<Arc<Timeline>>,
    pub(super) metrics: &'m [Metric],
}

impl Work<'_> {
    pub(super) fn source<'r>(&'r self, reading: &'r Reading<'_>) -> AccessLogs<'r> {
        let Input { experiment, logs, strata, .. } = self.input;
        AccessLogs {
            logs,
            experiment,
            trial: self.trial,
            window: self.settings.window,
            strata,
            book: &self.book,
            timeline: reading.timeline.as_deref(),
            outcomes: self.outcomes,
            dimensions: &self.dimensions,
            closed: &reading.closed,
        }
    }

    /// Reads the logs, and finds the phases if they are not known.
    fn join(&self, reading: &Reading<'_>) -> Result<(Joined, Arc<Timeline>, Shape), Error> {
        let Input { experiment, logs, .. } = self.input;
        let source = self.source(reading);
        let known = reading.timeline.as_ref().map_or(0, |timeline| timeline.phases.len());
        let mut shape = Shape::new(experiment, known);
        let progress = |lines| (self.progress)(reading.pass, lines);
        let threads = self.settings.threads.get();
        let defer = self.settings.attribution.is_some();
        let outcomes = (self.outcomes, defer, self.dimensions.len());
        let spill = self.settings.spill.as_ref();
        let mut joined = join(&source, shape, outcomes, (threads, spill), &progress)?;
        if let Some(timeline) = &reading.timeline {
            return Ok((joined, Arc::clone(timeline), shape));
        }
        let timeline = Timeline::new(&self.book, &joined.tally.active, logs.can_repeat());
        shape.strata = timeline.phases.len();
        if !timeline.returns {
            joined.renumber(&timeline.only(), shape)?;
        }
        Ok((joined, Arc::new(timeline), shape))
    }

    pub(super) fn read(&self, reading: &Reading<'_>) -> Result<Read, Error> {
        let (mut joined, timeline, shape) = self.join(reading)?;
        let threads = self.settings.threads.get();
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
        let attribution = self.attribution(&joined, units)?;
        let length = attribution.map(|attribution| attribution.length);
        let settled = length.map(|length| joined.settle(self.outcomes, length)).transpose()?;
        let window = self.settings.window;
        let columns = covariate::columns(&self.settings.methods.covariates, self.outcomes)?;
        let placed = (by_unit && units)
            .then(|| place(&mut joined, self.outcomes, window, length, self.trial, &columns))
            .transpose()?;
        let covariates = (units && !columns.is_empty())
            .then(|| Covariates::find(&mut joined, self.outcomes, &columns))
            .transpose()?;
        let ground = Ground { shape, units, attribution };
        linearize(&mut joined, self.outcomes, ground)?;
        let model = self.outcomes.predictions.as_ref().map(|predictions| {
            let variants = &self.input.experiment.variants;
            let names: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
            Ok(report(predictions, &ground.rows(&joined)?, &names, units))
        });
        let model = model.transpose()?;
        // The rate of aborted requests is worth a line only if there are any, or if it was asked for.
        let aborts = joined.tally.aborted() > 0 || self.settings.metrics.decides_by("abort_rate");
        let wanted = |metric: &&Metric| aborts || metric.origin != Origin::Aborts;
        let metrics: Vec<Metric> = reading.metrics.iter().filter(wanted).cloned().collect();
        if by_unit {
            let columns = (0..).zip(&self.dimensions);
            let columns: Vec<(u8, usize)> =
                columns.filter_map(|(index, it)| Some((index, it.column?))).collect();
            joined.segment(self.outcomes, &columns)?;
        }
        let none = Chosen::default();
        let summation = Summation {
            segments: &none,
            joined: &joined,
            placed: placed.as_ref(),
            covariates: covariates.as_ref(),
            metrics: &metrics,
            caps: Vec::new(),
            large: Vec::new(),
            attribution,
            shape,
            units,
            threads,
        };
        let chosen = self.chosen(&summation, &joined)?;
        let sums = Summation { segments: &chosen, ..summation }.run()?;
        let twice = checks::named_twice(&joined)?;
        let sample = self.sample(&joined, &timeline, shape)?;
        // Everything else needs only the sums, and a second pass may need the memory.
        joined.shards = Shards::default();
        joined.totals = Vec::new();
        let settled = settled.unwrap_or_default();
        Ok(Read {
            joined,
            sums,
            placed,
            attribution,
            settled,
            metrics,
            chosen,
            units,
            timeline,
            shape,
            twice,
            sample,
            model,
        })
    }

    /// The metrics that are summed up.
    pub(super) fn metrics(&self) -> Result<Vec<Metric>, Error> {
        let outcomes = self.outcomes;
        let binary: Vec<bool> =
            (0..outcomes.columns.len()).map(|column| outcomes.is_binary(column)).collect();
        let available = Available {
            columns: &outcomes.columns,
            by_request: outcomes.by_request,
            binary: &binary,
            ignored: &outcomes.ignored,
            caps: &self.settings.caps,
            modeled: outcomes.modeled(),
            logged: &outcomes.logged,
            covariates: &self.settings.methods.covariates,
        };
        selected(&available, self.settings)
    }

    /// What was read, with all that the verdict needs.
    pub(super) fn summary(&self, main: Read, other: Option<Read>, breaker: Touched) -> Summary {
        let tally = &main.joined.tally;
        let rows = self.input.outcomes;
        let facts = |rows| RowFacts::new(rows, tally, main.placed.as_ref(), main.shape.arms);
        let rows = rows.map(facts);
        let matched = |rows: &RowFacts| main.placed.as_ref().map_or(rows.met[0], |at| at.matched);
        // Only outcomes that match nothing are shown beside the ids of the logs.
        let ids = rows.as_ref().filter(|rows| matched(rows) == 0).map(|rows| {
            let field = if rows.by_request { log::REQUEST_ID } else { log::UNIT };
            self.source(&Reading::default()).first(field)
        });
        let places = tally.examples.iter().map(|(place, _)| place.file);
        let files = places.max().map_or(0, |last| last + 1);
        Summary {
            trial: self.trial,
            choices: Choices::of(self.settings),
            files: (0..files).map(|file| self.input.logs.name(file)).collect(),
            ids: ids.unwrap_or_default(),
            not_checked: BTreeMap::new(),
            breaker,
            rows,
            main,
            other,
        }
    }

    /// The segments of each dimension, once all units are known.
    fn chosen(&self, summation: &Summation<'_>, joined: &Joined) -> Result<Chosen, Error> {
        let empty = Texts::default();
        let texts = self.dimensions.iter().enumerate().map(|(index, located)| {
            let column = located.column.and_then(|column| self.outcomes.segments.get(column));
            let of_logs = || joined.tally.texts.get(index);
            column.map(|column| &column.texts).or_else(of_logs).unwrap_or(&empty)
        });
        let sizes = summation.segment_sizes(self.dimensions.len())?;
        Ok(Chosen::new(&self.dimensions, &sizes, &texts.collect::<Vec<_>>()))
    }

    /// Looks up units of the outcomes. Their buckets are known if the file has the salt of the trial.
    fn sample(&self, joined: &Joined, timeline: &Timeline, shape: Shape) -> Result<Sample, Error> {
        let experiment = self.input.experiment;
        let is_drawn = self.trial.wanted == self.trial.of_file
            && experiment.assignment == Assignment::UserHash;
        let last = timeline.last(&self.book).filter(|_| is_drawn);
        let weights = last.as_ref().map(|set| &set.weights);
        Sample::new(experiment, self.outcomes, joined, shape, weights)
    }
}

/// The trial of an experiment.
pub(crate) fn trial(experiment: &Experiment) -> Result<Short, Error> {
    let trial = sidetrack::exposure::trial(experiment).parse();
    trial.map_err(|problem: String| Error::input(Part::Experiment, problem))
}

/// The metrics of an analysis.
///
/// # Errors
/// Metrics or prices of what there is not.
pub(crate) fn selected(
    available: &Available<'_>,
    settings: &Settings,
) -> Result<Vec<Metric>, Error> {
    let metrics = available.select(&settings.metrics)?;
    for price in &settings.prices {
        if !metrics.iter().any(|metric| metric.name == price.metric) {
            let known: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
            let problem = format!("unknown metric; expected one of: {}", known.join(", "));
            return Err(Error::input(Part::Price(price.metric.clone()), problem));
        }
    }
    Ok(metrics)
}
