//! The wording of experiments, shared by all subcommands.

use sidetrack::matching::{BodyValue, Header, Host, Match, Text, ValueRule};
use sidetrack::plan::{Experiment, VariantId};
use sidetrack::quantity::{Ppm, Timestamp};
use sidetrack::rollout::{InForce, Schedule};
pub(crate) use sidetrack_analysis::figures::visible;

/// Bytes that a client sent, in quotes.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("\"{}\"", visible(text)),
        Err(_) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// A message without the numbers of the operating system's errors, which mean nothing to most readers:
/// `Connection refused (os error 111)` becomes `Connection refused`.
pub(crate) fn plain(text: &str) -> String {
    const START: &str = " (os error ";
    let mut parts = text.split(START);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<i32>().is_ok() => out.push_str(rest),
            _ => out.extend([START, part]),
        }
    }
    out
}

/// `30 %`.
pub(crate) fn percent(share: Ppm) -> String {
    format!("{share} %")
}

/// The buckets of a range without its end: `0 to 299999`, or `none`.
pub(crate) fn buckets(start: u32, length: u32) -> String {
    match start.saturating_add(length).checked_sub(1) {
        Some(last) if length > 0 => format!("{start} to {last}"),
        _ => "none".to_owned(),
    }
}

/// The conditions: `POST · predictor.example.com · /v2/models/forecast… · x-tenant: acme`.
pub(crate) fn conditions(conditions: &Match) -> String {
    let mut parts = Vec::new();
    if !conditions.methods.is_empty() {
        parts.push(conditions.methods.join(" or "));
    }
    if !conditions.hosts.is_empty() {
        parts.push(hosts(&conditions.hosts));
    }
    parts.extend(conditions.path.as_ref().map(text));
    parts.extend(conditions.headers.iter().map(header));
    parts.extend(conditions.body.iter().map(body_value));
    if parts.is_empty() { "all requests".to_owned() } else { parts.join(" · ") }
}

/// A host as an experiment file writes it: `*.example.com` covers everything below.
pub(crate) fn host(host: &Host) -> String {
    match host {
        Host::Exact(name) => name.clone(),
        Host::Below(suffix) => format!("*{suffix}"),
    }
}

pub(crate) fn hosts(hosts: &[Host]) -> String {
    hosts.iter().map(host).collect::<Vec<_>>().join(" or ")
}

pub(crate) fn text(text: &Text) -> String {
    match text {
        Text::Exact(text) => text.clone(),
        Text::Prefix(text) => format!("{text}…"),
    }
}

pub(crate) fn header(header: &Header) -> String {
    match &header.rule {
        ValueRule::Value(value) => format!("{}: {}", header.name, text(value)),
        ValueRule::Present(true) => format!("{} present", header.name),
        ValueRule::Present(false) => format!("{} absent", header.name),
    }
}

pub(crate) fn body_value(value: &BodyValue) -> String {
    match &value.rule {
        ValueRule::Value(wanted) => format!("body {}: {}", value.pointer, text(wanted)),
        ValueRule::Present(true) => format!("body {} present", value.pointer),
        ValueRule::Present(false) => format!("body {} absent", value.pointer),
    }
}

/// The unit sources: `header x-user-id, else cookie session_id`.
pub(crate) fn units(experiment: &Experiment) -> String {
    let sources: Vec<String> = experiment.units.iter().map(ToString::to_string).collect();
    if sources.is_empty() { "none".to_owned() } else { sources.join(", else ") }
}

/// The name of a variant.
pub(crate) fn variant(experiment: &Experiment, id: VariantId) -> &str {
    &experiment.variants[id].name
}

/// The name of a phase.
pub(crate) fn phase(experiment: &Experiment, index: usize) -> Option<&str> {
    experiment.schedule.phases().get(index).map(|phase| phase.name.as_str())
}

/// Which phase is in force: `canary, 1 of 3, until 2026-11-23T10:00:00Z`; `None` without a rollout.
pub(crate) fn phase_now(experiment: &Experiment, now: Timestamp) -> Option<String> {
    let Schedule::Rollout(rollout) = &experiment.schedule else { return None };
    let InForce::Weights(_, Some(index)) = experiment.schedule.at(now) else {
        return Some(format!("starts at {}", rollout.start));
    };
    let (begins, ends) = rollout.times(index);
    let ends = ends.map_or_else(|| format!("since {begins}"), |ends| format!("until {ends}"));
    let name = phase(experiment, index).unwrap_or("?");
    Some(format!("{name}, phase {} of {}, {ends}", index + 1, rollout.phases.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_buckets_names_its_last_bucket() {
        assert_eq!(buckets(0, 300_000), "0 to 299999");
        assert_eq!(buckets(5, 0), "none");
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(visible("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(quoted(b"\xff\"x"), "\"\\xff\\\"x\"");
    }
}
