//! `sidetrack analyze`: what counts and means of two variants say.
//!
//! One file per question; the statistics are those of `sidetrack-stats`. Sums over phases, a bandit's sums and requests are asked about and
//! refused: they give confident nonsense.

mod given;
mod means;
mod prometheus;
mod proportions;
mod report;
pub(crate) mod run;
mod srm;

use std::process::ExitCode;

use clap::{Args as Arguments, Subcommand, ValueEnum};
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::Goal;
use sidetrack_stats::trap::{self, Design, Rows, Weights};

use crate::fault::Fault;
use crate::out::Out;
pub(crate) use given::{fraction, named};
pub(crate) use sidetrack_analysis::figures;

/// Analyse an experiment's results: is the candidate better, and can the data be trusted?
///
/// Begin with srm: when the groups are not as large as the weights say, no other answer counts. docs/statistics.md has every
/// formula.
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
    Prometheus(prometheus::Args),
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    match &args.question {
        Question::Proportions(args) => proportions::run(args, out),
        Question::Means(args) => means::run(args, out),
        Question::Srm(args) => srm::run(args, out),
        Question::Run(args) => run::run(args, out),
        Question::Prometheus(args) => prometheus::run(args, out),
    }
}

/// How the data came about, and what to say of them.
#[derive(Arguments)]
struct Terms {
    /// The level of significance, two-sided
    #[arg(long, value_name = "A", default_value_t = 0.05)]
    alpha: f64,
    /// Less is better: errors, latency
    #[arg(long)]
    lower_is_better: bool,
    /// What was counted; requests are refused where users were randomised
    #[arg(long, value_name = "UNIT", default_value = "user")]
    unit: Unit,
    /// A bandit chose the weights: each batch needs its own --baseline and --candidate
    #[arg(long)]
    adaptive: bool,
    /// The experiment is still running and shall have N units of both variants together: judge by the interval that may be looked at
    /// every day
    #[arg(long, value_name = "N")]
    planned_units: Option<u64>,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// What one count is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unit {
    /// What was randomised: a user, a session
    User,
    /// One of many requests of a user
    Request,
}

impl Unit {
    /// Refuses what cannot be tested.
    fn check(self, adaptive: bool, phases: usize) -> anyhow::Result<()> {
        let rows = if self == Self::Request { Rows::Requests } else { Rows::Units };
        let weights = if adaptive { Weights::Adaptive } else { Weights::Constant };
        let design = Design { rows, weights, summed: phases < 2 };
        trap::check(design).map_err(|trap| {
            let flag = if self == Self::Request { "--unit request" } else { "--adaptive" };
            Fault(format!("{flag}: refused, {trap}")).into()
        })
    }
}

impl Terms {
    fn level(&self) -> anyhow::Result<Fraction> {
        fraction("--alpha", self.alpha)
    }

    const fn goal(&self) -> Goal {
        if self.lower_is_better { Goal::Lower } else { Goal::Higher }
    }
}
