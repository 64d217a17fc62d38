//! `import`: an experiment file from another system's experiment.

mod manifest;
mod seldon;

use std::process::ExitCode;

use clap::Subcommand;

use crate::out::Out;

/// Write an experiment file for what another system runs
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    source: Source,
}

#[derive(Subcommand)]
enum Source {
    Seldon(seldon::Args),
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    match &args.source {
        Source::Seldon(args) => seldon::run(args, out),
    }
}
