//! What is in force, as the latest exposures show it: trial, weights, shares, breakers; and the history of both.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;
use sidetrack::quantity::Timestamp;

use crate::error::Error;
use crate::store::Store;

/// How far back shares and breakers look from the latest exposure, in minutes.
const RECENT: i64 = 5;

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
    /// By assigned variant: requests of the last minutes and their share.
    pub shares: BTreeMap<String, Share>,
    /// Breakers as the last two minutes show them: `closed`, `half_open` or `open`.
    pub breakers: BTreeMap<String, &'static str>,
    /// From where the state of the breakers is known.
    pub breakers_from: &'static str,
    /// By metric: values of outcomes that replaced another one.
    pub replaced: BTreeMap<String, i64>,
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

/// A configuration that was in force, or a breaker that changed its state.
#[derive(Debug, Serialize)]
pub(crate) struct Transition {
    pub(crate) time: String,
    pub(crate) kind: &'static str,
    pub(crate) trial: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<BTreeMap<String, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<&'static str>,
    /// The last exposure of this kind.
    pub(crate) until: String,
    pub(crate) requests: i64,
}

/// How long the bins of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Every {
    Minute,
    Hour,
    Day,
}

impl Every {
    const fn minutes(self) -> i64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 24 * 60,
        }
    }
}

fn rfc3339(milliseconds: i64) -> String {
    Timestamp::new(u64::try_from(milliseconds).unwrap_or(0)).to_string()
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// `name=300000/500000,…` as percent.
fn percent(weights: &str) -> BTreeMap<String, f64> {
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
        let latest = database
            .query_row(
                "SELECT trial, config, weights, phase, last FROM state WHERE experiment = ?1
                 ORDER BY last DESC LIMIT 1",
                [experiment],
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
            breakers_from: "exposures",
            replaced: BTreeMap::new(),
        };
        let mut replaced =
            database.prepare("SELECT name, replaced FROM metric WHERE replaced > 0")?;
        live.replaced = replaced
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let Some((trial, config, weights, phase, last)) = latest else { return Ok(live) };
        let minute = last.div_euclid(60_000);
        let mut recent = database.prepare(
            "SELECT assigned, sum(requests), sum(errors),
                sum(CASE WHEN minute >= ?4 THEN diverted ELSE 0 END),
                sum(CASE WHEN minute >= ?4 THEN probes ELSE 0 END)
             FROM minute WHERE experiment = ?1 AND trial = ?2 AND minute > ?3 GROUP BY assigned",
        )?;
        let mut rows = recent.query(params![experiment, trial, minute - RECENT, minute - 1])?;
        while let Some(row) = rows.next()? {
            let variant: String = row.get(0)?;
            let share = Share { requests: row.get(1)?, share: 0.0, errors: row.get(2)? };
            let (diverted, probes): (i64, i64) = (row.get(3)?, row.get(4)?);
            live.breakers.insert(variant.clone(), state(diverted, probes));
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
                let requests: i64 = row.get(4)?;
                Ok(Bin {
                    from: rfc3339(row.get::<_, i64>(0)? * 60_000),
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

    /// What was in force when, and when breakers were open.
    pub(crate) fn transitions(&self, experiment: &str) -> Result<Vec<Transition>, Error> {
        let work = || -> Result<Vec<Transition>, Failure> {
            let database = self.reader()?;
            let mut find = database.prepare(
                "SELECT first, last, trial, config, weights, phase, requests FROM state
                 WHERE experiment = ?1",
            )?;
            let states = find.query_map([experiment], |row| {
                Ok(Transition {
                    time: rfc3339(row.get(0)?),
                    kind: "configuration",
                    until: rfc3339(row.get(1)?),
                    trial: row.get(2)?,
                    config: some(row.get(3)?),
                    weights: Some(percent(&row.get::<_, String>(4)?)),
                    phase: some(row.get(5)?),
                    variant: None,
                    state: None,
                    requests: row.get(6)?,
                })
            })?;
            let mut all = states.collect::<Result<Vec<_>, _>>()?;
            let mut find = database.prepare(
                "SELECT minute, trial, assigned, sum(diverted), sum(probes) FROM minute
                 WHERE experiment = ?1 AND diverted + probes > 0
                 GROUP BY 1, 2, 3 ORDER BY 2, 3, 1",
            )?;
            let mut rows = find.query([experiment])?;
            let mut open: Option<(i64, Transition)> = None;
            while let Some(row) = rows.next()? {
                let (minute, trial, variant) =
                    (row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?);
                let (diverted, probes): (i64, i64) = (row.get(3)?, row.get(4)?);
                let state = state(diverted, probes);
                let until = rfc3339((minute + 1) * 60_000);
                if let Some((last, transition)) = &mut open
                    && *last + 1 == minute
                    && transition.trial == trial
                    && transition.variant.as_ref() == Some(&variant)
                    && transition.state == Some(state)
                {
                    (*last, transition.until) = (minute, until);
                    transition.requests += diverted + probes;
                    continue;
                }
                all.extend(open.take().map(|(_, transition)| transition));
                let transition = Transition {
                    time: rfc3339(minute * 60_000),
                    kind: "breaker",
                    until,
                    trial,
                    config: None,
                    weights: None,
                    phase: None,
                    variant: Some(variant),
                    state: Some(state),
                    requests: diverted + probes,
                };
                open = Some((minute, transition));
            }
            all.extend(open.map(|(_, transition)| transition));
            all.sort_by(|one, other| one.time.cmp(&other.time));
            Ok(all)
        };
        work().map_err(|error| self.failure(error))
    }

    fn failure(&self, failure: Failure) -> Error {
        match failure {
            Failure::Store(error) => error,
            Failure::Sql(error) => Error::database(&self.folder.database())(error),
        }
    }
}

/// A breaker that lets probes through is half open, even in a minute in which it diverts others.
const fn state(diverted: i64, probes: i64) -> &'static str {
    match (diverted, probes) {
        (0, 0) => "closed",
        (_, 0) => "open",
        _ => "half_open",
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn to_f64(number: i64) -> f64 {
    number as f64
}

enum Failure {
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
