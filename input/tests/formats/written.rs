//! Rows as text, CSV, Parquet and OTLP.

use std::io::Write as _;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use prost::Message as _;
use serde_json::Value;
use sidetrack::quantity::Timestamp;

use crate::Row;

pub(crate) fn lines(rows: &[Row]) -> Vec<u8> {
    rows.iter().map(|row| Value::Object(row.clone()).to_string() + "\n").collect::<String>().into()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(content, 1).unwrap()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

pub(crate) fn csv(rows: &[Row], separator: char) -> Vec<u8> {
    let names: Vec<&str> = rows[0].keys().map(String::as_str).collect();
    let mut out = names.join(&separator.to_string()) + "\n";
    for row in rows {
        let fields = names.iter().map(|name| {
            let text = text(&row[*name]).unwrap_or_default();
            if text.contains([separator, '"']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text
            }
        });
        out += &(fields.collect::<Vec<_>>().join(&separator.to_string()) + "\n");
    }
    out.into_bytes()
}

/// Parquet with so many rows in a group; numbers and times as such.
pub(crate) fn parquet(rows: &[Row], group: usize) -> Vec<u8> {
    const NUMBERS: [&str; 6] =
        ["bucket", "correct", "duration", "first_byte", "input_tokens", "output_tokens"];
    let names: Vec<&str> = rows[0].keys().map(String::as_str).collect();
    let columns = names.iter().map(|name| match *name {
        "time" => "REQUIRED INT64 time (TIMESTAMP(MICROS,true));".to_owned(),
        "status" => "REQUIRED INT32 status;".to_owned(),
        name if NUMBERS.contains(&name) => format!("OPTIONAL INT64 {name};"),
        name => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
    });
    let schema = format!("message m {{ {} }}", columns.collect::<Vec<_>>().join(" "));
    let schema = parse_message_type(&schema).unwrap();
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let mut out = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut out, Arc::new(schema), Arc::new(properties)).unwrap();
    for rows in rows.chunks(group) {
        let mut group = writer.next_row_group().unwrap();
        let mut fields = names.iter();
        while let Some(mut column) = group.next_column().unwrap() {
            let name = *fields.next().unwrap();
            let values = || rows.iter().map(|row| &row[name]);
            let levels: Vec<i16> = values().map(|value| i16::from(!value.is_null())).collect();
            let there = || values().filter(|value| !value.is_null());
            match column.untyped() {
                ColumnWriter::Int64ColumnWriter(column) if name == "time" => {
                    let time = |value: &Value| {
                        let time = Timestamp::parse(value.as_str().unwrap()).unwrap().get();
                        i64::try_from(time).unwrap() * 1000
                    };
                    let times: Vec<i64> = values().map(time).collect();
                    column.write_batch(&times, None, None).unwrap();
                }
                ColumnWriter::Int32ColumnWriter(column) => {
                    let values: Vec<i32> =
                        values().map(|value| value.as_i64().unwrap() as i32).collect();
                    column.write_batch(&values, None, None).unwrap();
                }
                ColumnWriter::Int64ColumnWriter(column) => {
                    let values: Vec<i64> = there().map(|value| value.as_i64().unwrap()).collect();
                    column.write_batch(&values, Some(&levels), None).unwrap();
                }
                ColumnWriter::ByteArrayColumnWriter(column) => {
                    let values: Vec<ByteArray> =
                        there().map(|value| ByteArray::from(value.as_str().unwrap())).collect();
                    column.write_batch(&values, Some(&levels), None).unwrap();
                }
                _ => panic!("{name}"),
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    out
}

/// What a record says.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    Attributes,
    Line,
    Body,
}

/// Requests with so many records each.
pub(crate) fn requests(rows: &[Row], each: usize, says: Says) -> Vec<ExportLogsServiceRequest> {
    let value = |text: String| AnyValue { value: Some(Any::StringValue(text)) };
    let record = |row: &Row| {
        let fields = row.iter().filter_map(|(key, field)| {
            let field = text(field)?;
            Some(KeyValue { key: key.clone(), value: Some(value(field)), ..KeyValue::default() })
        });
        match says {
            Says::Attributes => LogRecord { attributes: fields.collect(), ..LogRecord::default() },
            Says::Line => {
                let line = Value::Object(row.clone()).to_string();
                LogRecord { body: Some(value(line)), ..LogRecord::default() }
            }
            Says::Body => {
                let values = fields.collect();
                let fields = opentelemetry_proto::tonic::common::v1::KeyValueList { values };
                let body = AnyValue { value: Some(Any::KvlistValue(fields)) };
                LogRecord { body: Some(body), ..LogRecord::default() }
            }
        }
    };
    let request = |rows: &[Row]| {
        let log_records = rows.iter().map(record).collect();
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        ExportLogsServiceRequest { resource_logs }
    };
    rows.chunks(each).map(request).collect()
}

pub(crate) fn otlp_json(requests: &[ExportLogsServiceRequest]) -> Vec<Vec<u8>> {
    requests.iter().map(|request| serde_json::to_vec(request).unwrap()).collect()
}

pub(crate) fn otlp_proto(requests: &[ExportLogsServiceRequest]) -> Vec<Vec<u8>> {
    requests.iter().map(ExportLogsServiceRequest::encode_to_vec).collect()
}

/// Each message behind its length.
pub(crate) fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let frame = |message: &Vec<u8>| {
        let length = u32::try_from(message.len()).unwrap();
        [length.to_be_bytes().to_vec(), message.clone()].concat()
    };
    messages.iter().flat_map(frame).collect()
}
