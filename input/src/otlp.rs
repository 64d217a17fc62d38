//! OTLP logs in files, as the OpenTelemetry Collector's file exporter writes them, and what a log record says.
//!
//! `format: json` writes a request per line. `format: proto`, and any format with `compression: zstd`, writes the length of
//! each message before it, as four bytes; each message is compressed by itself. A record has the fields of an exposure as
//! attributes or in its body, or a line of the access log as its body.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read};

use memchr::memmem;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use sidetrack::names::log;
use sidetrack_analysis::{Damage, Entry, Opened, Record, Records, Value};

use crate::open::ZSTD;

/// A message or a line is not longer.
const LONGEST: usize = 64 << 20;
/// So many bytes of messages are decoded by a thread at once.
const PART: usize = 1 << 20;
/// The first byte of a request in protobuf: its first field, a message.
const PROTOBUF: u8 = 0x0a;

/// What a log record says.
#[derive(Debug)]
pub enum Content<'r> {
    /// Fields by their names.
    Fields(&'r [KeyValue]),
    /// A line of an access log.
    Line(&'r str),
}

/// What a record says: its attributes or, if they name no experiment, its body.
#[must_use]
pub fn content(record: &LogRecord) -> Content<'_> {
    let names = |key: &str| record.attributes.iter().any(|attribute| attribute.key == key);
    if !names(log::EXPERIMENT) {
        match record.body.as_ref().and_then(|body| body.value.as_ref()) {
            Some(Any::StringValue(line)) if line.contains('{') => return Content::Line(line),
            Some(Any::KvlistValue(fields)) => return Content::Fields(&fields.values),
            _ => {}
        }
    }
    Content::Fields(&record.attributes)
}

/// When it happened, or else when it was observed, in milliseconds since 1970. Zero is an unknown time.
#[must_use]
pub fn time(record: &LogRecord) -> Option<u64> {
    let known = [record.time_unix_nano, record.observed_time_unix_nano];
    known.into_iter().find(|time| *time > 0).map(|nanoseconds| nanoseconds / 1_000_000)
}

/// A value as text; `None` if it is none, or a list.
#[must_use]
pub fn text(value: Option<&AnyValue>) -> Option<Cow<'_, str>> {
    match value?.value.as_ref()? {
        Any::StringValue(text) => Some(Cow::Borrowed(text)),
        Any::IntValue(number) => Some(Cow::Owned(number.to_string())),
        Any::DoubleValue(number) => Some(Cow::Owned(number.to_string())),
        Any::BoolValue(value) => Some(Cow::Owned(value.to_string())),
        _ => None,
    }
}

/// Whether a file that begins like this has OTLP logs.
pub(crate) fn is_otlp(head: &[u8]) -> bool {
    is_json(head) || frame(head).is_some_and(|length| length <= LONGEST) && starts(head)
}

fn is_json(head: &[u8]) -> bool {
    let inside = head.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inside.is_some_and(|inside| {
        inside.starts_with(b"\"resourceLogs\"") || inside.starts_with(b"\"resource_logs\"")
    })
}

/// The length of the message that begins here.
fn frame(head: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*head.first_chunk()?);
    usize::try_from(length).ok()
}

/// Whether a message begins behind its length.
fn starts(head: &[u8]) -> bool {
    let message = head.get(4..).unwrap_or_default();
    message.first() == Some(&PROTOBUF) || message.starts_with(ZSTD) || is_json(message)
}

/// Exposures of a file.
pub(crate) fn exposures(text: impl Read + 'static) -> io::Result<Opened> {
    let mut text = BufReader::with_capacity(1 << 18, text);
    let is_lines = is_json(text.fill_buf()?);
    let parts = Parts { text: Box::new(text), is_lines, next: 1, ended: None };
    Ok(Opened::Records(Box::new(parts)))
}

/// Cuts a file into messages.
struct Parts {
    text: Box<dyn io::BufRead>,
    /// A message per line; else behind their lengths.
    is_lines: bool,
    /// The number of the next message.
    next: u64,
    /// Why there are no more.
    ended: Option<io::Result<()>>,
}

