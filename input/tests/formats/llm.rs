//! Metrics of language models from exposures of each format.

use std::path::PathBuf;

use serde_json::{Value, json};
use sidetrack::config::ModelPrice;
use sidetrack_analysis::{LLM_METRICS, LlmSource, Outcomes, Strata, Window};

use crate::written::{
    Says, csv, framed, gzip, lines, otlp_json, otlp_proto, parquet, requests, zstd,
};
use crate::{Folder, Row, analyzed_with, experiment, story};

/// Requests of which some have no tokens of the answer.
fn rows() -> Vec<Row> {
    let mut rows = story();
    for (request, row) in (0u64..).zip(&mut rows) {
        row.insert("model".to_owned(), json!(["large", "small"][(request % 2) as usize]));
        row.insert("input_tokens".to_owned(), json!(100 + request % 37));
        row.insert("first_byte".to_owned(), json!(1 + request % 9));
        let output = if request % 13 == 5 { Value::Null } else { json!(1 + request % 50) };
        row.insert("output_tokens".to_owned(), output);
    }
    rows
}

fn found(paths: &[PathBuf]) -> Value {
    let price = |model: &str, input, output| ModelPrice {
        model: model.to_owned(),
        input,
        output,
        cached_input: None,
    };
    let experiment = experiment();
    let add = |outcomes: Option<Outcomes>| {
        LlmSource {
            experiment: &experiment,
            strata: &Strata::new(&experiment, "").unwrap(),
            logs: &sidetrack_input::logs(paths).unwrap(),
            trial: None,
            window: Window::default(),
            prices: &[price("large", 2.5, 10.0), price("small", 0.15, 0.6)],
            required: &LLM_METRICS,
            optional: &[],
        }
        .extend(outcomes)
        .unwrap()
    };
    analyzed_with(paths, add(None), Some("cost:decrease")).unwrap()
}

#[test]
fn each_format_has_the_metrics_of_language_models() {
    let rows = rows();
    let folder = Folder::new();
    let wanted = found(&[folder.write("file", lines(&rows))]);
    let names: Vec<&str> = wanted["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| metric["name"].as_str().unwrap())
        .collect();
    assert!(LLM_METRICS.iter().all(|name| names.contains(name)), "{names:?}");
    assert!(wanted["outcomes"]["logged"][2]["missing"].as_u64().unwrap() > 100, "{wanted:#}");
    let attributes = requests(&rows, 100, Says::Attributes);
    for (format, content) in [
        ("gzip", gzip(&lines(&rows))),
        ("zstd", zstd(&lines(&rows))),
        ("CSV", csv(&rows, ',')),
        ("CSV with tabs", csv(&rows, '\t')),
        ("Parquet in groups", parquet(&rows, 130)),
        ("OTLP JSON", otlp_json(&attributes).join(&b'\n')),
        ("OTLP JSON with lines", otlp_json(&requests(&rows, 9, Says::Line)).join(&b'\n')),
        ("OTLP proto", framed(&otlp_proto(&attributes))),
    ] {
        let of_format = found(&[folder.write("file", content)]);
        assert_eq!(of_format.to_string(), wanted.to_string(), "{format}");
    }
}
