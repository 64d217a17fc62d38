//! The alert on the baseline's headroom.

use sidetrack::names::label::{EXPERIMENT, STATUS};
use sidetrack::names::status::SUCCESS;
use sidetrack::names::{metric, record};
use sidetrack::plan::Experiment;

use super::experiment::{by_experiment, candidate, model};
use super::{Alert, Draft, input};
use crate::render::prometheus::{Clock, Series, baseline};

/// How much more than its largest load of 7 days a baseline without a known capacity may get.
const UNPROVEN: f64 = 1.25;

/// An open breaker moves a candidate's share onto the baseline within a second, which is too fast to
/// add capacity. So the alert looks ahead: at the load that the baseline has if all breakers open.
pub(in crate::render::prometheus) fn headroom(
    experiment: &Experiment,
    series: &Series,
    capacity: Option<f64>,
) -> Alert {
    let name = baseline(experiment);
    let (limit, carried) = match capacity {
        Some(rate) => (1.0, format!("the {rate} requests per second that it can serve")),
        None => (UNPROVEN, "the most that it served in the last 7 days".to_owned()),
    };
    // Each minute, the requests of a rate per second that depends on the capacity.
    let minutes = |rate: f64| format!("0+{}x25", rate * 60.0);
    let load = |baseline: f64, other: f64| {
        let rates = [(name, baseline), (candidate(experiment), other)];
        let one = |(name, rate)| {
            let labels = format!("{},{STATUS}=\"{SUCCESS}\"", model(name));
            input(series.one(metric::REQUESTS, &labels), &minutes(rate))
        };
        rates.map(one).into()
    };
    let known = capacity.unwrap_or(10.0);
    let draft = Draft {
        alert: "SidetrackBaselineHeadroom",
        severity: "warning",
        hold: "15m",
        expr: format!("{} > {limit}", series.of(record::TAKEOVER, "")),
        adds: vec![(EXPERIMENT, experiment.name.clone())],
        summary: format!("{name} may be too small for all requests of {}", experiment.name),
        description: format!(
            "If the breakers of all candidates open, {name} has to serve {{{{ $value | humanizePercentage }}}} of {carried}, \
             within a second. Give it more capacity, or lower the weights of the candidates. If it is known to carry the \
             load, render the rules with --baseline-capacity."
        ),
        fires: load(known, known),
        quiet: load(known / 2.0, known / 20.0),
        at: "22m".to_owned(),
        clock: Clock::Minutes,
        keeps: by_experiment(series),
        value: "200%".to_owned(),
    };
    draft.alert()
}
