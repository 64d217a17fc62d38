//! What a reader sees while there is no verdict: why, and what to do next.

use minijinja::{Value, context};
use serde_json::json;
use sidetrack_analysis::{ACCURACY, BUILT_IN, MetricRequest};

use super::super::{HOST, ORIGIN, TOKEN};
use crate::catalog::Entry;
use crate::live::Live;
use crate::store::Store;

/// The first line.
pub(super) fn headline(store: &Store, live: &Live) -> &'static str {
    if live.requests == 0 {
        "No verdict yet: no request has arrived"
    } else if store.metric_count() == 0 {
        "No verdict yet: no outcome has arrived"
    } else {
        "No verdict yet"
    }
}

/// Why there is no verdict, and commands to copy.
pub(super) fn missing(store: &Store, entry: &Entry, live: &Live, detail: &str) -> Value {
    if live.requests == 0 {
        return context! {
            detail => "This page fills as soon as requests of the experiment are logged.",
            steps => exposures(store),
        };
    }
    let detail = if store.metric_count() == 0 {
        let names = columns(entry).join(", ");
        format!(
            "{} are stored. The plan decides by {names}, which your services know: send the outcome \
             of a request when it is known. The proxy returns the id of a request as x-request-id.",
            super::requests(live.requests)
        )
    } else {
        format!("The outcomes do not carry the plan yet: {detail}.")
    };
    context! {
        detail,
        steps => vec![context! { text => "Send an outcome:", command => outcome(entry) }],
    }
}

fn exposures(store: &Store) -> Vec<Value> {
    if let Some(proxy) = store.proxy.get() {
        let text = "Send requests through the proxy of `sidetrack run`, in place of a service:";
        return vec![context! { text, command => proxy.as_str() }];
    }
    vec![
        context! {
            text => "Let an Envoy send them. FILE is the experiment file:",
            command => format!("sidetrack render envoy FILE --otlp {HOST} > envoy.yaml"),
        },
        context! {
            text => "Or let the store follow the access log of a proxy. DIR is its folder:",
            command => "sidetrack serve FILE --store DIR --follow access.log".to_owned(),
        },
    ]
}

/// The metrics of the plan that are columns of outcomes.
fn columns(entry: &Entry) -> Vec<&str> {
    let plan = entry.analysis.iter();
    let planned = plan.flat_map(|plan| plan.metrics.iter().chain(&plan.guardrails));
    let names = planned.map(MetricRequest::name).filter(|name| !BUILT_IN.contains(name));
    let mut names: Vec<&str> = names.collect();
    if names.is_empty() {
        names.push(ACCURACY);
    }
    names
}

fn outcome(entry: &Entry) -> String {
    let mut row = json!({ "request_id": "ID" });
    if let Some(row) = row.as_object_mut() {
        row.extend(columns(entry).into_iter().map(|name| (name.to_owned(), json!(1))));
    }
    // A name may have a quote, and the command is for a shell.
    let row = row.to_string().replace('\'', r"'\''");
    format!("curl {ORIGIN}/v1/outcomes{TOKEN} -H 'content-type: application/json' \\\n  -d '{row}'")
}
