//! Alerts of one experiment.

use sidetrack::names::breaker_state::OPEN;
use sidetrack::names::label::{EXPERIMENT, LE, MODEL, STATUS};
use sidetrack::names::status::{ERROR, SUCCESS};
use sidetrack::names::{metric, record};
use sidetrack::outcome::TIME_BOUNDS;
use sidetrack::plan::{BreakerMode, Experiment, MissingUnit};
use sidetrack::quantity::{Millis, Ppm};
use sidetrack::rollout::Schedule;

use super::{Alert, Draft, input};
use crate::render::envoy::{bypass_stat, has_fallback};
use crate::render::prometheus::records::{answered, seconds, watched_slow};
use crate::render::prometheus::{Clock, Series, baseline, candidates};
use crate::words::percent;

/// The time for a decision after the last phase began, if the phase has no `for`.
const DECIDE_WITHIN: Millis = Millis::new(7 * 86_400_000);
/// The step of the calendar in unit tests; see `Clock::step`.
const STEP: u64 = 180 * 86_400_000;

pub(in crate::render::prometheus) fn of_experiment(
    experiment: &Experiment,
    series: &Series,
) -> Vec<Alert> {
    let mode = experiment.breaker.mode;
    let drafts = [
        (mode == BreakerMode::Enforce).then(|| breaker_open(experiment, series)),
        (mode == BreakerMode::DryRun).then(|| would_trip(experiment, series)),
        error_rate(experiment, series),
        slow(experiment, series),
        has_fallback(experiment).then(|| bypassed(experiment, series)),
        rollout_over(experiment, series),
    ];
    // The texts of a rule cannot refer to labels that the rule adds, so they contain the experiment's name.
    let named = |draft: Draft| Draft { adds: vec![(EXPERIMENT, experiment.name.clone())], ..draft };
    drafts.into_iter().flatten().map(named).map(Draft::alert).collect()
}

pub(super) fn candidate(experiment: &Experiment) -> &str {
    candidates(experiment).first().copied().unwrap_or_default()
}

pub(super) fn model(name: &str) -> String {
    format!("{MODEL}=\"{name}\"")
}

/// What a series that is summed by experiment and model keeps.
fn by_model(series: &Series, model: &str) -> Vec<(&'static str, String)> {
    let mut labels = by_experiment(series);
    labels.push((MODEL, model.to_owned()));
    labels
}

pub(super) fn by_experiment(series: &Series) -> Vec<(&'static str, String)> {
    vec![("job", series.job.clone()), (EXPERIMENT, series.experiment.clone().unwrap_or_default())]
}

/// Proxies on which a breaker was open in the last five minutes: it closes in between to try.
fn open(series: &Series) -> String {
    format!("max_over_time({}[5m]) == {OPEN}", series.of(metric::BREAKER_STATE, ""))
}

fn breaker_open(experiment: &Experiment, series: &Series) -> Draft {
    let name = candidate(experiment);
    let state = |values| vec![input(series.one(metric::BREAKER_STATE, &model(name)), values)];
    Draft {
        alert: "SidetrackBreakerOpen",
        severity: "warning",
        hold: "0s",
        expr: format!("count by (job, {EXPERIMENT}, {MODEL}) (\n  {}\n)", open(series)),
        adds: Vec::new(),
        summary: format!(
            "{{{{ $labels.{MODEL} }}}} of {} failed: its users get the baseline",
            experiment.name
        ),
        description: format!(
            "The breaker of {{{{ $labels.{MODEL} }}}} is or was open in the last 5 minutes, on {{{{ $value }}}} of the \
             proxies. Callers are served by {}; nothing more is needed to protect them. Find out what ails the candidate; \
             when it heals, its users return by themselves in stages. Do not read results of this time without the \
             assigned variant.",
            baseline(experiment)
        ),
        fires: state("0 0 2 2 1 1 0 0"),
        quiet: state("0 0 1 1 1 0 0 0"),
        at: "5m".to_owned(),
        clock: Clock::Minutes,
        keeps: by_model(series, name),
        value: "1".to_owned(),
    }
}

fn would_trip(experiment: &Experiment, series: &Series) -> Draft {
    let name = candidate(experiment);
    let trips = |values| vec![input(series.one(metric::BREAKER_WOULD_TRIP, &model(name)), values)];
    let counted = series.of(metric::BREAKER_WOULD_TRIP, "");
    Draft {
        alert: "SidetrackBreakerWouldTrip",
        severity: "warning",
        hold: "0s",
        expr: format!("sum by (job, {EXPERIMENT}, {MODEL}) (increase({counted}[15m])) > 0"),
        adds: Vec::new(),
        summary: format!(
            "{{{{ $labels.{MODEL} }}}} of {} would have lost its users",
            experiment.name
        ),
        description: format!(
            "The breaker runs dry: it judged that {{{{ $labels.{MODEL} }}}} fails its limits and left its users \
             there. Look at the candidate's errors and response times. If the verdict is right, lower its weight or \
             set mode: enforce; if it is wrong, change the limits before you enforce them."
        ),
        fires: trips("0 0 0 1 1 1"),
        quiet: trips("1 1 1 1 1 1"),
        at: "5m".to_owned(),
        clock: Clock::Minutes,
        keeps: by_model(series, name),
        value: "1".to_owned(),
    }
}

