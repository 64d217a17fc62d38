//! Envelopes: what container runtimes and log collectors put around a line of the access log.
//!
//! A prefix before the JSON object (the runtime interface of Kubernetes, `kubectl logs --prefix`, Compose, syslog) is cut
//! off. A JSON object that contains the line as a value (Docker, Fluent Bit, Vector, Google Cloud, Loki, Elasticsearch,
//! Splunk, OpenTelemetry) is opened, whatever its keys. What cannot be opened is named.

use memchr::memmem;
use serde_json::Value;
use sidetrack::names::log;

/// A prefix is not longer.
pub(super) const PREFIX: usize = 512;

/// Envelopes within envelopes are not deeper.
const DEPTH: usize = 8;

/// What a collector has put into a JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// Nothing that looks like a line of the access log.
    Nothing,
    /// A line.
    Line(Vec<u8>),
    /// A line that breaks off.
    Torn(Vec<u8>),
    /// So many lines, as in the answer of a log store.
    Several(usize),
}

/// The line without its prefix.
///
/// # Errors
/// What the line is instead.
pub(super) fn without_prefix(line: &[u8]) -> Result<&[u8], String> {
    let line = line.trim_ascii();
    if line.starts_with(b"{") {
        return Ok(line);
    }
    let head = line.get(..line.len().min(PREFIX)).unwrap_or_default();
    if memmem::find(head, b" stdout P ").is_some() || memmem::find(head, b" stderr P ").is_some() {
        return Err(
            "a part of a line that the container runtime has split (tag P); collect logs with \
                    an agent that joins such lines"
                .to_owned(),
        );
    }
    if let Some(start) = memchr::memchr(b'{', head)
        && line.ends_with(b"}")
    {
        return Ok(line.get(start..).unwrap_or_default());
    }
    if memmem::find(head, b"] \"").is_some() && memmem::find(line, b" HTTP/").is_some() {
        return Err(
            "the default text format of Envoy and Istio, which has no exposures; log in the \
                    format that `sidetrack render` writes"
                .to_owned(),
        );
    }
    // The parser says what is wrong with it.
    Ok(line)
}

/// The line within a JSON object that a collector has put around it, under whatever key.
pub(super) fn inside(line: &[u8]) -> Inside {
    // Text that contains an object has escaped quotes.
    let has_text = memmem::find(line, br#"{\""#).is_some();
    if !has_text && !names_experiment(line) {
        return Inside::Nothing;
    }
    let Ok(Value::Object(outer)) = serde_json::from_slice(line) else { return Inside::Nothing };
    let mut found = Found::default();
    outer.values().for_each(|value| found.search(value, DEPTH));
    match (found.count, found.line, found.torn) {
        (0, _, Some(torn)) => Inside::Torn(torn),
        (1, Some(line), _) => Inside::Line(line),
        (0, ..) => Inside::Nothing,
        (count, ..) => Inside::Several(count),
    }
}

/// Whether a key `experiment` has text as its value.
fn names_experiment(line: &[u8]) -> bool {
    let key = format!("\"{}\"", log::EXPERIMENT);
    memmem::find_iter(line, key.as_bytes()).any(|at| {
        let rest = line.get(at + key.len()..).unwrap_or_default().trim_ascii_start();
        let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        value.is_some_and(|value| value.starts_with(b"\""))
    })
}

/// Whether a text begins with a brace, a key and a colon.
fn has_key(text: &str) -> bool {
    let key = text.strip_prefix("{\"").and_then(|text| text.split_once('"'));
    key.is_some_and(|(key, rest)| !key.contains(' ') && rest.trim_start().starts_with(':'))
}

/// Lines that were found in an envelope.
#[derive(Default)]
struct Found {
    count: usize,
    line: Option<Vec<u8>>,
    torn: Option<Vec<u8>>,
}

impl Found {
    fn search(&mut self, value: &Value, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::Object(object) if object.contains_key(log::EXPERIMENT) => {
                self.count += 1;
                self.line = serde_json::to_vec(object).ok();
            }
            Value::Object(object) => object.values().for_each(|value| self.search(value, depth)),
            Value::Array(items) => items.iter().for_each(|item| self.search(item, depth)),
            Value::String(text) => self.text(text.trim(), depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str, depth: usize) {
        let start = text.find("{\"").filter(|start| *start < PREFIX);
        let Some(text) = start.and_then(|start| text.get(start..)) else { return };
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) if object.contains_key(log::EXPERIMENT) => {
                self.count += 1;
                self.line = Some(text.as_bytes().to_vec());
            }
            Ok(value) => self.search(&value, depth),
            Err(error) if error.is_eof() && has_key(text) => {
                self.torn.get_or_insert_with(|| text.as_bytes().to_vec());
            }
            Err(_) => {}
        }
    }
}

