//! Whether an outcome about a unit belongs to another trial of the experiment: to that of the unit's latest exposure
//! before the outcome.
//!
//! With plain units, all trials name a user alike. A digest depends on the salt, and the log does not contain the salts
//! of other trials, so the users of such a trial are unknown. Then an outcome may be of that trial as soon as enough
//! of its exposures lie between the unit's own exposure and the outcome.

use std::collections::{BTreeMap, BTreeSet};

use sidetrack_stats::float;

use crate::error::Error;
use crate::join::{Joined, UnitTable};
use crate::row::MINUTE;
use crate::short::Short;
use crate::source::Trial;

/// If exposures of unknown users are more than this share of the units, they are taken into account: fewer cannot
/// change more than one outcome in a hundred.
const SOME: f64 = 0.01;

/// Exposures in other trials.
pub(super) struct Others {
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

impl Others {
    pub(super) fn new(joined: &Joined, trial: Trial) -> Result<Self, Error> {
        let mut units = 0;
        let mut exposed: BTreeMap<Option<Short>, u64> = BTreeMap::new();
        // A unit with the same name in both trials shows that the names do not depend on the salt.
        let mut plain: BTreeSet<Option<Short>> = BTreeSet::new();
        for shard in joined.shards.each(joined.threads, Exposures::of)? {
            units += shard.units;
            for (trial, more) in shard.exposed {
                *exposed.entry(trial).or_default() += more;
            }
            plain.extend(shard.plain);
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
        Ok(Self { units, unknown: unknown.collect() })
    }

    /// Whether an outcome at this time belongs, or may belong, to another trial, given the unit's latest exposure there until
    /// then, and its exposure in this one.
    pub(super) fn own(&self, latest: Option<u64>, exposed: Option<u64>, time: u64) -> bool {
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

/// What a shard knows of other trials.
struct Exposures {
    units: u64,
    /// Units of each.
    exposed: BTreeMap<Option<Short>, u64>,
    /// Those that share units with this one.
    plain: BTreeSet<Option<Short>>,
}

impl Exposures {
    fn of(_: usize, table: &UnitTable) -> Self {
        let mut found =
            Self { units: table.len(), exposed: BTreeMap::new(), plain: BTreeSet::new() };
        for unit in table.other_trials().iter() {
            *found.exposed.entry(unit.trial).or_default() += 1;
            if table.unit(unit.unit).is_some() {
                found.plain.insert(unit.trial);
            }
        }
        found
    }
}

impl Unknown {
    /// How many exposures there are until this time, by the minute.
    fn until(&self, time: u64) -> u64 {
        self.exposures.range(..=time / MINUTE).next_back().map_or(0, |(_, sum)| *sum)
    }
}
