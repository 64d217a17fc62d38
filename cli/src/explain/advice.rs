//! Hints at missing options that decided the result.

use sidetrack::decide::{Outcome, Step};
use sidetrack::matching::{Header, Host, Match, Text, ValueRule};
use sidetrack::plan::Experiment;
use sidetrack::request::Request as _;
use sidetrack::unit::UnitSource;

use super::Case;

/// Hints, as sentences.
pub(super) fn advice(case: &Case<'_>) -> Vec<String> {
    let mut hints = Vec::new();
    if matches!(case.outcome, Outcome::Unmatched | Outcome::Unread(..)) {
        for experiment in &case.plan.experiments {
            let (missing, wrong) = flags(case, &experiment.conditions);
            let others = if wrong.is_empty() {
                String::new()
            } else {
                format!(", and change {}", wrong.join(" and "))
            };
            if !missing.is_empty() {
                hints.push(format!(
                    "to match {}, add {}{others}",
                    experiment.name,
                    missing.join(" ")
                ));
            }
        }
    }
    let missing = case.steps.iter().any(|step| matches!(step, Step::MissingUnit(_)));
    let experiment = match case.outcome {
        Outcome::Unmatched | Outcome::Unread(..) => None,
        Outcome::Skipped(id, _) | Outcome::NeedsBody(id) => Some(case.experiment(id)),
        Outcome::Decided(decision) => Some(case.experiment(decision.experiment)),
    };
    if let Some(experiment) = experiment.filter(|_| missing) {
        hints.extend(unit_flag(experiment).map(|flag| format!("to identify the unit, add {flag}")));
    }
    hints
}

/// The options that a condition requires: those that are missing, and the names of those with another
/// value.
fn flags(case: &Case<'_>, conditions: &Match) -> (Vec<String>, Vec<String>) {
    let (mut missing, mut wrong) = (Vec::new(), Vec::new());
    let mut need = |part: Match, name: &str, given: bool, flag: Option<String>| {
        if part.mismatch(&case.request).is_none() {
            return;
        }
        match flag.filter(|_| !given) {
            Some(flag) => missing.push(flag),
            None => wrong.push(name.to_owned()),
        }
    };
    let path = conditions.path.as_ref().map(|rule| {
        let (Text::Exact(path) | Text::Prefix(path)) = rule;
        format!("--path {}", shell(path))
    });
    let host = conditions.hosts.first().map(|host| match host {
        Host::Exact(name) => format!("--host {name}"),
        Host::Below(suffix) => format!("--host any{suffix}"),
    });
    let method = conditions.methods.first().map(|method| format!("--method {method}"));
    let asked = case.asked;
    need(
        Match { methods: conditions.methods.clone(), ..Match::default() },
        "--method",
        asked.method.is_some(),
        method,
    );
    need(
        Match { hosts: conditions.hosts.clone(), ..Match::default() },
        "--host",
        asked.host.is_some(),
        host,
    );
    need(
        Match { path: conditions.path.clone(), ..Match::default() },
        "--path",
        asked.path.is_some(),
        path,
    );
    for header in &conditions.headers {
        let given = asked.headers.iter().any(|other| other.name == header.name);
        let name = format!("--header {}", header.name);
        let part = Match { headers: vec![header.clone()], ..Match::default() };
        need(part, &name, given, header_flag(header));
    }
    if conditions.body_mismatch(case.request.body()).is_some() {
        match &asked.body {
            Some(_) => wrong.push("--body".to_owned()),
            None => missing.push("--body FILE".to_owned()),
        }
    }
    (missing, wrong)
}

fn header_flag(header: &Header) -> Option<String> {
    let value = match &header.rule {
        ValueRule::Value(Text::Exact(text) | Text::Prefix(text)) => text.as_str(),
        ValueRule::Present(true) => "1",
        ValueRule::Present(false) => return None,
    };
    Some(format!("--header {}", shell(&format!("{}: {value}", header.name))))
}

fn unit_flag(experiment: &Experiment) -> Option<String> {
    experiment.units.iter().find_map(|source| match source {
        UnitSource::Header(name) => Some(format!("--header '{name}: 4711'")),
        UnitSource::Cookie(name) => Some(format!("--header 'cookie: {name}=4711'")),
        UnitSource::Query(name) => Some(format!("?{name}=4711 to --path")),
        UnitSource::Body(_) => None,
    })
}

/// Quoted for a shell, if necessary.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~%@:+".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
