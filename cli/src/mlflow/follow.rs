//! `mlflow follow`: from the tag of a model version to its promotion, or to the reason why not.
//!
//! A round does one step: it begins a test, advances it, ends it, or completes an end. What has been done is read from
//! the experiment file in Git, the tags and runs of MLflow, and the evidence; no state is kept elsewhere, so a round that
//! was cut short anywhere is completed by the next one.

mod begin;
mod ending;
mod report;
mod round;
mod stage;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use sidetrack::quantity::Millis;

use super::client::Server;
use super::plan::Choices;
use crate::advance::{EvidenceOptions, ProxyOptions, span};
use crate::out::Out;
use crate::watch;

/// Test tagged model versions one after the other, and promote the winners
///
/// Writes an experiment file for the oldest version with the tag ab_test_candidate against the champion, and commits it.
/// From then on, each round advances the candidate by the steps of its plan, as `sidetrack advance` does. A candidate
/// that shows harm is rolled back; one that wins is promoted, with --promote. The end is a run in MLflow and tags of the
/// version, and the next tagged version follows.
///
/// FILE must be in a clone of a Git repository that only this command and people use.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 began, raised or promoted, 3 rolled back, 4 held or nothing to do,\n\
    1 problems in the registry, the file or the data, 2 other errors.\n\nExample:\n  \
    sidetrack mlflow follow experiment.yaml --model digits \\\n    \
    --template template.yaml --store http://127.0.0.1:8088 \\\n    \
    --push --promote --watch --every 1m"
)]
pub(crate) struct Args {
    /// The experiment file, in a clone of its repository; written when the first test begins
    file: PathBuf,
    /// The registered model
    #[arg(long, value_name = "NAME")]
    model: String,
    #[command(flatten)]
    server: Server,
    #[command(flatten, next_help_heading = "Experiment")]
    choices: Choices,
    #[command(flatten, next_help_heading = "Evidence")]
    evidence: EvidenceOptions,
    /// Raise only by evidence that ends no longer ago than this, as in 1h
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1h",
        value_parser = span,
        help_heading = "Evidence"
    )]
    max_age: Millis,
    #[command(flatten, next_help_heading = "Proxies")]
    fleet: ProxyOptions,
    /// Pull before each round, and push each commit
    #[arg(long, help_heading = "Change")]
    push: bool,
    /// Promote a candidate that won: in the file, and in the registry
    #[arg(long, help_heading = "Change")]
    promote: bool,
    /// Decide and explain, but change nothing
    #[arg(long, help_heading = "Change")]
    dry_run: bool,
    /// Do one round after the other until a signal ends the command
    #[arg(long)]
    watch: bool,
    /// The time between two rounds of --watch, from 1s
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = span)]
    every: Millis,
    /// Print a line of JSON for each round
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let mut code = 0;
    let mut next = |out: &mut Out| {
        let report = round::round(args)?;
        code = report.code;
        if args.json {
            return Ok(writeln!(out, "{}", serde_json::to_string(&report)?)?);
        }
        report.write(out)
    };
    if args.watch {
        return watch::every(args.every, out, next);
    }
    next(out)?;
    Ok(ExitCode::from(code))
}
