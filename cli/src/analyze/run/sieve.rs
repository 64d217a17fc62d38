//! Which lines count, as what, and why the others do not.

use std::collections::BTreeSet;

use sidetrack::plan::Assignment;
use sidetrack::plan::Experiment;
use sidetrack::quantity::Bucket;

use super::line::{Clock, Line};
use super::strata::Strata;

/// Why a line is well formed and does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excluded {
    /// Of another experiment, or of none.
    OtherExperiment,
    /// A tester chose the variant.
    Override,
    /// It has no unit, where units were randomised.
    MissingUnit,
    /// It came while a breaker was open, and such times are left out.
    Breaker,
    /// Before the rollout.
    NotStarted,
    /// The experiment was switched off.
    Disabled,
    /// Outside the experiment's slots of its layer.
    OutsideLayer,
    /// Its phase is not in the file, or it was assigned by other weights than the file's.
    OtherWeights,
}

impl Excluded {
    /// How many there are.
    pub(super) const COUNT: usize = 8;
}

/// A request that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record {
    /// Who: a hash; `None` when the line does not say.
    pub(super) unit: Option<u64>,
    /// Milliseconds since 1970.
    pub(super) time: u64,
    /// Milliseconds from the request's first byte to the answer's last.
    pub(super) duration: u32,
    /// The row of the outcomes that has this request.
    pub(super) outcome: Option<u32>,
    pub(super) stratum: u8,
    /// The index of the assigned variant.
    pub(super) arm: u8,
    pub(super) marks: Marks,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts of one request")]
pub(super) struct Marks {
    /// No answer, a 5xx, or a failure that the baseline made good.
    pub(super) failed: bool,
    /// The caller left before the answer.
    pub(super) aborted: bool,
    /// Answered by another variant than the assigned one.
    pub(super) elsewhere: bool,
    /// The breaker had a say.
    pub(super) breaker: bool,
}

/// What the sieve makes of a line.
pub(super) enum Sifted {
    Counts(Record),
    Excluded(Excluded),
}

/// Sorts lines. Each thread has its own.
pub(super) struct Sieve<'p> {
    experiment: &'p Experiment,
    strata: &'p Strata,
    clock: Clock,
    /// Minutes that are left out.
    closed: &'p BTreeSet<u64>,
    /// Finds the row of the outcomes for a request.
    outcome: &'p (dyn Fn(&str) -> Option<u32> + Sync),
}

impl<'p> Sieve<'p> {
    pub(super) fn new(
        experiment: &'p Experiment,
        strata: &'p Strata,
        closed: &'p BTreeSet<u64>,
        outcome: &'p (dyn Fn(&str) -> Option<u32> + Sync),
    ) -> Self {
        Self { experiment, strata, clock: Clock::default(), closed, outcome }
    }

    /// Judges a line.
    ///
    /// # Errors
    /// Why the line is malformed.
    pub(super) fn sift(&mut self, line: &[u8]) -> Result<Sifted, String> {
        let line = Line::parse(line)?;
        if line.experiment.text() != Some(self.experiment.name.as_str()) {
            return Ok(Sifted::Excluded(Excluded::OtherExperiment));
        }
        let reason = line.reason.text();
        let left_out = match reason {
            // A log without reasons is one whose proxy was not told to write them; the report says so.
            None | Some("hash" | "random" | "breaker_open" | "probe") => None,
            Some("override") => Some(Excluded::Override),
            Some("disabled") => Some(Excluded::Disabled),
            Some("missing_unit") => Some(Excluded::MissingUnit),
            Some("excluded") => Some(Excluded::OutsideLayer),
            Some("not_started") => Some(Excluded::NotStarted),
            Some(other) => {
                return Err(format!(
                    "reason: found \"{}\", which no proxy writes",
                    crate::words::visible(other)
                ));
            }
        };
        if let Some(left_out) = left_out {
            return Ok(Sifted::Excluded(left_out));
        }
        // Drawn by chance although users are randomised: it had no unit.
        if reason == Some("random") && self.experiment.assignment == Assignment::UserHash {
            return Ok(Sifted::Excluded(Excluded::MissingUnit));
        }
        self.counted(&line, reason)
    }

    fn counted(&mut self, line: &Line<'_>, reason: Option<&str>) -> Result<Sifted, String> {
        let told = |what: &str, found: &str| format!("{what}: found {found}");
        let time = line.time.text().and_then(|text| self.clock.read(text));
        let time = time.ok_or("time: not RFC 3339, as in 2026-11-23T09:00:00.123Z")?;
        let variant = |name: &str| {
            let known = self.experiment.variant(name.as_bytes());
            known.ok_or_else(|| {
                format!(
                    "found \"{}\", which is no variant of the file",
                    crate::words::visible(name)
                )
            })
        };
        let assigned = line
            .assigned
            .text()
            .ok_or("assigned: nothing, though the request is in the experiment")?;
        let arm = variant(assigned).map_err(|error| format!("assigned: {error}"))?;
        let served = line
            .served
            .text()
            .map(variant)
            .transpose()
            .map_err(|error| format!("served: {error}"))?;
        let status = line.status.whole().map_err(|found| told("status", &found))?;
        let duration = line.duration.whole().map_err(|found| told("duration", &found))?;
        let status = status.filter(|status| *status < 1000).ok_or("status: no HTTP status")?;
        let duration = duration.and_then(|duration| u32::try_from(duration).ok());
        let duration = duration.ok_or("duration: no milliseconds")?;
        let bucket = line.bucket.whole().map_err(|found| told("bucket", &found))?;
        let Some(stratum) = self.strata.of(self.experiment, line.phase.text(), time) else {
            return Ok(Sifted::Excluded(Excluded::OtherWeights));
        };
        if let Some(bucket) = bucket {
            let bucket = u32::try_from(bucket).ok().and_then(Bucket::new);
            let bucket = bucket.ok_or("bucket: not from 0 to 999999")?;
            if self.strata.owner(self.experiment, stratum, bucket) != Some(arm) {
                return Ok(Sifted::Excluded(Excluded::OtherWeights));
            }
        }
        if !self.closed.is_empty() && self.closed.contains(&(time / MINUTE)) {
            return Ok(Sifted::Excluded(Excluded::Breaker));
        }
        let rescued = line.rescued.text() == Some("true");
        // Envoy's flag for a caller that went away. With a status, it went away during the answer.
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
        Ok(Sifted::Counts(Record {
            unit: line.unit.text().map(key),
            time,
            duration,
            outcome: line.request_id.text().and_then(self.outcome),
            stratum: small(stratum)?,
            arm: small(arm.index())?,
            marks,
        }))
    }
}

/// A minute in milliseconds: the grain in which breaker intervals are told.
pub(super) const MINUTE: u64 = 60_000;

/// What stands for a unit or a request in memory: 64 bits of its hash. Two of ten million share one with a probability
/// of three in a million.
pub(super) fn key(text: &str) -> u64 {
    let bytes = text.as_bytes();
    if is_digest(text) {
        // A digest is a hash already.
        return bytes.iter().take(16).fold(0, |key, &digit| {
            let value = if digit > b'9' { digit - b'a' + 10 } else { digit - b'0' };
            key << 4 | u64::from(value)
        });
    }
    sidetrack::draw::sha256(bytes).iter().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
}

/// Whether this is how `exposure_unit: digest` names a unit.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}
