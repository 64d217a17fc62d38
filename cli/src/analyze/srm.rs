//! `sidetrack analyze srm`: a test of the sizes of the groups against the weights.

use std::io::Write;
use std::process::ExitCode;

use clap::Args as Arguments;
use serde::Serialize;
use sidetrack_stats::float;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::{PValue, Test};
use sidetrack_stats::srm::{self, Counts, Shares};

use super::Unit;
use super::figures::{digits, p, percent, short, signed};
use super::given::{fraction, list, named};
use crate::fault::Fault;
use crate::out::Out;
use crate::wrap;

/// Test the sizes of the groups against the weights: a sample-ratio mismatch invalidates comparisons
///
/// Pearson's chi-square test, at a level of 0.001. Count users (what was randomized), not requests. If
/// the weights changed, give a pair for each phase: each phase is tested against its own weights. Exit
/// 1 on a mismatch.
#[derive(Arguments)]
#[command(
    after_help = "Examples:\n  sidetrack analyze srm --expected 70,30 --observed 70210,29790\n  \
    sidetrack analyze srm --expected 95,5 --observed 9500,500 \\\n    \
    --expected 70,30 --observed 7050,2950"
)]
pub(super) struct Args {
    /// The shares of the variants, the baseline first: percentages with a sum of 100, or fractions
    /// with a sum of 1; once for each phase
    #[arg(long, value_name = "SHARES", required = true, allow_hyphen_values = true)]
    expected: Vec<String>,
    /// The units of each variant, in the same order; once for each phase
    #[arg(long, value_name = "COUNTS", required = true, allow_hyphen_values = true)]
    observed: Vec<String>,
    /// Report a mismatch below this p-value
    #[arg(long, value_name = "A", default_value_t = srm::LEVEL)]
    alpha: f64,
    /// What was counted; requests are rejected
    #[arg(long, value_name = "UNIT", default_value = "user")]
    unit: Unit,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json {
    decision: &'static str,
    statistic: f64,
    df: Option<f64>,
    p_value: f64,
    log10_p: f64,
    /// The always-valid p-value.
    always_valid_p_value: Option<f64>,
    alpha: f64,
    phases: Vec<Phase>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Phase {
    expected: Vec<f64>,
    observed: Vec<u64>,
    statistic: f64,
    p_value: f64,
    #[serde(skip)]
    p: PValue,
}

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let level = fraction("--alpha", args.alpha)?;
    args.unit.check(false, args.observed.len())?;
    if args.expected.len() != args.observed.len() {
        let (one, two) = (args.expected.len(), args.observed.len());
        return Err(Fault(format!(
            "--expected is given {one} times and --observed {two} times, but each phase needs both, in the same order"
        ))
        .into());
    }
    let (mut counts, mut phases) = (Vec::new(), Vec::new());
    for (expected, observed) in args.expected.iter().zip(&args.observed) {
        let shares = Shares::new(&list("--expected", expected, "70,30")?)
            .map_err(|error| named("--expected", expected, &error))?;
        let found: Vec<u64> = list("--observed", observed, "7021,2979")?;
        let beside =
            Counts::new(&shares, &found).map_err(|error| named("--observed", observed, &error))?;
        let total = float(found.iter().sum());
        let test = beside.test();
        phases.push(Phase {
            expected: shares.get().iter().map(|share| share * total).collect(),
            observed: found,
            statistic: test.statistic,
            p_value: test.p.get(),
            p: test.p,
        });
        counts.push(beside);
    }
    let test = srm::over_phases(&counts).map_err(|error| Fault(error.to_string()))?;
    let uninvited = counts.iter().any(Counts::has_uninvited);
    let mismatch = uninvited || test.p.below(level);
    let notes = notes(&counts, mismatch);
    if args.json {
        let single = match counts.as_slice() {
            [counts] => Some(srm::always_valid(counts, srm::CONCENTRATION).get()),
            _ => None,
        };
        out.json(&Json {
            decision: if mismatch { "mismatch" } else { "ok" },
            statistic: test.statistic,
            df: test.df,
            p_value: test.p.get(),
            log10_p: test.p.log10(),
            always_valid_p_value: single,
            alpha: level.get(),
            phases,
            notes,
        })?;
    } else {
        write_text(&phases, test, mismatch, level, &notes, out)?;
    }
    Ok(if mismatch { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn notes(counts: &[Counts], mismatch: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if counts.iter().any(Counts::has_uninvited) {
        notes.push("a variant with share 0 has units, which needs no test".to_owned());
    }
    if counts.iter().any(Counts::is_sparse) {
        notes.push(
            "a group has fewer than five expected units, so the test is approximate".to_owned(),
        );
    }
    if mismatch {
        let phases = if counts.len() == 1 {
            "changed weights (if so, give each phase separately), "
        } else {
            ""
        };
        notes.push(format!(
            "find the cause before you use any result. Common causes: {phases}a breaker that moved users, retries or bots in the log, lost responses"
        ));
    }
    notes
}

fn write_text(
    phases: &[Phase],
    test: Test,
    mismatch: bool,
    level: Fraction,
    notes: &[String],
    out: &mut Out,
) -> anyhow::Result<()> {
    let ink = out.ink();
    if mismatch {
        writeln!(
            out,
            "{} the sizes of the groups do not match the weights; do not compare the groups\n",
            ink.bad("Mismatch:")
        )?;
    } else {
        writeln!(out, "{} the sizes of the groups match the weights\n", ink.good("No mismatch:"))?;
    }
    let head =
        format!("  {:<12} {:>15} {:>17} {:>17}", "variant", "units", "expected", "difference");
    for (index, phase) in phases.iter().enumerate() {
        if phases.len() > 1 {
            writeln!(
                out,
                "  {} {}",
                ink.bold(format!("phase {}", index + 1)),
                ink.dim(p(phase.p))
            )?;
        }
        writeln!(out, "{}", ink.dim(&head))?;
        for (variant, (observed, expected)) in
            phase.observed.iter().zip(&phase.expected).enumerate()
        {
            let name = match variant {
                0 => "baseline".to_owned(),
                1 if phase.observed.len() == 2 => "candidate".to_owned(),
                _ => format!("candidate {variant}"),
            };
            let difference = if *expected > 0.0 {
                format!("{} %", signed(100.0 * (float(*observed) - expected) / expected, 3))
            } else {
                "-".to_owned()
            };
            writeln!(
                out,
                "  {name:<12} {:>15} {:>17} {difference:>17}",
                *observed,
                short(*expected, 7)
            )?;
        }
    }
    let df = test.df.map_or_else(String::new, |df| format!(", df {df}"));
    writeln!(
        out,
        "\n  chi-square {}{df}, {}; a mismatch below {}",
        digits(test.statistic, 4),
        p(test.p),
        percent(level.get())
    )?;
    for note in notes {
        writeln!(out, "{}", wrap::note("  ", note, ink))?;
    }
    Ok(())
}
