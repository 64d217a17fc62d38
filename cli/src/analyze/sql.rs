//! `sidetrack analyze sql`: the query by which an engine makes the table of sums that `analyze summary` reads.
//!
//! The query is one template; what engines call differently is in a file of macros for each of them.

mod context;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args as Arguments, ValueEnum};
use minijinja::syntax::SyntaxConfig;
use sidetrack::config::Methods;
use sidetrack::quantity::Millis;
use sidetrack_analysis::plan::AnalysisPlan;
use sidetrack_analysis::summary::{Choices, Column, measures};
use sidetrack_analysis::{
    Cap, Dialect, Dimension, Moment, Settings, Short, Strata, Window, dimension,
};

use super::run::{Metrics, attribution, mistake, planned_experiment};
use crate::dialect;
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
    --outcomes \"'labels.parquet'\" \\\n    --by request_id --column correct > sums.sql\n  \
    duckdb -csv < sums.sql | sidetrack analyze summary experiment.yaml --from -"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Which experiment of the file; required if it has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// The engine
    #[arg(long, value_name = "ENGINE", value_parser = dialect::parser())]
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
    /// A column of the outcomes with a number of each unit from before its first request (CUPED); it need
    /// not be given as --column
    #[arg(long, value_name = "NAME", requires = "outcomes")]
    covariate: Vec<String>,
    /// Show the results by a column of the exposures as well, as in country; segments decide nothing
    #[arg(long, value_name = "NAME", value_parser = dimension)]
    segment: Vec<String>,
    /// Show the results by a column of the outcomes as well. Segments of the plan are columns of the
    /// exposures unless they are given here
    #[arg(long, value_name = "NAME", value_parser = dimension, requires = "outcomes")]
    outcome_segment: Vec<String>,
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

/// The key of the outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum By {
    RequestId,
    Unit,
}

/// What an engine calls differently.
const fn macros(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::DuckDb => include_str!("../../templates/sql/duckdb.sql"),
        Dialect::Postgres => include_str!("../../templates/sql/postgres.sql"),
        Dialect::ClickHouse => include_str!("../../templates/sql/clickhouse.sql"),
        Dialect::Spark => include_str!("../../templates/sql/spark.sql"),
        Dialect::BigQuery => include_str!("../../templates/sql/bigquery.sql"),
        Dialect::Snowflake => include_str!("../../templates/sql/snowflake.sql"),
    }
}

impl Args {
    /// The columns with their metrics. `covariates`: those that the outcomes have as well.
    fn columns(&self, covariates: &[String]) -> anyhow::Result<Vec<(String, Column)>> {
        let plain = self.column.iter().filter(|name| !self.binary.contains(name));
        let all = plain.map(|name| (name, name == "correct"));
        let all = all.chain(self.binary.iter().map(|name| (name, true)));
        let is_given = |name: &&String| self.column.contains(name) || self.binary.contains(name);
        let more = covariates.iter().filter(|name| !is_given(name)).map(|name| (name, false));
        let column = |(name, binary): (&String, bool)| {
            is_column(name)?;
            let metric = if name == "correct" { "accuracy" } else { name };
            Ok((name.clone(), Column { name: metric.to_owned(), binary }))
        };
        let columns = all.chain(more).map(column);
        let mut columns: Vec<(String, Column)> = columns.collect::<anyhow::Result<_>>()?;
        // The first column is that of the accuracy, as in files.
        columns.sort_by_key(|(name, _)| name != "correct");
        Ok(columns)
    }

    /// By what results are shown separately: those of the plan first.
    fn dimensions(&self, planned: Option<&AnalysisPlan>) -> anyhow::Result<Vec<Dimension>> {
        let mut asked: Vec<String> = Vec::new();
        for name in self.segment.iter().chain(&self.outcome_segment) {
            is_column(name)?;
            if !asked.contains(name) {
                asked.push(name.clone());
            }
        }
        let planned = planned.cloned().unwrap_or_default();
        planned.segments.iter().try_for_each(|name| is_column(name))?;
        Ok(planned.dimensions(&asked))
    }

