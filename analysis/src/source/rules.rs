//! Rules by which a line of the access log becomes a row: which lines count, and why others do not.
//!
//! Every row belongs to the variant that was *assigned*, whichever served it. A line carries the weights that assigned
//! it; a line without weights (an older log) is checked against those of the file: its bucket implies the assigned
//! variant, so a line that contradicts it comes from another file.

mod common;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use sidetrack::names::log;
use sidetrack::outcome::{Ending, Status, flag};
use sidetrack::plan::{Assignment, Experiment};

use super::AccessLogs;
use super::clock::Clock;
use super::fields::fields;
use super::line::Line;
use super::shape::{Recognized, Shapes};
use super::torn::Start;
use crate::figures::visible;
use crate::phases::Set;
use crate::row::{Aside, Excluded, Id, Marks, OtherLine, Row, SegmentValue, is_digest, key};
use crate::segments::{NO_VALUE, key_of};
use crate::short::Short;

pub(super) use common::{Common, Ids};
use common::{Own, Weights};

/// What becomes of a line.
#[derive(Debug, PartialEq)]
pub(super) enum Judged<'l> {
    /// With the analysis plan that was in force.
    Counts(Row, Option<Short>),
    Excluded(Excluded),
    OtherExperiment(Option<Cow<'l, str>>),
    OtherTrial(OtherLine),
}

/// A line that counts, and was read without being parsed.
pub(super) struct Recognition {
    pub(super) row: Row,
    /// The analysis plan that was in force.
    pub(super) plan: Option<Short>,
    pub(super) start: Option<Start>,
    /// The bytes of the line and its end.
    pub(super) length: usize,
}

/// Decides which lines count. A copy for each thread, since it remembers the day and the weights.
pub(super) struct LineRules<'p> {
    logs: AccessLogs<'p>,
    experiment: &'p Experiment,
    clock: Clock,
    /// The sets of weights that were met, the last one at the end.
    sets: Vec<(usize, Arc<Set>)>,
    /// The set of each stratum of the file.
    of_file: Vec<Option<(usize, Arc<Set>)>>,
    /// What the last line has in common with others, if it was judged by its fields.
    common: Option<Common>,
    /// How lines are written, if they are read by that.
    shapes: Option<Shapes>,
    /// What records with the same number have in common.
    alike: Vec<(u64, Common)>,
    /// What else is known of the last line.
    pub(super) aside: Option<Aside>,
    /// The segments of the last line's unit, with texts that were not met before.
    pub(super) segments: Vec<(SegmentValue, Option<String>)>,
    /// Texts that were met, by dimension.
    known: BTreeSet<(u8, u64)>,
}

/// So many kinds of records that are alike are kept.
const ALIKE: usize = 64;

/// One plain unit of so many is looked up by its digest as well.
const SAMPLE: u64 = 8;

