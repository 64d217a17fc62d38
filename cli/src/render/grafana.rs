//! `render grafana`: one dashboard for all experiments of a file, chosen by a variable.
//!
//! It is the classic model (`schemaVersion` 42), which every Grafana from 10 to 13 imports and provisions; the newer
//! resource model is not understood by the older half of them. Queries ask the filter's own series, so the dashboard also
//! works without the recording rules, but for what only the experiment file knows: targets, limits and phases come from
//! `render prometheus`.

mod panel;
mod panels;

use std::io::Write;

use anyhow::Context as _;
use serde_json::{Value, json};
use sidetrack::names::label::{EXPERIMENT, MODEL, PHASE};
use sidetrack::names::{metric, record};
use sidetrack::plan::Plan;

use self::panels::{chosen, counted, legend};
use crate::exit::ExitStatus;
use crate::load::{self, File};
use crate::out::Out;

/// Write a Grafana dashboard for the experiments of a file
///
/// Import it, or put it where Grafana provisions dashboards from. Targets, limits and phases need the rules of `render
/// prometheus` in the same Prometheus.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack render grafana experiment.yaml --job envoy > sidetrack.json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The job under which Prometheus scrapes the proxies, chosen at first
    #[arg(long, value_name = "NAME", default_value = "sidetrack")]
    job: String,
    /// The uid of the Prometheus data source chosen at first; Grafana's default when left out
    #[arg(long, value_name = "UID")]
    datasource: Option<String>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load::load(&args.file.file)?.plan;
    out.json(&dashboard(&plan, args)?)?;
    out.flush()?;
    Ok(ExitStatus::Success)
}

fn dashboard(plan: &Plan, args: &Args) -> anyhow::Result<Value> {
    let first = plan
        .experiments
        .first()
        .context("the file has no experiments, so there is nothing to show")?;
    Ok(json!({
        "uid": "sidetrack",
        "title": "Sidetrack",
        "description": "A/B tests between model versions: split, outcomes, response times, breakers.",
        "tags": ["sidetrack", "ab-test"],
        "schemaVersion": 42,
        "editable": true,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "refresh": "10s",
        "links": [],
        "templating": {"list": variables(args, &first.name)},
        "annotations": {"list": annotations()},
        "panels": panels::all(plan),
    }))
}

fn variables(args: &Args, experiment: &str) -> Vec<Value> {
    let current = |value: &str| json!({"text": value, "value": value, "selected": true});
    let mut datasource = json!({
        "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "options": [],
        "refresh": 1, "hide": 0, "multi": false, "includeAll": false,
    });
    if let (Some(uid), Some(variable)) = (&args.datasource, datasource.as_object_mut()) {
        variable.insert("current".to_owned(), current(uid));
    }
    let query = |name: &str, label: &str, query: &str, value: &str| {
        json!({
            "type": "query", "name": name, "label": label, "datasource": panel::datasource(),
            "query": {"query": query, "refId": format!("Variable-{name}"), "qryType": 1},
            "current": current(value), "options": [], "refresh": 2, "sort": 1, "hide": 0, "multi": false, "includeAll": false,
        })
    };
    vec![
        datasource,
        query("job", "Job", &format!("label_values({}, job)", metric::CONFIG_HASH), &args.job),
        query(
            "experiment",
            "Experiment",
            &format!("label_values({}{{job=\"$job\"}}, {EXPERIMENT})", metric::REQUESTS),
            experiment,
        ),
    ]
}

fn annotations() -> Vec<Value> {
    let annotation = |name: &str, colour: &str, expr: String, title: String, tag: &str| {
        json!({
            "name": name, "enable": true, "hide": false, "iconColor": colour, "datasource": panel::datasource(),
            "target": {"refId": "Anno", "expr": expr}, "titleFormat": title, "textFormat": "", "tagKeys": tag,
            "useValueForTime": false,
        })
    };
    vec![
        annotation(
            "Trips",
            "red",
            format!("{} > 0", counted(metric::BREAKER_TRIPS)),
            format!("The breaker of {} opened", legend(MODEL)),
            MODEL,
        ),
        annotation(
            "Phases",
            "blue",
            chosen(record::PHASE_IN_FORCE, ""),
            format!("Phase {}", legend(PHASE)),
            PHASE,
        ),
    ]
}
