//! Rules by which a line of the access log becomes a row: which lines count, and why others do not.
//!
//! Every row belongs to the variant that was *assigned*, whichever served it. A line carries the weights that assigned
//! it; a line without weights (an older log) is checked against those of the file: its bucket implies the assigned
//! variant, so a line that contradicts it comes from another file.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use sidetrack::names::log;
use sidetrack::outcome::{Ending, Status, flag};
use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::Bucket;

use super::AccessLogs;
use super::clock::Clock;
use super::fields::fields;
use super::line::Line;
use crate::figures::visible;
use crate::phases::Set;
use crate::row::{
    Aside, Excluded, Id, MINUTE, Marks, OtherLine, Row, SegmentValue, is_digest, key, mix,
};
use crate::segments::{NO_VALUE, key_of};
use crate::short::Short;

/// What becomes of a line.
#[derive(Debug, PartialEq)]
pub(super) enum Judged<'l> {
    /// With the analysis plan that was in force.
    Counts(Row, Option<Short>),
    Excluded(Excluded),
    OtherExperiment(Option<Cow<'l, str>>),
    OtherTrial(OtherLine),
}

/// Decides which lines count. A copy for each thread, since it remembers the day and the weights.
pub(super) struct LineRules<'p> {
    logs: AccessLogs<'p>,
    experiment: &'p Experiment,
    clock: Clock,
    /// The sets of weights that were met, the last one at the end.
    sets: Vec<(usize, Arc<Set>)>,
    /// What else is known of the last line.
    pub(super) aside: Option<Aside>,
    /// The segments of the last line's unit, with texts that were not met before.
    pub(super) segments: Vec<(SegmentValue, Option<String>)>,
    /// Texts that were met, by dimension.
    known: BTreeSet<(u8, u64)>,
}

/// One plain unit of so many is looked up by its digest as well.
const SAMPLE: u64 = 8;

impl<'p> LineRules<'p> {
    pub(super) fn new(logs: AccessLogs<'p>) -> Self {
        Self {
            experiment: logs.experiment,
            logs,
            clock: Clock::default(),
            sets: Vec::new(),
            aside: None,
            segments: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    /// The experiment's name.
    pub(super) fn name(&self) -> &'p str {
        &self.experiment.name
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
        self.aside = None;
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
            digest: unit.as_deref().is_some_and(is_digest),
        }
    }

    fn time(&mut self, line: &Line<'_>) -> Result<u64, String> {
        let text = line.time.id().ok().flatten();
        let time = text.and_then(|text| self.clock.read(&text));
        time.ok_or_else(|| format!("{}: not a time as in 2026-11-23T09:00:00.123Z", log::TIME))
    }

    /// The set of weights that assigned a line. `None` if the line has none and the file does not either.
    fn set(&mut self, line: &Line<'_>, time: u64) -> Result<Option<(usize, Arc<Set>)>, String> {
        let (book, phase) = (self.logs.book, line.phase.text());
        let Some(text) = line.weights.text() else {
            let stratum = self.logs.strata.of(self.experiment, phase, time);
            return Ok(stratum.and_then(|stratum| book.of_file(stratum)));
        };
        let known = self.sets.iter().rposition(|(_, set)| set.is(phase, text));
        let found = match known {
            Some(at) => self.sets.remove(at),
            None => book.find(self.experiment, phase, text)?,
        };
        self.sets.push(found.clone());
        Ok(Some(found))
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
        let Some((set, weights)) = self.set(line, time)? else {
            return Ok(Judged::Excluded(Excluded::OtherWeights));
        };
        if let Some(bucket) = bucket {
            let bucket = u32::try_from(bucket).ok().and_then(Bucket::new);
            let bucket =
                bucket.ok_or_else(|| format!("{}: not between 0 and 999999", log::BUCKET))?;
            if !weights.weights.owns(arm.index(), bucket.get()) {
                return Ok(Judged::Excluded(Excluded::OtherWeights));
            }
        }
        let closed = self.logs.closed;
        if !closed.is_empty() && closed.contains(&(time / MINUTE)) {
            return Ok(Judged::Excluded(Excluded::Breaker));
        }
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
            untold: false,
            foreign: false,
        };
        let small =
            |index: usize| u8::try_from(index).map_err(|_| "more than 256 variants or phases");
        let stratum = match self.logs.timeline {
            None => small(set)?,
            Some(timeline) => timeline.phase(set, time).unwrap_or_default(),
        };
        let unit = line.unit.id().map_err(|problem| format!("{}: {problem}", log::UNIT))?;
        let id = line.request_id.id();
        let id = id.map_err(|problem| format!("{}: {problem}", log::REQUEST_ID))?;
        let (unit_id, id) = (unit.as_deref().map(Id::of), id.as_deref().map(Id::of));
        let request = id.map(|id| id.key);
        // A request without a unit is a unit by itself.
        let group = unit_id.or(id).map_or_else(|| mix(0, position) % 100, |id| id.group.into());
        let plain = unit.as_deref().filter(|unit| !is_digest(unit));
        let untold = line.trial.text().and_then(|text| text.parse::<Short>().ok()).is_none();
        let drawn = plain.filter(|_| untold && self.experiment.assignment == Assignment::UserHash);
        let foreign = drawn.zip(bucket).is_some_and(|(unit, bucket)| {
            u64::from(self.experiment.arm.bucket(unit.as_bytes()).get()) != bucket
        });
        if let Some(unit) = plain.filter(|unit| key(unit).is_multiple_of(SAMPLE)) {
            let digest = self.experiment.exposure.pseudonym(unit.as_bytes());
            self.aside = Some(Aside::Digest(key(&digest)));
        }
        let marks = Marks { untold, foreign, ..marks };
        // Other requests may have the same id: calls of one trace, and retries of a client.
        let unit = unit_id.map(|id| id.key);
        let more = [time, u64::from(duration), status, arm.index() as u64, unit.unwrap_or(0)];
        let print = request.map(|id| more.into_iter().fold(id, mix));
        let row = Row {
            unit,
            print,
            position,
            time,
            duration,
            outcome: request.and_then(|id| self.logs.outcomes.request(id)),
            group: u8::try_from(group).unwrap_or_default(),
            stratum,
            arm: small(arm.index())?,
            marks,
        };
        Ok(Judged::Counts(row, line.plan.text().and_then(|text| text.parse().ok())))
    }
}

#[cfg(test)]
mod tests;
