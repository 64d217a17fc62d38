//! `export`: another system's experiment from an experiment file.

mod losses;
mod seldon;

use clap::Subcommand;

use crate::exit::ExitStatus;
use crate::out::Out;

/// Write an experiment of another system for an experiment file
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Subcommand)]
enum Target {
    Seldon(seldon::Args),
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    match &args.target {
        Target::Seldon(args) => seldon::run(args, out),
    }
}
