//! `mlflow log`: an analysis as a run.
//!
//! The run's name, times and numbers come from the analysis alone, so logging it again finds the
//! existing run. An incomplete run is completed.

mod note;
pub(super) mod record;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use sidetrack::plan::{Experiment, Plan};
use sidetrack_analysis::Analysis;

use super::analysis;
use super::client::{Client, Server};
use super::tracking::{DIGEST, Record, Run};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::Source;
use crate::out::Out;
use crate::words::visible;
use crate::wrap;

/// Write an analysis as a run, with metrics, parameters, tags and the report
///
/// Undefined numbers are omitted, because MLflow would store an infinity as a number. The files (the
/// analysis, the experiment, the report) are stored with the run if the server stores artifacts.
/// Logging the same analysis again changes nothing.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  sidetrack mlflow log experiment.yaml --analysis analysis.json \\\n    --report report.html"
)]
pub(crate) struct Args {
    /// The experiment file of the analysis
    file: PathBuf,
    /// The output of `sidetrack analyze run … --json`
    #[arg(long, value_name = "FILE")]
    analysis: PathBuf,
    /// An HTML report to store with the run
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The MLflow experiment, created if missing [default: the experiment's name]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    #[command(flatten)]
    server: Server,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    // All inputs are read and checked before the first write.
    let read = analysis::read(&args.analysis)?;
    let analysis = &read.analysis;
    let source = Source::read(&args.file)?;
    let plan = source.good()?.plan;
    let experiment = analyzed(&source.name, &plan, analysis)?;
    let mut files = vec![("analysis.json".to_owned(), read.text.clone())];
    let kind = if args.file.extension().is_some_and(|end| end == "json") { "json" } else { "yaml" };
    files.push((format!("experiment.{kind}"), source.bytes().to_vec()));
    if let Some(report) = &args.report {
        let page =
            std::fs::read(report).with_context(|| format!("cannot read {}", report.display()))?;
        files.push(("report.html".to_owned(), page));
    }
    let record = record::record(experiment, analysis, &read.digest)?;

    let client = Client::new(&args.server)?;
    let name = args.experiment.as_ref().unwrap_or(&analysis.experiment);
    let folder = client.folder_or_new(name)?;
    let (run, news) = match client.run_with(&folder, DIGEST, &read.digest)? {
        Some(run) if run.finished() => (run, "was already logged; nothing was changed"),
        Some(run) => (run, "was partially logged, and is now complete"),
        None => (client.new_run(&folder, &record, &[(DIGEST, &read.digest)])?, "is logged"),
    };
    let mut left_out = Vec::new();
    if !run.finished() {
        left_out = fill(&client, &run, &record, &files)?;
        client.finish(&run, record.to)?;
    }
    let (id, page) = (visible(&run.info.run_id), visible(&folder.experiment_id));
    writeln!(out, "{} {} {news}\n  run {id}", out.ink().good("✓"), visible(name))?;
    writeln!(out, "  {}/#/experiments/{page}/runs/{id}", client.base)?;
    if !left_out.is_empty() {
        let left_out = left_out.join(", ");
        let text = format!(
            "not stored: {left_out}. The server does not store artifacts\nhint: start the server \
             with --serve-artifacts, or store the files elsewhere"
        );
        writeln!(out, "{}", wrap::note("", &text, out.ink()))?;
    }
    Ok(ExitStatus::Success)
}

/// Writes the contents of a run. Returns the files that the server does not store.
pub(super) fn fill<'f>(
    client: &Client,
    run: &Run,
    record: &Record,
    files: &'f [(String, Vec<u8>)],
) -> anyhow::Result<Vec<&'f str>> {
    client.write(run, record)?;
    let mut left_out = Vec::new();
    for (name, content) in files {
        if !client.store(run, name, content)? {
            left_out.push(name.as_str());
        }
    }
    Ok(left_out)
}

/// The experiment of the analysis.
fn analyzed<'p>(file: &str, plan: &'p Plan, analysis: &Analysis) -> anyhow::Result<&'p Experiment> {
    let name = visible(&analysis.experiment);
    let Some(experiment) =
        plan.experiments.iter().find(|experiment| experiment.name == analysis.experiment)
    else {
        let there: Vec<&str> =
            plan.experiments.iter().map(|experiment| experiment.name.as_str()).collect();
        let text = format!(
            "{file}: unknown experiment \"{name}\" of the analysis; expected one of: {}",
            there.join(", ")
        );
        return Err(Fault(text).into());
    };
    let hash = plan.hash.to_string();
    if hash != analysis.config_hash {
        let text = format!(
            "{file}: the hash is {hash}, but must be {}, the hash in the analysis\n  \
             hint: analyze again with this file, or use the file of the analysis",
            visible(&analysis.config_hash)
        );
        return Err(Fault(text).into());
    }
    Ok(experiment)
}
