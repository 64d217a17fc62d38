//! The state of an experiment in one line, for pipes and logs.

use super::{State, VariantState};
use crate::load::count;
use crate::moment;

pub(super) fn state(state: &State) -> String {
    let at = moment::now().to_string();
    let clock = at.split_once('T').map_or("", |(_, time)| time.trim_end_matches('Z'));
    let variants: Vec<String> = state.variants.iter().map(variant).collect();
    format!(
        " {clock}  {}: {}, {:.0}/s; {}",
        state.name,
        count(state.requests, "request"),
        state.rate,
        variants.join("; ")
    )
}

fn variant(it: &VariantState) -> String {
    let share = it.share.map_or_else(|| "–".to_owned(), |share| format!("{share:.1} %"));
    let mut text = format!("{} {share} of {} %", it.name, it.target);
    if it.errors > 0 {
        text += &format!(", {}", count(it.errors, "error"));
    }
    if let Some(p99) = it.p99_ms {
        text += &format!(", p99 {p99:.0} ms");
    }
    if let Some(breaker) = it.breaker {
        text += &format!(", breaker {}", breaker.as_str());
    }
    text
}