impl Parts {
    /// The next message; empty for an empty line.
    fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.is_lines { self.line() } else { self.framed() }
    }

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let most = LONGEST as u64 + 1;
        if self.text.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.len() > LONGEST && !line.ends_with(b"\n") {
            self.text.skip_until(b'\n')?;
        }
        Ok(Some(line))
    }

    fn framed(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = Vec::new();
        self.text.by_ref().take(4).read_to_end(&mut length)?;
        if length.is_empty() {
            return Ok(None);
        }
        let number = self.next;
        let Some(length) = frame(&length).filter(|length| *length <= LONGEST) else {
            return Err(Damage::error(format!("message {number} has no length")));
        };
        let mut message = Vec::new();
        self.text.by_ref().take(length as u64).read_to_end(&mut message)?;
        if message.len() < length {
            let found = message.len();
            return Err(Damage::error(format!(
                "message {number} breaks off after {found} of {length} bytes"
            )));
        }
        Ok(Some(message))
    }
}

impl Iterator for Parts {
    type Item = io::Result<Box<dyn Records>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut part = Messages { first: self.next, all: Vec::new() };
        let mut bytes = 0;
        while bytes < PART && self.ended.is_none() {
            match self.message() {
                Ok(Some(message)) => {
                    bytes += message.len();
                    part.all.push(message);
                    self.next += 1;
                }
                Ok(None) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            }
        }
        if !part.all.is_empty() {
            return Some(Ok(Box::new(part)));
        }
        let ended = self.ended.replace(Ok(()));
        ended.and_then(Result::err).map(Err)
    }
}

/// Messages that a thread decodes.
struct Messages {
    /// The number of the first one.
    first: u64,
    all: Vec<Vec<u8>>,
}

impl Records for Messages {
    fn read(&self, take: &mut dyn FnMut(u64, Entry<'_>) -> bool) {
        for (number, message) in (self.first..).zip(&self.all) {
            if !message.trim_ascii().is_empty() && !of_message(message, number, take) {
                return;
            }
        }
    }
}

/// Gives the records of a message. Returns whether more are wanted.
fn of_message(message: &[u8], number: u64, take: &mut dyn FnMut(u64, Entry<'_>) -> bool) -> bool {
    let unpacked;
    let message = if message.starts_with(ZSTD) {
        match unpack(message) {
            Ok(found) => unpacked = found,
            Err(_) => return take(number, Entry::Lost("the zstd data is damaged".to_owned())),
        }
        unpacked.as_slice()
    } else {
        message
    };
    let request = if message.first() == Some(&PROTOBUF) {
        ExportLogsServiceRequest::decode(message)
            .map_err(|_| "the message is not OTLP logs in protobuf".to_owned())
    } else {
        serde_json::from_slice(message.trim_ascii()).map_err(|error| {
            let what = if error.is_eof() { "breaks off" } else { "is not OTLP logs in JSON" };
            format!("the line {what} (column {})", error.column())
        })
    };
    match request {
        Ok(request) => records(&request, number, take),
        Err(problem) => {
            let lost = named(message).max(1);
            (0..lost).all(|_| take(number, Entry::Lost(problem.clone())))
        }
    }
}

fn unpack(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(message)?;
    decoder.take(LONGEST as u64).read_to_end(&mut text)?;
    Ok(text)
}

/// How often a message that cannot be read names an experiment: about how many exposures are lost.
fn named(message: &[u8]) -> usize {
    let name = log::EXPERIMENT;
    memmem::find_iter(message, name)
        .filter(|at| {
            let after = message.get(at + name.len());
            let before = at.checked_sub(1).and_then(|before| message.get(before)).copied();
            let is_key = before == Some(b'"') || before.map(usize::from) == Some(name.len());
            is_key && matches!(after, Some(b'"' | b'\\' | 0x12))
        })
        .count()
}

fn records(
    request: &ExportLogsServiceRequest,
    number: u64,
    take: &mut dyn FnMut(u64, Entry<'_>) -> bool,
) -> bool {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.flat_map(|scope| &scope.log_records).all(|record| take(number, entry(record)))
}

fn entry(record: &LogRecord) -> Entry<'_> {
    let fields = match content(record) {
        Content::Line(line) => return Entry::Line(line.as_bytes()),
        Content::Fields(fields) => fields,
    };
    let mut found = Record::default();
    let mut timed = false;
    for field in fields {
        timed |= field.key == log::TIME;
        if let Err(problem) = found.set(&field.key, value(field.value.as_ref())) {
            return Entry::Lost(problem);
        }
    }
    if let Some(time) = time(record).filter(|_| !timed) {
        // It has none so far.
        found.set(log::TIME, Value::Whole(time)).ok();
    }
    Entry::Fields(found)
}

fn value(value: Option<&AnyValue>) -> Value<'_> {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::IntValue(number)) if *number >= 0 => Value::Whole(number.unsigned_abs()),
        Some(Any::DoubleValue(number)) => Value::Number(*number),
        _ => text(value).map_or(Value::Nothing, Value::Text),
    }
}
