//! `sidetrack analyze proportions`: the difference of two shares, with its test and interval.

use std::process::ExitCode;

use clap::Args as Arguments;
use sidetrack_stats::input::{Fraction, Proportion};
use sidetrack_stats::score::Score;
use sidetrack_stats::{float, power, trap};

use super::figures::percent;
use super::given::{paired, proportion};
use super::report::{Metric, Report, row};
use super::{Terms, figures};
use crate::fault::Fault;
use crate::out::Out;

/// Compare two shares, such as conversions or errors
///
/// The score test of analyze run, with the interval of the same score and the log-ratio interval of the
/// relative lift. Each variant needs five units with and five without a success, observed or expected.
/// If the weights changed, give a pair for each phase: the variants are compared within phases, never
/// across their sum.
#[derive(Arguments)]
#[command(
    after_help = "Examples:\n  sidetrack analyze proportions --baseline 200/1000 --candidate 250/1000\n  \
    sidetrack analyze proportions --baseline 50/9500 --candidate 4/500 \\\n    \
    --baseline 200/7000 --candidate 70/3000"
)]
pub(super) struct Args {
    /// The baseline: units with a success, and all units; once for each phase
    #[arg(long, value_name = "X/N", required = true, allow_hyphen_values = true)]
    baseline: Vec<String>,
    /// The candidate, in the same format
    #[arg(long, value_name = "X/N", required = true, allow_hyphen_values = true)]
    candidate: Vec<String>,
    #[command(flatten)]
    terms: Terms,
}

/// Below this p-value, the candidate's share of the units differs between phases.
const CHANGED: f64 = 1e-3;

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let level = args.terms.level()?;
    let read = |flag: &str, texts: &[String]| -> anyhow::Result<Vec<Proportion>> {
        texts.iter().map(|text| proportion(flag, text)).collect()
    };
    let phases =
        paired(read("--baseline", &args.baseline)?, read("--candidate", &args.candidate)?)?;
    args.terms.unit.check(args.terms.adaptive, phases.len())?;
    let score = Score::of_shares(&phases, 1.0).map_err(|error| Fault(error.to_string()))?;
    let comparison = score.comparison(level);
    let sizes =
        phases.iter().fold((0, 0), |sums, (b, c)| (sums.0 + b.trials(), sums.1 + c.trials()));
    let mut rows = Vec::new();
    for (index, (baseline, candidate)) in phases.iter().enumerate() {
        let phase = if phases.len() > 1 { format!(", phase {}", index + 1) } else { String::new() };
        rows.push(row(format!("baseline{phase}"), shown(*baseline)));
        rows.push(row(format!("candidate{phase}"), shown(*candidate)));
    }
    let mut notes = Vec::new();
    if trap::weights_changed(&phases).is_ok_and(|test| test.p.get() < CHANGED) {
        notes.push(format!(
            "the candidate's share of the units differs between phases; the difference of the sums ({} points) would \
             confuse the effect with the time",
            figures::signed(100.0 * summed(&phases), 4)
        ));
    }
    let single = phases.len() == 1;
    let report = Report {
        metric: Metric::Share,
        comparison,
        score: Some(score),
        units: sizes.0 + sizes.1,
        detectable: Fraction::new(comparison.values.0)
            .ok()
            .and_then(|rate| {
                power::detectable_for_rate(rate, sizes, level, Fraction::EIGHTY_PERCENT)
            })
            .filter(|_| single),
        methods: if single {
            ["score test", "score", "log ratio"]
        } else {
            ["score test within phases", "score within phases", "log ratio"]
        },
        rows,
        notes,
    };
    report.write(&args.terms, level, out)
}

fn shown(proportion: Proportion) -> String {
    let (successes, trials) = (proportion.successes(), proportion.trials());
    format!("{}  {successes} of {trials}", percent(proportion.share()))
}

/// The difference of the sums, which is biased.
fn summed(phases: &[(Proportion, Proportion)]) -> f64 {
    let share = |of: &dyn Fn(&(Proportion, Proportion)) -> Proportion| {
        let sum =
            |count: fn(Proportion) -> u64| float(phases.iter().map(|phase| count(of(phase))).sum());
        sum(Proportion::successes) / sum(Proportion::trials)
    };
    share(&|phase| phase.1) - share(&|phase| phase.0)
}