/// Whether a JSON line is Istio's or Envoy's default access log, which has no exposures.
pub(super) fn is_default_log(line: &[u8]) -> bool {
    memmem::find(line, b"\"response_code\":").is_some()
        && memmem::find(line, b"\"start_time\":").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"experiment":"e","unit":"a\"b"}"#;

    #[test]
    fn a_prefix_is_cut_off() {
        for prefix in [
            "",
            "  ",
            "2026-11-23T09:00:00.123456789Z stdout F ",
            "2026-11-23T09:00:00.123456789+01:00 stderr F ",
            "[pod/predictor-5d9c7b7b4-abcde/istio-proxy] ",
            "[pod/predictor-0/istio-proxy] 2026-11-23T09:00:00.123456789Z ",
            "envoy-1  | ",
            "<14>Nov 23 09:00:00 host envoy[17]: ",
        ] {
            let line = format!("{prefix}{LINE}\r");
            assert_eq!(without_prefix(line.as_bytes()), Ok(LINE.as_bytes()), "{prefix}");
        }
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let problem = |line: &str| without_prefix(line.as_bytes()).unwrap_err();
        let split = "2026-11-23T09:00:00.123456789Z stdout P {\"experiment\":\"e\",\"un";
        assert!(problem(split).contains("tag P"));
        let text = "[2026-11-23T09:00:00.123Z] \"POST /v2/models HTTP/1.1\" 200 - via_upstream - \"-\" 0 5 3 2";
        assert!(problem(text).contains("default text format"));
        assert!(problem(&format!("[pod/a/b] {text}")).contains("default text format"));
        assert_eq!(
            without_prefix(b"starting main dispatch loop"),
            Ok(&b"starting main dispatch loop"[..])
        );
        let json =
            br#"{"response_code":200,"start_time":"2026-11-23T09:00:00.123Z","method":"GET"}"#;
        assert!(is_default_log(json) && !is_default_log(LINE.as_bytes()));
    }

    #[test]
    fn an_object_around_the_line_is_opened() {
        let text = Value::from(LINE).to_string();
        let ended = Value::from(format!("{LINE}\n")).to_string();
        let prefixed = Value::from(format!("2026-11-23T09:00:00.1Z stdout F {LINE}")).to_string();
        let nested = Value::from(format!(r#"{{"log":{text},"stream":"stdout"}}"#)).to_string();
        for outer in [
            format!(r#"{{"log":{ended},"stream":"stdout","time":"2026-11-23T09:00:00.1Z"}}"#),
            format!(
                r#"{{"@timestamp":"x","kubernetes":{{"pod":"log"}},"n":[1,{{}}],"log":{text}}}"#
            ),
            format!(r#"{{"message":{prefixed},"x":null,"y":1.5,"z":true}}"#),
            format!(r#"{{"message":"no line","textPayload":{text}}}"#),
            format!(r#"{{"labels":{{"app":"x"}},"line":{text},"timestamp":"2026"}}"#),
            format!(r#"{{"_index":"logs","_source":{{"message":{text}}}}}"#),
            format!(r#"{{"preview":false,"result":{{"_raw":{text}}}}}"#),
            format!(
                r#"{{"resourceLogs":[{{"logRecords":[{{"body":{{"stringValue":{text}}}}}]}}]}}"#
            ),
            format!(r#"{{"_source":{{"message":{nested}}}}}"#),
        ] {
            assert_eq!(inside(outer.as_bytes()), Inside::Line(LINE.as_bytes().to_vec()), "{outer}");
        }
        for key in ["jsonPayload", "_source", "value", "anything"] {
            let object = format!(r#"{{"insertId":"x","{key}":{LINE},"severity":"INFO"}}"#);
            let Inside::Line(found) = inside(object.as_bytes()) else { panic!("{object}") };
            let wanted: Value = serde_json::from_str(LINE).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&found).unwrap(), wanted, "{key}");
        }
        for none in [
            r#"{"log":"started"}"#,
            r#"{"message":7}"#,
            "{}",
            r#"{"log":"{\"level\":\"info\"}"}"#,
            r#"{"log":"a {\"b} c"}"#,
            r#"{"experiment":null,"path":"/{\"a\":1}"}"#,
        ] {
            assert_eq!(inside(none.as_bytes()), Inside::Nothing, "{none}");
        }
    }

    #[test]
    fn what_an_object_contains_in_pieces_or_many_times_is_told_apart() {
        let torn = r#"{"experiment":"e","un"#;
        let outer = format!(r#"{{"log":{}}}"#, Value::from(torn));
        assert_eq!(inside(outer.as_bytes()), Inside::Torn(torn.as_bytes().to_vec()));
        let text = Value::from(LINE).to_string();
        let outer = format!(r#"{{"streams":[{{"values":[["1",{text}],["2",{text}]]}}]}}"#);
        assert_eq!(inside(outer.as_bytes()), Inside::Several(2));
    }
}
