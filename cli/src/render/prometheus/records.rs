//! The recording rules: what dashboards and alerts ask often, computed once.
//!
//! All windows are five minutes, since a rate needs two scrapes and some scrape only every two; the sample ratio takes
//! thirty, since it is noise before.

use std::collections::BTreeMap;

use serde::Serialize;
use sidetrack::names::label::{EXPERIMENT, LE, MODEL, PHASE, STATUS};
use sidetrack::names::status::{ERROR, SUCCESS};
use sidetrack::names::{metric, record};
use sidetrack::outcome::TIME_BOUNDS;
use sidetrack::plan::{Experiment, MissingUnit, Slow};
use sidetrack::rollout::Schedule;

use super::{Series, baseline, phases};

/// A recording rule.
#[derive(Serialize)]
pub(super) struct Record {
    record: &'static str,
    expr: String,
    labels: BTreeMap<&'static str, String>,
    about: &'static str,
}

impl Record {
    fn new(record: &'static str, about: &'static str, expr: impl Into<String>) -> Self {
        Self { record, expr: expr.into(), labels: BTreeMap::new(), about }
    }

    /// What depends on no series of a proxy has its job from here.
    fn of_file(record: &'static str, about: &'static str, expr: String, series: &Series) -> Self {
        Self::new(record, about, expr).label("job", &series.job)
    }

    fn label(mut self, label: &'static str, value: &str) -> Self {
        self.labels.insert(label, value.to_owned());
        self
    }
}

pub(super) fn all(experiment: &Experiment, series: &Series) -> Vec<Record> {
    let mut records = requests(series);
    records.extend(times(experiment, series));
    records.extend(ratio(experiment, series));
    records.extend(targets(experiment, series));
    records.extend(in_force(experiment, series));
    // promtool takes rules of one name for duplicates unless their labels differ.
    records.into_iter().map(|record| record.label(EXPERIMENT, &experiment.name)).collect()
}

fn requests(series: &Series) -> Vec<Record> {
    let requests = |more: &str| series.of(metric::REQUESTS, more);
    let rate =
        |more: &str| format!("sum by (job, {EXPERIMENT}, {MODEL}) (rate({}[5m]))", requests(more));
    let recorded = own(record::REQUESTS_RATE, series);
    vec![
        Record::new(
            record::REQUESTS_RATE,
            "Requests per second, by the model that served.",
            rate(""),
        ),
        Record::new(
            record::REQUESTS_SHARE,
            "The share of requests that each model served.",
            format!(
                "{recorded}\n/ on (job, {EXPERIMENT}) group_left ()\n(sum by (job, {EXPERIMENT}) ({recorded}) > 0)"
            ),
        ),
        Record::new(
            record::ERRORS,
            "The share of errors. Requests that the client aborted do not count.",
            format!("{}\n/\n({} > 0)", rate(&format!("{STATUS}=\"{ERROR}\"")), rate(&answered())),
        ),
    ]
}

/// What the baseline would serve if all breakers opened, relative to its `capacity` in requests per
/// second, or to the largest load of the last seven days, which it is known to carry.
pub(super) fn takeover(experiment: &Experiment, series: &Series, capacity: Option<f64>) -> Record {
    let all = format!("sum by (job, {EXPERIMENT}) ({})", own(record::REQUESTS_RATE, series));
    let (about, carried) = match capacity {
        Some(rate) => (
            "What the baseline would serve if all breakers opened, relative to its capacity.",
            rate.to_string(),
        ),
        None => {
            let baseline = format!("{MODEL}=\"{}\"", baseline(experiment));
            let rate = series.of(record::REQUESTS_RATE, &baseline);
            (
                "What the baseline would serve if all breakers opened, relative to its largest load in 7 days.",
                format!("max by (job, {EXPERIMENT}) (max_over_time({rate}[7d]))"),
            )
        }
    };
    let record = Record::new(record::TAKEOVER, about, format!("{all}\n/\n{carried}"));
    record.label(EXPERIMENT, &experiment.name)
}

fn times(experiment: &Experiment, series: &Series) -> Vec<Record> {
    let quantile = |record, about, quantile: f64| {
        let buckets = series.of(metric::RESPONSE_TIME_BUCKET, "");
        let rate = format!("sum by (job, {EXPERIMENT}, {MODEL}, {LE}) (rate({buckets}[5m]))");
        Record::new(record, about, format!("histogram_quantile({quantile},\n  {rate})"))
    };
    let mut records = vec![
        quantile(record::RESPONSE_TIME_P50, "Seconds until the response headers.", 0.5),
        quantile(record::RESPONSE_TIME_P95, "", 0.95),
        quantile(record::RESPONSE_TIME_P99, "", 0.99),
    ];
    if let Some((_, le)) = watched_slow(experiment) {
        records.push(Record::new(
            record::SLOW,
            "The share of responses slower than the breaker's slow.over, or than the histogram's next bound above it.",
            slow_share(le, series),
        ));
    }
    records
}

/// The latency limit of the breaker, and the smallest bound of the histogram that is not below it. So a
/// response that counts as slow here is also slow for the breaker, and a limit that equals a bound is
/// exact. `None` below the first and beyond the last bound.
pub(in crate::render) fn watched_slow(experiment: &Experiment) -> Option<(Slow, &'static str)> {
    let slow = experiment.breaker.slow?;
    let (smallest, _) = TIME_BOUNDS.first()?;
    let bound = TIME_BOUNDS
        .iter()
        .find(|(bound, _)| *bound >= slow.over.get() && slow.over.get() >= *smallest);
    bound.map(|(_, le)| (slow, *le))
}

