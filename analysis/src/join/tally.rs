//! Counts that do not depend on units: lines by what became of them, minutes, and the time span.

mod damage;
mod digests;
mod seen;

use std::collections::{BTreeMap, BTreeSet};

use super::Shape;
use crate::attribution::stray;
use crate::row::{Aside, Excluded, MINUTE, OtherLine, Place, Row, SegmentValue, Whose};
use crate::segments::Texts;
use crate::short::Short;
use crate::source::Start;
use crate::source::outcomes::Outcomes;
pub(crate) use damage::Damage;
use digests::Digests;
pub(crate) use seen::Seen;

/// How many malformed lines are shown.
const EXAMPLES: usize = 5;

/// A minute of a variant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Minute {
    pub(crate) requests: u32,
    pub(crate) aborted: u32,
    pub(crate) breaker: u32,
}

/// Counts of a batch, or of everything.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    arms: usize,
    pub(crate) lines: u64,
    pub(crate) used: u64,
    pub(crate) malformed: u64,
    /// Malformed lines of the experiment.
    pub(crate) damage: Damage,
    /// Lines in the default format of Envoy or Istio.
    pub(crate) default_logs: u64,
    /// By `Excluded`.
    pub(crate) excluded: [u64; Excluded::COUNT],
    /// The first malformed lines: where, and what is wrong.
    pub(crate) examples: Vec<(Place, String)>,
    /// By minute and variant.
    pub(crate) minutes: BTreeMap<u64, Vec<Minute>>,
    /// The times of the first and the last request.
    pub(crate) span: Option<(u64, u64)>,
    /// Requests with a unit.
    pub(crate) named: u64,
    /// By phase: the minutes with requests.
    pub(crate) active: Vec<BTreeSet<u64>>,
    /// By phase: the times of the first and the last request.
    pub(crate) spans: Vec<Option<(u64, u64)>>,
    /// What identifies the lines.
    pub(crate) seen: Seen,
    /// Rows of the outcomes that requests of this batch matched, with the variants of the requests.
    hits: Vec<(u32, u8)>,
    /// How many requests matched each row of the outcomes, up to 255.
    met: Vec<u8>,
    /// The variant of the first of these requests.
    met_by: Vec<u8>,
    /// Requests that matched a row of the outcomes.
    labeled: u64,
    /// Rows of the outcomes about requests whose lines do not count, of a batch.
    asides: Vec<u32>,
    /// The same, by row.
    aside: Vec<bool>,
    /// Those of them that are about requests of another trial, of a batch.
    others: Vec<u32>,
    /// The same, by row.
    other: Vec<bool>,
    /// The keys of the digests of a sample of plain units.
    pub(crate) digests: Digests,
    /// The values of each dimension in the logs.
    pub(crate) texts: Vec<Texts>,
    /// Requests whose lines name no trial.
    pub(crate) untold: u64,
    /// Those of them that another salt drew.
    pub(crate) foreign: u64,
}

/// The span with this one.
fn wider(span: Option<(u64, u64)>, (first, last): (u64, u64)) -> (u64, u64) {
    let (from, to) = span.unwrap_or((first, last));
    (from.min(first), to.max(last))
}

impl Tally {
    pub(super) fn new(shape: Shape) -> Self {
        Self { arms: shape.arms, ..Self::default() }
    }

    /// For everything: with a counter for each row of the outcomes.
    pub(super) fn with_outcomes(self, outcomes: &Outcomes) -> Self {
        let rows = if outcomes.by_request { outcomes.rows() } else { 0 };
        let (met, no) = (vec![0; rows], vec![false; rows]);
        Self { met_by: met.clone(), met, aside: no.clone(), other: no, ..self }
    }

    /// A line that counts, unless another one is about the same request.
    pub(super) fn line(&mut self, plan: Option<Short>) {
        self.lines += 1;
        self.seen.plan(plan);
    }

    /// The line of a request that was delivered before; [`Tally::line`] has counted it.
    pub(super) fn repeated(&mut self, lines: u64) {
        if let Some(count) = self.excluded.get_mut(Excluded::Repeated as usize) {
            *count += lines;
        }
    }

