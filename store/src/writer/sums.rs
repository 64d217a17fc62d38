//! What a commit adds to the tables of sums: requests by minute, configurations in force, and names of values.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Transaction, params};
use serde_json::{Map, Value};
use sidetrack::names::log;

use super::time;
use crate::exposure::Exposure;

/// What a commit adds, by texts of its records.
#[derive(Default)]
pub(super) struct Sums<'a> {
    minutes: BTreeMap<(&'a str, &'a str, i64, &'a str, &'a str), [i64; 5]>,
    states: BTreeMap<[&'a str; 5], (i64, i64, i64)>,
    /// Names of values, with their table.
    names: BTreeSet<(&'static str, &'a str)>,
    /// By request and name: how many values of outcomes were replaced.
    replaced: BTreeMap<(&'a str, &'a str), i64>,
}

impl<'a> Sums<'a> {
    pub(super) fn add_name(&mut self, table: &'static str, name: &'a str) {
        if name != log::TIME {
            self.names.insert((table, name));
        }
    }

    pub(super) fn add_replaced(&mut self, request: &'a str, name: &'a str) {
        *self.replaced.entry((request, name)).or_default() += 1;
    }

    pub(super) fn names_of(&mut self, table: &'static str, row: &'a Map<String, Value>) {
        row.keys().for_each(|name| self.add_name(table, name));
    }

    pub(super) fn add(&mut self, exposure: &'a Exposure) {
        let text = |field| exposure.get(field).unwrap_or_default();
        let assigned = text(log::ASSIGNED);
        let served = exposure.get(log::SERVED).unwrap_or(assigned);
        let at = time(exposure.time);
        let (experiment, trial) = (text(log::EXPERIMENT), text(log::TRIAL));
        let reason = exposure.get(log::REASON);
        let status: u64 = exposure.get(log::STATUS).and_then(|text| text.parse().ok()).unwrap_or(0);
        let duration = exposure.get(log::DURATION).and_then(|text| text.parse().ok()).unwrap_or(0);
        let failed = status == 0 || status >= 500 || exposure.get(log::RESCUED) == Some("true");
        let key = (experiment, trial, at.div_euclid(60_000), assigned, served);
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
        for (table, name) in self.names {
            let add = format!("INSERT INTO {table} (name) VALUES (?1) ON CONFLICT DO NOTHING");
            transaction.prepare_cached(&add)?.execute([name])?;
        }
        let mut replaced = transaction.prepare_cached(
            "INSERT INTO replaced_outcome VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET replaced = replaced + ?3",
        )?;
        for ((request, name), count) in self.replaced {
            replaced.execute(params![request, name, count])?;
        }
        Ok(())
    }
}
