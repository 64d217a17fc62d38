//! `sidetrack analyze summary`: the verdict from a table of sums that another program made.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as Arguments;
use sidetrack_analysis::summary::{Summary, Table};
use sidetrack_analysis::{Strata, Subject, conclude};

use super::run::{Asked, mistake, planned_experiment};
use crate::fault::Fault;
use crate::load::{File, Source};
use crate::out::Out;

/// Analyze an experiment from a table of sums
///
/// The table comes from the query of `analyze sql`, which your engine runs, or from `analyze run --summary-out`. The result
/// is that of `analyze run` on the same data. The time, the trial, the attribution and the caps are those of the table.
#[derive(Arguments)]
#[command(after_help = "Example:\n  \
    sidetrack analyze run experiment.yaml --exposures access.log \\\n    --summary-out sums.csv\n  \
    sidetrack analyze summary experiment.yaml --from sums.csv")]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Which experiment of the file; required if it has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// The table: CSV with a header, JSON lines or Parquet, plain, gzip or zstd; "-" reads stdin
    #[arg(long, value_name = "TABLE")]
    from: PathBuf,
    #[command(flatten)]
    asked: Asked,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    if args.from.as_os_str() == "-" && args.file.file.as_os_str() == "-" {
        let problem = "\"-\" is given twice, but stdin can be read only once; give files";
        return Err(Fault(problem.to_owned()).into());
    }
    let source = Source::read(&args.file.file)?;
    let loaded = source.good()?;
    let (experiment, planned) = planned_experiment(&loaded, args.experiment.as_deref())?;
    let text = String::from_utf8_lossy(source.bytes());
    let strata = Strata::new(experiment, &text).map_err(mistake)?;
    let name = sidetrack_analysis::file_name(&args.from);
    let text = sidetrack_input::table(&args.from);
    let table = text.and_then(|text| Table::read(text, &name)).map_err(mistake)?;
    let choices = table.choices().map_err(|problem| Fault(format!("--from: {problem}")))?;
    let settings = args.asked.settings(planned, &table.columns(), &choices)?;
    let config_hash = loaded.plan.hash.to_string();
    let subject = Subject { experiment, strata: &strata, config_hash: &config_hash };
    let summary = Summary::of_table(table, subject, &settings).map_err(mistake)?;
    let (analysis, series) = conclude(subject, &settings, &summary).map_err(mistake)?;
    args.asked.report(&analysis, &series, out)
}
