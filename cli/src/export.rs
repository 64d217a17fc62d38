//! `export`: what other systems need of an experiment file.

mod assignments;
mod losses;
mod seldon;

use clap::Subcommand;

use crate::exit::ExitStatus;
use crate::out::Out;

/// Write what another system needs: an experiment of Seldon, or SQL for a warehouse
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Subcommand)]
enum Target {
    Seldon(seldon::Args),
    Assignments(Box<assignments::Args>),
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    match &args.target {
        Target::Seldon(args) => seldon::run(args, out),
        Target::Assignments(args) => assignments::run(args, out),
    }
}
