//! `sidetrack size`: the number of units that an experiment needs.

use std::io::Write;

use clap::{Args as Arguments, ValueEnum};
use serde::Serialize;
use sidetrack_stats::power::{Formula, Goal, Size, size_for_mean, size_for_rate};

use crate::analyze::figures::{percent, short};
use crate::analyze::{fraction, named};
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::out::Out;
use crate::table::{Align, Table};

/// Plan an experiment: the number of units, and of days
///
/// For a two-sided test. --mde is the smallest difference to detect. It is absolute unless --relative
/// is given: from 10 % to 12 % is 0.02. The output names the formula, because formulas differ.
#[derive(Arguments)]
#[command(
    after_help = "Examples:\n  sidetrack size --baseline-rate 0.10 --mde 0.02 --share 0.3 --daily-units 5000\n  \
    sidetrack size --baseline-mean 100 --sd 20 --mde 5 --relative"
)]
#[command(group(clap::ArgGroup::new("metric").required(true).args(["baseline_rate", "baseline_mean"])))]
pub(crate) struct Args {
    /// The baseline's share of units with a success, between 0 and 1
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    baseline_rate: Option<f64>,
    /// The baseline's mean
    #[arg(long, value_name = "MEAN", requires = "sd", allow_negative_numbers = true)]
    baseline_mean: Option<f64>,
    /// The standard deviation of the units
    #[arg(
        long,
        value_name = "SD",
        conflicts_with = "baseline_rate",
        allow_negative_numbers = true
    )]
    sd: Option<f64>,
    /// The smallest difference to detect: absolute (0.02 is two points of a rate), or with --relative in
    /// percent of the baseline
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    mde: f64,
    /// --mde is in percent of the baseline
    #[arg(long)]
    relative: bool,
    /// The significance level, two-sided
    #[arg(long, value_name = "A", default_value_t = 0.05, allow_negative_numbers = true)]
    alpha: f64,
    /// The probability of detecting the difference
    #[arg(long, value_name = "P", default_value_t = 0.8, allow_negative_numbers = true)]
    power: f64,
    /// The candidate's share of the units
    #[arg(long, value_name = "S", default_value_t = 0.5, allow_negative_numbers = true)]
    share: f64,
    /// The units per day, of both variants together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    daily_units: Option<u64>,
    /// The formula for rates
    #[arg(long, value_name = "FORMULA", default_value = "score", conflicts_with = "baseline_mean")]
    formula: Choice,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Formulas for rates.
#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// The score test of `analyze run` and `analyze proportions`
    Score,
    /// Cohen's h
    Cohen,
}

#[derive(Serialize)]
struct Json {
    /// The candidate's units; with even shares also the baseline's.
    per_variant: u64,
    baseline: u64,
    candidate: u64,
    total: u64,
    days: Option<u64>,
    /// `days` rounded up to whole weeks, since weekdays differ.
    days_in_whole_weeks: Option<u64>,
    formula: &'static str,
    formula_text: &'static str,
    mde: f64,
    alpha: f64,
    power: f64,
    share: f64,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let goal = Goal {
        level: fraction("--alpha", args.alpha)?,
        power: fraction("--power", args.power)?,
        share: fraction("--share", args.share)?,
    };
    let base = args.baseline_rate.or(args.baseline_mean).unwrap_or_default();
    if !args.mde.is_finite() || args.mde == 0.0 {
        return Err(
            Fault(format!("--mde is {}, but must be a difference other than 0", args.mde)).into()
        );
    }
    if args.relative && base == 0.0 {
        return Err(Fault(
            "--relative requires a baseline other than 0\n  hint: use an absolute --mde".to_owned(),
        )
        .into());
    }
    let mde = if args.relative { args.mde / 100.0 * base.abs() } else { args.mde };
    let size = sized(args, mde, goal)?;
    let days = args.daily_units.map(|daily| size.total().div_ceil(daily));
    let weeks = days.map(|days| days.div_ceil(7) * 7);
    if args.json {
        out.json(&Json {
            per_variant: size.candidate,
            baseline: size.baseline,
            candidate: size.candidate,
            total: size.total(),
            days,
            days_in_whole_weeks: weeks,
            formula: size.formula.code(),
            formula_text: size.formula.text(),
            mde,
            alpha: args.alpha,
            power: args.power,
            share: args.share,
        })?;
    } else {
        write_text(args, mde, size, days.zip(weeks), out)?;
    }
    Ok(ExitStatus::Success)
}

fn sized(args: &Args, mde: f64, goal: Goal) -> anyhow::Result<Size> {
    let text = args.mde.to_string();
    if let Some(rate) = args.baseline_rate {
        let formula = match args.formula {
            Choice::Score => Formula::Score,
            Choice::Cohen => Formula::CohenH,
        };
        let rate = fraction("--baseline-rate", rate)?;
        return size_for_rate(rate, mde, goal, formula)
            .map_err(|error| named("--mde", &text, &error));
    }
    let (mean, sd) = (args.baseline_mean.unwrap_or_default(), args.sd.unwrap_or_default());
    if !mean.is_finite() {
        return Err(Fault(format!("--baseline-mean is {mean}, but must be a number")).into());
    }
    if !(sd.is_finite() && sd > 0.0) {
        return Err(Fault(format!(
            "--sd is {sd}, but must be positive: the standard deviation of the units"
        ))
        .into());
    }
    size_for_mean(sd, mde, goal).map_err(|error| named("--mde", &text, &error))
}

fn write_text(
    args: &Args,
    mde: f64,
    size: Size,
    days: Option<(u64, u64)>,
    out: &mut Out,
) -> anyhow::Result<()> {
    let ink = out.ink();
    let each = if size.baseline == size.candidate {
        format!("{} per variant", size.candidate)
    } else {
        format!("{} for the baseline, {} for the candidate", size.baseline, size.candidate)
    };
    let time = days.map_or_else(String::new, |(days, _)| format!(", {days} days"));
    writeln!(out, "{} {each}; {} in total{time}\n", ink.bold("Units:"), size.total())?;
    let difference = if let Some(rate) = args.baseline_rate {
        let points = short(100.0 * mde, 4);
        format!("{} to {} ({points} points)", percent(rate), percent(rate + mde))
    } else {
        let (mean, sd) = (args.baseline_mean.unwrap_or_default(), args.sd.unwrap_or_default());
        format!(
            "{} to {}, standard deviation {}",
            short(mean, 6),
            short(mean + mde, 6),
            short(sd, 4)
        )
    };
    let mut table = Table::new(&[Align::Left, Align::Left]);
    let mut row = |label: &str, text: String| table.row([ink.dim(label).into(), text.into()]);
    row("difference", difference);
    row("test", format!("two-sided, significance level {}", percent(args.alpha)));
    row("power", format!("{}: the probability of detecting the difference", percent(args.power)));
    row("candidate", format!("{} of the units", percent(args.share)));
    row("formula", size.formula.code().to_owned());
    if let (Some((days, weeks)), Some(daily)) = (days, args.daily_units) {
        let plan = if days == weeks {
            String::new()
        } else {
            format!("; plan {weeks} days, to cover whole weeks")
        };
        row("time", format!("{days} days at {daily} units per day{plan}"));
    }
    table.write(out)?;
    writeln!(out, "\n  {}", ink.dim(size.formula.text()))?;
    Ok(())
}
