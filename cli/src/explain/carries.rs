//! What the filter would write on the request and on the response (contract, section 4).

use std::io::Write;

use sidetrack::decide::{Decision, Outcome};
use sidetrack::plan::Experiment;

use super::Case;
use crate::out::Out;
use crate::words::{phase, variant, visible};

type Headers<'a> = Vec<(&'a str, String)>;

pub(super) fn tell(case: &Case<'_>, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let names = &case.plan.settings.headers;
    let removed: Headers<'_> = case
        .request
        .headers
        .iter()
        .filter(|(name, _)| names.owned.contains(name))
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let mut groups = vec![("removed from the request", removed)];
    if let Some((experiment, decision)) = case.decided() {
        groups.extend([
            ("to the model", to_model(case, experiment, decision)),
            ("inside the proxy", inside(case, experiment, decision)),
            ("to the caller", to_caller(case, experiment, decision)),
        ]);
    }
    let width = groups
        .iter()
        .flat_map(|(_, headers)| headers)
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    for (title, headers) in groups.iter().filter(|(_, headers)| !headers.is_empty()) {
        writeln!(out, "\n{}", ink.dim(title))?;
        for (name, value) in headers {
            let name = format!("{name}:");
            writeln!(out, "  {name:<width$} {}", visible(value), width = width + 1)?;
        }
    }
    if case.outcome == Outcome::Unmatched || matches!(case.outcome, Outcome::Skipped(_)) {
        writeln!(out, "\n{}", ink.dim("the filter adds no headers"))?;
    }
    Ok(())
}

fn to_model<'a>(case: &'a Case<'_>, experiment: &'a Experiment, decision: Decision) -> Headers<'a> {
    let mut headers = marks(case, experiment, decision);
    let added = experiment.variants[decision.served].request_headers.iter();
    headers.extend(added.map(|(name, value)| (name.as_str(), value.clone())));
    headers
}

fn inside<'a>(case: &'a Case<'_>, experiment: &'a Experiment, decision: Decision) -> Headers<'a> {
    let names = &case.plan.settings.headers;
    let mut headers = Headers::new();
    if let Some(cluster) = experiment.variants[decision.served].cluster.clone() {
        headers.push((&names.cluster, cluster));
    }
    if let Some(mirror) = experiment.mirror.as_ref().filter(|_| decision.mirror) {
        headers.push((&names.mirror, mirror.cluster.clone()));
    }
    headers
}

fn to_caller<'a>(
    case: &'a Case<'_>,
    experiment: &'a Experiment,
    decision: Decision,
) -> Headers<'a> {
    let settings = &case.plan.settings;
    let names = &settings.headers;
    let mut headers =
        if settings.response_headers { marks(case, experiment, decision) } else { Headers::new() };
    let added = experiment.variants[decision.served].response_headers.iter();
    headers.extend(added.map(|(name, value)| (name.as_str(), value.clone())));
    if decision.explain {
        headers.push((&names.reason, decision.reason.to_string()));
        headers.extend(decision.bucket.map(|bucket| (names.bucket.as_str(), bucket.to_string())));
        headers.push((&names.config, case.plan.hash.short()));
    }
    headers
}

/// What both the model and the caller are told.
fn marks<'a>(case: &'a Case<'_>, experiment: &'a Experiment, decision: Decision) -> Headers<'a> {
    let names = &case.plan.settings.headers;
    let mut headers = vec![
        (names.experiment.as_str(), experiment.name.clone()),
        (names.variant.as_str(), variant(experiment, decision.served).to_owned()),
    ];
    if decision.assigned != decision.served {
        headers.push((&names.assigned, variant(experiment, decision.assigned).to_owned()));
    }
    let phase = decision.phase.and_then(|index| phase(experiment, index));
    headers.extend(phase.map(|phase| (names.phase.as_str(), phase.to_owned())));
    headers
}
