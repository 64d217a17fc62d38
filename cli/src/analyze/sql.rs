//! `sidetrack analyze sql`: the query by which an engine makes the table of sums that `analyze summary` reads.
//!
//! The query is one template; what engines call differently is in a file of macros for each of them.

mod context;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args as Arguments, ValueEnum};
use minijinja::syntax::SyntaxConfig;
use sidetrack::quantity::Millis;
use sidetrack_analysis::summary::{Choices, Column, measures};
use sidetrack_analysis::{Cap, Moment, Short, Strata, Window};

use super::run::{Metrics, attribution, mistake, planned_experiment};
use crate::fault::Fault;
use crate::load::{File, Source};
use crate::out::Out;
use crate::template;

/// Write the SQL query that sums up an experiment in your engine
///
/// The query reads a table of exposures, whose columns are the keys of the access log, and a table of outcomes. Its
/// result is a small table, which `analyze summary` turns into the verdict of `analyze run`. docs/scale.md has examples.
#[derive(Arguments)]
#[command(
    after_help = "Example:\n  sidetrack analyze sql experiment.yaml --dialect duckdb \\\n    --exposures \"'access.parquet'\" \
    --outcomes labels \\\n    --by request_id --column correct > sums.sql\n  \
    duckdb -csv < sums.sql | sidetrack analyze summary experiment.yaml --from -"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Which experiment of the file; required if it has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// The engine
    #[arg(long, value_name = "ENGINE")]
    dialect: Dialect,
    /// The table of exposures, as the engine names it
    #[arg(long, value_name = "TABLE", default_value = "exposures")]
    exposures: String,
    /// The table has the columns trial, plan, weights, reason, bucket and unit instead of `exposure`
    #[arg(long)]
    typed: bool,
    /// The table of outcomes, as the engine names it
    #[arg(long, value_name = "TABLE", requires_all = ["by", "column"])]
    outcomes: Option<String>,
    /// The key of the outcomes
    #[arg(long, value_name = "KEY", requires = "outcomes")]
    by: Option<By>,
    /// A column of the outcomes with numbers. `correct` is the metric accuracy
    #[arg(long, value_name = "NAME", requires = "outcomes")]
    column: Vec<String>,
    /// A column with nothing but 0 and 1; it need not be given as --column
    #[arg(long, value_name = "NAME", requires = "outcomes")]
    binary: Vec<String>,
    /// The outcomes have no column `time`
    #[arg(long, requires = "outcomes")]
    untimed: bool,
    /// The trial to analyze, as `trial` in the log [default: that of the file]
    #[arg(long, value_name = "HEX")]
    trial: Option<Short>,
    /// Only requests since this time: RFC 3339, or a date (midnight UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only requests before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// How long outcomes count, from the first request of their unit in a phase, as in 7d
    #[arg(long, value_name = "TIME", value_parser = attribution)]
    attribution: Option<Millis>,
    /// Cap the values of units at this quantile of all units, as in revenue=99.9%
    #[arg(long, value_name = "METRIC=QUANTILE")]
    cap: Vec<Cap>,
    #[command(flatten)]
    metrics: Metrics,
}

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dialect {
    Duckdb,
    Postgres,
    Clickhouse,
    Spark,
    /// Parsed by the tests, but not run there
    Bigquery,
    /// Parsed by the tests, but not run there
    Snowflake,
}

/// The key of the outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum By {
    RequestId,
    Unit,
}

impl Dialect {
    const fn name(self) -> &'static str {
        match self {
            Self::Duckdb => "DuckDB",
            Self::Postgres => "PostgreSQL",
            Self::Clickhouse => "ClickHouse",
            Self::Spark => "Spark SQL",
            Self::Bigquery => "BigQuery",
            Self::Snowflake => "Snowflake",
        }
    }

    /// Whether the tests have run the query there.
    const fn has_run(self) -> bool {
        !matches!(self, Self::Bigquery | Self::Snowflake)
    }

    /// What the engine calls differently.
    const fn macros(self) -> &'static str {
        match self {
            Self::Duckdb => include_str!("../../templates/sql/duckdb.sql"),
            Self::Postgres => include_str!("../../templates/sql/postgres.sql"),
            Self::Clickhouse => include_str!("../../templates/sql/clickhouse.sql"),
            Self::Spark => include_str!("../../templates/sql/spark.sql"),
            Self::Bigquery => include_str!("../../templates/sql/bigquery.sql"),
            Self::Snowflake => include_str!("../../templates/sql/snowflake.sql"),
        }
    }
}

impl Args {
    /// The columns with their metrics.
    fn columns(&self) -> anyhow::Result<Vec<(String, Column)>> {
        let plain = self.column.iter().filter(|name| !self.binary.contains(name));
        let all = plain.map(|name| (name, name == "correct"));
        let all = all.chain(self.binary.iter().map(|name| (name, true)));
        let column = |(name, binary): (&String, bool)| {
            let is_name = |text: &str| {
                text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            };
            if name.is_empty()
                || name.starts_with(|letter: char| letter.is_ascii_digit())
                || !is_name(name)
            {
                let name = crate::words::visible(name);
                let problem = format!(
                    "\"{name}\" is not a plain column name; make a view that gives it one of letters, \
                     digits and \"_\""
                );
                return Err(Fault(problem).into());
            }
            let metric = if name == "correct" { "accuracy" } else { name };
            Ok((name.clone(), Column { name: metric.to_owned(), binary }))
        };
        let mut columns: Vec<(String, Column)> = all.map(column).collect::<anyhow::Result<_>>()?;
        // The first column is that of the accuracy, as in files.
        columns.sort_by_key(|(name, _)| name != "correct");
        Ok(columns)
    }

    fn choices(&self) -> Choices {
        Choices {
            trial: self.trial,
            window: Window { since: self.since, until: self.until },
            attribution: self.attribution,
            caps: self.cap.clone(),
            exclude_breaker: false,
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let source = Source::read(&args.file.file)?;
    let loaded = source.good()?;
    let (experiment, planned) = planned_experiment(&loaded, args.experiment.as_deref())?;
    let text = String::from_utf8_lossy(source.bytes());
    let strata = Strata::new(experiment, &text).map_err(mistake)?;
    let columns = args.columns()?;
    let names: Vec<String> = columns.iter().map(|(_, column)| column.name.clone()).collect();
    let settings = args.metrics.settings(planned, &names, &args.choices())?;
    let by_request = args.by == Some(By::RequestId);
    let of_columns: Vec<Column> = columns.iter().map(|(_, column)| column.clone()).collect();
    let measures = measures(&of_columns, by_request, &settings).map_err(mistake)?;
    let has_segments = planned.is_some_and(|plan| !plan.segments.is_empty());
    let asked =
        context::Asked { args, experiment, strata: &strata, settings: &settings, has_segments };
    let context = asked.context(&columns, &measures)?;
    let mut environment = template::environment()?;
    // Line ends matter: a comment ends with its line.
    environment.set_syntax(SyntaxConfig::builder().build()?);
    environment.add_function("quote", |text: &str| format!("'{}'", text.replace('\'', "''")));
    environment.add_template("dialect", args.dialect.macros())?;
    environment.add_template("query", include_str!("../../templates/sql/query.sql"))?;
    let query = environment.get_template("query")?.render(template::value(&context)?)?;
    for line in query.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}
