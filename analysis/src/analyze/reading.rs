//! A pass over the logs: from lines to sums.

use std::collections::BTreeSet;
use std::sync::Arc;

use sidetrack::plan::Assignment;

use super::{Input, Pass, Work};
use crate::attribution::Attribution;
use crate::check::Check;
use crate::checks::{self, Sample};
use crate::error::{Error, Part};
use crate::join::{Joined, Settled, Shape, join};
use crate::metric::{Metric, Origin};
use crate::phases::Timeline;
use crate::source::AccessLogs;
use crate::sums::{Placed, Summation, Sums, place};

/// The result of one pass over the logs.
pub(super) struct Read {
    pub(super) joined: Joined,
    pub(super) sums: Sums,
    pub(super) placed: Option<Placed>,
    pub(super) attribution: Option<Attribution>,
    pub(super) settled: Settled,
    pub(super) metrics: Vec<Metric>,
    /// Whether units are compared.
    pub(super) units: bool,
    pub(super) timeline: Arc<Timeline>,
    pub(super) shape: Shape,
    /// Whether the log names units twice.
    pub(super) twice: Check,
    /// Units of the outcomes that were looked up.
    pub(super) sample: Sample,
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
        let outcomes = (self.outcomes, self.settings.attribution.is_some());
        let mut joined = join(&source, shape, outcomes, threads, &progress)?;
        if let Some(timeline) = &reading.timeline {
            return Ok((joined, Arc::clone(timeline), shape));
        }
        let timeline = Timeline::new(&self.book, &joined.tally.active, logs.can_repeat());
        shape.strata = timeline.phases.len();
        if !timeline.returns {
            joined.renumber(&timeline.only(), shape);
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
        let settled = length.map(|length| joined.settle(self.outcomes, length));
        let window = self.settings.window;
        let placed =
            (by_unit && units).then(|| place(&joined, self.outcomes, window, length, self.trial));
        // The rate of aborted requests is worth a line only if there are any, or if it was asked for.
        let aborts = joined.tally.aborted() > 0 || self.settings.metrics.decides_by("abort_rate");
        let wanted = |metric: &&Metric| aborts || metric.origin != Origin::Aborts;
        let metrics: Vec<Metric> = reading.metrics.iter().filter(wanted).cloned().collect();
        let summation = Summation {
            joined: &joined,
            placed: placed.as_ref(),
            metrics: &metrics,
            caps: Vec::new(),
            large: Vec::new(),
            attribution,
            shape,
            units,
            threads,
        };
        let sums = summation.run();
        let twice = checks::twice(&joined);
        let sample = self.sample(&joined, &timeline, shape);
        // Everything else needs only the sums, and a second pass may need the memory.
        joined.shards = Vec::new();
        let placed = placed.map(Placed::counts);
        let settled = settled.unwrap_or_default();
        Ok(Read {
            joined,
            sums,
            placed,
            attribution,
            settled,
            metrics,
            units,
            timeline,
            shape,
            twice,
            sample,
        })
    }

    /// Looks up units of the outcomes. Their buckets are known if the file has the salt of the trial.
    fn sample(&self, joined: &Joined, timeline: &Timeline, shape: Shape) -> Sample {
        let experiment = self.input.experiment;
        let is_drawn = self.trial.wanted == self.trial.of_file
            && experiment.assignment == Assignment::UserHash;
        let last = timeline.last(&self.book).filter(|_| is_drawn);
        let weights = last.as_ref().map(|set| &set.weights);
        Sample::new(experiment, self.outcomes, joined, shape, weights)
    }
}
