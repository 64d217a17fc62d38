//! `sidetrack schema`: the JSON Schema of the experiment file, for editors and admission checks.

use crate::exit::ExitStatus;
use crate::out::Out;

/// Print the JSON Schema of the experiment file
///
/// Editors that speak YAML complete and check experiment files with it: put
/// "# yaml-language-server: $schema=sidetrack.schema.json" into the first line.
/// A schema cannot compare values with each other; `sidetrack check` does.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sidetrack schema > sidetrack.schema.json")]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    out.json(&sidetrack::config::json_schema())?;
    Ok(ExitStatus::Success)
}
