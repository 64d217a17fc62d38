//! YAML 1.2 as experiment files are written: one set of options for every reader and for the writer.
//!
//! The options give a YAML file the meaning of the same JSON: `yes`, `no`, `on`, `off`, times and `010` are text,
//! unknown tags are errors, and a repeated key reaches the core, which reports it with its path. Depth, size and
//! aliases are bounded, so a hostile file is an error message and never a crash. Anchors and merge keys (`<<`) work.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_saphyr::Options;
use serde_saphyr::options::DuplicateKeyPolicy;
use sidetrack::config::Node;

/// Reads one document.
///
/// # Errors
///
/// Why the text is not YAML, in one line where the parser allows it.
pub fn parse(text: &str) -> Result<Node, String> {
    read(text)
}

/// Parses a single document into any type, such as a tree with the position of each value.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str_with_options(text, options(1)).map_err(|error| message(&error))
}

/// Parses a stream of documents, such as the output of `kubectl get -o yaml`.
pub(crate) fn read_all<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    serde_saphyr::from_multiple_with_options(text, options(1_000)).map_err(|error| message(&error))
}

/// Writes YAML that YAML 1.1 parsers, such as kubectl, read the same way: `on` and dates are quoted.
pub(crate) fn write(value: &impl Serialize) -> anyhow::Result<String> {
    let mut options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    options.compact_list_indent = true;
    Ok(serde_saphyr::to_string_with_options(value, options)?)
}

/// A text as a YAML file writes it: plain where YAML 1.1 and 1.2 read it as the same text, else in double quotes.
pub(crate) fn scalar(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let inside = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let word = text.to_ascii_lowercase();
    let is_word = matches!(
        word.as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if first && inside && !is_word {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

fn options(max_documents: usize) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_documents: max_documents,
            max_nodes: 100_000,
            max_aliases: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// The parser's message, with plain words for its internal limits.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    for (internal, plain) in [
        ("budget breached: Documents", "it holds more than one document"),
        ("budget breached: Depth", "it is nested too deeply"),
        ("recursion limit exceeded", "it is nested too deeply"),
        ("budget breached", "it is too large for an experiment file"),
        ("alias replay limit", "its aliases expand to too much text"),
    ] {
        if text.starts_with(internal) {
            let place = error.location().map(|location| format!(" at line {}", location.line()));
            return format!("{plain}{}", place.unwrap_or_default());
        }
    }
    text.replace("rejected by the configured policy", "is not allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_by_the_same_rules_as_a_document() {
        for text in ["a: !custom 1", "a: &x [1]\nb: !!binary eA==", "a: 010\nb: yes\nc: 1_0"] {
            let one = parse(text);
            assert_eq!(read_all(text), one.map(|node: Node| vec![node]), "{text}");
        }
        assert!(parse("a: !custom 1").is_err());
    }

    #[test]
    fn text_that_yaml_1_1_reads_as_something_else_comes_back_as_text() {
        let texts = ["on", "no", "010", "1_0", "2026-11-23", "12:30:00"];
        let node = Node::List(texts.map(|text| Node::Text(text.to_owned())).to_vec());
        assert_eq!(parse(&write(&node).unwrap()), Ok(node));
    }
}
