//! The tables of an analysis and the series of its plots, for notebooks and other programs: CSV or Parquet, at full
//! precision. An undefined number is an empty field in CSV and null in Parquet.

mod file;
mod of_analysis;

use std::fs;
use std::path::Path;

use sidetrack_analysis::{Analysis, Series};

use crate::error::Error;

/// How tables are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TablesFormat {
    /// With a header.
    #[default]
    Csv,
    /// Compressed with Snappy.
    Parquet,
}

impl std::str::FromStr for TablesFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            other => Err(format!("unknown format \"{other}\"; expected one of: csv, parquet")),
        }
    }
}

/// A table: the types of its columns are those of its values.
#[derive(Debug)]
struct Table {
    name: &'static str,
    columns: Vec<(&'static str, Kind)>,
    rows: Vec<Vec<Value>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Count,
    Number,
}

/// A value; `Number(None)` is undefined.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(Option<String>),
    Count(u64),
    Number(Option<f64>),
}

/// Writes all tables into a folder, which is created. Tables without rows are written as well, so that a reader finds
/// the same files each time.
///
/// # Errors
/// A file cannot be written.
pub fn write_tables(
    folder: &Path,
    format: TablesFormat,
    analysis: &Analysis,
    series: &Series,
) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    for table in of_analysis::tables(analysis, series) {
        match format {
            TablesFormat::Csv => file::csv(&folder.join(format!("{}.csv", table.name)), &table)?,
            TablesFormat::Parquet => {
                file::parquet(&folder.join(format!("{}.parquet", table.name)), &table)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            name: "t",
            columns: vec![("name", Kind::Text), ("n", Kind::Count), ("x", Kind::Number)],
            rows: vec![
                vec![
                    Value::Text(Some("a,\"b\"".to_owned())),
                    Value::Count(u64::from(u32::MAX) + 1),
                    Value::Number(Some(0.1 + 0.2)),
                ],
                vec![Value::Text(None), Value::Count(0), Value::Number(None)],
            ],
        }
    }

    #[test]
    fn a_csv_has_every_digit_and_quotes_what_it_must() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        file::csv(&path, &table()).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text, "name,n,x\n\"a,\"\"b\"\"\",4294967296,0.30000000000000004\n,0,\n");
    }

    #[test]
    fn a_parquet_file_has_types_and_nulls() {
        use parquet::file::reader::{FileReader as _, SerializedFileReader};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        file::parquet(&path, &table()).unwrap();
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let rows = reader.get_row_iter(None).unwrap();
        let text: Vec<String> = rows.map(|row| row.unwrap().to_string()).collect();
        assert_eq!(text.len(), 2);
        assert!(text[0].contains("4294967296") && text[0].contains("0.30000000000000004"));
        assert!(text[1].contains("name: null") && text[1].contains("x: null"), "{}", text[1]);
    }
}
