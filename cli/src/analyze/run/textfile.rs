//! Accuracy and value of each model for Prometheus, as a file that node_exporter's textfile collector reads.
//!
//! Written beside its goal and renamed over it, so that nobody ever reads half a file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use sidetrack::names::label::{EXPERIMENT, METRIC_TYPE, MODEL};
use sidetrack::names::metric;

use super::analysis::Analysis;
use super::outcomes::ACCURACY;

/// Metrics that are not a matter of business.
const TECHNICAL: [&str; 3] = ["error_rate", "abort_rate", ACCURACY];

/// Writes the file.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn write(path: &Path, analysis: &Analysis) -> anyhow::Result<()> {
    let told = || format!("--prometheus-out: cannot write {}", path.display());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let mut file =
        tempfile::Builder::new().prefix(".sidetrack-").tempfile_in(folder).with_context(told)?;
    file.write_all(text(analysis).as_bytes()).with_context(told)?;
    // A temporary file is for its owner alone; a collector is somebody else.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let readable = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(readable).with_context(told)?;
    }
    file.as_file().sync_all().with_context(told)?;
    file.persist(path).with_context(told)?;
    Ok(())
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
