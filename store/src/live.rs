//! What is in force, as the latest exposures show it: trial, weights, shares, breakers; and requests over time.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use sidetrack::quantity::Timestamp;

use crate::breaker::BreakerState;
use crate::error::Error;
use crate::store::Store;

/// How far back shares and breakers look from the latest exposure, in minutes.
const RECENT: i64 = 5;
/// How far ahead of this machine's clock a proxy's may be, in milliseconds. What is later says nothing about the present.
const AHEAD: u64 = 3_600_000;

/// What is in force in an experiment.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// The trial of the latest exposure.
    pub trial: Option<String>,
    /// The first eight digits of the hash of the configuration that made it.
    pub config: Option<String>,
    /// The phase of the rollout.
    pub phase: Option<String>,
    /// The weights of the candidates in percent.
    pub weights: BTreeMap<String, f64>,
    /// The time of the latest exposure.
    pub latest: Option<String>,
    /// Stored exposures of the trial.
    pub requests: i64,
    /// By assigned variant: requests of the last minutes in which the weights were in force, and their share.
    pub shares: BTreeMap<String, Share>,
    /// Breakers of the candidates. Of several proxies, the state of the one that is furthest from closed.
    pub breakers: BTreeMap<String, BreakerState>,
    /// From where the state of the breakers is known.
    pub breakers_from: BreakersFrom,
    /// Proxies by the state of the breaker, if it is known from their metrics.
    pub proxies: BTreeMap<String, Breakers>,
    /// By metric: values of outcomes that replaced another one.
    pub replaced: BTreeMap<String, i64>,
}

/// How a breaker's state is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakersFrom {
    /// From the metrics of the proxies.
    Exact,
    /// From the exposures of the last two minutes: diverted requests and probes.
    Inferred,
}

/// How many proxies have the breaker of a candidate in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Breakers {
    /// It serves its users.
    pub closed: u32,
    /// It serves some of them.
    pub half_open: u32,
    /// The baseline serves them.
    pub open: u32,
}

impl Breakers {
    pub(crate) const fn add(&mut self, state: BreakerState) {
        match state {
            BreakerState::Closed => self.closed += 1,
            BreakerState::HalfOpen => self.half_open += 1,
            BreakerState::Open => self.open += 1,
        }
    }

    /// The state that is furthest from closed.
    pub(crate) const fn worst(self) -> BreakerState {
        match self {
            Self { open: 1.., .. } => BreakerState::Open,
            Self { half_open: 1.., .. } => BreakerState::HalfOpen,
            _ => BreakerState::Closed,
        }
    }
}

/// The traffic of a variant.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Share {
    /// Requests that were assigned to it.
    pub requests: i64,
    /// Their share of all, from 0 to 1.
    pub share: f64,
    /// Requests that failed.
    pub errors: i64,
}

/// A sum of requests over a time.
#[derive(Debug, Serialize)]
pub(crate) struct Bin {
    /// Its first minute since 1970.
    #[serde(skip)]
    pub(crate) minute: i64,
    pub(crate) from: String,
    pub(crate) trial: String,
    pub(crate) assigned: String,
    pub(crate) served: String,
    pub(crate) requests: i64,
    pub(crate) errors: i64,
    pub(crate) diverted: i64,
    pub(crate) probes: i64,
    pub(crate) mean_milliseconds: f64,
}

/// How long the bins of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Every {
    Minute,
    Hour,
    Day,
}

impl Every {
    pub(crate) const fn minutes(self) -> i64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 24 * 60,
        }
    }
}

pub(crate) fn rfc3339(milliseconds: i64) -> String {
    Timestamp::new(u64::try_from(milliseconds).unwrap_or(0)).to_string()
}

pub(crate) fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// `name=300000/500000,…` as percent.
pub(crate) fn percent(weights: &str) -> BTreeMap<String, f64> {
    let parts = weights.split(',').filter_map(|part| part.rsplit_once('='));
    let number = |text: &str| text.split('/').next().and_then(|ppm| ppm.parse::<f64>().ok());
    parts.filter_map(|(name, ppm)| Some((name.to_owned(), number(ppm)? / 10_000.0))).collect()
}

