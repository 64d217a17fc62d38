//! The recording rules: what dashboards and alerts ask often, computed once.
//!
//! All windows are five minutes, since a rate needs two scrapes and some scrape only every two; the sample ratio takes
//! thirty, since it is noise before.

use std::collections::BTreeMap;

use serde::Serialize;
use sidetrack::config::MissingUnit;
use sidetrack::outcome::TIME_BOUNDS;
use sidetrack::plan::{Experiment, Slow};
use sidetrack::rollout::Schedule;

use super::{Series, baseline, phases};
use crate::words::{phase_times, shares_of};

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
    records.into_iter().map(|record| record.label("experiment", &experiment.name)).collect()
}

fn requests(series: &Series) -> Vec<Record> {
    let requests = |more| series.of("ab_test_requests_total", more);
    let rate =
        |more| format!("sum by (job, experiment, model_name) (rate({}[5m]))", requests(more));
    let recorded = own("ab_test:requests:rate5m", series);
    vec![
        Record::new(
            "ab_test:requests:rate5m",
            "Requests per second, by the model that served.",
            rate(""),
        ),
        Record::new(
            "ab_test:requests:share5m",
            "The share of requests that each model served.",
            format!(
                "{recorded}\n/ on (job, experiment) group_left ()\n(sum by (job, experiment) ({recorded}) > 0)"
            ),
        ),
        Record::new(
            "ab_test:errors:ratio5m",
            "The share of errors. A caller that hung up counts as neither.",
            format!("{}\n/\n({} > 0)", rate("status=\"error\""), rate("status=~\"success|error\"")),
        ),
    ]
}

fn times(experiment: &Experiment, series: &Series) -> Vec<Record> {
    let quantile = |record, about, quantile: f64| {
        let buckets = series.of("ab_test_response_time_seconds_bucket", "");
        let rate = format!("sum by (job, experiment, model_name, le) (rate({buckets}[5m]))");
        Record::new(record, about, format!("histogram_quantile({quantile},\n  {rate})"))
    };
    let mut records = vec![
        quantile("ab_test:response_time_seconds:p50_5m", "Seconds to the response's headers.", 0.5),
        quantile("ab_test:response_time_seconds:p95_5m", "", 0.95),
        quantile("ab_test:response_time_seconds:p99_5m", "", 0.99),
    ];
    if let Some((_, le)) = watched_slow(experiment) {
        records.push(Record::new(
            "ab_test:slow:ratio5m",
            "The share of answers slower than the breaker's slow.over, or than the histogram's next bound above it.",
            slow_share(le, series),
        ));
    }
    records
}

/// The latency guard and the bound of the histogram that stands for it: the first one not below. So an answer that
/// counts as slow here is slow for the breaker too; a limit that is a bound is exact. Below the first and beyond the last bound the
/// histogram cannot tell.
pub(super) fn watched_slow(experiment: &Experiment) -> Option<(Slow, &'static str)> {
    let slow = experiment.breaker.slow?;
    let (smallest, _) = TIME_BOUNDS.first()?;
    let bound =
        TIME_BOUNDS.iter().find(|(bound, _)| *bound >= slow.over.0 && slow.over.0 >= *smallest);
    bound.map(|(_, le)| (slow, *le))
}

fn slow_share(le: &str, series: &Series) -> String {
    let rate = |name: &str, more: &str| {
        format!("sum by (job, experiment, model_name) (rate({}[5m]))", series.of(name, more))
    };
    let fast = rate("ab_test_response_time_seconds_bucket", &format!("le=\"{le}\""));
    format!("1 -\n{fast}\n/\n({} > 0)", rate("ab_test_response_time_seconds_count", ""))
}

