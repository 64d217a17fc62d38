//! The option `--dialect`: a name of an SQL engine.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use sidetrack_analysis::Dialect;

/// Reads a dialect; help and completions list all of them.
pub(crate) fn parser() -> impl TypedValueParser<Value = Dialect> {
    let value = |dialect: Dialect| {
        let value = PossibleValue::new(dialect.as_str());
        match dialect {
            Dialect::Spark => value.help("Also Databricks"),
            _ if has_run(dialect) => value,
            _ => value.help("Parsed by the tests, but not run there"),
        }
    };
    PossibleValuesParser::new(Dialect::ALL.map(value)).try_map(|name| name.parse::<Dialect>())
}

/// Whether the tests run queries there.
pub(crate) const fn has_run(dialect: Dialect) -> bool {
    !matches!(dialect, Dialect::BigQuery | Dialect::Snowflake)
}
