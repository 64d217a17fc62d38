//! `import`: an experiment file from another system's experiment.

mod kserve;
mod manifest;
mod seldon;
mod text;

use clap::Subcommand;

use crate::exit::ExitStatus;
use crate::out::Out;

/// Write an experiment file for an experiment of another system
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    source: Source,
}

#[derive(Subcommand)]
enum Source {
    Seldon(seldon::Args),
    Kserve(kserve::Args),
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    match &args.source {
        Source::Seldon(args) => seldon::run(args, out),
        Source::Kserve(args) => kserve::run(args, out),
    }
}
