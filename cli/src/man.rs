//! `sidetrack man`: manual pages.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;

use crate::atomic;
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::out::Out;
use crate::words::visible;

/// Print a manual page, or write all of them
///
/// Without --out, the page of sidetrack or of one subcommand goes to stdout in the roff format that `man` reads.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sidetrack man | man -l -\n  sidetrack man render envoy | man -l -\n  \
    sidetrack man --out ~/.local/share/man/man1"
)]
pub(crate) struct Args {
    /// The subcommand, such as `render envoy` [default: sidetrack itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,
    /// Write the pages of all subcommands to this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let mut root = crate::command();
    // Gives each subcommand its full name.
    root.build();
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        write_all(&root, folder, out)?;
        let mut plugin = crate::kube::command();
        plugin.build();
        write_all(&plugin, folder, out)?;
    } else {
        out.write_all(&page(named(&root, &args.command)?)?)?;
    }
    Ok(ExitStatus::Success)
}

fn named<'c>(root: &'c Command, names: &[String]) -> anyhow::Result<&'c Command> {
    names.iter().try_fold(root, |command, name| {
        command.find_subcommand(name).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let name = visible(name);
            Fault(format!("unknown subcommand \"{name}\"; expected one of: {}", known.join(", ")))
                .into()
        })
    })
}

fn page(command: &Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

fn write_all(command: &Command, folder: &Path, out: &mut Out) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    atomic::write(&path, &page(command)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(out, "{}", path.display())?;
    let subcommands = command.get_subcommands().filter(|sub| sub.get_name() != "help");
    subcommands.into_iter().try_for_each(|sub| write_all(sub, folder, out))
}
