//! The run's description: the verdict in words first, then a table. MLflow renders it as Markdown.

use sidetrack_analysis::Analysis;
use sidetrack_analysis::answer::{CandidateResult, MetricResult};

use crate::words::visible;

/// The longest value that MLflow keeps for a tag, in bytes, is 5000 with older servers.
const LONGEST: usize = 4900;

pub(super) fn note(analysis: &Analysis) -> String {
    let winner =
        analysis.winner.as_ref().map_or_else(String::new, |winner| format!(": {}", cell(winner)));
    let mut note = format!("**{}{winner}**\n\n", analysis.decision.as_str());
    for reason in &analysis.reasons {
        note.push_str(&format!("- {}\n", cell(&reason.to_string())));
    }
    note.push_str("\n| metric | role | variant | value | baseline | difference | p | verdict |\n|---|---|---|---|---|---|---|---|\n");
    for metric in &analysis.metrics {
        for arm in &metric.candidates {
            let row = row(metric, arm);
            if note.len() + row.len() > LONGEST {
                note.push_str("\nSee analysis.json for the other metrics.\n");
                return note;
            }
            note.push_str(&row);
        }
    }
    // Long reasons alone may be too much.
    if note.len() > LONGEST {
        let mut end = LONGEST;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
    }
    note
}

fn row(metric: &MetricResult, arm: &CandidateResult) -> String {
    let ends = match arm.ci {
        [None, None] => String::new(),
        [low, high] => format!(" [{}, {}]", digits(low), digits(high)),
    };
    let cells = [
        format!("{} ({}, {})", cell(&metric.name), metric.kind.as_str(), metric.goal.as_str()),
        metric.role.as_str().to_owned(),
        cell(&arm.variant),
        digits(arm.value),
        digits(arm.baseline_value.or(metric.baseline.value)),
        format!("{}{ends}", digits(arm.diff)),
        format!("{} ({})", digits(arm.p_adjusted.or(arm.p_value)), cell(&arm.method)),
        arm.decision.as_str().to_owned(),
    ];
    format!("| {} |\n", cells.join(" | "))
}

/// Text that cannot leave its cell.
fn cell(text: &str) -> String {
    visible(text).replace('|', "\\|").replace('<', "&lt;")
}

/// Short, and never a rounded nought.
fn digits(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value == 0.0 || (0.001..1e6).contains(&value.abs()) => format!("{value:.4}"),
        Some(value) => format!("{value:.2e}"),
    }
}
