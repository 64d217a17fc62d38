//! `sidetrack calibrate`: how often the decisions of `analyze run` are wrong.

use std::io::{IsTerminal as _, Write as _};
use std::num::NonZero;

use clap::Args as Arguments;
use sidetrack_analysis::calibrate::{
    BOTH_SIDES, Calibration, Grid, ONE_SIDE, Row, Settings, calibrate,
};
use sidetrack_analysis::figures;

use crate::exit::ExitStatus;
use crate::out::Out;

/// Measure how often the decisions of analyze run are wrong
///
/// Simulates experiments over a grid of metrics, rates, shares and sizes, and decides each as analyze
/// run does, with one look or one a day for two weeks. Counts false promotions and false "worse" among
/// equal variants, guardrails that pass although the candidate is worse by the margin, intervals that
/// miss the truth, and the power compared with a test that knows the variances. Exit 1 if a rate is
/// above its nominal level by more than chance explains (0.1 % over the whole grid).
#[derive(Arguments)]
#[command(
    after_help = "Examples:\n  sidetrack calibrate\n  sidetrack calibrate --full --runs 10000 --markdown"
)]
pub(crate) struct Args {
    /// The corners of the grid, within a minute (the default)
    #[arg(long, conflicts_with = "full")]
    coarse: bool,
    /// The whole grid, which takes hours
    #[arg(long)]
    full: bool,
    /// Runs of each experiment [default: 200; with --full 4000]
    #[arg(long, value_name = "N")]
    runs: Option<NonZero<u32>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print a table in Markdown, as docs/statistics.md has it
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let grid = if args.full { Grid::Full } else { Grid::Coarse };
    let usual = if args.full { 4000 } else { 200 };
    let runs = args.runs.or_else(|| NonZero::new(usual)).unwrap_or(NonZero::<u32>::MIN);
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let shown = std::io::stderr().is_terminal();
    let progress = |done: usize, all: usize| {
        if shown {
            eprint!("\r{done} of {all} experiments");
            if done == all {
                eprintln!();
            }
        }
    };
    let found = calibrate(&Settings { grid, runs, threads }, &progress);
    if args.json {
        out.json(&found)?;
    } else {
        write_table(&found, args.markdown, out)?;
    }
    Ok(if found.ok { ExitStatus::Success } else { ExitStatus::Problems })
}

const COLUMNS: [&str; 12] = [
    "metric",
    "rate",
    "looks",
    "variants",
    "share",
    "units",
    "margin",
    "promoted",
    "worse",
    "passed",
    "missed",
    "power / oracle",
];

fn write_table(found: &Calibration, markdown: bool, out: &mut Out) -> anyhow::Result<()> {
    let failed = found.cells.iter().filter(|row| !row.failed.is_empty()).count();
    let rows: Vec<Vec<String>> = std::iter::once(COLUMNS.map(str::to_owned).to_vec())
        .chain(found.cells.iter().map(cells))
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(|column| width(column).unwrap_or(0)).collect();
    if !markdown {
        writeln!(
            out,
            "{} of {} experiments fail: {} runs each, nominal {} % on one side and {} % on both\n",
            failed,
            found.cells.len(),
            found.runs,
            100.0 * ONE_SIDE,
            100.0 * BOTH_SIDES
        )?;
    }
    for (index, row) in rows.iter().enumerate() {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let padded: Vec<String> = padded.collect();
        if markdown {
            writeln!(out, "| {} |", row.join(" | "))?;
            if index == 0 {
                writeln!(out, "|{}", "---|".repeat(COLUMNS.len()))?;
            }
        } else {
            writeln!(out, "{}", padded.join("  ").trim_end())?;
        }
    }
    Ok(())
}

/// A row's cells; `!` marks a rate that fails.
fn cells(row: &Row) -> Vec<String> {
    let percent = |value: f64| figures::percent(value);
    let rate = |name: &str, value: Option<f64>| {
        let mark = if row.failed.contains(&name) { " !" } else { "" };
        value.map_or_else(|| "–".to_owned(), |value| format!("{:.1} %{mark}", 100.0 * value))
    };
    let given = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), percent);
    let power = match (row.power, row.oracle) {
        (Some(power), Some(oracle)) => {
            let mark = if row.failed.contains(&"power") { " !" } else { "" };
            format!("{:.0} / {:.0} %{mark}", 100.0 * power, 100.0 * oracle)
        }
        _ => "–".to_owned(),
    };
    vec![
        row.metric.to_owned(),
        given(row.rate),
        row.looks.to_owned(),
        row.variants.to_string(),
        percent(row.share),
        row.units.to_string(),
        row.margin.map_or_else(|| "–".to_owned(), |margin| format!("{:.1} pt", 100.0 * margin)),
        rate("false_promotions", row.false_promotions),
        rate("false_worse", row.false_worse),
        rate("false_non_inferior", row.false_non_inferior),
        rate("missed", Some(row.missed)),
        power,
    ]
}