    /// The request of a line.
    pub(super) fn row(&mut self, row: &Row) {
        self.used += 1;
        let minute = row.time / MINUTE;
        let phase = usize::from(row.stratum);
        if self.active.len() <= phase {
            self.active.resize(phase + 1, BTreeSet::new());
            self.spans.resize(phase + 1, None);
        }
        if let Some(active) = self.active.get_mut(phase).filter(|all| all.last() != Some(&minute)) {
            active.insert(minute);
        }
        if let Some(span) = self.spans.get_mut(phase) {
            *span = Some(wider(*span, (row.time, row.time)));
        }
        self.named += u64::from(row.unit.is_some());
        self.untold += u64::from(row.marks.untold);
        self.foreign += u64::from(row.marks.foreign);
        self.hits.extend(row.outcome.map(|outcome| (outcome, row.arm)));
        self.widen((row.time, row.time));
        let arms = self.arms;
        let minute = self.minutes.entry(row.time / MINUTE);
        let minute = minute.or_insert_with(|| vec![Minute::default(); arms]);
        if let Some(minute) = minute.get_mut(usize::from(row.arm)) {
            minute.requests += 1;
            minute.aborted += u32::from(row.marks.aborted);
            minute.breaker += u32::from(row.marks.breaker);
        }
    }

    pub(super) fn excluded(&mut self, why: Excluded) {
        self.lines += 1;
        if let Some(count) = self.excluded.get_mut(why as usize) {
            *count += 1;
        }
    }

    pub(super) fn other_experiment(&mut self, name: Option<&str>) {
        self.excluded(Excluded::OtherExperiment);
        self.seen.experiment(name);
    }

    pub(super) fn other_trial(&mut self, line: &OtherLine) {
        self.excluded(Excluded::OtherTrial);
        self.seen.trial(line);
    }

    /// Gives the phases other numbers.
    pub(super) fn renumber(&mut self, numbers: &[Option<u8>]) {
        let old = std::mem::take(&mut self.active).into_iter().zip(std::mem::take(&mut self.spans));
        for ((minutes, span), number) in old.zip(numbers) {
            let Some(number) = number.map(usize::from) else { continue };
            self.active.resize(self.active.len().max(number + 1), BTreeSet::new());
            self.spans.resize(self.active.len(), None);
            if let Some(active) = self.active.get_mut(number) {
                *active = minutes;
            }
            if let Some(place) = self.spans.get_mut(number) {
                *place = span;
            }
        }
    }

    /// What else is known of a line.
    pub(super) fn aside(&mut self, aside: Aside) {
        match aside {
            Aside::Digest(key) => self.digests.add(key),
            Aside::Outcome(row) => self.asides.push(row),
            Aside::OtherTrial(row) => {
                self.asides.push(row);
                self.others.push(row);
            }
        }
    }

    /// A value of a dimension, with its text.
    pub(super) fn text(&mut self, value: &SegmentValue, text: &str) {
        let dimension = usize::from(value.dimension);
        self.texts.resize(self.texts.len().max(dimension + 1), Texts::default());
        if let Some(texts) = self.texts.get_mut(dimension) {
            texts.add(value.value, text);
        }
    }

    /// How a line begins that can be read.
    pub(super) fn readable(&mut self, start: Start, is_ours: bool) {
        self.damage.readable(start, is_ours);
    }

    pub(super) fn malformed(&mut self, place: Place, whose: Whose, problem: String) {
        self.lines += 1;
        self.malformed += 1;
        match whose {
            Whose::Experiment => self.damage.named(place, &problem),
            Whose::BeginsLike(start) => self.damage.torn(start, place, &problem),
            Whose::Unknown => {}
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push((place, problem));
        }
    }

