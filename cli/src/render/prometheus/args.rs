//! The command line of `render prometheus`.

use std::io::Write;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::{Capacity, Clock, Options, Output, render};
use crate::exit::ExitStatus;
use crate::load::{self, File};
use crate::out::Out;

/// Write recording rules and alerts for Prometheus, with the limits of an experiment file
///
/// The rules contain the limits, the phases and the hash of the file, so write them again whenever
/// the file changes. With --tests, write the unit tests of these rules for `promtool test rules`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render prometheus experiment.yaml --job envoy > sidetrack.rules.yaml\n  \
    sidetrack render prometheus experiment.yaml --job envoy \\\n    \
    --tests > sidetrack.tests.yaml\n  \
    promtool check rules sidetrack.rules.yaml\n  \
    promtool test rules sidetrack.tests.yaml")]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The job under which Prometheus scrapes the proxies
    #[arg(long, value_name = "NAME", default_value = "sidetrack")]
    job: String,
    /// The runbook that alerts link to; the name of the alert is appended as an anchor
    #[arg(long, value_name = "URL", default_value = "docs/operations.md")]
    runbook: String,
    /// The requests per second that a baseline can serve, through all proxies of the job; may be
    /// repeated. An alert compares it with the load after all breakers have opened [default: the
    /// largest load of the last 7 days, and a quarter on top]
    #[arg(long, value_name = "[EXPERIMENT=]RATE", value_parser = capacity)]
    baseline_capacity: Vec<Capacity>,
    /// Wrap the rules in a PrometheusRule for the Prometheus Operator
    #[arg(long, conflicts_with = "tests")]
    operator: bool,
    /// Write the unit tests of the rules. The ends of rollouts need another clock and a file of
    /// their own: --tests=calendar
    #[arg(long, value_name = "CLOCK", num_args = 0..=1, require_equals = true, default_missing_value = "minutes")]
    tests: Option<Clock>,
    /// With --tests, the path of the rules, relative to the tests
    #[arg(long, value_name = "PATH", default_value = "sidetrack.rules.yaml", requires = "tests")]
    rules: String,
}

impl Args {
    fn options(&self) -> Options {
        let output = match self.tests {
            Some(clock) => Output::Tests { clock, rules: self.rules.clone() },
            None if self.operator => Output::Operator,
            None => Output::Rules,
        };
        Options {
            job: self.job.clone(),
            runbook: self.runbook.clone(),
            capacities: self.baseline_capacity.clone(),
            output,
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load::load(&args.file.file)?.plan;
    out.write_all(render(&plan, &args.options())?.as_bytes())?;
    Ok(ExitStatus::Success)
}

fn capacity(text: &str) -> Result<Capacity, String> {
    let (experiment, rate) = match text.rsplit_once('=') {
        Some((experiment, rate)) => (Some(experiment.to_owned()), rate),
        None => (None, text),
    };
    let rate: Option<f64> = rate.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    let rate = rate.ok_or("expected requests per second, a number above 0, such as 400")?;
    Ok(Capacity { experiment, rate })
}

impl ValueEnum for Clock {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Minutes, Self::Calendar]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Minutes => PossibleValue::new("minutes")
                .help("Steps of a minute, for all alerts except the ends of rollouts"),
            Self::Calendar => PossibleValue::new("calendar")
                .help("Steps of half a year, for the ends of rollouts"),
        })
    }
}
