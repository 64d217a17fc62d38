//! Whether an outcome about a unit belongs to another trial of the experiment: to that of the unit's latest exposure
//! before the outcome.
//!
//! With plain units, all trials name a user alike. A digest depends on the salt, and the log does not contain the salts
//! of other trials, so the users of such a trial are unknown. Then an outcome may be of that trial as soon as enough
//! of its exposures lie between the unit's own exposure and the outcome.

use std::collections::{BTreeMap, BTreeSet};

use sidetrack_stats::float;

use crate::join::{Exposed, Joined};
use crate::row::MINUTE;
use crate::short::Short;
use crate::source::Trial;

/// If exposures of unknown users are more than this share of the units, they are taken into account: fewer cannot
/// change more than one outcome in a hundred.
const SOME: f64 = 0.01;

/// Exposures in other trials.
pub(super) struct Others<'j> {
    joined: &'j Joined,
    units: u64,
    /// Of each trial whose users are unknown.
    unknown: Vec<Unknown>,
}

/// A trial whose users are unknown.
struct Unknown {
    /// How many users it has.
    units: u64,
    /// All exposures up to the end of each minute.
    exposures: BTreeMap<u64, u64>,
}

impl<'j> Others<'j> {
    pub(super) fn new(joined: &'j Joined, trial: Trial) -> Self {
        let units = joined.shards.iter().map(|table| table.len()).sum();
        let mut exposed: BTreeMap<Option<Short>, u64> = BTreeMap::new();
        // A unit with the same name in both trials shows that the names do not depend on the salt.
        let mut plain: BTreeSet<Option<Short>> = BTreeSet::new();
        for unit in joined.shards.iter().flat_map(|table| table.other_trials().iter()) {
            *exposed.entry(unit.trial).or_default() += 1;
            if joined.unit(unit.unit).is_some() {
                plain.insert(unit.trial);
            }
        }
        let trials = joined.tally.seen.trials.iter();
        let unknown = trials.filter(|(name, found)| {
            // The digests of the file's own trial can be computed.
            let is_of_file = name.unwrap_or(trial.of_file) == trial.of_file;
            !found.digests.is_empty() && !plain.contains(name) && !is_of_file
        });
        let unknown = unknown.map(|(name, found)| Unknown {
            units: exposed.get(name).copied().unwrap_or(0),
            exposures: found
                .digests
                .iter()
                .scan(0, |sum, (minute, count)| {
                    *sum += count;
                    Some((*minute, *sum))
                })
                .collect(),
        });
        Self { joined, units, unknown: unknown.collect() }
    }

    /// The latest exposure of a unit in another trial, until this time.
    pub(super) fn latest(&self, keys: [u64; 2], time: u64) -> Option<Exposed> {
        let all = keys.into_iter().flat_map(|key| self.joined.in_other_trials(key));
        all.filter(|exposed| exposed.first <= time).max_by_key(|exposed| exposed.first)
    }

    /// Whether an outcome at this time belongs, or may belong, to another trial, given the unit's exposure in this one.
    pub(super) fn own(&self, keys: [u64; 2], exposed: Option<u64>, time: u64) -> bool {
        let latest = self.latest(keys, time).map(|other| other.first);
        let Some(exposed) = exposed else { return latest.is_some() };
        let between = |unknown: &Unknown| unknown.until(time) - unknown.until(exposed);
        latest.is_some_and(|other| other > exposed)
            || self
                .unknown
                .iter()
                .any(|unknown| time > exposed && float(between(unknown)) > SOME * float(self.units))
    }

    /// Of so many outcomes without a time, how many may belong to units that trials with unknown users share.
    pub(super) fn shared(&self, rows: u64) -> u64 {
        let users: u64 = self.unknown.iter().map(|unknown| unknown.units).sum();
        if users >= self.units { rows } else { rows * users / self.units }
    }
}

impl Unknown {
    /// How many exposures there are until this time, by the minute.
    fn until(&self, time: u64) -> u64 {
        self.exposures.range(..=time / MINUTE).next_back().map_or(0, |(_, sum)| *sum)
    }
}