fn slow_share(le: &str, series: &Series) -> String {
    let rate = |name: &str, more: &str| {
        format!("sum by (job, {EXPERIMENT}, {MODEL}) (rate({}[5m]))", series.of(name, more))
    };
    let fast = rate(metric::RESPONSE_TIME_BUCKET, &format!("{LE}=\"{le}\""));
    format!("1 -\n{fast}\n/\n({} > 0)", rate(metric::RESPONSE_TIME_COUNT, ""))
}

/// The assignments of the draw against the weights in force. Requests are not users, so a single busy
/// user may cause a drift. This is for dashboards; for a test, use `sidetrack analyze`.
fn ratio(experiment: &Experiment, series: &Series) -> Vec<Record> {
    if experiment.layer.is_some() {
        // Requests of units outside the slots count for the baseline, so the shares cannot match.
        return Vec::new();
    }
    let base = format!("\"{}\"", baseline(experiment));
    let increase = |name: &str, more: &str, by: &str| {
        format!("sum by ({by}) (increase({}[30m]))", series.of(name, more))
    };
    let by_experiment = &format!("job, {EXPERIMENT}");
    let by_model = &format!("{by_experiment}, {MODEL}");
    let missing = match experiment.missing_unit {
        MissingUnit::Baseline if experiment.mint.is_none() => format!(
            "\n- on (job, {EXPERIMENT}) group_left ()\n{}",
            increase(metric::MISSING_UNIT, "", by_experiment)
        ),
        _ => String::new(),
    };
    let assigned = own(record::ASSIGNED, series);
    let share = own(record::ASSIGNED_SHARE, series);
    let weight = series.of(metric::WEIGHT, "");
    vec![
        Record::new(
            record::ASSIGNED,
            "Requests by the model that the draw said, whoever served while a breaker was open.",
            format!(
                "({}\n+\n{})\nor\n({}\n- on (job, {EXPERIMENT}) group_left ()\n{}{missing})",
                increase(metric::REQUESTS, &format!("{MODEL}!={base}"), by_model),
                increase(metric::FALLBACKS, "", by_model),
                increase(metric::REQUESTS, &format!("{MODEL}={base}"), by_model),
                increase(metric::FALLBACKS, "", by_experiment),
            ),
        ),
        Record::new(
            record::ASSIGNED_SHARE,
            "",
            format!(
                "{assigned}\n/ on (job, {EXPERIMENT}) group_left ()\n(sum by (job, {EXPERIMENT}) ({assigned}) > 0)"
            ),
        ),
        Record::new(
            record::SAMPLE_RATIO_DRIFT,
            "How far the assigned share is from the weights that were in force: 0.01 is one percent of the requests.",
            format!(
                "{share}\n- on (job, {EXPERIMENT}, {MODEL})\n\
                 avg by (job, {EXPERIMENT}, {MODEL}) (avg_over_time({weight}[30m])) / 1e6"
            ),
        ),
    ]
}

/// What the file promises.
fn targets(experiment: &Experiment, series: &Series) -> Vec<Record> {
    let mut records = Vec::new();
    for (phase, weights) in phases(experiment) {
        for (variant, share) in experiment.variants.iter().zip(experiment.shares_of(weights)) {
            let about =
                if records.is_empty() { "The target shares in the file, by phase." } else { "" };
            let share = format!("vector({})", share.fraction());
            let mut record =
                Record::of_file(record::TARGET, about, share, series).label(MODEL, &variant.name);
            if !phase.is_empty() {
                record = record.label(PHASE, phase);
            }
            records.push(record);
        }
    }
    let limit = experiment.breaker.error_rate.fraction();
    records.push(Record::of_file(
        record::ERROR_LIMIT,
        "The limits of the breaker.",
        format!("vector({limit})"),
        series,
    ));
    if let Some(slow) = experiment.breaker.slow {
        let seconds = format!("vector({})", seconds(slow.over.get()));
        records.push(Record::of_file(record::SLOW_LIMIT, "", seconds, series));
    }
    records
}

/// The current phase, for the names and annotations of dashboards.
fn in_force(experiment: &Experiment, series: &Series) -> Vec<Record> {
    let Schedule::Rollout(rollout) = &experiment.schedule else { return Vec::new() };
    let phase = |index: usize, name: &str| {
        let (begins, ends) = rollout.times(index);
        let begins = seconds(begins.get());
        let until = ends.map(|ends| format!(" < {}", seconds(ends.get()))).unwrap_or_default();
        let about = if index == 0 {
            "1 while the phase is in force, according to the file and the clock."
        } else {
            ""
        };
        let expr = format!("(vector(time()) >= {begins}{until}) * 0 + 1");
        Record::of_file(record::PHASE_IN_FORCE, about, expr, series).label(PHASE, name)
    };
    rollout.phases.iter().enumerate().map(|(index, p)| phase(index, &p.name)).collect()
}

/// Milliseconds as PromQL's seconds.
pub(super) fn seconds(milliseconds: u64) -> String {
    let (whole, rest) = (milliseconds / 1000, milliseconds % 1000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") }
}

/// Selects the requests that were answered, whatever the answer.
pub(in crate::render) fn answered() -> String {
    format!("{STATUS}=~\"{SUCCESS}|{ERROR}\"")
}

/// A recorded series of the same experiment.
fn own(record: &str, series: &Series) -> String {
    series.of(record, "")
}
