//! `kubectl sidetrack`: questions about the experiment that lives in a cluster.
//!
//! The same binary under the name `kubectl-sidetrack`, which kubectl finds on the `PATH`. Objects come from kubectl itself
//! (`kubectl get … -o json`), with the user's own flags: credentials, login plugins, proxies and API versions are then
//! kubectl's, and a client library would repeat all of them.

pub(crate) mod api;
mod check;
mod complete;
pub(crate) mod connection;
mod live;
mod mesh;
mod proxies;
mod status;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as Arguments, CommandFactory as _, Parser, Subcommand};

use crate::exit::ExitStatus;
use crate::load::load;
use crate::out::Out;
use crate::{explain, fault, plan};
pub(crate) use complete::complete;
use connection::Connection;
use live::Target;

/// The name under which kubectl finds the binary.
const PLUGIN: &str = "kubectl-sidetrack";
/// The name under which kubectl asks it for completions.
const COMPLETION: &str = "kubectl_complete-sidetrack";

/// Ask about the experiment that lives in a cluster
///
/// The experiment is that of the WasmPlugin, TrafficExtension, EnvoyFilter or EnvoyExtensionPolicy that
/// installs the filter. Without -n, all namespaces are searched.
#[derive(Parser)]
#[command(name = PLUGIN, bin_name = "kubectl sidetrack", version, max_term_width = 80, after_help = EXITS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    connection: Connection,
}

const EXITS: &str = "Exit codes: 0 success, 1 problems in the experiment or around it, 2 other\n\
    errors. Everything is read with kubectl, and nothing is changed.";

#[derive(Subcommand)]
enum Command {
    Status(status::Args),
    Check(check::Args),
    Explain(ExplainArgs),
    Plan(PlanArgs),
}

/// Explain which variant a request gets, and why
///
/// Describe the request as it would reach the proxy. The first line of the output is the object that
/// was asked, the second the result, and the steps that led to it follow.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  \
    kubectl sidetrack explain --header 'x-user-id: 4711'\n  \
    kubectl sidetrack explain -n istio-ingress --path /v2/models/forecast/infer \\\n    \
    --header 'x-user-id: 4711' --breaker enhanced-predictor=open")]
struct ExplainArgs {
    #[command(flatten)]
    question: explain::Question,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Compare the live experiment with a new file: which units move
///
/// The shares are exact. A swap is a unit that moves from one candidate to another.
#[derive(Arguments)]
#[command(after_help = "Examples:\n  \
    kubectl sidetrack plan experiment.yaml --fail-on-swap\n  \
    sidetrack render istio experiment.yaml | kubectl sidetrack plan -")]
struct PlanArgs {
    /// The new experiment file, or manifests that carry it; "-" reads stdin
    #[arg(value_name = "FILE")]
    new: PathBuf,
    #[command(flatten)]
    form: plan::Form,
}

/// What the name of the binary asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Plugin,
    Completion,
}

impl Role {
    /// The role of a binary under this name; `None` for `sidetrack` itself.
    pub(crate) fn of(program: Option<OsString>) -> Option<Self> {
        let program = program?;
        match Path::new(&program).file_stem()?.to_str()? {
            PLUGIN => Some(Self::Plugin),
            COMPLETION => Some(Self::Completion),
            _ => None,
        }
    }
}

/// Runs the plugin with the arguments of the process.
pub(crate) fn run(out: &mut Out) -> anyhow::Result<ExitCode> {
    let given = match Cli::try_parse() {
        Ok(given) => given,
        Err(error) => return Ok(fault::wrong_use(&error)),
    };
    let (target, connection) = (&given.target, &given.connection);
    let find = || live::find(target, connection);
    match &given.command {
        Command::Status(args) => status::run(args, &find()?, connection, out).map(Into::into),
        Command::Check(args) => check::run(args, &find()?, connection, out).map(Into::into),
        Command::Explain(args) => {
            let live = find()?;
            let plan = live.good()?.plan;
            if !args.json {
                writeln!(out, "{}", out.ink().dim(format!("{live}, hash {}", plan.hash.short())))?;
            }
            explain::explain(&args.question, &plan, args.json, out)
        }
        Command::Plan(args) => changed(args, target, connection, out).map(Into::into),
    }
}

fn changed(
    args: &PlanArgs,
    target: &Target,
    connection: &Connection,
    out: &mut Out,
) -> anyhow::Result<ExitStatus> {
    // Read first: a mistake in the file needs no cluster.
    let new = load(&args.new)?.plan;
    let live = live::find(target, connection)?;
    let old = live.good()?.plan;
    if !args.form.is_json() {
        let (from, to) = (old.hash.short(), new.hash.short());
        writeln!(out, "{}", out.ink().dim(format!("{live}: hash {from} → {to}")))?;
    }
    plan::report(&old, &new, &args.form, out)
}

/// The plugin's arguments, for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_binary_decides() {
        let role = |name: &str| Role::of(Some(name.into()));
        assert_eq!(role("/usr/local/bin/kubectl-sidetrack"), Some(Role::Plugin));
        assert_eq!(role("kubectl-sidetrack.exe"), Some(Role::Plugin));
        assert_eq!(role("kubectl_complete-sidetrack"), Some(Role::Completion));
        assert_eq!(role("./sidetrack"), None);
        assert_eq!(Role::of(None), None);
    }
}
