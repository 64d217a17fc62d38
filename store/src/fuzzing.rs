//! The parsers that meet the network and files of others, for the fuzz target `store`. Each checks what must hold of any input.

use std::sync::OnceLock;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use serde_json::Value;
use sidetrack_analysis::Clock;

use crate::catalog::{Catalog, ExperimentFile};
use crate::exposure::{Exposure, Fields};
use crate::http::{access, ofrep};
use crate::otlp::{self, wire};
use crate::outcome::{Kind, Known, Names, Subject};
use crate::rows::{Format, Rows};

/// The experiment of all inputs.
const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c", "weight": 50}]}]}"#;
/// The most names of values.
const NAMES: usize = 20;

/// What is parsed, and by what.
type Parser = (&'static str, fn(&[u8]));

/// The parsers by number.
pub const PARSERS: [Parser; 10] = [
    ("OTLP in JSON", otlp_json),
    ("OTLP in protobuf", otlp_protobuf),
    ("a line of the log", line),
    ("outcomes in JSON", |data| rows(Kind::Outcomes, Format::Json, data)),
    ("outcomes in lines", |data| rows(Kind::Outcomes, Format::Lines, data)),
    ("outcomes in a table", |data| rows(Kind::Outcomes, Format::Csv, data)),
    ("predictions in JSON", |data| rows(Kind::Predictions, Format::Json, data)),
    ("predictions in a table", |data| rows(Kind::Predictions, Format::Csv, data)),
    ("the body of OFREP", ofrep_body),
    ("headers", headers),
];

#[expect(clippy::expect_used, reason = "the file is a constant")]
fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let plan = sidetrack::config::parse_json(FILE.as_bytes()).expect("a good file");
        let file = ExperimentFile { plan, analyses: Vec::new(), text: String::new() };
        Catalog::new(vec![file]).expect("one experiment")
    })
}

fn otlp_json(data: &[u8]) {
    if let Ok(request) = serde_json::from_slice(data) {
        records(&request);
    }
}

fn otlp_protobuf(data: &[u8]) {
    // The limits come first, as in the server.
    let read = wire::weight(data).and_then(|_| wire::records(data, catalog()));
    for record in read.into_iter().flatten().flatten() {
        same_again(&record);
    }
    let Ok(request) = ExportLogsServiceRequest::decode(data) else { return };
    records(&request);
    // Protobuf is read as its messages are.
    let key = |record: Result<Exposure, _>| record.map(|record| (record.key, record.line()));
    let messages: Vec<_> = otlp::records(&request, catalog()).into_iter().map(key).collect();
    let read = wire::records(&request.encode_to_vec(), catalog());
    assert_eq!(read.map(|read| read.into_iter().map(key).collect()), Ok(messages));
}

fn records(request: &ExportLogsServiceRequest) {
    for record in otlp::records(request, catalog()).into_iter().flatten() {
        same_again(&record);
    }
}

fn line(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let fields = Fields::of_line(line);
    if let Ok(exposure) =
        fields.and_then(|fields| fields.exposure(catalog(), &mut Clock::default()))
    {
        same_again(&exposure);
    }
}

/// The line that is stored means the same as what arrived.
fn same_again(exposure: &Exposure) {
    let line = exposure.line();
    let again = Exposure::of_stored_line(exposure.time, &line);
    let again = again.map(|again| (again.key, again.line()));
    assert_eq!(again, Some((exposure.key, line.clone())));
    let fields = Fields::of_line(&line);
    let arrived = fields.and_then(|fields| fields.exposure(catalog(), &mut Clock::default()));
    assert_eq!(arrived.map(|again| again.key), Ok(exposure.key), "{line}");
    assert_eq!(line.bytes().filter(|byte| *byte == b'\n').count(), 1, "{line}");
}

/// What is accepted is accepted again in the form in which it is stored, and is the same row.
fn rows(kind: Kind, format: Format, data: &[u8]) {
    let names = Names::new(std::collections::BTreeSet::new(), NAMES);
    let known = Known { kind, catalog: catalog(), names: &names };
    let Ok(rows) = Rows::read(format, data, known) else { return };
    assert!(names.count() <= NAMES);
    assert_eq!(rows.accepted, rows.outcomes.len() as u64);
    assert!(rows.rejected.len() as u64 <= rows.refused);
    for outcome in rows.outcomes {
        let mut row = outcome.row.clone();
        let (name, id) = match &outcome.subject {
            Subject::Request(id) | Subject::Prediction { request: id, .. } => ("request_id", id),
            Subject::Unit { unit, .. } => ("unit", unit),
        };
        row.insert(name.to_owned(), id.as_str().into());
        if let Subject::Prediction { source, .. } = &outcome.subject {
            row.insert("source".to_owned(), source.name().into());
        }
        let text = Value::Object(row).to_string();
        let again = Rows::read(Format::Lines, text.as_bytes(), known).unwrap_or_default();
        let again: Vec<_> = again.outcomes.into_iter().map(|row| (row.subject, row.row)).collect();
        assert_eq!(again, [(outcome.subject, outcome.row)], "{text}");
    }
}

fn ofrep_body(data: &[u8]) {
    if let Ok(key) = ofrep::targeting_key(data) {
        assert!(!key.is_empty() && key.chars().count() <= 512);
    }
}

fn headers(data: &[u8]) {
    if let Some(token) = access::token(data, false) {
        assert!(data.ends_with(&token));
    }
    access::token(data, true);
    if let Ok(host) = std::str::from_utf8(data)
        && access::is_local(host)
    {
        // No name of another site has only these characters, but for localhost.
        let rest = host.to_ascii_lowercase().replace("localhost", "");
        let is_address = |byte: u8| byte.is_ascii_hexdigit() || b".:[]%".contains(&byte);
        assert!(rest.bytes().all(is_address), "{host}");
        assert!(
            !rest.bytes().any(|byte| byte.is_ascii_alphabetic()) || host.contains(':'),
            "{host}"
        );
    }
}