/// Suppresses an alert while the breaker is open, which has its own alert.
fn unless_open(series: &Series) -> String {
    format!("unless on (job, {EXPERIMENT}, {MODEL})\n  ({})", open(series))
}

fn enough(experiment: &Experiment, series: &Series) -> String {
    let requests = series.of(metric::REQUESTS, &answered());
    let least = experiment.breaker.min_requests;
    format!("sum by (job, {EXPERIMENT}, {MODEL}) (increase({requests}[5m])) >= {least}")
}

fn error_rate(experiment: &Experiment, series: &Series) -> Option<Draft> {
    let limit = experiment.breaker.error_rate;
    if limit == Ppm::ALL {
        return None;
    }
    let name = baseline(experiment);
    // Much more than the least number of requests, each minute.
    let many = format!("0+{}x10", u64::from(experiment.breaker.min_requests) * 2);
    let requests = |success: &str, error: &str| {
        [(SUCCESS, success), (ERROR, error)].map(|(status, values)| {
            let labels = format!("{},{STATUS}=\"{status}\"", model(name));
            input(series.one(metric::REQUESTS, &labels), values)
        })
    };
    let ratio = series.of(record::ERRORS, "");
    let (enough, unless) = (enough(experiment, series), unless_open(series));
    let least = experiment.breaker.min_requests;
    Some(Draft {
        alert: "SidetrackErrorRate",
        severity: "critical",
        hold: "2m",
        expr: format!(
            "{ratio} > {}\nand on (job, {EXPERIMENT}, {MODEL})\n  {enough}\n{unless}",
            limit.fraction()
        ),
        adds: Vec::new(),

        summary: format!(
            "{{{{ $labels.{MODEL} }}}} of {} fails {{{{ $value | humanizePercentage }}}} of its requests",
            experiment.name
        ),
        description: format!(
            "Callers see these errors: for 2 minutes more than {} of at least {least} requests in 5 minutes have failed, and no \
             breaker has acted. A baseline has none; a candidate's does not trip on a fault that the baseline shares, and not in a \
             dry run. If only a candidate fails, set enabled: false; if all do, look for what they share.",
            percent(limit)
        ),
        fires: requests("0x10", &many).into(),
        quiet: requests(&many, "0x10").into(),
        at: "8m".to_owned(),
        clock: Clock::Minutes,
        keeps: by_model(series, name),
        value: "100%".to_owned(),
    })
}

fn slow(experiment: &Experiment, series: &Series) -> Option<Draft> {
    let (slow, le) = watched_slow(experiment).filter(|(slow, _)| slow.rate != Ppm::ALL)?;
    let name = baseline(experiment);
    let many = format!("0+{}x10", u64::from(experiment.breaker.min_requests) * 2);
    let times = |fast: &str, all: &str| {
        let mut inputs: Vec<_> = TIME_BOUNDS
            .iter()
            .map(|(_, le)| (format!("{},{LE}=\"{le}\"", model(name)), fast))
            .chain([(format!("{},{LE}=\"+Inf\"", model(name)), all)])
            .map(|(labels, values)| {
                input(series.one(metric::RESPONSE_TIME_BUCKET, &labels), values)
            })
            .collect();
        inputs.push(input(series.one(metric::RESPONSE_TIME_COUNT, &model(name)), all));
        let success = format!("{},{STATUS}=\"{SUCCESS}\"", model(name));
        inputs.push(input(series.one(metric::REQUESTS, &success), all));
        inputs
    };
    let share = series.of(record::SLOW, "");
    let (enough, unless) = (enough(experiment, series), unless_open(series));
    let quantile = Ppm::new(Ppm::ALL.get() - slow.rate.get()).unwrap_or_default();
    let limit = slow.rate.fraction();
    Some(Draft {
        alert: "SidetrackSlow",
        severity: "critical",
        hold: "2m",
        expr: format!(
            "{share} > {limit}\nand on (job, {EXPERIMENT}, {MODEL})\n  {enough}\n{unless}"
        ),
        adds: Vec::new(),
        summary: format!(
            "p{quantile} of {{{{ $labels.{MODEL} }}}} in {} is above {}",
            experiment.name, slow.over
        ),
        description: format!(
            "{{{{ $value | humanizePercentage }}}} of the answers took longer than {le} s; {rate} may take longer than {over}. \
             It holds for 2 minutes and no breaker has acted. If only a candidate is slow, lower its weight \
             or set enabled: false; if the baseline is slow too, look for what they share, or for too little capacity.",
            over = slow.over,
            rate = percent(slow.rate),
        ),
        fires: times("0x10", &many),
        quiet: times(&many, &many),
        at: "8m".to_owned(),
        clock: Clock::Minutes,
        keeps: by_model(series, name),
        value: "100%".to_owned(),
    })
}

