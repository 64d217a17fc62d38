//! OTLP log records as exposures. In JSON, what a record says is read by the same code as in files of OTLP; protobuf, which
//! senders in numbers use, is read without messages in between.

pub(crate) mod weight;
pub(crate) mod wire;

use std::borrow::Cow;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use sidetrack::names::log;
use sidetrack::quantity::Timestamp;
use sidetrack_analysis::Clock;
use sidetrack_input::otlp::{Content, content, text, time};

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
    match content(record) {
        Content::Line(line) => fields = Fields::of_line(line.trim_start())?,
        Content::Fields(all) => {
            for field in all {
                if let Some(text) = text(field.value.as_ref()) {
                    fields.set(&field.key, text);
                }
            }
        }
    }
    timed(fields, time(record)).exposure(catalog, clock)
}

/// Sets the time of the record, in milliseconds since 1970, unless the fields have one. A record without any time is
/// rejected: one of 1970 would make a phase look old.
fn timed(mut fields: Fields<'_>, time: Option<u64>) -> Fields<'_> {
    if !fields.has(log::TIME)
        && let Some(time) = time
    {
        fields.set(log::TIME, Cow::Owned(Timestamp::new(time).to_string()));
    }
    fields
}