impl Store {
    /// What is in force in an experiment.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn live(&self, experiment: &str) -> Result<Live, Error> {
        let file = self.folder.database();
        self.live_of(experiment).map_err(|error| match error {
            Failure::Store(error) => error,
            Failure::Sql(error) => Error::database(&file)(error),
        })
    }

    fn live_of(&self, experiment: &str) -> Result<Live, Failure> {
        let database = self.reader()?;
        let until = Self::until(&database, experiment)?;
        // A configuration with one exposure of the future counts from its first one.
        let latest = database
            .query_row(
                "SELECT trial, config, weights, phase, (SELECT min(state.last,
                    coalesce(max(minute) * 60000 + 59999, state.first)) FROM minute
                    WHERE minute.experiment = ?1 AND minute.trial = state.trial
                    AND minute <= ?2 / 60000)
                 FROM state WHERE experiment = ?1 AND first <= ?2
                 ORDER BY CASE WHEN last <= ?2 THEN last ELSE first END DESC LIMIT 1",
                params![experiment, until],
                |row| {
                    let text = |at| row.get::<_, String>(at);
                    Ok((text(0)?, text(1)?, text(2)?, text(3)?, row.get::<_, i64>(4)?))
                },
            )
            .optional()?;
        let mut live = Live {
            trial: None,
            config: None,
            phase: None,
            weights: BTreeMap::new(),
            latest: None,
            requests: 0,
            shares: BTreeMap::new(),
            breakers: BTreeMap::new(),
            breakers_from: BreakersFrom::Inferred,
            proxies: BTreeMap::new(),
            replaced: BTreeMap::new(),
        };
        self.add_exact(&mut live, experiment);
        live.replaced = self.replaced(experiment)?;
        let Some((trial, config, weights, phase, last)) = latest else { return Ok(live) };
        let minute = last.div_euclid(60_000);
        let mut recent = database.prepare(
            "SELECT assigned, sum(CASE WHEN minute > ?6 THEN requests ELSE 0 END),
                sum(CASE WHEN minute > ?6 THEN errors ELSE 0 END),
                sum(CASE WHEN minute >= ?4 THEN diverted ELSE 0 END),
                sum(CASE WHEN minute >= ?4 THEN probes ELSE 0 END)
             FROM minute WHERE experiment = ?1 AND trial = ?2 AND minute > ?3 AND minute <= ?5
             GROUP BY assigned",
        )?;
        // Before, other weights were in force. Of the minute of the change, nothing is left but the present one.
        let others: Option<i64> = database.query_row(
            "SELECT max(min(last, ?4)) FROM state
             WHERE experiment = ?1 AND trial = ?2 AND weights != ?3 AND first <= ?4",
            params![experiment, trial, weights, last],
            |row| row.get(0),
        )?;
        let others = others.map_or(i64::MIN, |last| last.div_euclid(60_000).min(minute - 1));
        let parameters = params![experiment, trial, minute - RECENT, minute - 1, minute, others];
        let mut rows = recent.query(parameters)?;
        while let Some(row) = rows.next()? {
            let variant: String = row.get(0)?;
            let share = Share { requests: row.get(1)?, share: 0.0, errors: row.get(2)? };
            let (diverted, probes): (i64, i64) = (row.get(3)?, row.get(4)?);
            if live.breakers_from == BreakersFrom::Inferred {
                live.breakers.insert(variant.clone(), state(diverted, probes));
            }
            live.shares.insert(variant, share);
        }
        let all: i64 = live.shares.values().map(|share| share.requests).sum();
        for share in live.shares.values_mut() {
            share.share = to_f64(share.requests) / to_f64(all.max(1));
        }
        if let Some(entry) = self.catalog().get(experiment) {
            let experiment = &entry.experiment;
            live.breakers.remove(&experiment.variants[experiment.baseline].name);
        }
        live.requests = database.query_row(
            "SELECT coalesce(sum(requests), 0) FROM minute WHERE experiment = ?1 AND trial = ?2",
            [experiment, &trial],
            |row| row.get(0),
        )?;
        live.weights = percent(&weights);
        (live.trial, live.config, live.phase) = (some(trial), some(config), some(phase));
        live.latest = Some(rfc3339(last));
        Ok(live)
    }

    /// The latest time that may be the present of an experiment: none if its first exposure is later, as the clock of this
    /// machine is wrong then.
    fn until(database: &Connection, experiment: &str) -> Result<i64, rusqlite::Error> {
        let until = crate::writer::time(crate::upkeep::now().saturating_add(AHEAD));
        let first = "SELECT min(first) FROM state WHERE experiment = ?1";
        let first: Option<i64> = database.query_row(first, [experiment], |row| row.get(0))?;
        Ok(if first.is_some_and(|first| first > until) { i64::MAX } else { until })
    }

    /// Breakers as the proxies' metrics have them, if these are known.
    fn add_exact(&self, live: &mut Live, experiment: &str) {
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = observed.of(experiment) {
            live.breakers_from = BreakersFrom::Exact;
            live.proxies.clone_from(known);
            let states = known.iter().map(|(name, breakers)| (name.clone(), breakers.worst()));
            live.breakers = states.collect();
        }
    }

    /// The first and the last minute of a trial, without those of the future.
    pub(crate) fn span(&self, experiment: &str, trial: &str) -> Result<Option<(i64, i64)>, Error> {
        let work = || -> Result<Option<(i64, i64)>, Failure> {
            let database = self.reader()?;
            let until = Self::until(&database, experiment)?.div_euclid(60_000);
            let find = "SELECT min(minute), max(minute) FROM minute
                WHERE experiment = ?1 AND trial = ?2 AND minute <= ?3";
            let span = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (first, last): (Option<i64>, Option<i64>) =
                database.query_row(find, params![experiment, trial, until], span)?;
            Ok(first.zip(last))
        };
        work().map_err(|error| self.failure(error))
    }

    /// Requests over time.
    pub(crate) fn series(&self, experiment: &str, every: Every) -> Result<Vec<Bin>, Error> {
        let work = || -> Result<Vec<Bin>, Failure> {
            let database = self.reader()?;
            let mut find = database.prepare(
                "SELECT minute / ?2 * ?2, trial, assigned, served, sum(requests), sum(errors),
                    sum(diverted), sum(probes), sum(milliseconds)
                 FROM minute WHERE experiment = ?1 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
            )?;
            let bins = find.query_map(params![experiment, every.minutes()], |row: &Row<'_>| {
                let (minute, requests): (i64, i64) = (row.get(0)?, row.get(4)?);
                Ok(Bin {
                    minute,
                    from: rfc3339(minute * 60_000),
                    trial: row.get(1)?,
                    assigned: row.get(2)?,
                    served: row.get(3)?,
                    requests,
                    errors: row.get(5)?,
                    diverted: row.get(6)?,
                    probes: row.get(7)?,
                    mean_milliseconds: to_f64(row.get(8)?) / to_f64(requests.max(1)),
                })
            })?;
            Ok(bins.collect::<Result<_, _>>()?)
        };
        work().map_err(|error| self.failure(error))
    }

    pub(crate) fn failure(&self, failure: Failure) -> Error {
        match failure {
            Failure::Store(error) => error,
            Failure::Sql(error) => Error::database(&self.folder.database())(error),
        }
    }
}

/// A breaker that lets probes through is half-open, even in a minute in which it diverts others.
pub(crate) const fn state(diverted: i64, probes: i64) -> BreakerState {
    match (diverted, probes) {
        (0, 0) => BreakerState::Closed,
        (_, 0) => BreakerState::Open,
        _ => BreakerState::HalfOpen,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn to_f64(number: i64) -> f64 {
    number as f64
}

/// Why a query failed.
pub(crate) enum Failure {
    Store(Error),
    Sql(rusqlite::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}
