use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::*;
use crate::exposure::tests::catalog;

fn value(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn pairs(pairs: &[(&str, Any)]) -> Vec<KeyValue> {
    let pair = |(key, any): &(&str, Any)| KeyValue {
        key: (*key).to_owned(),
        value: Some(value(any.clone())),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

fn good() -> Vec<(&'static str, Any)> {
    vec![
        ("experiment", text("e")),
        ("assigned", text("c")),
        ("status", Any::IntValue(200)),
        ("duration", Any::DoubleValue(7.0)),
        ("rescued", Any::BoolValue(true)),
        ("phase", Any::ArrayValue(ArrayValue { values: vec![value(text("x"))] })),
        ("exposure", text("trial=5cda82bb weights=c=1/2 reason=hash bucket=7 unit=anna b=c")),
        ("request_id", text("r")),
    ]
}

fn request(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let resource = Some(Resource { attributes: pairs(&good()), ..Resource::default() });
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    let resource_logs = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs::default(), resource_logs] }
}

/// What became of a record, as text.
fn shown(record: Result<Exposure, Unfit>) -> Result<String, Unfit> {
    record.map(|exposure| exposure.line())
}

#[test]
fn protobuf_is_read_as_its_messages_are() {
    let now = 1_764_000_000_123_456_789;
    let mut records = Vec::new();
    let mut add = |attributes: &[(&str, Any)], body: Option<Any>| {
        records.push(LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now + 1,
            severity_text: "info".to_owned(),
            trace_id: vec![1; 16],
            flags: 3,
            attributes: pairs(attributes),
            body: body.map(value),
            ..LogRecord::default()
        });
    };
    add(&good(), None);
    add(&good(), Some(text("{}")));
    add(
        &[],
        Some(text(
            " {\"experiment\": \"e\", \"assigned\": \"b\", \"status\": 503, \"duration\": 1}",
        )),
    );
    add(&[], Some(text("{ no json")));
    add(&[("status", text("200"))], Some(text("no line")));
    add(&[], Some(Any::KvlistValue(KeyValueList { values: pairs(&good()) })));
    add(&[("experiment", text("other"))], None);
    add(&[("experiment", text("e")), ("status", text("-"))], None);
    add(
        &[&good()[..], &[("time", text("2026-11-23T09:00:00Z")), ("status", text("503"))]].concat(),
        None,
    );
    add(&[], None);
    records.push(LogRecord { time_unix_nano: 0, ..records[0].clone() });
    records.push(LogRecord { time_unix_nano: 0, observed_time_unix_nano: 0, ..records[0].clone() });
    let request = request(records);
    let bytes = request.encode_to_vec();
    let read: Vec<_> = super::records(&bytes, &catalog()).unwrap().into_iter().map(shown).collect();
    let messages: Vec<_> =
        crate::otlp::records(&request, &catalog()).into_iter().map(shown).collect();
    assert_eq!(read, messages);
    assert_eq!(read.iter().filter(|record| record.is_ok()).count(), 6, "{read:?}");
    let first = read[0].as_deref().unwrap();
    assert!(
        first.contains(r#""rescued":"true","#) || first.contains(r#""rescued":"true"}"#),
        "{first}"
    );
    assert!(first.contains(r#""time":"2025-11-24T16:00:00.123Z""#), "{first}");
}

#[test]
fn what_breaks_off_is_refused() {
    let record = LogRecord { attributes: pairs(&good()), ..LogRecord::default() };
    let bytes = request(vec![record]).encode_to_vec();
    assert!(records(&bytes, &catalog()).is_ok());
    for length in 1..bytes.len() {
        // The first resource is a request of its own.
        let part = bytes.get(..length).unwrap();
        let is_whole = ExportLogsServiceRequest::decode(part).is_ok();
        assert_eq!(records(part, &catalog()).is_ok(), is_whole, "{length}");
        assert_eq!(weight(part).is_ok(), is_whole, "{length}");
    }
    // A field with another type, a group, and text that is not UTF-8.
    for bad in [[0x08, 1].as_slice(), &[0x0b], &[0x0a, 2, 0x10, 1]] {
        assert_eq!(
            records(bad, &catalog()).map(|records| records.len()),
            Err(Malformed),
            "{bad:?}"
        );
    }
    let name = b"assigned";
    let at = bytes.windows(name.len()).rposition(|part| part == name).unwrap();
    let mut broken = bytes;
    broken[at] = 0xff;
    assert_eq!(records(&broken, &catalog()).map(|records| records.len()), Err(Malformed));
}

#[test]
fn empty_records_weigh_what_they_become() {
    let empty = |count| request(vec![LogRecord::default(); count]).encode_to_vec();
    let weight = weight(&empty(1000)).unwrap();
    let records = records(&empty(1000), &catalog()).unwrap();
    assert!(weight >= records.capacity() * size_of::<Result<Exposure, Unfit>>(), "{weight}");
}
