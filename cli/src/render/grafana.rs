//! `render grafana`: one dashboard for all experiments of a file, which a variable selects.
//!
//! The dashboard uses the classic model (`schemaVersion` 42), because Grafana 10 to 13 all import and
//! provision it, and older releases do not know the newer resource model. Its queries read the
//! filter's own series, so it also works without the recording rules. Targets, limits and phases are
//! in the experiment file only, and come from the rules of `render prometheus`.

mod args;
mod panel;
mod panels;

use anyhow::Context as _;
use serde_json::{Value, json};
use sidetrack::names::label::{EXPERIMENT, MODEL, PHASE};
use sidetrack::names::{metric, record};
use sidetrack::plan::Plan;

use self::panels::{chosen, counted, legend};
pub(super) use args::{Args, run};

/// What the dashboard depends on besides the experiments.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The job that is selected at first.
    pub(crate) job: String,
    /// The uid of the data source that is selected at first; `None`: Grafana's default.
    pub(crate) datasource: Option<String>,
}

/// The dashboard in Grafana's classic JSON model.
pub(crate) fn dashboard(plan: &Plan, options: &Options) -> anyhow::Result<Value> {
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
        "templating": {"list": variables(options, &first.name)},
        "annotations": {"list": annotations()},
        "panels": panels::all(plan),
    }))
}

fn variables(options: &Options, experiment: &str) -> Vec<Value> {
    let current = |value: &str| json!({"text": value, "value": value, "selected": true});
    let mut datasource = json!({
        "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "options": [],
        "refresh": 1, "hide": 0, "multi": false, "includeAll": false,
    });
    if let (Some(uid), Some(variable)) = (&options.datasource, datasource.as_object_mut()) {
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
        query("job", "Job", &format!("label_values({}, job)", metric::CONFIG_HASH), &options.job),
        query(
            "experiment",
            "Experiment",
            &format!("label_values({}{{job=\"$job\"}}, {EXPERIMENT})", metric::REQUESTS),
            experiment,
        ),
    ]
}

fn annotations() -> Vec<Value> {
    let annotation = |name: &str, color: &str, expr: String, title: String, tag: &str| {
        json!({
            "name": name, "enable": true, "hide": false, "iconColor": color, "datasource": panel::datasource(),
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
