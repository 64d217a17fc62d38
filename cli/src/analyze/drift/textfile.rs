//! Distances as a file for node_exporter's textfile collector; `deploy/prometheus/drift.rules.yaml` alerts by them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use sidetrack::names::label::{EXPERIMENT, MODEL};
use sidetrack_analysis::drift::{Against, Compared, Drift, DriftState};

/// The metrics: names, meanings, and their values.
type Family = (&'static str, &'static str, fn(&Compared) -> Option<f64>);

const FAMILIES: [Family; 4] = [
    ("ab_test_drift_psi", "Population stability index of a column.", |one| one.psi),
    (
        "ab_test_drift_psi_by_chance",
        "The index that one of twenty comparisons exceeds if nothing changed.",
        |one| one.psi_exceeded,
    ),
    ("ab_test_drift_p_value", "The p-value, adjusted for all comparisons.", |one| one.p_adjusted),
    ("ab_test_drift", "1: above the threshold and beyond chance; 0: not.", |one| {
        Some(f64::from(u8::from(one.state == DriftState::Drift)))
    }),
];

/// Writes the file.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn write(path: &Path, found: &Drift) -> anyhow::Result<()> {
    let failed = || format!("--textfile: cannot write {}", path.display());
    crate::atomic::write(path, text(found).as_bytes()).with_context(failed)
}

fn text(found: &Drift) -> String {
    let mut text = String::new();
    let experiment = label(&found.experiment);
    for (name, help, value) in FAMILIES {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge").ok();
        for one in &found.compared {
            let Some(value) = value(one) else { continue };
            let against = match one.against {
                Against::Baseline => "baseline",
                Against::Reference => "reference",
            };
            writeln!(
                text,
                "{name}{{{EXPERIMENT}=\"{experiment}\",{MODEL}=\"{}\",against=\"{against}\",column=\"{}\"}} {value}",
                label(&one.variant),
                label(&one.column)
            )
            .ok();
        }
    }
    text
}

/// A label's value, with what the format escapes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