/// What the draw assigned, against the weights in force. Requests are not users: one busy user is no sample-ratio
/// mismatch, so this is for the eye, and `sidetrack analyze` for the verdict.
fn ratio(experiment: &Experiment, series: &Series) -> Vec<Record> {
    if experiment.layer.is_some() {
        // Requests of units outside the slots count for the baseline and cannot be told apart here.
        return Vec::new();
    }
    let base = format!("\"{}\"", baseline(experiment));
    let increase = |name: &str, more: &str, by: &str| {
        format!("sum by ({by}) (increase({}[30m]))", series.of(name, more))
    };
    let by_model = "job, experiment, model_name";
    let missing = match experiment.missing_unit {
        MissingUnit::Baseline if experiment.mint.is_none() => format!(
            "\n- on (job, experiment) group_left ()\n{}",
            increase("ab_test_missing_unit_total", "", "job, experiment")
        ),
        _ => String::new(),
    };
    let assigned = own("ab_test:assigned:increase30m", series);
    let share = own("ab_test:assigned:share30m", series);
    let weight = series.of("ab_test_variant_weight_ppm", "");
    vec![
        Record::new(
            "ab_test:assigned:increase30m",
            "Requests by the model that the draw said, whoever served while a breaker was open.",
            format!(
                "({}\n+\n{})\nor\n({}\n- on (job, experiment) group_left ()\n{}{missing})",
                increase("ab_test_requests_total", &format!("model_name!={base}"), by_model),
                increase("ab_test_fallbacks_total", "", by_model),
                increase("ab_test_requests_total", &format!("model_name={base}"), by_model),
                increase("ab_test_fallbacks_total", "", "job, experiment"),
            ),
        ),
        Record::new(
            "ab_test:assigned:share30m",
            "",
            format!(
                "{assigned}\n/ on (job, experiment) group_left ()\n(sum by (job, experiment) ({assigned}) > 0)"
            ),
        ),
        Record::new(
            "ab_test:sample_ratio:drift30m",
            "How far the assigned share is from the weights that were in force: 0.01 is one percent of the requests.",
            format!(
                "{share}\n- on (job, experiment, model_name)\n\
                 avg by (job, experiment, model_name) (avg_over_time({weight}[30m])) / 1e6"
            ),
        ),
    ]
}

/// What the file promises.
fn targets(experiment: &Experiment, series: &Series) -> Vec<Record> {
    let mut records = Vec::new();
    for (phase, weights) in phases(experiment) {
        for (variant, share) in experiment.variants.iter().zip(shares_of(experiment, weights)) {
            let about = if records.is_empty() {
                "The shares that the file promises, by phase."
            } else {
                ""
            };
            let share = format!("vector({})", share.fraction());
            let mut record = Record::of_file("ab_test:target:ratio", about, share, series)
                .label("model_name", &variant.name);
            if !phase.is_empty() {
                record = record.label("phase", phase);
            }
            records.push(record);
        }
    }
    let limit = experiment.breaker.error_rate.fraction();
    records.push(Record::of_file(
        "ab_test:error_limit:ratio",
        "The limits of the breaker.",
        format!("vector({limit})"),
        series,
    ));
    if let Some(slow) = experiment.breaker.slow {
        let seconds = format!("vector({})", seconds(slow.over.0));
        records.push(Record::of_file("ab_test:slow_limit:seconds", "", seconds, series));
    }
    records
}

/// The phase of the moment, as the file has it. It gives dashboards a name and a place for an annotation.
fn in_force(experiment: &Experiment, series: &Series) -> Vec<Record> {
    let Schedule::Rollout(rollout) = &experiment.schedule else { return Vec::new() };
    let phase = |index: usize, name: &str| {
        let (begins, ends) = phase_times(rollout, index);
        let begins = seconds(begins.0);
        let until = ends.map(|ends| format!(" < {}", seconds(ends.0))).unwrap_or_default();
        let about = if index == 0 {
            "1 while the phase is in force, by the file and the clock."
        } else {
            ""
        };
        let expr = format!("(vector(time()) >= {begins}{until}) * 0 + 1");
        Record::of_file("ab_test:phase:in_force", about, expr, series).label("phase", name)
    };
    rollout.phases.iter().enumerate().map(|(index, p)| phase(index, &p.name)).collect()
}

/// Milliseconds as PromQL's seconds.
pub(super) fn seconds(milliseconds: u64) -> String {
    let (whole, rest) = (milliseconds / 1000, milliseconds % 1000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") }
}

/// A recorded series of the same experiment.
fn own(record: &str, series: &Series) -> String {
    series.of(record, "")
}
