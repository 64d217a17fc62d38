//! `sidetrack analyze means`: the difference of two means, with its test and interval.

use std::process::ExitCode;

use clap::Args as Arguments;
use sidetrack_stats::input::{Fraction, Sample};
use sidetrack_stats::{means, power};

use super::Terms;
use super::figures::short;
use super::given::{paired, sample};
use super::report::{Metric, Report, row};
use crate::fault::Fault;
use crate::out::Out;

/// Compare two means, such as revenue or latency
///
/// Welch's t test and its interval, or those with the common variance if the smaller group varies
/// less; the interval of the relative lift by the delta method. If the weights changed, give a pair for
/// each phase: the variants are compared within phases, and the differences weighted by the sizes.
#[derive(Arguments)]
#[command(
    after_help = "Example:\n  sidetrack analyze means --baseline 100,20,1000 --candidate 102.5,21,1000"
)]
pub(super) struct Args {
    /// The baseline: the mean, the standard deviation of the units, and the number of units; once for
    /// each phase
    #[arg(long, value_name = "MEAN,SD,N", required = true, allow_hyphen_values = true)]
    baseline: Vec<String>,
    /// The candidate, in the same format
    #[arg(long, value_name = "MEAN,SD,N", required = true, allow_hyphen_values = true)]
    candidate: Vec<String>,
    #[command(flatten)]
    terms: Terms,
}

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let level = args.terms.level()?;
    let read = |flag: &str, texts: &[String]| -> anyhow::Result<Vec<Sample>> {
        texts.iter().map(|text| sample(flag, text)).collect()
    };
    let phases =
        paired(read("--baseline", &args.baseline)?, read("--candidate", &args.candidate)?)?;
    args.terms.unit.check(args.terms.adaptive, phases.len())?;
    let comparison = means::stratified(&phases, level).map_err(|error| Fault(error.to_string()))?;
    let mut rows = Vec::new();
    for (index, (baseline, candidate)) in phases.iter().enumerate() {
        let phase = if phases.len() > 1 { format!(", phase {}", index + 1) } else { String::new() };
        rows.push(row(format!("baseline{phase}"), shown(*baseline)));
        rows.push(row(format!("candidate{phase}"), shown(*candidate)));
    }
    let single = match phases.as_slice() {
        [pair] => Some(*pair),
        _ => None,
    };
    let detectable = |(b, c)| power::detectable_for_means(b, c, level, Fraction::EIGHTY_PERCENT);
    let report = Report {
        metric: Metric::Mean,
        comparison,
        score: None,
        units: phases.iter().map(|(b, c)| b.count() + c.count()).sum(),
        detectable: single.and_then(detectable),
        methods: match single {
            Some((b, c)) if means::is_pooled(b, c) => {
                ["t test with the common variance", "common variance", "delta method"]
            }
            Some(_) => ["Welch's t test", "Welch", "delta method"],
            None => ["z test of the merged phases", "weighted by size", "delta method"],
        },
        rows,
        notes: Vec::new(),
    };
    report.write(&args.terms, level, out)
}

fn shown(sample: Sample) -> String {
    let (mean, sd) = (short(sample.mean(), 6), short(sample.sd(), 4));
    format!("{mean}  sd {sd}, {} units", sample.count())
}
