//! The `sidetrack` command as a library: the binary, fuzz targets and tests link it.
//!
//! One file per subcommand. Each returns an exit status. Results go to stdout, errors to stderr. A
//! reader that closes the pipe early is not an error.

mod advance;
mod analyze;
mod assign;
mod atomic;
mod bandit;
mod bars;
mod breaker;
mod calibrate;
mod check;
mod completions;
mod demo;
mod dialect;
mod digest;
mod edit;
mod exit;
mod explain;
mod export;
mod fault;
mod filter;
mod git;
mod http;
mod import;
mod init;
mod interrupt;
mod kube;
mod lines;
mod load;
mod local;
mod man;
mod manifest;
mod mlflow;
mod moment;
mod out;
mod package;
mod plan;
mod pointer;
mod prometheus;
mod promote;
mod render;
mod run;
mod schema;
mod screen;
mod serve;
mod served;
mod set;
mod simulate;
mod size;
mod status;
mod store;
mod table;
mod template;
mod unit;
mod watch;
mod words;
mod wrap;
pub mod yaml;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::out::Out;

/// A/B tests between model versions inside the service mesh.
#[derive(Parser)]
#[command(name = "sidetrack", version, after_help = EXITS, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXITS: &str = "Exit codes: 0 success, 1 problems in the input or the data, 2 other errors.\n\
    A FILE is an experiment file in YAML or JSON; \"-\" reads it from stdin.";

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Run(Box<run::Args>),
    Status(status::Args),
    Check(check::Args),
    Explain(explain::Args),
    Assign(assign::Args),
    Simulate(simulate::Args),
    Plan(plan::Args),
    Set(set::Args),
    Promote(promote::Args),
    Advance(Box<advance::Args>),
    Size(size::Args),
    Analyze(analyze::Args),
    Bandit(bandit::Args),
    Calibrate(calibrate::Args),
    Schema(schema::Args),
    Render(render::Args),
    Mlflow(mlflow::Args),
    Import(import::Args),
    Export(export::Args),
    Package(package::Args),
    Demo(demo::Args),
    Serve(serve::Args),
    Store(store::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the command with the arguments of the process and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    let mut out = Out::stdout();
    let role = kube::Role::of(std::env::args_os().next());
    if let Some(role) = role {
        let done = match role {
            kube::Role::Plugin => kube::run(&mut out),
            kube::Role::Completion => kube::complete(&mut out),
        };
        return ended(done, out);
    }
    let given = match Cli::try_parse() {
        Ok(given) => given,
        Err(error) => return fault::wrong_use(&error),
    };
    let done = match &given.command {
        Command::Init(args) => code(init::run(args, &mut out)),
        Command::Run(args) => code(run::run(args, &mut out)),
        Command::Status(args) => code(status::run(args, &mut out)),
        Command::Check(args) => code(check::run(args, &mut out)),
        Command::Explain(args) => code(explain::run(args, &mut out)),
        Command::Assign(args) => code(assign::run(args, &mut out)),
        Command::Simulate(args) => code(simulate::run(args, &mut out)),
        Command::Plan(args) => code(plan::run(args, &mut out)),
        Command::Set(args) => code(set::run(args, &mut out)),
        Command::Promote(args) => code(promote::run(args, &mut out)),
        Command::Advance(args) => code(advance::run(args, &mut out)),
        Command::Size(args) => code(size::run(args, &mut out)),
        Command::Analyze(args) => code(analyze::run(args, &mut out)),
        Command::Bandit(args) => code(bandit::run(args, &mut out)),
        Command::Calibrate(args) => code(calibrate::run(args, &mut out)),
        Command::Schema(args) => code(schema::run(args, &mut out)),
        Command::Render(args) => code(render::run(args, &mut out)),
        Command::Mlflow(args) => code(mlflow::run(args, &mut out)),
        Command::Import(args) => code(import::run(args, &mut out)),
        Command::Export(args) => code(export::run(args, &mut out)),
        Command::Package(args) => code(package::run(args, &mut out)),
        Command::Demo(args) => code(demo::run(args, &mut out)),
        Command::Serve(args) => code(serve::run(args, &mut out)),
        Command::Store(args) => code(store::run(args, &mut out)),
        Command::Completions(args) => code(completions::run(args, &mut out)),
        Command::Man(args) => code(man::run(args, &mut out)),
    };
    ended(done, out)
}

fn ended(done: anyhow::Result<ExitCode>, mut out: Out) -> ExitCode {
    let done = done.and_then(|code| out.finish().map(|()| code));
    done.unwrap_or_else(|error| fault::report(&error).into())
}

fn code(done: anyhow::Result<impl Into<ExitCode>>) -> anyhow::Result<ExitCode> {
    done.map(Into::into)
}

/// The command's arguments, for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_80_columns() {
        let (mut command, mut plugin) = (command(), kube::command());
        command.build();
        plugin.build();
        let mut commands = vec![&mut command, &mut plugin];
        while let Some(command) = commands.pop() {
            let help = command.render_long_help().to_string();
            // clap does not wrap the usage.
            for line in help.lines().filter(|line| !line.starts_with("Usage: ")) {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            // clap would wrap a long line of an example, which then cannot be copied.
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in examples.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            commands.extend(command.get_subcommands_mut());
        }
    }
}
