//! `sidetrack mlflow`: from a model registry's tags to an experiment, and from its analysis back to the registry.
//!
//! Only MLflow's REST interface is used, so no Python is needed where this runs. The registry holds the state between
//! the commands (aliases, tags, runs), so each can be repeated: what is done already is not done twice. MLflow's stages
//! are not read or written, since they are deprecated; aliases say the same.

mod analysis;
mod client;
mod log;
mod names;
mod plan;
mod promote;
mod registry;
mod tracking;

use clap::Subcommand;

use crate::exit::ExitStatus;
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

/// Start a test from MLflow's model registry, and write its result back
///
/// `plan` writes an experiment file from the alias champion and the tag ab_test_candidate, `log` writes an analysis as a
/// run, `promote` makes the winner the champion. MLFLOW_TRACKING_USERNAME with MLFLOW_TRACKING_PASSWORD, or
/// MLFLOW_TRACKING_TOKEN, are sent when they are set, and never shown.
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
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    match &args.action {
        Action::Plan(args) => plan::run(args, out),
        Action::Log(args) => log::run(args, out),
        Action::Promote(args) => promote::run(args, out),
    }
}
