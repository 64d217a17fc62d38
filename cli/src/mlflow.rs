//! `sidetrack mlflow`: experiments from the tags of a model registry, and results back to the registry.
//!
//! Only MLflow's REST API is used, so Python is not required. The registry holds all state between the
//! commands (aliases, tags, runs), so each command can be repeated without duplicate effects. MLflow's
//! stages are deprecated and not used; aliases replace them.

mod analysis;
mod client;
mod follow;
mod log;
mod names;
mod plan;
mod promote;
mod registry;
mod tracking;

use std::process::ExitCode;

use clap::Subcommand;

use crate::out::Out;

/// The alias of the version that serves.
const CHAMPION: &str = "champion";
/// The alias of the version that served before the last promotion.
const PREVIOUS: &str = "previous_champion";

/// Tags of model versions that `plan` reads …
const CANDIDATE: &str = "ab_test_candidate";
const WEIGHT: &str = "ab_test.weight";
const CLUSTER: &str = "ab_test.cluster";
const EXPERIMENT: &str = "ab_test.experiment";
/// … and that `promote` writes.
const RESULT: &str = "ab_test.result";
const RUN_ID: &str = "ab_test.run_id";
const FORCE_REASON: &str = "ab_test.force_reason";
/// … and `follow`, beside those of `promote`: why a test ended, and which trial it was.
const REASON: &str = "ab_test.reason";
const TRIAL: &str = "ab_test.trial";

/// Plan an experiment from MLflow's model registry, and write its results back
///
/// `plan` writes an experiment file from the alias champion and the tag ab_test_candidate, `log` writes
/// an analysis as a run, and `promote` makes the winner the champion. `follow` does all of it by itself, from a tag to
/// a promotion or a rollback, with the experiment file in a Git repository. Credentials are taken from
/// MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, and never printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Plan(plan::Args),
    Log(log::Args),
    Promote(promote::Args),
    Follow(follow::Args),
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Plan(args) => plan::run(args, out).map(ExitCode::from),
        Action::Log(args) => log::run(args, out).map(ExitCode::from),
        Action::Promote(args) => promote::run(args, out).map(ExitCode::from),
        Action::Follow(args) => follow::run(args, out),
    }
}
