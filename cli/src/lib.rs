//! The `sidetrack` command as a library: the binary, fuzz targets and tests link it.
//!
//! One file per subcommand. Each returns the exit code: 0 good, 1 the input has problems, 2 could not run. Results
//! go to stdout, errors to stderr. A reader that closes the pipe early is not an error.

mod analyze;
mod assign;
mod atomic;
mod bandit;
mod bars;
mod check;
mod demo;
mod digest;
mod explain;
mod export;
mod fault;
mod http;
mod import;
mod lines;
mod load;
mod manifest;
mod mlflow;
mod moment;
mod out;
mod package;
mod plan;
mod render;
mod roster;
mod schema;
mod simulate;
mod size;
mod table;
mod template;
mod words;
pub mod yaml;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::out::Out;

/// A/B tests between model versions inside the service mesh.
#[derive(Parser)]
#[command(name = "sidetrack", version, after_help = EXITS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXITS: &str = "Exit codes: 0 good, 1 problems found in the input, 2 could not run.\n\
    A FILE is an experiment file in YAML or JSON; \"-\" reads it from stdin.";

#[derive(Subcommand)]
enum Command {
    Check(check::Args),
    Explain(explain::Args),
    Assign(assign::Args),
    Simulate(simulate::Args),
    Plan(plan::Args),
    Size(size::Args),
    Analyze(analyze::Args),
    Bandit(bandit::Args),
    Schema(schema::Args),
    Render(render::Args),
    Mlflow(mlflow::Args),
    Import(import::Args),
    Export(export::Args),
    Package(package::Args),
    Demo(demo::Args),
}

/// Runs the command with the arguments of the process and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Out::stdout();
    let done = match &cli.command {
        Command::Check(args) => check::run(args, &mut out),
        Command::Explain(args) => explain::run(args, &mut out),
        Command::Assign(args) => assign::run(args, &mut out),
        Command::Simulate(args) => simulate::run(args, &mut out),
        Command::Plan(args) => plan::run(args, &mut out),
        Command::Size(args) => size::run(args, &mut out),
        Command::Analyze(args) => analyze::run(args, &mut out),
        Command::Bandit(args) => bandit::run(args, &mut out),
        Command::Schema(args) => schema::run(args, &mut out),
        Command::Render(args) => render::run(args, &mut out),
        Command::Mlflow(args) => mlflow::run(args, &mut out),
        Command::Import(args) => import::run(args, &mut out),
        Command::Export(args) => export::run(args, &mut out),
        Command::Package(args) => package::run(args, &mut out),
        Command::Demo(args) => demo::run(args, &mut out),
    };
    let done = done.and_then(|code| out.finish().map(|()| code));
    done.unwrap_or_else(|error| fault::report(&error))
}
