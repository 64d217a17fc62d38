//! The SQL engines, and what differs between them for the first exposures: times, the digest of a unit, and the fields of
//! an exposure.
//!
//! The bytes before the unit, with their zero bytes, are a constant in hexadecimal: text in PostgreSQL cannot contain a
//! zero byte, and others escape it in different ways.

use std::fmt;
use std::str::FromStr;

use sidetrack::names::log;

/// An SQL engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// DuckDB.
    DuckDb,
    /// PostgreSQL 11 or newer.
    Postgres,
    /// Google BigQuery.
    BigQuery,
    /// Snowflake.
    Snowflake,
    /// Spark SQL and Databricks.
    Spark,
    /// ClickHouse.
    ClickHouse,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::DuckDb,
        Self::Postgres,
        Self::ClickHouse,
        Self::Spark,
        Self::BigQuery,
        Self::Snowflake,
    ];

    /// Its name as an option.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DuckDb => "duckdb",
            Self::Postgres => "postgres",
            Self::ClickHouse => "clickhouse",
            Self::Spark => "spark",
            Self::BigQuery => "bigquery",
            Self::Snowflake => "snowflake",
        }
    }

    /// Text as a point in time.
    pub(crate) fn time(self, text: &str) -> String {
        match self {
            Self::DuckDb | Self::Postgres => format!("CAST({text} AS TIMESTAMPTZ)"),
            Self::BigQuery | Self::Spark => format!("CAST({text} AS TIMESTAMP)"),
            Self::Snowflake => format!("CAST({text} AS TIMESTAMP_TZ)"),
            Self::ClickHouse => format!("parseDateTime64BestEffort(toString({text}), 3, 'UTC')"),
        }
    }

    /// A column as text.
    pub(crate) fn text(self, column: &str) -> String {
        match self {
            Self::DuckDb | Self::Postgres | Self::Snowflake => format!("CAST({column} AS VARCHAR)"),
            Self::BigQuery | Self::Spark => format!("CAST({column} AS STRING)"),
            Self::ClickHouse => format!("toString({column})"),
        }
    }

    /// The first 32 hexadecimal digits of SHA-256 over `prefix` and an id, in lower case.
    pub(crate) fn digest(self, prefix: &str, id: &str) -> String {
        let hex: String = prefix.bytes().map(|byte| format!("{byte:02x}")).collect();
        let id = self.text(id);
        match self {
            Self::DuckDb => format!("LEFT(SHA256(UNHEX('{hex}') || ENCODE({id})), 32)"),
            Self::Postgres => format!(
                "LEFT(ENCODE(SHA256(DECODE('{hex}', 'hex') || CONVERT_TO({id}, 'UTF8')), 'hex'), 32)"
            ),
            Self::BigQuery => format!(
                "SUBSTR(TO_HEX(SHA256(CONCAT(FROM_HEX('{hex}'), CAST({id} AS BYTES)))), 1, 32)"
            ),
            Self::Snowflake => {
                format!("LEFT(SHA2_HEX(TO_BINARY('{hex}' || HEX_ENCODE({id}), 'HEX'), 256), 32)")
            }
            Self::Spark => {
                format!("LEFT(SHA2(CONCAT(UNHEX('{hex}'), ENCODE({id}, 'UTF-8')), 256), 32)")
            }
            Self::ClickHouse => {
                format!("lower(left(hex(SHA256(concat(unhex('{hex}'), {id}))), 32))")
            }
        }
    }

    /// A value of the text `exposure`, or null. The unit comes last and extends to the end of the text.
    pub(crate) fn exposure_field(self, name: &str) -> String {
        let value = if name == log::UNIT { ".*" } else { "[^ ]*" };
        let column = log::EXPOSURE;
        let pattern = format!("(^| ){name}=({value})");
        let found = match self {
            Self::DuckDb | Self::Spark => format!("regexp_extract({column}, '{pattern}', 2)"),
            Self::Postgres => format!("substring({column} from '(?:^| ){name}=({value})')"),
            Self::BigQuery => format!("REGEXP_EXTRACT({column}, r'(?:^| ){name}=({value})')"),
            Self::Snowflake => format!("REGEXP_SUBSTR({column}, '{pattern}', 1, 1, 'e', 2)"),
            Self::ClickHouse => format!("extract({column}, '(?:^| ){name}=({value})')"),
        };
        format!("NULLIF({found}, '')")
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuckDb => "DuckDB",
            Self::Postgres => "PostgreSQL",
            Self::BigQuery => "BigQuery",
            Self::Snowflake => "Snowflake",
            Self::Spark => "Spark SQL",
            Self::ClickHouse => "ClickHouse",
        })
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|dialect| dialect.as_str() == text);
        found.ok_or_else(|| format!("expected one of: {}", names()))
    }
}

/// Text as a literal.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
