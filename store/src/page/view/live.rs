//! The present traffic: shares against targets, and breakers.

use minijinja::{Value, context};
use sidetrack_analysis::figures::short;

use crate::breaker::BreakerState;
use crate::catalog::Entry;
use crate::live::{Breakers, BreakersFrom, Live};
use crate::report::plot::{color, share_bar};

/// A breaker's state: a sign and a word, since color is not for everyone, and what it means.
pub(super) const fn state(state: BreakerState) -> [&'static str; 3] {
    match state {
        BreakerState::Closed => ["✓", "closed", "It takes its traffic."],
        BreakerState::Open => ["✕", "open", "The baseline serves its units."],
        BreakerState::HalfOpen => {
            ["◐", "half-open", "Some of its units probe it, and the baseline serves the others."]
        }
    }
}

/// The candidates' weights in force in percent, and what they leave to the baseline.
fn target(entry: &Entry, live: &Live, name: &str) -> Option<f64> {
    let experiment = &entry.experiment;
    live.trial.as_ref()?;
    if experiment.variants[experiment.baseline].name == name {
        Some(100.0 - live.weights.values().sum::<f64>())
    } else {
        Some(live.weights.get(name).copied().unwrap_or(0.0))
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{} %", short(share, 3))
}

/// A row for each variant.
pub(super) fn variants(entry: &Entry, live: &Live) -> Vec<Value> {
    let experiment = &entry.experiment;
    let names = super::names(entry);
    let row = |name: &String| {
        let traffic = live.shares.get(name).copied().unwrap_or_default();
        let has_traffic = live.trial.is_some();
        let target = target(entry, live, name);
        let class = color(name, &names);
        let is_baseline = experiment.variants[experiment.baseline].name == *name;
        // Without a weight, nothing passes the breaker.
        let is_idle = target == Some(0.0) && traffic.requests == 0;
        let breaker = live.breakers.get(name).copied().filter(|_| !is_baseline && !is_idle);
        let words = breaker.map(state).unwrap_or_default();
        let errors = match (traffic.requests, traffic.errors) {
            (0, _) => "–".to_owned(),
            (_, 0) => "0".to_owned(),
            (all, failed) => format!("{failed} ({})", percent(100.0 * ratio(failed, all))),
        };
        let bar = target.map(|target| {
            Value::from_safe_string(share_bar(traffic.share, target / 100.0, &class))
        });
        context! {
            name, class, errors,
            role => if is_baseline { "baseline" } else { "candidate" },
            share => if has_traffic { percent(100.0 * traffic.share) } else { "–".to_owned() },
            target => target.map_or_else(|| "–".to_owned(), percent),
            bar => bar.unwrap_or_else(|| Value::from("")),
            requests => traffic.requests,
            state => breaker.map_or("", BreakerState::as_str),
            sign => words[0],
            word => words[1],
        }
    };
    names.iter().map(row).collect()
}

/// The state of each candidate's breaker.
pub(super) fn breakers(entry: &Entry, live: &Live) -> Vec<Value> {
    let experiment = &entry.experiment;
    let candidates = experiment.candidates().map(|id| &experiment.variants[id].name);
    let row = |name: &String| {
        let known = live.breakers.get(name).copied();
        let has_weight = target(entry, live, name).is_none_or(|weight| weight > 0.0);
        let [sign, word, meaning] = match known {
            None | Some(BreakerState::Closed) if !has_weight => {
                ["–", "no traffic", "Its weight is 0, so no user gets it."]
            }
            Some(known) => state(known),
            None => ["–", "unknown", "No recent request was assigned to it."],
        };
        let proxies = live.proxies.get(name).map(|proxies| in_proxies(*proxies));
        let meaning = format!("{meaning}{}", proxies.unwrap_or_default());
        let state = known.map_or("", BreakerState::as_str);
        context! { variant => name, state, sign, word, meaning }
    };
    candidates.map(row).collect()
}

/// ` Proxies: closed: 3, open: 1.`
fn in_proxies(Breakers { closed, half_open, open }: Breakers) -> String {
    let counts = [("closed", closed), ("half-open", half_open), ("open", open)];
    let some = counts.into_iter().filter(|(_, count)| *count > 0);
    let some: Vec<String> = some.map(|(word, count)| format!("{word}: {count}")).collect();
    if some.is_empty() { String::new() } else { format!(" Proxies: {}.", some.join(", ")) }
}

/// Where the states come from.
pub(super) const fn source(live: &Live) -> &'static str {
    match live.breakers_from {
        BreakersFrom::Exact => "Exact, from the metrics of the proxies.",
        BreakersFrom::Inferred => {
            "As the exposures of the last two minutes show it. `sidetrack serve` reads the exact state \
             with --admin or --prometheus."
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(part: i64, all: i64) -> f64 {
    part as f64 / all.max(1) as f64
}
