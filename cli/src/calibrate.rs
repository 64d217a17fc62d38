//! `sidetrack calibrate`: how often the decisions of `analyze run` are wrong.

mod table;

use std::io::{IsTerminal as _, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args as Arguments;
use sidetrack_analysis::calibrate::{
    AGAIN, BOTH_SIDES, Calibration, Grid, ONE_SIDE, Settings, calibrate,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::atomic;
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::out::Out;

/// Measure how often the decisions of analyze run are wrong
///
/// Simulates experiments over a grid of metrics, rates, shares and sizes, and decides each as analyze
/// run does, with one look or one a day for two weeks. Counts false promotions and false "worse" among
/// equal variants, guardrails that are found within or beyond their margin although the candidate is
/// worse by exactly the margin, intervals that miss the truth, and the power compared with a test that
/// knows the variances. A rate that looks too high is simulated again with ten times the runs. Exit 1
/// if a rate is above its nominal level by more than chance explains (0.1 % over the whole grid).
#[derive(Arguments)]
#[command(
    after_help = "Examples:\n  sidetrack calibrate\n  sidetrack calibrate --full --csv > calibration.csv\n  \
                  sidetrack calibrate --corners\n  sidetrack calibrate --methods"
)]
pub(crate) struct Args {
    /// A coarse grid, within a minute (the default)
    #[arg(long, conflicts_with_all = ["full", "corners"])]
    coarse: bool,
    /// The whole grid: about 13 minutes of CPU time, shared by all cores. Ctrl-C prints what is done
    #[arg(long, conflicts_with = "corners")]
    full: bool,
    /// The cases in which the usual formulas err most
    #[arg(long, conflicts_with = "methods")]
    corners: bool,
    /// Covariates (CUPED) and planned looks
    #[arg(long, conflicts_with_all = ["coarse", "full"])]
    methods: bool,
    /// Runs of each experiment (default: 200, with --corners and --methods 1000)
    #[arg(long, value_name = "N")]
    runs: Option<NonZero<u32>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print CSV: an experiment a line, rates from 0 to 1, as docs/calibration.csv has it of --full
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print a table in Markdown, as docs/statistics.md has it; with --full the worst of each metric
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    markdown: bool,
    /// Replace the table between its markers in this file
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    update: Option<PathBuf>,
}

impl Args {
    const fn grid(&self) -> Grid {
        match (self.full, self.corners, self.methods) {
            (true, _, _) => Grid::Full,
            (_, true, _) => Grid::Corners,
            (_, _, true) => Grid::Methods,
            _ => Grid::Coarse,
        }
    }
}

/// Whether a signal asked to stop.
static STOP: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let grid = args.grid();
    let runs =
        args.runs.or_else(|| NonZero::new(if args.corners || args.methods { 1000 } else { 200 }));
    let runs = runs.unwrap_or(NonZero::<u32>::MIN);
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let text = args.update.as_ref().map(|path| Marked::read(path, grid)).transpose()?;
    std::thread::spawn(stop_at_signal);
    let found = calibrate(&Settings { grid, runs, threads }, &progress(), &STOP);
    if args.json {
        out.json(&found)?;
    } else if args.csv {
        out.write_all(&table::csv(&found)?)?;
    } else if args.markdown {
        out.write_all(markdown(&found, grid).as_bytes())?;
    } else {
        write_text(&found, grid, out)?;
    }
    let done = found.cells.len();
    if done < found.experiments {
        let update = if args.update.is_some() { "; --update: the file is unchanged" } else { "" };
        eprintln!("interrupted: {done} of {} experiments are done{update}", found.experiments);
    } else if let (Some(path), Some(text)) = (&args.update, text) {
        let text = text.with(&markdown(&found, grid));
        atomic::write(path, text.as_bytes())
            .with_context(|| format!("--update: cannot write {}", path.display()))?;
    }
    Ok(if found.ok { ExitStatus::Success } else { ExitStatus::Problems })
}

/// Sets the flag at Ctrl-C or SIGTERM, so that the work ends with what is done. Without a runtime, signals end the process.
fn stop_at_signal() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        STOP.store(true, Ordering::Relaxed);
    });
}

/// Shows how much is done, and about how long the rest takes: at every experiment in a terminal, else at each tenth of a work
/// that takes more than a minute.
fn progress() -> impl Fn(usize, usize) + Sync {
    let begun = Instant::now();
    let shown = std::io::stderr().is_terminal();
    move |done: usize, all: usize| {
        let elapsed = begun.elapsed();
        let rest = time_left(elapsed, done, all);
        let line = format!("{done} of {all} experiments, about {rest} left");
        if shown {
            let end = if done == all { "\n" } else { "" };
            eprint!("\r{line}     {end}");
        } else if elapsed > Duration::from_mins(1) && 10 * done / all > 10 * (done - 1) / all {
            eprintln!("{line}");
        }
    }
}

/// In words, from the part that is done.
fn time_left(elapsed: Duration, done: usize, all: usize) -> String {
    let rest = elapsed.as_secs() * (all - done) as u64 / done.max(1) as u64;
    match rest {
        0..100 => format!("{rest} s"),
        _ => format!("{} min", rest.div_ceil(60)),
    }
}

fn failed(found: &Calibration) -> usize {
    found.cells.iter().filter(|row| !row.failed.is_empty()).count()
}

/// The table, below a line that says what made it.
fn markdown(found: &Calibration, grid: Grid) -> String {
    let rows = match grid {
        Grid::Coarse | Grid::Methods => table::all(found),
        Grid::Full => table::worst(found),
        Grid::Corners => table::corners(found),
    };
    format!(
        "sidetrack {}, {}\n\n{}",
        env!("CARGO_PKG_VERSION"),
        summary(found),
        table::markdown(&rows)
    )
}

/// What was run, and how far a rate of these runs may be from the truth.
fn summary(found: &Calibration) -> String {
    let done = found.cells.len();
    let unfinished =
        if done < found.experiments { format!(" ({done} are done)") } else { String::new() };
    let again = found.cells.iter().filter(|row| row.runs > found.runs).count();
    let error = |runs: u32| {
        let rate = ONE_SIDE * (1.0 - ONE_SIDE) / f64::from(runs);
        format!("{:.2} points", 100.0 * rate.sqrt())
    };
    format!(
        "{} grid: {} experiments{unfinished},\n{} runs each (standard error at {} %: {}),\n{again} of \
         them again with {} (standard error: {}); {} above their nominal rates",
        found.grid,
        found.experiments,
        found.runs,
        100.0 * ONE_SIDE,
        error(found.runs),
        found.runs.saturating_mul(AGAIN),
        error(found.runs.saturating_mul(AGAIN)),
        failed(found)
    )
}

fn write_text(found: &Calibration, grid: Grid, out: &mut Out) -> anyhow::Result<()> {
    writeln!(out, "{}", summary(found))?;
    writeln!(
        out,
        "nominal: {} % on one side and {} % on both; ! marks a rate that is too high\n",
        100.0 * ONE_SIDE,
        100.0 * BOTH_SIDES
    )?;
    let rows = match grid {
        Grid::Corners => table::corners(found),
        Grid::Coarse | Grid::Full | Grid::Methods => table::all(found),
    };
    Ok(out.write_all(table::plain(&rows).as_bytes())?)
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

#[cfg(test)]
mod tests;
