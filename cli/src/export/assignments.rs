//! `export assignments`: SQL for the first exposure of each unit, for platforms that analyze in the warehouse.

use std::io::Write as _;

use clap::ValueEnum;
use sidetrack_analysis::assignments::{Assignments, Layout, Platform};
use sidetrack_analysis::{Dialect, Moment, Window};

use crate::dialect;
use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load;
use crate::out::Out;

/// Write SQL for the first exposure of each unit: its time, trial and assigned variant
///
/// GrowthBook, Eppo and Statsig analyze an experiment in your warehouse. They need to know which unit was
/// exposed when, in which trial, to which variant. The query keeps the lines of the access log that
/// `analyze run` keeps. Nothing is run: the SQL goes to stdout.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack export assignments experiment.yaml --for growthbook \\\n    --dialect bigquery --table logs.access_log\n  \
    sidetrack export assignments experiment.yaml --for statsig \\\n    --dialect snowflake \
    --table raw.access_log \\\n    --users prod.users.user_id --view ab.first_exposures")]
pub(crate) struct Args {
    #[command(flatten)]
    file: load::File,
    /// Only this experiment; required if the file has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// The platform, which decides the names of the columns
    #[arg(long = "for", value_enum, value_name = "PLATFORM")]
    platform: PlatformName,
    /// The engine that runs the query
    #[arg(long, value_name = "ENGINE", value_parser = dialect::parser())]
    dialect: Dialect,
    /// The table of exposures, whose columns have the names of the log's fields
    #[arg(long, value_name = "TABLE", value_parser = table)]
    table: String,
    /// Which columns the table has
    #[arg(long, value_enum, default_value_t)]
    layout: LayoutName,
    /// A column of plain ids, as in prod.users.user_id: the result then has these in place of the log's
    /// pseudonyms
    #[arg(long, value_name = "TABLE.COLUMN", value_parser = column)]
    users: Option<(String, String)>,
    /// Only exposures since this time: RFC 3339, or a date (midnight UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only exposures before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Write a statement that creates this view, instead of the query alone
    #[arg(long, value_name = "NAME", value_parser = table)]
    view: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlatformName {
    /// An experiment assignment query
    Growthbook,
    /// An assignment SQL definition
    Eppo,
    /// An assignment source of Warehouse Native
    Statsig,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LayoutName {
    /// Those of the access log, with the text `exposure`
    #[default]
    Log,
    /// A column for each of trial, weights, reason and unit, as in the Parquet files of the store
    Fields,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load::load(&args.file.file)?.plan;
    let experiment = load::chosen(&plan, args.experiment.as_deref())?;
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since >= until
    {
        let problem = format!("--until is {until}, but must be later than --since ({since})");
        return Err(Fault(problem).into());
    }
    let wanted = Assignments {
        platform: match args.platform {
            PlatformName::Growthbook => Platform::GrowthBook,
            PlatformName::Eppo => Platform::Eppo,
            PlatformName::Statsig => Platform::Statsig,
        },
        dialect: args.dialect,
        table: &args.table,
        layout: match args.layout {
            LayoutName::Log => Layout::Log,
            LayoutName::Fields => Layout::Fields,
        },
        users: args.users.as_ref().map(|(table, column)| (table.as_str(), column.as_str())),
        window: Window { since: args.since, until: args.until },
        view: args.view.as_deref(),
    };
    let sql = wanted.sql(experiment, plan.settings.exposure_unit).map_err(Fault)?;
    out.write_all(sql.as_bytes())?;
    Ok(ExitStatus::Success)
}

/// A table's name, quoted as its engine requires, or a function that reads files.
fn table(text: &str) -> Result<String, String> {
    let breaks_out = text.contains([';', '\n', '\r']) || text.contains("--") || text.contains("/*");
    if text.trim().is_empty() || breaks_out {
        return Err("expected the name of a table, as in logs.access_log".to_owned());
    }
    Ok(text.to_owned())
}

/// A table and one of its columns.
fn column(text: &str) -> Result<(String, String), String> {
    let expected = || "expected a table and its column, as in prod.users.user_id".to_owned();
    let (name, column) = table(text)?.rsplit_once('.').map_or_else(
        || Err(expected()),
        |(name, column)| Ok((name.to_owned(), column.to_owned())),
    )?;
    if name.is_empty() || column.is_empty() { Err(expected()) } else { Ok((name, column)) }
}