    /// The methods of the plan, with the covariates that are asked for.
    fn methods(&self, planned: Option<&AnalysisPlan>) -> Methods {
        let asked = Methods { covariates: self.covariate.clone(), ..Methods::default() };
        let methods = planned.cloned().unwrap_or_default().methods(&asked, &mut Vec::new());
        // Without outcomes, there is nothing to adjust.
        if self.outcomes.is_some() {
            methods
        } else {
            Methods { covariates: Vec::new(), ..methods }
        }
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

/// A name that needs no quotes.
fn is_column(name: &str) -> anyhow::Result<()> {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_plain && !name.is_empty() && !name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Ok(());
    }
    let name = crate::words::visible(name);
    let problem = format!(
        "\"{name}\" is not a plain column name; make a view that gives it one of letters, digits and \"_\""
    );
    Err(Fault(problem).into())
}

/// Refuses a table with the name of a step: the query would read its own step instead.
fn is_no_step(option: &str, table: &str) -> anyhow::Result<()> {
    let steps = PARTS.iter().flat_map(|(_, text)| text.split("d.step('").skip(1));
    let mut names = steps.filter_map(|text| text.split('\'').next());
    if !names.any(|name| name.eq_ignore_ascii_case(table.trim())) {
        return Ok(());
    }
    let problem = format!(
        "{option}: the query has a step named {table} as well; give the table with its schema, as in \
         main.{table}"
    );
    Err(Fault(problem).into())
}

/// The parts of the query.
const PARTS: [(&str, &str); 7] = [
    ("query", include_str!("../../templates/sql/query.sql")),
    ("days", include_str!("../../templates/sql/query/days.sql")),
    ("days_rows", include_str!("../../templates/sql/query/days_rows.sql")),
    ("segments", include_str!("../../templates/sql/query/segments.sql")),
    ("segments_rows", include_str!("../../templates/sql/query/segments_rows.sql")),
    ("covariates", include_str!("../../templates/sql/query/covariates.sql")),
    ("covariates_rows", include_str!("../../templates/sql/query/covariates_rows.sql")),
];

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let source = Source::read(&args.file.file)?;
    let loaded = source.good()?;
    let (experiment, planned) = planned_experiment(&loaded, args.experiment.as_deref())?;
    let text = String::from_utf8_lossy(source.bytes());
    let strata = Strata::new(experiment, &text).map_err(mistake)?;
    is_no_step("--exposures", &args.exposures)?;
    args.outcomes.as_deref().map_or(Ok(()), |table| is_no_step("--outcomes", table))?;
    let methods = args.methods(planned);
    let segments = args.dimensions(planned)?;
    let columns = args.columns(&methods.covariates)?;
    let names: Vec<String> = columns.iter().map(|(_, column)| column.name.clone()).collect();
    let settings = args.metrics.settings(planned, &names, &args.choices())?;
    let settings = Settings { methods, segments, ..settings };
    let by_request = args.by == Some(By::RequestId);
    let of_columns: Vec<Column> = columns.iter().map(|(_, column)| column.clone()).collect();
    let measures = measures(&of_columns, by_request, &settings).map_err(mistake)?;
    let asked = context::Asked { args, experiment, strata: &strata, settings: &settings };
    let context = asked.context(&columns, &measures)?;
    let mut environment = template::environment()?;
    // Line ends matter: a comment ends with its line.
    environment.set_syntax(SyntaxConfig::builder().build()?);
    environment.add_function("quote", |text: &str| format!("'{}'", text.replace('\'', "''")));
    environment.add_template("dialect", macros(args.dialect))?;
    for (name, text) in PARTS {
        environment.add_template(name, text)?;
    }
    let query = environment.get_template("query")?.render(template::value(&context)?)?;
    for line in query.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}
