//! Whether effects change with the days since the first request. The series themselves are in the page, the JSON and the
//! tables: a terminal has no room for them.

use std::io::Write;

use sidetrack_analysis::Analysis;
use sidetrack_analysis::words::trend;

use crate::out::{Ink, Out};
use crate::wrap::wrapped;

pub(super) fn days(analysis: &Analysis, ink: Ink, out: &mut Out) -> anyhow::Result<()> {
    if analysis.daily.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", ink.bold("By days since the first request"))?;
    for daily in &analysis.daily {
        let Some(metric) = analysis.metrics.iter().find(|it| it.name == daily.metric) else {
            continue;
        };
        for candidate in &daily.candidates {
            let text = trend(metric, candidate, analysis.alpha);
            let label = format!("  {}, {}: ", daily.metric, candidate.variant);
            writeln!(out, "{}", wrapped(&label, &text))?;
        }
    }
    Ok(())
}
