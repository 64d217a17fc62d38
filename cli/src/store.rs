//! `sidetrack store`: what a store holds, and what it must forget.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use sidetrack_store::{Catalog, Error, Limits, Store};

use crate::exit::ExitStatus;
use crate::load::count;
use crate::out::Out;
use crate::serve::fault;
use crate::table::{Align, Table};
use crate::words::visible;

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
    /// Delete all exposures, outcomes and predictions of units
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
    open_with(folder, Catalog::default())
}

/// Opens a store that exists.
fn open_with(folder: &Path, catalog: Catalog) -> anyhow::Result<Arc<Store>> {
    // A typing mistake must not make a new store.
    anyhow::ensure!(
        folder.join("store.sqlite").exists(),
        "{} is not a store: it has no file store.sqlite",
        folder.display()
    );
    Store::open(folder, catalog, Limits::default()).map_err(fault)
}

/// The same, of a store that no server uses.
pub(crate) fn open_alone(folder: &Path, catalog: Catalog) -> anyhow::Result<Arc<Store>> {
    open_with(folder, catalog).map_err(|error| {
        let is_locked = error.downcast_ref().is_some_and(|error| matches!(error, Error::Locked(_)));
        if is_locked {
            return anyhow::anyhow!(
                "a server uses the store {}\n  \
                 hint: ask the server: --store http://127.0.0.1:8088, the address that it printed",
                visible(&folder.to_string_lossy())
            );
        }
        error
    })
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
    for (what, count) in [("predictions", info.predictions), ("asked evaluations", info.asked)] {
        if count > 0 {
            writeln!(out, "{what}: {count}")?;
        }
    }
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
        all.predictions += gone.predictions;
    }
    if json {
        out.json(&all)?;
    } else {
        let sidetrack_store::Forgotten { exposures, outcomes, predictions } = all;
        write!(out, "deleted: {exposures} exposures, {outcomes} rows of outcomes")?;
        if predictions > 0 {
            write!(out, ", {predictions} predictions")?;
        }
        writeln!(out)?;
    }
    Ok(ExitStatus::Success)
}
