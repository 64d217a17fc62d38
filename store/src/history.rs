//! What changed over time: configurations that were in force, and breakers that were not closed.
//!
//! Breakers come from the proxies' metrics for the minutes in which these were read, and from the exposures for all others.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::Connection;
use serde::Serialize;

use crate::breaker::BreakerState;
use crate::error::Error;
use crate::live::{Breakers, BreakersFrom, Failure, percent, rfc3339, some, state};
use crate::store::Store;

/// A configuration that was in force, or a breaker that was not closed.
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
    /// Of a breaker; of several proxies, the state of the one that is furthest from closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<BreakerState>,
    /// How the state of a breaker is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<BreakersFrom>,
    /// Proxies by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxies: Option<Breakers>,
    /// How often the breaker opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trips: Option<i64>,
    /// The last exposure of a configuration; the end of a breaker's state.
    pub(crate) until: String,
    /// Exposures of a configuration; those that a breaker diverted or probed with.
    pub(crate) requests: i64,
}

impl Transition {
    const fn of_breaker(time: String, until: String, trial: String, variant: String) -> Self {
        Self {
            time,
            kind: "breaker",
            trial,
            config: None,
            weights: None,
            phase: None,
            variant: Some(variant),
            state: None,
            from: None,
            proxies: None,
            trips: None,
            until,
            requests: 0,
        }
    }
}

/// The minutes in which a variant's breaker is known from metrics.
type Exact = HashSet<(String, i64)>;

impl Store {
    /// What was in force when, and when breakers were not closed, by time.
    pub(crate) fn transitions(&self, experiment: &str) -> Result<Vec<Transition>, Error> {
        let work = || -> Result<Vec<Transition>, Failure> {
            let database = self.reader()?;
            let mut all = configurations(&database, experiment)?;
            let (exact, minutes) = exact(&database, experiment)?;
            all.extend(exact);
            all.extend(inferred(&database, experiment, &minutes)?);
            all.sort_by(|one, other| one.time.cmp(&other.time));
            name_configurations(&mut all);
            Ok(all)
        };
        work().map_err(|error| self.failure(error))
    }
}

/// Names the configuration that was in force when a breaker changed: the latest one of its trial before that.
fn name_configurations(transitions: &mut [Transition]) {
    let mut latest: BTreeMap<String, Option<String>> = BTreeMap::new();
    for transition in transitions {
        if transition.kind == "configuration" {
            latest.insert(transition.trial.clone(), transition.config.clone());
        } else if transition.config.is_none() {
            // A minute begins before the first request in it.
            transition.config = latest.get(&transition.trial).cloned().flatten();
        }
    }
}

fn configurations(
    database: &Connection,
    experiment: &str,
) -> Result<Vec<Transition>, rusqlite::Error> {
    let mut find = database.prepare(
        "SELECT first, last, trial, config, weights, phase, requests FROM state
         WHERE experiment = ?1",
    )?;
    let states = find.query_map([experiment], |row| {
        let (first, last) = (rfc3339(row.get(0)?), rfc3339(row.get(1)?));
        Ok(Transition {
            kind: "configuration",
            config: some(row.get(3)?),
            weights: Some(percent(&row.get::<_, String>(4)?)),
            phase: some(row.get(5)?),
            variant: None,
            requests: row.get(6)?,
            ..Transition::of_breaker(first, last, row.get(2)?, String::new())
        })
    })?;
    states.collect()
}

/// The requests of each minute that a variant's breaker diverted or probed with.
fn touched(
    database: &Connection,
    experiment: &str,
) -> Result<HashMap<(String, i64), i64>, rusqlite::Error> {
    let mut find = database.prepare(
        "SELECT assigned, minute, sum(diverted + probes) FROM minute
         WHERE experiment = ?1 AND diverted + probes > 0 GROUP BY 1, 2",
    )?;
    let found = find.query_map([experiment], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)));
    found?.collect()
}

/// Breakers as the proxies' metrics had them. Those that were closed matter only if they tripped in between. Requests are
/// known by the minute, and count for the first state in it.
fn exact(
    database: &Connection,
    experiment: &str,
) -> Result<(Vec<Transition>, Exact), rusqlite::Error> {
    let mut find = database.prepare(
        "SELECT first, last, trial, variant, closed, half_open, open, trips
         FROM breaker WHERE experiment = ?1 ORDER BY seq",
    )?;
    let (mut found, mut minutes) = (Vec::new(), Exact::new());
    let mut touched = touched(database, experiment)?;
    let mut rows = find.query([experiment])?;
    while let Some(row) = rows.next()? {
        let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
        let variant: String = row.get(3)?;
        let within = || {
            let minutes = first.div_euclid(60_000)..=last.div_euclid(60_000);
            minutes.map(|minute| (variant.clone(), minute))
        };
        minutes.extend(within());
        let proxies = Breakers { closed: row.get(4)?, half_open: row.get(5)?, open: row.get(6)? };
        let (state, trips): (_, i64) = (proxies.worst(), row.get(7)?);
        if state != BreakerState::Closed || trips > 0 {
            let requests = within().filter_map(|minute| touched.remove(&minute)).sum();
            found.push(Transition {
                state: Some(state),
                from: Some(BreakersFrom::Exact),
                proxies: Some(proxies),
                trips: Some(trips),
                requests,
                ..Transition::of_breaker(rfc3339(first), rfc3339(last), row.get(2)?, variant)
            });
        }
    }
    Ok((found, minutes))
}

/// Breakers as exposures show them, by minute.
fn inferred(
    database: &Connection,
    experiment: &str,
    exact: &Exact,
) -> Result<Vec<Transition>, rusqlite::Error> {
    let mut find = database.prepare(
        "SELECT minute, trial, assigned, sum(diverted), sum(probes) FROM minute
         WHERE experiment = ?1 AND diverted + probes > 0
         GROUP BY 1, 2, 3 ORDER BY 2, 3, 1",
    )?;
    let mut rows = find.query([experiment])?;
    let mut found = Vec::new();
    let mut open: Option<(i64, Transition)> = None;
    while let Some(row) = rows.next()? {
        let (minute, trial, variant) =
            (row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?);
        let key = (variant, minute);
        if exact.contains(&key) {
            continue;
        }
        let (variant, _) = key;
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
        found.extend(open.take().map(|(_, transition)| transition));
        let transition = Transition {
            state: Some(state),
            from: Some(BreakersFrom::Inferred),
            requests: diverted + probes,
            ..Transition::of_breaker(rfc3339(minute * 60_000), until, trial, variant)
        };
        open = Some((minute, transition));
    }
    found.extend(open.map(|(_, transition)| transition));
    Ok(found)
}
