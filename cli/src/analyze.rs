//! `sidetrack analyze`: the results of an experiment, from logs, counters or counts.
//!
//! One file per subcommand; `sidetrack-stats` has the statistics. Sums over phases, sums of a bandit's
//! batches, and requests are rejected: their tests are invalid.

mod drift;
mod given;
mod means;
mod prometheus;
mod proportions;
mod report;
pub(crate) mod run;
mod shadow;
mod sql;
mod srm;
mod summary;

use std::process::ExitCode;

use clap::{Args as Arguments, Subcommand, ValueEnum};
use sidetrack_analysis::DEFAULT_UNITS;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::Goal;
use sidetrack_stats::trap::{self, Design, Rows, Weights};

use crate::fault::Fault;
use crate::out::Out;
pub(crate) use given::{fraction, named};
pub(crate) use sidetrack_analysis::figures;

/// Analyze the results of an experiment: whether the candidate is better, and whether the data is valid
///
/// Start with srm: if the sizes of the groups do not match the weights, all other results are invalid.
/// docs/statistics.md explains the formulas.
#[derive(Arguments)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    question: Question,
}

const EXAMPLES: &str = "Examples:\n  sidetrack analyze srm --expected 70,30 --observed 70210,29790\n  \
    sidetrack analyze proportions --baseline 2000/70210 --candidate 950/29790";

#[derive(Subcommand)]
enum Question {
    Proportions(proportions::Args),
    Means(means::Args),
    Srm(srm::Args),
    Run(Box<run::Args>),
    Sql(Box<sql::Args>),
    Summary(Box<summary::Args>),
    Shadow(Box<shadow::Args>),
    Drift(Box<drift::Args>),
    Prometheus(prometheus::Args),
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    match &args.question {
        Question::Proportions(args) => proportions::run(args, out),
        Question::Means(args) => means::run(args, out),
        Question::Srm(args) => srm::run(args, out),
        Question::Run(args) => run::run(args, out),
        Question::Sql(args) => sql::run(args, out),
        Question::Summary(args) => summary::run(args, out),
        Question::Shadow(args) => shadow::run(args, out),
        Question::Drift(args) => drift::run(args, out),
        Question::Prometheus(args) => prometheus::run(args, out),
    }
}

/// How the data was collected, and what to report.
#[derive(Arguments)]
struct Terms {
    /// The significance level, two-sided
    #[arg(long, value_name = "A", default_value_t = 0.05)]
    alpha: f64,
    /// Lower values are better: errors, latency
    #[arg(long)]
    lower_is_better: bool,
    /// What was counted; requests are rejected, because users were randomized
    #[arg(long, value_name = "UNIT", default_value = "user")]
    unit: Unit,
    /// A bandit chose the weights; each batch needs its own --baseline and --candidate, and always-valid
    /// intervals decide, since a fixed test is not valid for such data
    #[arg(long)]
    adaptive: bool,
    /// The units planned for both variants together: until then, and beyond, always-valid intervals
    /// decide [default with --adaptive: 10000]
    #[arg(long, value_name = "N")]
    planned_units: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The unit of the counts.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unit {
    /// What was randomized: a user, a session
    User,
    /// One of several requests of a user
    Request,
}

impl Unit {
    /// Rejects data that cannot be tested.
    fn check(self, adaptive: bool, phases: usize) -> anyhow::Result<()> {
        let rows = if self == Self::Request { Rows::Requests } else { Rows::Units };
        let weights = if adaptive { Weights::Adaptive } else { Weights::Constant };
        let design = Design { rows, weights, summed: phases < 2 };
        trap::check(design).map_err(|trap| {
            let flag = if self == Self::Request { "--unit request" } else { "--adaptive" };
            Fault(format!("{flag} is rejected: {trap}")).into()
        })
    }
}

impl Terms {
    fn level(&self) -> anyhow::Result<Fraction> {
        fraction("--alpha", self.alpha)
    }

    /// The units around which always-valid intervals are narrowest, if they may be asked for.
    fn planned(&self) -> Option<u64> {
        self.planned_units.or_else(|| self.adaptive.then_some(DEFAULT_UNITS))
    }

    const fn goal(&self) -> Goal {
        if self.lower_is_better { Goal::Lower } else { Goal::Higher }
    }
}
