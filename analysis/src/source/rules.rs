//! Rules by which a line of the access log becomes a row: which lines count, and why others do not.
//!
//! Every row belongs to the variant that was *assigned*, whichever served it. A line is checked against the weights of
//! its stratum: its bucket implies the assigned variant, so a line that contradicts it comes from another file.

use std::collections::BTreeSet;

use sidetrack::names::log;
use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::Bucket;

use super::clock::Clock;
use super::line::Line;
use super::outcomes::Outcomes;
use crate::figures::visible;
use crate::row::{Excluded, MINUTE, Marks, Row, key};
use crate::strata::Strata;

/// What becomes of a line.
pub(super) enum Judged {
    Counts(Row),
    Excluded(Excluded),
}

/// Decides which lines count. A copy for each thread, since it remembers the day.
pub(super) struct LineRules<'p> {
    experiment: &'p Experiment,
    strata: &'p Strata,
    clock: Clock,
    /// Minutes that are left out.
    closed: &'p BTreeSet<u64>,
    outcomes: &'p Outcomes,
}

impl<'p> LineRules<'p> {
    pub(super) fn new(
        experiment: &'p Experiment,
        strata: &'p Strata,
        closed: &'p BTreeSet<u64>,
        outcomes: &'p Outcomes,
    ) -> Self {
        Self { experiment, strata, clock: Clock::default(), closed, outcomes }
    }

    /// Judges a line.
    ///
    /// # Errors
    /// Why the line is malformed.
    pub(super) fn judge(&mut self, line: &[u8], position: u64) -> Result<Judged, String> {
        let line = Line::parse(line)?;
        if line.experiment.text() != Some(self.experiment.name.as_str()) {
            return Ok(Judged::Excluded(Excluded::OtherExperiment));
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
        self.counted(&line, reason, position)
    }

    fn counted(
        &mut self,
        line: &Line<'_>,
        reason: Option<&str>,
        position: u64,
    ) -> Result<Judged, String> {
        let bad = |what: &str, found: &str| format!("{what}: not a whole number: {found}");
        let time = line.time.text().and_then(|text| self.clock.read(text));
        let time = time.ok_or_else(|| {
            format!("{}: not RFC 3339, as in 2026-11-23T09:00:00.123Z", log::TIME)
        })?;
        let variant = |name: &str| {
            let known = self.experiment.variant(name.as_bytes());
            known.ok_or_else(|| format!("unknown variant \"{}\"", visible(name)))
        };
        let assigned = line.assigned.text().ok_or_else(|| {
            format!("{}: missing, but the request is in the experiment", log::ASSIGNED)
        })?;
        let arm = variant(assigned).map_err(|error| format!("{}: {error}", log::ASSIGNED))?;
        let served = line
            .served
            .text()
            .map(variant)
            .transpose()
            .map_err(|error| format!("{}: {error}", log::SERVED))?;
        let status = line.status.whole().map_err(|found| bad(log::STATUS, &found))?;
        let duration = line.duration.whole().map_err(|found| bad(log::DURATION, &found))?;
        let status = status
            .filter(|status| *status < 1000)
            .ok_or_else(|| format!("{}: not an HTTP status", log::STATUS))?;
        let duration = duration.and_then(|duration| u32::try_from(duration).ok());
        let duration = duration.ok_or_else(|| format!("{}: not in milliseconds", log::DURATION))?;
        let bucket = line.bucket.whole().map_err(|found| bad(log::BUCKET, &found))?;
        let Some(stratum) = self.strata.of(self.experiment, line.phase.text(), time) else {
            return Ok(Judged::Excluded(Excluded::OtherWeights));
        };
        if let Some(bucket) = bucket {
            let bucket = u32::try_from(bucket).ok().and_then(Bucket::new);
            let bucket =
                bucket.ok_or_else(|| format!("{}: not between 0 and 999999", log::BUCKET))?;
            if self.strata.owner(self.experiment, stratum, bucket) != Some(arm) {
                return Ok(Judged::Excluded(Excluded::OtherWeights));
            }
        }
        if !self.closed.is_empty() && self.closed.contains(&(time / MINUTE)) {
            return Ok(Judged::Excluded(Excluded::Breaker));
        }
        let rescued = line.rescued.text() == Some("true");
        // DC: the client disconnected. With a status, it did so during the response.
        let left =
            || line.flags.text().is_some_and(|flags| flags.split(',').any(|flag| flag == "DC"));
        let aborted = status == 0 && left();
        let marks = Marks {
            failed: rescued || (!aborted && (status == 0 || status >= 500)),
            aborted,
            elsewhere: rescued || served.is_some_and(|served| served != arm),
            breaker: matches!(reason, Some("breaker_open" | "probe")),
        };
        let small =
            |index: usize| u8::try_from(index).map_err(|_| "more than 256 variants or phases");
        Ok(Judged::Counts(Row {
            unit: line.unit.text().map(key),
            position,
            time,
            duration,
            outcome: line.request_id.text().and_then(|id| self.outcomes.request(id)),
            stratum: small(stratum)?,
            arm: small(arm.index())?,
            marks,
        }))
    }
}

#[cfg(test)]
mod tests;
