//! OTLP log records as exposures: attributes with the names of the log's fields, as Envoy's access logger and the rendered
//! configurations send them; or a body that is a line of the access log, as a collector reads it from a file.

use std::borrow::Cow;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use sidetrack::names::log;
use sidetrack::quantity::Timestamp;
use sidetrack_analysis::Clock;

use crate::catalog::Catalog;
use crate::exposure::{Exposure, Fields, Unfit};

/// All records of a request.
pub(crate) fn records(
    request: &ExportLogsServiceRequest,
    catalog: &Catalog,
) -> Vec<Result<Exposure, Unfit>> {
    let mut clock = Clock::default();
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let records = scopes.flat_map(|scope| &scope.log_records);
    records.map(|record| exposure(record, catalog, &mut clock)).collect()
}

fn exposure(record: &LogRecord, catalog: &Catalog, clock: &mut Clock) -> Result<Exposure, Unfit> {
    let mut fields = Fields::default();
    for attribute in &record.attributes {
        if let Some(text) = text(attribute.value.as_ref()) {
            fields.set(&attribute.key, text);
        }
    }
    if !fields.has(log::EXPERIMENT)
        && let Some(line) = body(record)
    {
        fields = Fields::of_line(line)?;
    }
    if !fields.has(log::TIME) {
        let time = Timestamp::new(record.time_unix_nano / 1_000_000);
        fields.set(log::TIME, Cow::Owned(time.to_string()));
    }
    fields.exposure(catalog, clock)
}

/// The line of a log in the body of a record.
fn body(record: &LogRecord) -> Option<&str> {
    let Some(Value::StringValue(line)) = record.body.as_ref()?.value.as_ref() else { return None };
    line.trim_start().starts_with('{').then_some(line.as_str())
}

fn text(value: Option<&AnyValue>) -> Option<Cow<'_, str>> {
    match value?.value.as_ref()? {
        Value::StringValue(text) => Some(Cow::Borrowed(text)),
        Value::IntValue(number) => Some(Cow::Owned(number.to_string())),
        Value::DoubleValue(number) => Some(Cow::Owned(number.to_string())),
        Value::BoolValue(value) => Some(Cow::Owned(value.to_string())),
        _ => None,
    }
}
