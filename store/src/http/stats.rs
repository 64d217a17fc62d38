//! Health, and metrics for Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::problem::Problem;
use crate::store::{Counts, RowCounts};

pub(super) async fn healthy() -> &'static str {
    "ok\n"
}

/// Ready as long as writes succeed.
pub(super) async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    match app.store.problem() {
        None => Ok("ready\n"),
        Some(problem) => {
            let problem = problem.replace("\n  hint: ", "; ");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, problem))
        }
    }
}

pub(super) async fn metrics(State(app): State<App>) -> Response {
    let Counts {
        stored,
        repeated,
        outside,
        unknown,
        malformed,
        outcomes,
        predictions,
        refused,
        failed,
        upkeep_fails,
    } = &app.store.counts;
    let mut text = String::new();
    let name = "sidetrack_store_exposures_total";
    head(&mut text, name, "counter", "Records of exposures by what became of them.");
    let results = [
        ("stored", stored),
        ("repeated", repeated),
        ("outside", outside),
        ("unknown_experiment", unknown),
        ("malformed", malformed),
    ];
    for (result, count) in results {
        writeln!(text, "{name}{{result=\"{result}\"}} {}", value(count)).ok();
    }
    for (what, rows) in [("outcomes", outcomes), ("predictions", predictions)] {
        let RowCounts { accepted, unchanged, replaced, rejected } = rows;
        for (suffix, help, count) in [
            ("total", format!("Rows of {what} that were accepted."), accepted),
            ("unchanged_total", "Rows that were stored before.".to_owned(), unchanged),
            ("replaced_total", "Values that replaced another one.".to_owned(), replaced),
            ("rejected_total", "Rows that cannot be read.".to_owned(), rejected),
        ] {
            let name = format!("sidetrack_store_{what}_{suffix}");
            head(&mut text, &name, "counter", &help);
            writeln!(text, "{name} {}", value(count)).ok();
        }
    }
    let counters = [
        (
            "sidetrack_store_refused_total",
            "Requests refused since too many records waited.",
            refused,
        ),
        ("sidetrack_store_failed_total", "Writes that failed.", failed),
    ];
    for (name, help, count) in counters {
        head(&mut text, name, "counter", help);
        writeln!(text, "{name} {}", value(count)).ok();
    }
    let gauges = [
        ("sidetrack_store_waiting", "Records that wait to be written.", app.store.writer.waiting()),
        ("sidetrack_store_metrics", "Different metrics of outcomes.", app.store.metric_count()),
        (
            "sidetrack_store_ready",
            "1 if the last write succeeded.",
            usize::from(app.store.problem().is_none()),
        ),
        (
            "sidetrack_store_upkeep_failing",
            "1 if the last attempt to move or delete days failed.",
            usize::from(upkeep_fails.load(Ordering::Relaxed)),
        ),
    ];
    for (name, help, number) in gauges {
        head(&mut text, name, "gauge", help);
        writeln!(text, "{name} {number}").ok();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
}

fn value(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
