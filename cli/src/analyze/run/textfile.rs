//! Accuracy and business value of each model, as a file for node_exporter's textfile collector.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use sidetrack::names::label::{EXPERIMENT, METRIC_TYPE, MODEL};
use sidetrack::names::metric;

use sidetrack_analysis::{ACCURACY, Analysis};

/// Metrics that do not measure business value.
const TECHNICAL: [&str; 3] = ["error_rate", "abort_rate", ACCURACY];

/// Writes the file.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn write(path: &Path, analysis: &Analysis) -> anyhow::Result<()> {
    let failed = || format!("--prometheus-out: cannot write {}", path.display());
    crate::atomic::write(path, text(analysis).as_bytes()).with_context(failed)
}

fn text(analysis: &Analysis) -> String {
    let mut text = String::new();
    let experiment = label(&analysis.experiment);
    let mut family = |name: &str, help: &str, samples: Vec<(String, f64)>| {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge").ok();
        for (labels, value) in samples {
            writeln!(text, "{name}{{{EXPERIMENT}=\"{experiment}\",{labels}}} {value}").ok();
        }
    };
    let accuracy = values(analysis, |name| name == ACCURACY);
    let accuracy = accuracy
        .into_iter()
        .map(|(model, _, value)| (format!("{MODEL}=\"{}\"", label(&model)), value));
    family(
        metric::MODEL_ACCURACY,
        "Share of right predictions of the assigned model.",
        accuracy.collect(),
    );
    let business = |name: &str| !TECHNICAL.contains(&name) && !name.starts_with("latency_");
    let impact = values(analysis, business).into_iter().map(|(model, metric, value)| {
        (format!("{MODEL}=\"{}\",{METRIC_TYPE}=\"{}\"", label(&model), label(&metric)), value)
    });
    family(
        metric::BUSINESS_IMPACT,
        "Business value of the assigned model, as the analysis measures it.",
        impact.collect(),
    );
    text
}

/// Variant, metric and value.
fn values(analysis: &Analysis, wanted: impl Fn(&str) -> bool) -> Vec<(String, String, f64)> {
    let mut values = Vec::new();
    for metric in analysis.metrics.iter().filter(|metric| wanted(&metric.name)) {
        let candidates = metric.candidates.iter().map(|result| (&result.variant, result.value));
        for (variant, value) in
            std::iter::once((&metric.baseline.variant, metric.baseline.value)).chain(candidates)
        {
            values.extend(value.map(|value| (variant.clone(), metric.name.clone(), value)));
        }
    }
    values
}

/// A label's value, with what the format escapes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
