//! Files of tables.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{Kind, Table, Value};
use crate::error::Error;

/// As RFC 4180 has it.
pub(super) fn csv(path: &Path, table: &Table) -> Result<(), Error> {
    let fail = |error: csv::Error| Error::io(path)(std::io::Error::other(error.to_string()));
    let mut writer = csv::Writer::from_path(path).map_err(fail)?;
    writer.write_record(table.columns.iter().map(|(name, _)| *name)).map_err(fail)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(text)).map_err(fail)?;
    }
    writer.flush().map_err(Error::io(path))
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone().unwrap_or_default(),
        Value::Count(count) => count.to_string(),
        Value::Number(number) => number.map(|number| number.to_string()).unwrap_or_default(),
    }
}

pub(super) fn parquet(path: &Path, table: &Table) -> Result<(), Error> {
    let fail = |error: ParquetError| Error::io(path)(std::io::Error::other(error.to_string()));
    let columns = table.columns.iter().map(|(name, kind)| match kind {
        Kind::Text => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
        Kind::Count => format!("REQUIRED INT64 {name};"),
        Kind::Number => format!("OPTIONAL DOUBLE {name};"),
    });
    let schema = format!("message {} {{ {} }}", table.name, columns.collect::<String>());
    let schema = parse_message_type(&schema).map_err(fail)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = File::create(path).map_err(Error::io(path))?;
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(fail)?;
    write(&mut writer, table).map_err(fail)?;
    writer.close().map_err(fail)?;
    Ok(())
}

fn write(writer: &mut SerializedFileWriter<File>, table: &Table) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    let mut at = 0;
    while let Some(mut column) = group.next_column()? {
        let values = || table.rows.iter().filter_map(|row| row.get(at));
        let is_known = |value: &Value| !matches!(value, Value::Text(None) | Value::Number(None));
        let levels: Vec<i16> = values().map(|value| i16::from(is_known(value))).collect();
        match column.untyped() {
            ColumnWriter::Int64ColumnWriter(column) => {
                let counts = values().map(|value| match value {
                    Value::Count(count) => i64::try_from(*count).unwrap_or(i64::MAX),
                    _ => 0,
                });
                column.write_batch(&counts.collect::<Vec<_>>(), None, None)?;
            }
            ColumnWriter::DoubleColumnWriter(column) => {
                let numbers = values().filter_map(|value| match value {
                    Value::Number(number) => *number,
                    _ => None,
                });
                column.write_batch(&numbers.collect::<Vec<_>>(), Some(&levels), None)?;
            }
            ColumnWriter::ByteArrayColumnWriter(column) => {
                let texts = values().filter_map(|value| match value {
                    Value::Text(text) => text.as_deref().map(ByteArray::from),
                    _ => None,
                });
                column.write_batch(&texts.collect::<Vec<_>>(), Some(&levels), None)?;
            }
            _ => return Err(ParquetError::General("unexpected type of a column".to_owned())),
        }
        column.close()?;
        at += 1;
    }
    group.close()?;
    Ok(())
}