/// The route for requests without the filter's headers is counted by Envoy. In Istio, the name of the series contains
/// the virtual host and the route, because Istio extracts no labels from it. `missing_unit: skip` sends some requests
/// there too.
fn bypassed(experiment: &Experiment, series: &Series) -> Draft {
    const ROUTE: &str = "envoy_vhost_route_upstream_rq_total";
    let route = format!("envoy_route=\"{}\"", bypass_stat(experiment));
    let suffix = format!("_route_{}_upstream_rq_total", in_series(&bypass_stat(experiment)));
    let in_envoy = series.of_envoy(ROUTE, &route);
    let in_istio = series.of_envoy("", &format!("__name__=~\"envoy_vhost_.+{suffix}\""));
    let increase = |selector: String| format!("sum by (job, instance) (increase({selector}[5m]))");
    // Without its name, the series of one virtual host would be the same as that of another to increase().
    let mut expr = format!(
        "sum by (job, instance) (\n  increase({in_envoy}[5m])\n  or\n  \
         increase(label_replace({in_istio}, \"vhost\", \"$1\", \"__name__\", \"(.+)\")[5m:])\n)"
    );
    let skips = experiment.missing_unit == MissingUnit::Skip;
    if skips {
        let missing = increase(series.of(metric::MISSING_UNIT, ""));
        expr = format!("({expr}\n  - (\n    {missing}\n    or 0 * {expr}\n  ))");
    }
    let one = format!("instance=\"proxy-1\",{route}");
    let host = |name: &str| format!("envoy_vhost_{name}{suffix}");
    let passed = |values: &str| {
        let one_of_istio = |name| series.of_envoy(&host(name), "instance=\"proxy-1\"");
        vec![
            input(series.of_envoy(ROUTE, &one), values),
            input(one_of_istio("a_example_com_80"), values),
            input(one_of_istio("b_example_com_80"), values),
        ]
    };
    let skipped = |values| input(series.one(metric::MISSING_UNIT, ""), values);
    Draft {
        alert: "SidetrackFilterMissing",
        severity: "warning",
        hold: "2m",
        expr: format!("{expr} > 5"),
        adds: Vec::new(),
        summary: format!(
            "Requests of {} pass {{{{ $labels.instance }}}} without the filter",
            experiment.name
        ),
        description: format!(
            "{{{{ $value | humanize }}}} requests in 5 minutes took the route that only requests without the filter's headers \
             take. They got {}, uncounted, so the split is wrong. On all workers: the filter is not loaded, or its first \
             configuration was bad. On some: it crashed under FAIL_OPEN, and stays away until the next update.",
            baseline(experiment)
        ),
        // An absent filter has no series either.
        fires: passed("0+20x10"),
        quiet: if skips {
            passed("0+20x10").into_iter().chain([skipped("0+60x10")]).collect()
        } else {
            passed("0x10")
        },
        at: "8m".to_owned(),
        clock: Clock::Minutes,
        keeps: vec![("job", series.job.clone()), ("instance", "proxy-1".to_owned())],
        value: "300".to_owned(),
    }
}

/// A part of a stat's name as Envoy exposes it to Prometheus.
fn in_series(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A decision is due. A rollout does not end by itself, because the last phase stays in force. So it is
/// over when the last phase has lasted for its `for`, or a week, and a candidate still has a weight.
fn rollout_over(experiment: &Experiment, series: &Series) -> Option<Draft> {
    let Schedule::Rollout(rollout) = &experiment.schedule else { return None };
    let last = rollout.phases.last()?;
    let (begins, _) = rollout.times(rollout.phases.len().saturating_sub(1));
    let over = begins + last.length.unwrap_or(DECIDE_WITHIN);
    let weight = |more: &str| series.of(metric::WEIGHT, more);
    let name = candidate(experiment);
    // The first step of the calendar after the end, and one more to hold.
    let step = over.get().div_ceil(STEP) + 1;
    let weights =
        |ppm: u64| vec![input(series.one(metric::WEIGHT, &model(name)), &format!("{ppm}x{step}"))];
    let wanted = match last.length {
        Some(length) => format!("the {length} that the file gives it"),
        None => format!("{DECIDE_WITHIN}, which is how long a last phase without `for` may go on"),
    };
    Some(Draft {
        alert: "SidetrackRolloutOver",
        severity: "info",
        hold: "1h",
        expr: format!(
            "max by (job, {EXPERIMENT}) ({}) > 0\nand on ()\n  vector(time()) > {}",
            weight(&format!("{MODEL}!=\"{}\"", baseline(experiment))),
            seconds(over.get())
        ),
        adds: Vec::new(),
        summary: format!("The rollout of {} is over and waits for a decision", experiment.name),
        description: format!(
            "Its last phase, {}, began at {begins} and has lasted longer than {wanted}. It stays in force until somebody \
             changes the file. Analyse the test, then make the winner the baseline or give the candidate weight 0; or give the \
             last phase a longer `for`.",
            last.name
        ),
        fires: weights(300_000),
        quiet: weights(0),
        at: format!("{}d", step * (STEP / 86_400_000)),
        clock: Clock::Calendar,
        keeps: by_experiment(series),
        value: String::new(),
    })
}
