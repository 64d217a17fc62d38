//! Rows of the outcomes that match nothing in the logs: what is known of them.
//!
//! Such rows are sound if the outcomes are those of all users, and the experiment is about some. They are not if their
//! ids were changed on the way, or if the lines of one variant are missing. Of a unit, both can be known: other spellings
//! of it can be looked up, and its bucket says which variant it would have been assigned to. Of a request, nothing is
//! known but whether any line of the logs has its id, whether that line counts or not.

use std::collections::BTreeMap;

use sidetrack::plan::Experiment;
use sidetrack_stats::float;

use super::arms::chernoff;
use super::rows::LOST;
use super::share;
use crate::answer::OutcomeCounts;
use crate::check::{Check, CheckName, CheckState};
use crate::error::Error;
use crate::figures::visible;
use crate::join::{Joined, Shape};
use crate::row::key;
use crate::source::outcomes::{Outcomes, spellings};
use crate::summary::RowFacts;
use crate::weights::Weights;

/// Above this share of rows that match nothing, most of what the outcomes are about is not in the logs.
const MOST: f64 = 0.5;
/// Of equally many would-be units of each variant, by their weights: the probability below which lines are missing.
const CHANCE: f64 = 1e-6;
/// So many units in another spelling are no accident.
const SEVERAL: u64 = 5;

/// What is known of the rows.
pub(crate) struct Unmatched<'a> {
    pub(crate) outcomes: &'a RowFacts,
    pub(crate) counts: &'a OutcomeCounts,
    pub(crate) sample: &'a Sample,
    pub(crate) names: &'a [&'a str],
}

/// A sample of the units of the outcomes.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) all: u64,
    pub(crate) respelled: u64,
    /// A unit and how the logs write it.
    pub(crate) example: Option<(String, String)>,
    /// By the variant that they would be assigned to: known units, and unknown ones.
    pub(crate) arms: Vec<[u64; 2]>,
    /// The share of each variant.
    pub(crate) shares: Vec<f64>,
}

