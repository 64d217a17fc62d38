//! The run's description: the verdict in words first, then a table. MLflow renders it as Markdown.

use crate::mlflow::analysis::{Analysis, Compared, Metric};
use crate::words::visible;

/// The longest value that MLflow keeps for a tag, in bytes, is 5000 with older servers.
const LONGEST: usize = 4900;

pub(super) fn note(analysis: &Analysis) -> String {
    let winner =
        analysis.winner.as_ref().map_or_else(String::new, |winner| format!(": {}", cell(winner)));
    let mut note = format!("**{}{winner}**\n\n", analysis.decision.as_str());
    for reason in &analysis.reasons {
        note.push_str(&format!("- {}\n", cell(reason)));
    }
    note.push_str("\n| metric | role | variant | value | baseline | difference | p | verdict |\n|---|---|---|---|---|---|---|---|\n");
    for metric in &analysis.metrics {
        for arm in &metric.candidates {
            let row = row(metric, arm);
            if note.len() + row.len() > LONGEST {
                note.push_str("\nThe rest stands in analysis.json.\n");
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

fn row(metric: &Metric, arm: &Compared) -> String {
    let goal = metric.goal.as_deref().map_or_else(String::new, |goal| format!(", {goal}"));
    let ends = arm.ci.filter(|ends| ends.iter().any(Option::is_some));
    let ends = ends
        .map_or_else(String::new, |[low, high]| format!(" [{}, {}]", digits(low), digits(high)));
    let method =
        arm.method.as_deref().map_or_else(String::new, |method| format!(" ({})", cell(method)));
    let cells = [
        format!("{} ({}{})", cell(&metric.name), cell(&metric.kind), cell(&goal)),
        cell(&metric.role),
        cell(&arm.measured.variant),
        digits(arm.measured.value),
        digits(metric.baseline.value),
        format!("{}{ends}", digits(arm.diff)),
        format!("{}{method}", digits(arm.p_adjusted.or(arm.p_value))),
        cell(arm.decision.as_deref().unwrap_or("–")),
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
