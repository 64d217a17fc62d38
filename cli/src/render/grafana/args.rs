//! The command line of `render grafana`.

use std::io::Write;

use super::{Options, dashboard};
use crate::exit::ExitStatus;
use crate::load::{self, File};
use crate::out::Out;

/// Write a Grafana dashboard for the experiments of a file
///
/// Import the dashboard, or add it to the provisioned dashboards. Targets, limits and phases require
/// the rules of `render prometheus` in the same Prometheus.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack render grafana experiment.yaml --job envoy > sidetrack.json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The job under which Prometheus scrapes the proxies, selected at first
    #[arg(long, value_name = "NAME", default_value = "sidetrack")]
    job: String,
    /// The uid of the Prometheus data source, selected at first [default: Grafana's default]
    #[arg(long, value_name = "UID")]
    datasource: Option<String>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load::load(&args.file.file)?.plan;
    let options = Options { job: args.job.clone(), datasource: args.datasource.clone() };
    out.json(&dashboard(&plan, &options)?)?;
    out.flush()?;
    Ok(ExitStatus::Success)
}