impl Sample {
    /// Looks up units. `weights`: those of the last phase; `None` if the buckets of the units are unknown.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(crate) fn new(
        experiment: &Experiment,
        outcomes: &Outcomes,
        joined: &Joined,
        shape: Shape,
        weights: Option<&Weights>,
    ) -> Result<Self, Error> {
        let mut sample = Self { arms: vec![[0; 2]; shape.arms], ..Self::default() };
        sample.shares = weights.map_or_else(Vec::new, |weights| weights.shares().to_vec());
        let are_known = |units: &[&str]| {
            let digest = |unit: &str| experiment.exposure.pseudonym(unit.as_bytes());
            let keys = units.iter().flat_map(|unit| [key(unit), key(&digest(unit))]);
            let known = joined.know(&keys.collect::<Vec<_>>(), true)?;
            Ok(known.chunks(2).map(|both| both.contains(&true)).collect::<Vec<bool>>())
        };
        let units: Vec<&str> = outcomes.ids.units().collect();
        let known = are_known(&units)?;
        let unknown = units.iter().zip(&known).filter(|(_, known)| !**known);
        let others: Vec<(&str, String)> = unknown
            .flat_map(|(unit, _)| spellings(unit).into_iter().map(|other| (*unit, other)))
            .collect();
        let texts: Vec<&str> = others.iter().map(|(_, other)| other.as_str()).collect();
        let respelled = others.iter().zip(are_known(&texts)?).filter(|(_, known)| *known);
        let mut respelled: Vec<&(&str, String)> = respelled.map(|(both, _)| both).collect();
        // Of each unit, the first spelling that is known.
        respelled.dedup_by_key(|(unit, _)| *unit);
        sample.all = units.len() as u64;
        sample.respelled = respelled.len() as u64;
        sample.example = respelled.first().map(|(unit, other)| ((*unit).to_owned(), other.clone()));
        for (unit, known) in units.into_iter().zip(known) {
            let bucket = experiment.arm.bucket(unit.as_bytes()).get();
            let arm =
                weights.and_then(|weights| (0..shape.arms).find(|arm| weights.owns(*arm, bucket)));
            if let Some([of_known, of_others]) = arm.and_then(|arm| sample.arms.get_mut(arm)) {
                *(if known { of_known } else { of_others }) += 1;
            }
        }
        Ok(sample)
    }

    /// The variant whose units are missing, and which share of them.
    fn missing(&self) -> Option<(usize, f64)> {
        let arms = float(self.arms.len() as u64);
        let unknown: u64 = self.arms.iter().map(|[_, unknown]| unknown).sum();
        let lost = |(arm, [known, own]): (usize, &[u64; 2])| {
            let weight = self.shares.get(arm).copied();
            let weight = weight.filter(|weight| *weight > 0.0 && *weight < 1.0)?;
            let expected = weight * float(unknown);
            let is_chance = chernoff(float(*own), expected, float(unknown)) * arms > CHANCE;
            // Besides those that a sound experiment would have, by the units of the other variants.
            let more = float(*own) - float(unknown - own) * weight / (1.0 - weight);
            let lost = more / (float(*known) + more).max(1.0);
            (float(*own) > expected && !is_chance && lost > LOST).then_some((arm, lost))
        };
        let found = self.arms.iter().enumerate().filter_map(lost);
        found.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

impl Unmatched<'_> {
    pub(crate) fn check(&self) -> Check {
        if self.outcomes.by_request { self.of_requests() } else { self.of_units() }
    }

    fn of_requests(&self) -> Check {
        let counts = self.counts;
        let unknown = self.outcomes.unknown;
        let value = share(unknown, counts.rows.saturating_sub(unknown));
        // If no row matches at all, `matched_rows` says so.
        let is_most = value > MOST && counts.matched > 0;
        let state = if is_most { CheckState::Blocking } else { CheckState::Ok };
        let message = format!(
            "{unknown} of {} outcome rows ({:.1} %) are about requests that no line of the logs has{}",
            counts.rows,
            value * 100.0,
            if is_most {
                ", whether it counts or not: the logs of a proxy or of a time are missing, and with \
                 them perhaps those of one variant. Give all logs, or the outcomes of their time"
            } else {
                ""
            }
        );
        self.result(state, value, MOST, BTreeMap::new(), message)
    }

    fn of_units(&self) -> Check {
        let counts = self.counts;
        let value = share(counts.unmatched, counts.rows.saturating_sub(counts.unmatched));
        if counts.unmatched == 0 || counts.matched == 0 {
            let message = match counts.unmatched {
                0 => "all outcome rows are about units of the logs".to_owned(),
                _ => "no outcome row is about a unit of the logs".to_owned(),
            };
            return self.result(CheckState::Ok, value, MOST, BTreeMap::new(), message);
        }
        let sample = self.sample;
        let respelled = share(sample.respelled, sample.all - sample.respelled);
        if let Some((unit, known)) =
            sample.example.as_ref().filter(|_| respelled > LOST && sample.respelled >= SEVERAL)
        {
            let message = format!(
                "{:.1} % of the units of the outcomes are in the logs in another spelling, as \"{}\", \
                 which is \"{}\" there: their rows do not count. Write each unit as the proxy sees it",
                respelled * 100.0,
                visible(unit),
                visible(known)
            );
            return self.result(CheckState::Blocking, respelled, LOST, BTreeMap::new(), message);
        }
        let shares =
            |arm: usize| sample.arms.get(arm).map(|[known, unknown]| share(*unknown, *known));
        let variants: BTreeMap<String, f64> = (0..sample.arms.len())
            .filter_map(|arm| Some(((*self.names.get(arm)?).to_owned(), shares(arm)?)))
            .collect();
        if let Some((arm, lost)) = sample.missing() {
            let message = format!(
                "the units of the outcomes that are not in the logs are {} of {}, by their buckets, \
                 beyond chance: lines of about {:.1} % of its units are missing (p < {CHANCE:e})",
                if lost > MOST { "mostly units" } else { "too often units" },
                self.names.get(arm).copied().unwrap_or("?"),
                lost * 100.0
            );
            return self.result(CheckState::Blocking, lost, LOST, variants, message);
        }
        let state = if value > MOST { CheckState::Warning } else { CheckState::Ok };
        let message = format!(
            "{} of {} outcome rows ({:.1} %) are about units that are not in the logs; by their \
             buckets, they would be split as configured{}",
            counts.unmatched,
            counts.rows,
            value * 100.0,
            if value > MOST {
                ". This is sound if the outcomes are of more users than the experiment; else the logs \
                 of a proxy or of a time are missing"
            } else {
                ""
            }
        );
        self.result(state, value, MOST, variants, message)
    }

    fn result(
        &self,
        state: CheckState,
        value: f64,
        limit: f64,
        variants: BTreeMap<String, f64>,
        message: String,
    ) -> Check {
        let name = CheckName::UnmatchedRows;
        Check { name, state, subject: None, value: Some(value), limit, variants, message }
    }
}
