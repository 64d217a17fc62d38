//! Envoy's gRPC-JSON transcoder, with a service for each case that uses it. Its descriptor is written
//! by hand in protobuf's wire format.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::cases::CASES;

const PACKAGE: &str = "models";
const MESSAGE: &str = "Message";

/// The service of the case with this number, as a path names it.
pub(super) fn service(number: usize) -> String {
    format!("{PACKAGE}.{}", name(number))
}

fn name(number: usize) -> String {
    format!("Case{number}")
}

/// The configuration of the filter; `descriptor` is the file of [`file_set`].
pub(super) fn transcoder(descriptor: &Path) -> Value {
    let cases = CASES.iter().enumerate().filter(|(_, case)| case.is_transcoded());
    let services: Vec<String> = cases.map(|(number, _)| service(number)).collect();
    json!({
        "proto_descriptor": descriptor,
        "services": services,
        "auto_mapping": true,
        "convert_grpc_status": true,
    })
}

/// A `FileDescriptorSet` with one file.
pub(super) fn file_set() -> Vec<u8> {
    let cases = CASES.iter().enumerate().filter(|(_, case)| case.is_transcoded());
    let behaviors: BTreeSet<&str> = cases.clone().map(|(_, case)| case.behavior).collect();
    let kind = format!(".{PACKAGE}.{MESSAGE}");
    let methods: Vec<u8> = behaviors
        .iter()
        .flat_map(|behavior| {
            let streams = behavior.starts_with("Stream");
            let method = [
                text(1, behavior),
                text(2, &kind),
                text(3, &kind),
                vec![6 << 3, u8::from(streams)],
            ];
            field(2, &method.concat())
        })
        .collect();
    let services =
        cases.flat_map(|(number, _)| field(6, &[text(1, &name(number)), methods.clone()].concat()));
    let file = [
        text(1, "models.proto"),
        text(2, PACKAGE),
        field(4, &text(1, MESSAGE)),
        services.collect(),
        text(12, "proto3"),
    ];
    field(1, &file.concat())
}

fn text(number: u8, value: &str) -> Vec<u8> {
    field(number, value.as_bytes())
}

/// A field with a length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        field.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap());
    field.extend(bytes);
    field
}
