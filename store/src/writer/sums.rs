//! What a commit adds to the tables of sums: requests by minute, configurations in force, and names of values.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use serde_json::{Map, Value};
use sidetrack::names::log;

use super::time;
use crate::exposure::Exposure;

/// What a commit adds.
#[derive(Default)]
pub(super) struct Sums {
    minutes: BTreeMap<(String, String, i64, String, String), [i64; 5]>,
    states: BTreeMap<[String; 5], (i64, i64, i64)>,
    /// By table of names and name: how many values were replaced.
    names: BTreeMap<(&'static str, String), i64>,
}

impl Sums {
    pub(super) fn add_name(&mut self, table: &'static str, name: &str, replaced: i64) {
        if name != log::TIME {
            *self.names.entry((table, name.to_owned())).or_default() += replaced;
        }
    }

    pub(super) fn names_of(&mut self, table: &'static str, row: &Map<String, Value>) {
        row.keys().for_each(|name| self.add_name(table, name, 0));
    }

    pub(super) fn add(&mut self, exposure: &Exposure) {
        let text = |field| exposure.get(field).unwrap_or_default().to_owned();
        let assigned = text(log::ASSIGNED);
        let served = exposure.get(log::SERVED).unwrap_or(&assigned).to_owned();
        let at = time(exposure.time);
        let (experiment, trial) = (text(log::EXPERIMENT), text(log::TRIAL));
        let reason = exposure.get(log::REASON);
        let status: u64 = exposure.get(log::STATUS).and_then(|text| text.parse().ok()).unwrap_or(0);
        let duration = exposure.get(log::DURATION).and_then(|text| text.parse().ok()).unwrap_or(0);
        let failed = status == 0 || status >= 500 || exposure.get(log::RESCUED) == Some("true");
        let key = (experiment.clone(), trial.clone(), at.div_euclid(60_000), assigned, served);
        let sum = self.minutes.entry(key).or_default();
        let one = [
            1,
            i64::from(failed),
            i64::from(reason == Some("breaker_open")),
            i64::from(reason == Some("probe")),
            duration,
        ];
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
        let key = [experiment, trial, text(log::CONFIG), text(log::WEIGHTS), text(log::PHASE)];
        let state = self.states.entry(key).or_insert((at, at, 0));
        *state = (state.0.min(at), state.1.max(at), state.2 + 1);
    }

    pub(super) fn write(self, transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
        let mut minute = transaction.prepare_cached(
            "INSERT INTO minute VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET requests = requests + ?6, errors = errors + ?7,
             diverted = diverted + ?8, probes = probes + ?9, milliseconds = milliseconds + ?10",
        )?;
        for (
            (experiment, trial, at, assigned, served),
            [requests, errors, diverted, probes, time],
        ) in self.minutes
        {
            minute.execute(params![
                experiment, trial, at, assigned, served, requests, errors, diverted, probes, time
            ])?;
        }
        let mut state = transaction.prepare_cached(
            "INSERT INTO state VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET first = min(first, ?6), last = max(last, ?7), requests = requests + ?8",
        )?;
        for ([experiment, trial, config, weights, phase], (first, last, requests)) in self.states {
            state.execute(params![
                experiment, trial, config, weights, phase, first, last, requests
            ])?;
        }
        for ((table, name), replaced) in self.names {
            let add = format!(
                "INSERT INTO {table} VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET replaced = replaced + ?2"
            );
            transaction.prepare_cached(&add)?.execute(params![name, replaced])?;
        }
        Ok(())
    }
}
