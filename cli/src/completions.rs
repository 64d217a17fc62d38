//! `sidetrack completions`: completion scripts for shells.

use std::io::Write as _;

use clap_complete::Shell;

use crate::exit::ExitStatus;
use crate::out::Out;

/// Print a completion script for a shell
///
/// The script completes subcommands, options and file names. Generate it again after an update of sidetrack.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack completions bash \\\n    > ~/.local/share/bash-completion/completions/sidetrack\n  \
    sidetrack completions zsh > ~/.zfunc/_sidetrack\n  \
    sidetrack completions fish > ~/.config/fish/completions/sidetrack.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    // Into memory first: the generator panics when a write fails, and a pipe may be closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "sidetrack", &mut script);
    out.write_all(&script)?;
    Ok(ExitStatus::Success)
}
