//! `sidetrack store`: what a store holds, and what it must forget.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use sidetrack_store::{Catalog, Limits, Store};

use crate::exit::ExitStatus;
use crate::load::count;
use crate::out::Out;
use crate::serve::fault;
use crate::table::{Align, Table};

/// Show what a store holds, or delete from it
///
/// Stop `sidetrack serve` first: a store is used by one process at a time.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack store info data\n  \
    sidetrack store forget data user-4711\n  \
    sidetrack store forget data - < units.txt")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show experiments, trials, outcomes and sizes
    Info {
        /// The folder of the store
        #[arg(value_name = "DIR")]
        store: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete all exposures and outcomes of units
    ///
    /// Finds a unit in plain text, and by its pseudonyms in all trials that the store has seen. Sums by minute stay; they
    /// name no unit.
    Forget {
        /// The folder of the store
        #[arg(value_name = "DIR")]
        store: PathBuf,
        /// The units, in plain text; "-" reads one per line from stdin
        #[arg(value_name = "UNIT", required = true, num_args = 1..)]
        units: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    match &args.command {
        Command::Info { store, json } => info(&*open(store)?, *json, out),
        Command::Forget { store, units, json } => forget(&*open(store)?, units, *json, out),
    }
}

fn open(folder: &Path) -> anyhow::Result<Arc<Store>> {
    // A typing mistake must not make a new store.
    anyhow::ensure!(
        folder.join("store.sqlite").exists(),
        "{} is not a store: it has no file store.sqlite",
        folder.display()
    );
    Store::open(folder, Catalog::default(), Limits::default()).map_err(fault)
}

fn info(store: &Store, json: bool, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let info = store.info().map_err(fault)?;
    if json {
        out.json(&info)?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left, Align::Left]);
    table.head(["experiment", "trial", "exposures", "from", "to"], out.ink());
    for trial in &info.trials {
        let day = |time: &str| time.get(..16).unwrap_or_default().replace('T', " ");
        table.row([
            trial.experiment.clone().into(),
            trial.trial.clone().into(),
            trial.exposures.to_string().into(),
            day(&trial.from).into(),
            day(&trial.to).into(),
        ]);
    }
    table.write(out)?;
    let kib = |bytes: u64| bytes.div_ceil(1024);
    writeln!(
        out,
        "outcomes: {} by request, {} by unit and experiment; metrics: {}",
        info.request_outcomes,
        info.unit_outcomes,
        if info.metrics.is_empty() { "none".to_owned() } else { info.metrics.join(", ") }
    )?;
    writeln!(
        out,
        "database: {} KiB; {}: {} KiB",
        kib(info.database_bytes),
        count(usize::try_from(info.segments).unwrap_or(usize::MAX), "segment"),
        kib(info.segment_bytes)
    )?;
    Ok(ExitStatus::Success)
}

fn forget(
    store: &Store,
    units: &[String],
    json: bool,
    out: &mut Out,
) -> anyhow::Result<ExitStatus> {
    let units = if units == ["-"] {
        std::io::stdin().lock().lines().collect::<Result<Vec<_>, _>>()?
    } else {
        units.to_vec()
    };
    let mut all = sidetrack_store::Forgotten::default();
    for unit in units.iter().filter(|unit| !unit.is_empty()) {
        let gone = store.forget(unit).map_err(fault)?;
        all.exposures += gone.exposures;
        all.outcomes += gone.outcomes;
    }
    if json {
        out.json(&all)?;
    } else {
        writeln!(out, "deleted: {} exposures, {} rows of outcomes", all.exposures, all.outcomes)?;
    }
    Ok(ExitStatus::Success)
}