impl<'p> LineRules<'p> {
    pub(super) fn new(logs: AccessLogs<'p>) -> Self {
        Self {
            experiment: logs.experiment,
            logs,
            clock: Clock::default(),
            sets: Vec::new(),
            of_file: (0..logs.strata.list.len()).map(|at| logs.book.of_file(at)).collect(),
            common: None,
            // Segments need more fields of a line.
            shapes: logs.dimensions.is_empty().then(Shapes::default),
            alike: Vec::new(),
            aside: None,
            segments: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    /// The experiment's name.
    pub(super) fn name(&self) -> &'p str {
        &self.experiment.name
    }

    /// The row of the line that the text begins with, if the line is written as former ones; how long the line is with its
    /// end, and how it begins.
    #[inline]
    pub(super) fn recognize(&mut self, text: &[u8], position: u64) -> Option<Recognition> {
        let mut shapes = self.shapes.take()?;
        let found = self.recognized(&mut shapes, text, position);
        self.shapes = Some(shapes);
        found
    }

    #[inline]
    fn recognized(
        &mut self,
        shapes: &mut Shapes,
        text: &[u8],
        position: u64,
    ) -> Option<Recognition> {
        let line = shapes.recognize(text, &mut self.clock)?;
        let window = self.logs.window;
        if window.is_limited() && !window.contains(line.time) {
            return None;
        }
        self.aside = None;
        let Recognized { time, duration, bucket, .. } = line;
        let own = Own { time, duration, bucket, position };
        match self.row(line.common, own, || Ok(line.ids)) {
            Ok(Judged::Counts(row, plan)) => {
                Some(Recognition { row, plan, start: line.start, length: line.length })
            }
            // The parser finds out what else is to be known of it.
            _ => None,
        }
    }

    /// Rules that parse every line.
    #[cfg(test)]
    pub(super) fn without_shapes(logs: AccessLogs<'p>) -> Self {
        Self { shapes: None, ..Self::new(logs) }
    }

    /// How many lines were read without being parsed.
    #[cfg(test)]
    pub(super) fn recognized_lines(&self) -> u64 {
        self.shapes.as_ref().map_or(0, Shapes::recognized)
    }

    /// Learns how the line is written that was judged last, if it counts.
    pub(super) fn learn(&mut self, line: &[u8]) {
        if let Some((shapes, common)) = self.shapes.as_mut().zip(self.common.take()) {
            shapes.learn(line, common);
        }
    }

    /// Judges a line.
    ///
    /// # Errors
    /// Why the line is malformed.
    pub(super) fn judge<'l>(
        &mut self,
        text: &'l [u8],
        position: u64,
    ) -> Result<Judged<'l>, String> {
        let judged = self.judge_line(Line::parse(text)?, position)?;
        if let Judged::Counts(row, _) = &judged
            && !self.logs.dimensions.is_empty()
        {
            self.segment(Some(text), row);
        }
        Ok(judged)
    }

    /// Judges the values of a line. Of a record that is no line, only outcomes have segments.
    ///
    /// # Errors
    /// Why the line is malformed.
    pub(super) fn judge_line<'l>(
        &mut self,
        line: Line<'l>,
        position: u64,
    ) -> Result<Judged<'l>, String> {
        let judged = self.judge_parsed(&line, position)?;
        self.segments.clear();
        if let Judged::Counts(row, _) = &judged
            && !self.logs.dimensions.is_empty()
        {
            self.segment(None, row);
        }
        let request = |line: &Line<'_>| line.request_id.id().ok().flatten().map(|id| key(&id));
        let outcomes = self.logs.outcomes;
        if outcomes.by_request && !matches!(judged, Judged::Counts(..)) {
            let aside = match judged {
                Judged::OtherTrial(_) => Aside::OtherTrial,
                _ => Aside::Outcome,
            };
            self.aside = request(&line).and_then(|id| outcomes.request(id)).map(aside);
        }
        Ok(match judged {
            // The name is borrowed from the line.
            Judged::OtherExperiment(_) => Judged::OtherExperiment(line.experiment.into_text()),
            judged => judged,
        })
    }

    /// Judges a record. Those with the same number have the same values, but for what is a request's own.
    ///
    /// # Errors
    /// Why the record is malformed.
    pub(super) fn judge_record<'l>(
        &mut self,
        line: Line<'l>,
        alike: Option<u64>,
        position: u64,
    ) -> Result<Judged<'l>, String> {
        let Some(number) = alike.filter(|_| self.logs.dimensions.is_empty()) else {
            return self.judge_line(line, position);
        };
        let alike = std::mem::take(&mut self.alike);
        let known = alike.iter().find(|(known, _)| *known == number);
        let judged = known.and_then(|(_, common)| self.own(common, &line, position));
        self.alike = alike;
        if let Some(judged) = judged {
            return Ok(judged);
        }
        let judged = self.judge_line(line, position)?;
        if let (Judged::Counts(..), Some(common)) = (&judged, self.common.take())
            && self.alike.len() < ALIKE
            && !self.alike.iter().any(|(known, _)| *known == number)
        {
            self.alike.push((number, common));
        }
        Ok(judged)
    }

    /// The row of a line that has this in common with others; `None`: it does not count.
    fn own(&mut self, common: &Common, line: &Line<'_>, position: u64) -> Option<Judged<'static>> {
        self.aside = None;
        let time = self.time(line).ok()?;
        let window = self.logs.window;
        if window.is_limited() && !window.contains(time) {
            return None;
        }
        let duration = u32::try_from(line.duration.whole().ok()??).ok()?;
        let bucket = line.bucket.whole().ok()?;
        let (unit, request) = (line.unit.id().ok()?, line.request_id.id().ok()?);
        let ids = Ids {
            unit: unit.as_deref().map(|unit| (Id::of(unit), unit.as_bytes())),
            request: request.as_deref().map(Id::of),
        };
        let judged = self.row(common, Own { time, duration, bucket, position }, || Ok(ids)).ok()?;
        matches!(judged, Judged::Counts(..)).then_some(judged)
    }

    /// Finds the segments of a line's unit.
    fn segment(&mut self, text: Option<&[u8]>, row: &Row) {
        self.segments.clear();
        let (Some(unit), outcomes) = (row.unit, self.logs.outcomes) else { return };
        let dimensions = self.logs.dimensions;
        let names: Vec<&str> = dimensions.iter().map(|it| it.name.as_str()).collect();
        let is_field = dimensions.iter().any(|it| it.column.is_none());
        let text = text.filter(|_| is_field);
        let found = text.map_or_else(Vec::new, |text| fields(text, &names));
        let mut found = found.into_iter();
        for (located, dimension) in dimensions.iter().zip(0..) {
            let field = found.next().flatten();
            let (value, text) = match located.column {
                Some(column) => {
                    let row = row.outcome.filter(|_| outcomes.by_request);
                    (row.and_then(|row| outcomes.segment(column, row)).unwrap_or(NO_VALUE), None)
                }
                None => (field.as_deref().map_or(NO_VALUE, key_of), field),
            };
            if value == NO_VALUE {
                continue;
            }
            let is_new = text.is_some() && self.known.insert((dimension, value));
            let (time, position) = (row.time, row.position);
            let value = SegmentValue { dimension, value, unit, time, position };
            self.segments.push((value, text.filter(|_| is_new)));
        }
    }

    fn judge_parsed(&mut self, line: &Line<'_>, position: u64) -> Result<Judged<'static>, String> {
        (self.aside, self.common) = (None, None);
        if line.experiment.text() != Some(self.experiment.name.as_str()) {
            return Ok(Judged::OtherExperiment(None));
        }
        let trial = line.trial.text().and_then(|text| text.parse().ok());
        // A log of former times has no trials; its lines can only be taken for those of the file.
        if trial.unwrap_or(self.logs.trial.of_file) != self.logs.trial.wanted {
            return Ok(Judged::OtherTrial(self.other_trial(line, trial)));
        }
        let window = self.logs.window;
        if window.is_limited() && !window.contains(self.time(line)?) {
            return Ok(Judged::Excluded(Excluded::OtherTime));
        }
        let reason = line.reason.text();
        let left_out = match reason {
            // Logs may leave the reason out.
            None | Some("hash" | "random" | "breaker_open" | "probe") => None,
            Some("override") => Some(Excluded::Override),
            Some("disabled") => Some(Excluded::Disabled),
            Some("missing_unit") => Some(Excluded::MissingUnit),
            Some("excluded") => Some(Excluded::OutsideLayer),
            Some("not_started") => Some(Excluded::NotStarted),
            Some(other) => {
                return Err(format!("{}: unknown value \"{}\"", log::REASON, visible(other)));
            }
        };
        if let Some(left_out) = left_out {
            return Ok(Judged::Excluded(left_out));
        }
        // A random draw although users are randomized: the request had no unit.
        if reason == Some("random") && self.experiment.assignment == Assignment::UserHash {
            return Ok(Judged::Excluded(Excluded::MissingUnit));
        }
        self.counted(line, reason, position)
    }

    /// A line of another trial. Its unit matters where outcomes about units may belong to that trial.
    fn other_trial(&mut self, line: &Line<'_>, trial: Option<Short>) -> OtherLine {
        let outcomes = self.logs.outcomes;
        let is_exposure =
            matches!(line.reason.text(), None | Some("hash" | "breaker_open" | "probe"));
        let wanted = is_exposure && !outcomes.by_request && outcomes.rows() > 0;
        let unit = line.unit.id().ok().flatten().filter(|_| wanted);
        OtherLine {
            trial,
            time: self.time(line).ok(),
            unit: unit.as_deref().map(key),
            digest: unit.as_deref().is_some_and(|unit| is_digest(unit.as_bytes())),
        }
    }

    fn time(&mut self, line: &Line<'_>) -> Result<u64, String> {
        let text = line.time.id().ok().flatten();
        let time = text.and_then(|text| self.clock.read(&text));
        time.ok_or_else(|| format!("{}: not a time as in 2026-11-23T09:00:00.123Z", log::TIME))
    }

    /// The weights that assigned a line.
    fn weights(&mut self, line: &Line<'_>) -> Result<Weights, String> {
        let (book, phase) = (self.logs.book, line.phase.text());
        let Some(text) = line.weights.text() else {
            return Ok(Weights::OfFile(phase.map(str::to_owned)));
        };
        let known = self.sets.iter().rposition(|(_, set)| set.is(phase, text));
        let found = match known {
            Some(at) => self.sets.remove(at),
            None => book.find(self.experiment, phase, text)?,
        };
        self.sets.push(found.clone());
        Ok(Weights::Set(found.0, found.1))
    }

    fn counted(
        &mut self,
        line: &Line<'_>,
        reason: Option<&str>,
        position: u64,
    ) -> Result<Judged<'static>, String> {
        let bad = |what: &str, found: &str| format!("{what}: not a whole number: {found}");
        let time = self.time(line)?;
        let has_weights = line.weights.text().is_some();
        let variant = |name: &str| {
            let known = self.experiment.variant(name.as_bytes());
            known.ok_or_else(|| format!("unknown variant \"{}\"", visible(name)))
        };
        let assigned = line.assigned.text().ok_or_else(|| {
            format!("{}: missing, but the request is in the experiment", log::ASSIGNED)
        })?;
        let arm = match variant(assigned) {
            Ok(arm) => arm,
            // The weights say that the proxy knew the variant, so the file has changed since.
            Err(_) if has_weights => return Ok(Judged::Excluded(Excluded::OtherVariant)),
            Err(error) => return Err(format!("{}: {error}", log::ASSIGNED)),
        };
        let elsewhere = match line.served.text() {
            Some(served) if has_weights => served != assigned,
            Some(served) => {
                variant(served).map_err(|error| format!("{}: {error}", log::SERVED))? != arm
            }
            None => false,
        };
        let status = line.status.whole().map_err(|found| bad(log::STATUS, &found))?;
        let duration = line.duration.whole().map_err(|found| bad(log::DURATION, &found))?;
        let status = status
            .filter(|status| *status < 1000)
            .ok_or_else(|| format!("{}: not an HTTP status", log::STATUS))?;
        let duration = duration.and_then(|duration| u32::try_from(duration).ok());
        let duration = duration.ok_or_else(|| format!("{}: not in milliseconds", log::DURATION))?;
        let bucket = line.bucket.whole().map_err(|found| bad(log::BUCKET, &found))?;
        let weights = self.weights(line)?;
        let rescued = line.rescued.text() == Some("true");
        let flags = line.flags.text();
        let flags = flags.into_iter().flat_map(|flags| flags.split(','));
        let flags = flags.fold(0, |all, flag| all | flag::named(flag.trim()));
        let ended = u32::try_from(status).map_or(Status::Error, |code| Ending::logged(code, flags));
        let marks = Marks {
            failed: rescued || ended == Status::Error,
            aborted: ended == Status::Aborted,
            refused: (300..500).contains(&status),
            elsewhere: rescued || elsewhere,
            breaker: matches!(reason, Some("breaker_open" | "probe")),
            untold: line.trial.text().and_then(|text| text.parse::<Short>().ok()).is_none(),
            foreign: false,
        };
        let plan = line.plan.text().and_then(|text| text.parse().ok());
        let common = Common { arm: arm.index(), status, marks, weights, plan };
        let (unit, request) = (line.unit.id(), line.request_id.id());
        let ids = || {
            let unit = unit.as_ref().map_err(|problem| format!("{}: {problem}", log::UNIT))?;
            let request = request.map_err(|problem| format!("{}: {problem}", log::REQUEST_ID))?;
            Ok(Ids {
                unit: unit.as_deref().map(|unit| (Id::of(unit), unit.as_bytes())),
                request: request.as_deref().map(Id::of),
            })
        };
        let judged = self.row(&common, Own { time, duration, bucket, position }, ids)?;
        self.common = Some(common);
        Ok(judged)
    }
}

#[cfg(test)]
mod tests;
