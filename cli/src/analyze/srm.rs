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
/// Pearson's chi-square test, at a level of 0.001, for a single look. If you look again and again while
/// units arrive, use --repeated, or it will find a mismatch by chance. Count users (what was
/// randomized), not requests. If the weights changed, give a pair for each phase: each phase is tested
/// against its own weights. Exit 1 on a mismatch.
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
    /// Decide by the test that holds at every look, as analyze run does
    #[arg(long)]
    repeated: bool,
    /// Report a mismatch below this p-value [default: 0.001; with --repeated 0.01]
    #[arg(long, value_name = "A")]
    alpha: Option<f64>,
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
    /// `fixed` or `always_valid`.
    decided_by: &'static str,
    statistic: f64,
    df: Option<f64>,
    /// Of a single look.
    p_value: f64,
    log10_p: f64,
    /// Of any number of looks.
    always_valid_p_value: f64,
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
    let usual = if args.repeated { srm::ALWAYS_LEVEL } else { srm::LEVEL };
    let level = fraction("--alpha", args.alpha.unwrap_or(usual))?;
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
    let always = srm::always_valid(&counts).map_err(|error| Fault(error.to_string()))?;
    let uninvited = counts.iter().any(Counts::has_uninvited);
    let decisive = if args.repeated { always } else { test.p };
    let mismatch = uninvited || decisive.below(level);
    let notes = notes(&counts, mismatch, args.repeated);
    if args.json {
        out.json(&Json {
            decision: if mismatch { "mismatch" } else { "ok" },
            decided_by: if args.repeated { "always_valid" } else { "fixed" },
            statistic: test.statistic,
            df: test.df,
            p_value: test.p.get(),
            log10_p: test.p.log10(),
            always_valid_p_value: always.get(),
            alpha: level.get(),
            phases,
            notes,
        })?;
    } else {
        let always = args.repeated.then_some(always);
        write_text(&phases, (test, always), mismatch, level, &notes, out)?;
    }
    Ok(if mismatch { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn notes(counts: &[Counts], mismatch: bool, repeated: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if counts.iter().any(Counts::has_uninvited) {
        notes.push("a variant with share 0 has units, which needs no test".to_owned());
    }
    if counts.iter().any(Counts::is_sparse) && !repeated {
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
    (test, always): (Test, Option<PValue>),
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
            // The p-value of a single look does not belong beside one of many.
            let alone = if always.is_some() { String::new() } else { format!(" {}", p(phase.p)) };
            let title = ink.bold(format!("phase {}", index + 1));
            writeln!(out, "  {title}{}", ink.dim(alone))?;
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
    let tested = match always {
        Some(always) => format!("{} at any number of looks", p(always)),
        None => {
            let chi_square = digits(test.statistic, 4);
            format!("chi-square {chi_square}{df}, {} for a single look", p(test.p))
        }
    };
    writeln!(out, "\n  {tested}; a mismatch below {}", percent(level.get()))?;
    for note in notes {
        writeln!(out, "{}", wrap::note("  ", note, ink))?;
    }
    Ok(())
}
