//! A line that counts, in two parts: what it has in common with many others, and what is its own.
//!
//! Most texts of a line (the variant, the status, the weights) repeat, so what they mean is found once. A row is made of
//! both parts here, and only here, however the line was read.

use std::sync::Arc;

use sidetrack::names::log;
use sidetrack::plan::Assignment;
use sidetrack::quantity::Bucket;

use super::{Judged, LineRules, SAMPLE};
use crate::phases::Set;
use crate::row::{Aside, Excluded, Id, MINUTE, Marks, Row, is_digest, key, mix};
use crate::short::Short;

/// What lines with the same texts have in common.
#[derive(Clone, Debug)]
pub(in crate::source) struct Common {
    /// The index of the assigned variant.
    pub(super) arm: usize,
    pub(super) status: u64,
    /// `foreign` is a line's own.
    pub(super) marks: Marks,
    pub(super) weights: Weights,
    /// The analysis plan that was in force.
    pub(super) plan: Option<Short>,
}

impl Common {
    /// Of a request that a variant answered.
    #[cfg(test)]
    pub(in crate::source) fn of_arm(arm: usize) -> Self {
        let weights = Weights::OfFile(None);
        Self { arm, status: 200, marks: Marks::default(), weights, plan: None }
    }
}

/// The weights that assigned a line.
#[derive(Clone, Debug)]
pub(super) enum Weights {
    /// The line's own.
    Set(usize, Arc<Set>),
    /// Those of the file in this phase, or at the time of the line.
    OfFile(Option<String>),
}

/// What is a line's own.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Own {
    /// Milliseconds since 1970.
    pub(in crate::source) time: u64,
    /// Milliseconds.
    pub(in crate::source) duration: u32,
    pub(in crate::source) bucket: Option<u64>,
    /// Where the line is in its source.
    pub(in crate::source) position: u64,
}

/// Who sent the request of a line, and which one it is.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::source) struct Ids<'l> {
    /// With its text.
    pub(in crate::source) unit: Option<(Id, &'l [u8])>,
    pub(in crate::source) request: Option<Id>,
}

impl LineRules<'_> {
    /// The row of a line.
    ///
    /// # Errors
    /// Why the line is malformed.
    #[inline]
    pub(super) fn row<'l>(
        &mut self,
        common: &Common,
        own: Own,
        ids: impl FnOnce() -> Result<Ids<'l>, String>,
    ) -> Result<Judged<'static>, String> {
        let Own { time, duration, bucket, position } = own;
        let of_file;
        let (set, weights) = match &common.weights {
            Weights::Set(index, set) => (*index, set),
            Weights::OfFile(phase) => {
                let stratum = self.logs.strata.of(self.experiment, phase.as_deref(), time);
                of_file = stratum.and_then(|stratum| self.of_file.get(stratum)?.as_ref());
                let Some((index, set)) = of_file else {
                    return Ok(Judged::Excluded(Excluded::OtherWeights));
                };
                (*index, set)
            }
        };
        if let Some(bucket) = bucket {
            let bucket = u32::try_from(bucket).ok().and_then(Bucket::new);
            let bucket =
                bucket.ok_or_else(|| format!("{}: not between 0 and 999999", log::BUCKET))?;
            if !weights.weights.owns(common.arm, bucket.get()) {
                return Ok(Judged::Excluded(Excluded::OtherWeights));
            }
        }
        let closed = self.logs.closed;
        if !closed.is_empty() && closed.contains(&(time / MINUTE)) {
            return Ok(Judged::Excluded(Excluded::Breaker));
        }
        let small =
            |index: usize| u8::try_from(index).map_err(|_| "more than 256 variants or phases");
        let stratum = match self.logs.timeline {
            None => small(set)?,
            Some(timeline) => timeline.phase(set, time).unwrap_or_default(),
        };
        let Ids { unit, request } = ids()?;
        // A request without a unit is a unit by itself.
        let group = unit.map(|(id, _)| id).or(request);
        let group = group.map_or_else(|| mix(0, position) % 100, |id| id.group.into());
        let plain = unit.filter(|(_, text)| !is_digest(text));
        let untold = common.marks.untold && self.experiment.assignment == Assignment::UserHash;
        let drawn = plain.filter(|_| untold).zip(bucket);
        let foreign = drawn.is_some_and(|((_, unit), bucket)| {
            u64::from(self.experiment.arm.bucket(unit).get()) != bucket
        });
        if let Some((_, unit)) = plain.filter(|(id, _)| id.key.is_multiple_of(SAMPLE)) {
            let digest = self.experiment.exposure.pseudonym(unit);
            self.aside = Some(Aside::Digest(key(&digest)));
        }
        // Other requests may have the same id: calls of one trace, and retries of a client.
        let unit = unit.map(|(id, _)| id.key);
        let more = [time, u64::from(duration), common.status, common.arm as u64, unit.unwrap_or(0)];
        let request = request.map(|id| id.key);
        let row = Row {
            unit,
            print: request.map(|id| more.iter().fold(id, |hash, number| mix(hash, *number))),
            position,
            time,
            duration,
            outcome: request.and_then(|id| self.logs.outcomes.request(id)),
            group: u8::try_from(group).unwrap_or_default(),
            stratum,
            arm: small(common.arm)?,
            marks: Marks { foreign, ..common.marks },
        };
        Ok(Judged::Counts(row, common.plan))
    }
}
