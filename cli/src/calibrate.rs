//! `sidetrack calibrate`: how often the decisions of `analyze run` are wrong.

mod table;

use std::io::{IsTerminal as _, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args as Arguments;
use sidetrack_analysis::calibrate::{BOTH_SIDES, Calibration, Grid, ONE_SIDE, Settings, calibrate};

use crate::atomic;
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::out::Out;

/// Measure how often the decisions of analyze run are wrong
///
/// Simulates experiments over a grid of metrics, rates, shares and sizes, and decides each as analyze
/// run does, with one look or one a day for two weeks. Counts false promotions and false "worse" among
/// equal variants, guardrails that pass although the candidate is worse by the margin, intervals that
/// miss the truth, and the power compared with a test that knows the variances. Exit 1 if a rate is
/// above its nominal level by more than chance explains (0.1 % over the whole grid).
#[derive(Arguments)]
#[command(after_help = "Examples:\n  sidetrack calibrate\n  sidetrack calibrate --full --markdown")]
pub(crate) struct Args {
    /// The corners of the grid, within a minute (the default)
    #[arg(long, conflicts_with = "full")]
    coarse: bool,
    /// The whole grid, which takes long
    #[arg(long)]
    full: bool,
    /// Runs of each experiment
    #[arg(long, value_name = "N", default_value = "200")]
    runs: NonZero<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print a table in Markdown, as docs/statistics.md has it; with --full the worst of each metric
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Replace the table between its markers in this file
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    update: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let grid = if args.full { Grid::Full } else { Grid::Coarse };
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let text = args.update.as_ref().map(|path| Marked::read(path, grid)).transpose()?;
    let shown = std::io::stderr().is_terminal();
    let progress = |done: usize, all: usize| {
        if shown {
            eprint!("\r{done} of {all} experiments");
            if done == all {
                eprintln!();
            }
        }
    };
    let found = calibrate(&Settings { grid, runs: args.runs, threads }, &progress);
    if args.json {
        out.json(&found)?;
    } else if args.markdown {
        out.write_all(markdown(&found, grid).as_bytes())?;
    } else {
        write_text(&found, out)?;
    }
    if let (Some(path), Some(text)) = (&args.update, text) {
        let text = text.with(&markdown(&found, grid));
        atomic::write(path, text.as_bytes())
            .with_context(|| format!("--update: cannot write {}", path.display()))?;
    }
    Ok(if found.ok { ExitStatus::Success } else { ExitStatus::Problems })
}

fn failed(found: &Calibration) -> usize {
    found.cells.iter().filter(|row| !row.failed.is_empty()).count()
}

/// The table, below a line that says what made it.
fn markdown(found: &Calibration, grid: Grid) -> String {
    let line = format!(
        "sidetrack {}, {} grid: {} experiments, {} runs each, {} above their nominal rates",
        env!("CARGO_PKG_VERSION"),
        found.grid,
        found.cells.len(),
        found.runs,
        failed(found)
    );
    let rows = match grid {
        Grid::Coarse => table::all(found),
        Grid::Full => table::worst(found),
    };
    format!("{line}\n\n{}", table::markdown(&rows))
}

fn write_text(found: &Calibration, out: &mut Out) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} of {} experiments fail: {} runs each, nominal {} % on one side and {} % on both\n",
        failed(found),
        found.cells.len(),
        found.runs,
        100.0 * ONE_SIDE,
        100.0 * BOTH_SIDES
    )?;
    Ok(out.write_all(table::plain(&table::all(found)).as_bytes())?)
}

/// A text with a table between markers.
struct Marked {
    before: String,
    after: String,
}

impl Marked {
    fn read(path: &Path, grid: Grid) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--update: cannot read {}", path.display()))?;
        let (begin, end) = (
            format!("<!-- calibration: {} -->\n", grid.name()),
            format!("<!-- end of the calibration: {} -->", grid.name()),
        );
        let parts = text.split_once(&begin).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(&end)?;
            Some(Self { before: format!("{before}{begin}"), after: format!("{end}{after}") })
        });
        parts.ok_or_else(|| {
            let path = path.display();
            Fault(format!("--update: {path} has no lines {} and {end}", begin.trim_end())).into()
        })
    }

    fn with(&self, table: &str) -> String {
        format!("{}\n{table}\n{}", self.before, self.after)
    }
}
