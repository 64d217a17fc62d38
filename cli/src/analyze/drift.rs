//! `sidetrack analyze drift`: whether predictions, scores and inputs are distributed as before, or as the baseline's.

mod report;
mod textfile;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as Arguments;
use sidetrack_analysis::drift::{DriftInput, DriftSettings, DriftState, drift};
use sidetrack_analysis::source::exposed::Exposures;
use sidetrack_analysis::{Cells, Moment};

use super::run::{exposures, mistake};
use super::shadow::in_words;
use crate::load::{File, Source, chosen};
use crate::out::Out;

/// Report drift of predictions, scores and inputs: between variants, and against a reference
///
/// For each column: the population stability index, the Kolmogorov-Smirnov distance of numbers and the
/// Jensen-Shannon distance, each with what the sample size makes of it by chance.
#[derive(Arguments)]
#[command(
    after_help = "A row of --values is of the variant that its request_id or unit was assigned to\n\
    in the exposures. Without exposures, the column --by says which: by default\n\
    `assigned`, `variant` or `source`.\n\n\
    Examples:\n  sidetrack analyze drift experiment.yaml --values scores.csv \\\n    --exposures access.log*\n  \
    sidetrack analyze drift experiment.yaml --values today.csv \\\n    --reference training.csv\n  \
    sidetrack analyze drift experiment.yaml --values predictions.ndjson \\\n    --by source \
    --textfile /var/lib/node_exporter/drift.prom"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Which experiment of the file; required if it has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Predictions, scores and inputs: CSV with a header, JSON or Parquet, plain, gzip or
    /// zstd; "-" reads stdin
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "field")]
    values: Vec<PathBuf>,
    /// Access logs: which request and unit is of which variant
    #[arg(long, value_name = "LOG", num_args = 1..)]
    exposures: Vec<PathBuf>,
    /// A field of the access log to compare, such as duration; may be repeated
    #[arg(long, value_name = "FIELD", requires = "exposures", conflicts_with = "values")]
    field: Vec<String>,
    /// Rows of another time, to compare each variant with: training data, or last week
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "reference_until")]
    reference: Vec<PathBuf>,
    /// Rows before this time are the reference: RFC 3339, or a date (midnight UTC)
    #[arg(long, value_name = "TIME")]
    reference_until: Option<Moment>,
    /// The column that says which variant a row is of
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// Only this column; may be repeated [default: all but keys and times]
    #[arg(long, value_name = "COLUMN")]
    column: Vec<String>,
    /// The index from which a difference matters
    #[arg(long, value_name = "PSI", default_value_t = 0.1, value_parser = threshold)]
    threshold: f64,
    /// The level of significance of all comparisons together
    #[arg(long, value_name = "A", default_value_t = sidetrack_analysis::ALPHA)]
    alpha: f64,
    /// Write the distances for Prometheus' textfile collector
    #[arg(long, value_name = "FILE")]
    textfile: Option<PathBuf>,
    /// Exit with 3 for drift, with 4 if the samples are too small to know
    #[arg(long)]
    exit_code: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A number from 0.
fn threshold(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number from 0, as in 0.1".to_owned())
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let plan = Source::read(&args.file.file)?.good()?.plan;
    let experiment = chosen(&plan, args.experiment.as_deref())?;
    let mut exposed = None;
    let mut values = Cells::default();
    if !args.exposures.is_empty() {
        let logs = exposures::read(&args.exposures)?;
        let read = Exposures::read(&logs, experiment, None, &args.field).map_err(mistake)?;
        if !args.field.is_empty() {
            values = read.table(&args.field);
        }
        exposed = Some(read);
    }
    exposures::cells(&mut values, "--values", &args.values)?;
    let mut reference = Cells::default();
    exposures::cells(&mut reference, "--reference", &args.reference)?;
    let settings = DriftSettings {
        alpha: super::fraction("--alpha", args.alpha)?,
        threshold: args.threshold,
        columns: args.column.clone(),
        by: args.by.clone(),
        reference_until: args.reference_until,
    };
    let input = DriftInput {
        experiment,
        values: &values,
        reference: (!args.reference.is_empty()).then_some(&reference),
        exposures: exposed.as_ref(),
    };
    let found = drift(input, &settings).map_err(|error| in_words("--values", error))?;
    if let Some(path) = &args.textfile {
        textfile::write(path, &found)?;
    }
    if args.json {
        out.json(&found)?;
    } else {
        report::print(&found, out)?;
    }
    Ok(match found.state() {
        DriftState::Drift if args.exit_code => ExitCode::from(3),
        DriftState::Unclear if args.exit_code => ExitCode::from(4),
        _ => ExitCode::SUCCESS,
    })
}
