//! `export`: another system's experiment from an experiment file.

mod losses;
mod seldon;

use clap::Subcommand;

use crate::exit::ExitStatus;
use crate::out::Out;

/// Write what another system needs to run an experiment
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