    /// Adds a batch, which is empty afterwards.
    pub(super) fn take(&mut self, batch: &mut Self) {
        let batch = std::mem::replace(batch, Self { arms: batch.arms, ..Self::default() });
        self.lines += batch.lines;
        self.used += batch.used;
        self.malformed += batch.malformed;
        self.default_logs += batch.default_logs;
        self.damage.merge(batch.damage);
        self.named += batch.named;
        self.untold += batch.untold;
        self.foreign += batch.foreign;
        self.digests.merge(&batch.digests);
        self.texts.resize(self.texts.len().max(batch.texts.len()), Texts::default());
        self.texts.iter_mut().zip(&batch.texts).for_each(|(texts, more)| texts.merge(more));
        for (known, rows) in [(&mut self.aside, batch.asides), (&mut self.other, batch.others)] {
            for row in rows {
                if let Some(known) = known.get_mut(row as usize) {
                    *known = true;
                }
            }
        }
        for (sum, more) in self.excluded.iter_mut().zip(batch.excluded) {
            *sum += more;
        }
        let room = EXAMPLES - self.examples.len().min(EXAMPLES);
        self.examples.extend(batch.examples.into_iter().take(room));
        if let Some(span) = batch.span {
            self.widen(span);
        }
        for (minute, counts) in batch.minutes {
            let sums = self.minutes.entry(minute).or_default();
            sums.resize(self.arms, Minute::default());
            for (sum, more) in sums.iter_mut().zip(counts) {
                sum.requests += more.requests;
                sum.aborted += more.aborted;
                sum.breaker += more.breaker;
            }
        }
        self.active.resize(self.active.len().max(batch.active.len()), BTreeSet::new());
        for (minutes, mut more) in self.active.iter_mut().zip(batch.active) {
            minutes.append(&mut more);
        }
        self.spans.resize(self.active.len(), None);
        for (span, more) in self.spans.iter_mut().zip(batch.spans) {
            *span = more.map(|more| wider(*span, more)).or(*span);
        }
        self.seen.merge(batch.seen);
        for (row, arm) in batch.hits {
            let (met, by) = (self.met.get_mut(row as usize), self.met_by.get_mut(row as usize));
            if let Some((met, by)) = met.zip(by) {
                if *met == 0 {
                    *by = arm;
                }
                *met = met.saturating_add(1);
                self.labeled += 1;
            }
        }
    }

    fn widen(&mut self, span: (u64, u64)) {
        self.span = Some(wider(self.span, span));
    }

    /// How many lines do not count for this reason.
    pub(crate) fn left_out(&self, why: Excluded) -> u64 {
        self.excluded.get(why as usize).copied().unwrap_or(0)
    }

    /// Requests that the client aborted.
    pub(crate) fn aborted(&self) -> u64 {
        self.minutes.values().flatten().map(|minute| u64::from(minute.aborted)).sum()
    }

    /// When the log ends: its last request, [stray] ones aside to the minute. `None` without a request.
    pub(crate) fn end(&self) -> Option<u64> {
        let (_, last) = self.span?;
        let mut beyond = 0;
        let minute = self.minutes.iter().rev().find(|(_, arms)| {
            beyond += arms.iter().map(|minute| u64::from(minute.requests)).sum::<u64>();
            beyond > stray(self.used)
        });
        Some(minute.map_or(last, |(minute, _)| last.min((minute + 1) * MINUTE)))
    }

    /// Requests that have a row of the outcomes, and those of them that share it with other requests.
    pub(crate) fn sharing(&self) -> (u64, u64) {
        let alone = self.met.iter().filter(|met| **met == 1).count() as u64;
        (self.labeled, self.labeled.saturating_sub(alone))
    }

    /// Rows that requests matched: of each, its number and the variant.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.met.iter().zip(&self.met_by).enumerate().filter(|(_, (met, _))| **met > 0);
        rows.map(|(row, (_, arm))| (row, usize::from(*arm)))
    }

    /// How many rows of the outcomes are about requests that no line of the logs has, whether it counts or not.
    pub(crate) fn unknown(&self) -> u64 {
        let rows = self.met.iter().zip(&self.aside);
        rows.filter(|(met, aside)| **met == 0 && !**aside).count() as u64
    }

    /// How many rows of the outcomes are about requests of other trials of the experiment alone.
    pub(crate) fn of_other_trials(&self) -> u64 {
        self.met.iter().zip(&self.other).filter(|(met, other)| **met == 0 && **other).count() as u64
    }

    /// How many rows of the outcomes at least so many requests matched.
    pub(crate) fn met(&self, at_least: u8) -> u64 {
        self.met.iter().filter(|met| **met >= at_least).count() as u64
    }
}

#[cfg(test)]
mod tests;
