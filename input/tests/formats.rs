//! One story in each format: the same exposures must give the same analysis, byte for byte, except for the names of files
//! and the places in them; and what is damaged must be reported.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test that fails may say so abruptly, and its numbers are small"
)]

#[path = "formats/damaged.rs"]
mod damaged;
#[path = "formats/llm.rs"]
mod llm;
#[path = "formats/rows.rs"]
mod rows;
#[path = "formats/several.rs"]
mod several;
#[path = "formats/written.rs"]
mod written;

use std::num::NonZero;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use sidetrack::plan::Experiment;
use sidetrack_analysis::plan::AnalysisPlan;
use sidetrack_analysis::{Input, Outcomes, Settings, Strata, Wanted, analyze};

const FILE: &str = r#"{"experiments": [{"name": "shop", "unit": [{"header": "u"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 50}]}]}"#;

pub(crate) fn experiment() -> Experiment {
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    plan.experiments.into_iter().next().unwrap()
}

/// A row by the fields of the log.
pub(crate) type Row = Map<String, Value>;

/// Requests of 400 users, most of whom count.
pub(crate) fn story() -> Vec<Row> {
    let experiment = experiment();
    let trial = sidetrack::exposure::trial(&experiment);
    let mut rows = Vec::new();
    for request in 0..1600_u64 {
        let unit = format!("user {}", request * 7919 % 400);
        let bucket = experiment.arm.bucket(unit.as_bytes()).get();
        let variant = if bucket < 500_000 { "fancy" } else { "plain" };
        let mut row = json!({
            "time": format!("2026-11-23T09:{:02}:{:02}.{:03}Z", request / 60 % 60, request % 60, request % 1000),
            "request_id": format!("request, \"{request}\""),
            "experiment": "shop",
            "trial": trial,
            "weights": "fancy=500000/500000",
            "unit": unit,
            "assigned": variant,
            "served": variant,
            "reason": "hash",
            "bucket": bucket,
            "status": if request % 31 == 0 { 503 } else { 200 },
            "duration": 10 + request * 37 % 90,
            "flags": if request % 57 == 0 { "DC" } else { "-" },
            "path": "/buy?a=1,2",
        });
        match request % 100 {
            3 => row["experiment"] = json!("other"),
            5 => row["trial"] = json!("00000001"),
            7 => row["status"] = json!(1200),
            11 => row["reason"] = json!("odd"),
            13 => row["reason"] = json!("override"),
            17 => row["bucket"] = Value::Null,
            19 => row["experiment"] = Value::Null,
            23 => row["assigned"] = Value::Null,
            29 => row["served"] = Value::Null,
            _ => {}
        }
        let Value::Object(row) = row else { panic!("no object") };
        rows.push(row);
    }
    // A file that was delivered twice in part.
    let again = rows[200..260].to_vec();
    rows.extend(again);
    rows
}

/// The analysis of files as JSON, without the places of lines; or why there is none.
pub(crate) fn analysis(paths: &[PathBuf], outcomes: &[PathBuf]) -> Result<Value, String> {
    analyzed(paths, outcomes, None)
}

/// The same with a primary metric.
pub(crate) fn analysis_by(
    paths: &[PathBuf],
    outcomes: &[PathBuf],
    metric: &str,
) -> Result<Value, String> {
    analyzed(paths, outcomes, Some(metric))
}

fn words(error: sidetrack_analysis::Error) -> String {
    let why = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", why.unwrap_or_default())
}

fn analyzed(
    paths: &[PathBuf],
    outcomes: &[PathBuf],
    metric: Option<&str>,
) -> Result<Value, String> {
    let experiment = experiment();
    let read = |paths: &[PathBuf]| {
        sidetrack_input::outcomes(paths, &experiment, Wanted::default()).map_err(words)
    };
    let outcomes = if outcomes.is_empty() { None } else { Some(read(outcomes)?) };
    analyzed_with(paths, outcomes, metric)
}

/// The same with outcomes that are read.
pub(crate) fn analyzed_with(
    paths: &[PathBuf],
    outcomes: Option<Outcomes>,
    metric: Option<&str>,
) -> Result<Value, String> {
    let experiment = experiment();
    let files = sidetrack_input::expand(paths).map_err(|mistake| mistake.to_string())?;
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").map_err(words)?,
        config_hash: "",
        logs: &sidetrack_input::logs(&files).map_err(words)?,
        outcomes: outcomes.as_ref(),
    };
    let mut settings = Settings::planned(None::<&AnalysisPlan>, NonZero::new(2).unwrap()).unwrap();
    settings.metrics.primary.extend(metric.map(|metric| metric.parse().unwrap()));
    let (found, _) = analyze(input, &settings, &|_, _| {}).map_err(words)?;
    let mut found = serde_json::to_value(found).unwrap();
    for example in found["lines"]["examples"].as_array_mut().unwrap() {
        let text = example.as_str().unwrap().to_owned();
        let (_, problem) = text.split_once(": ").unwrap();
        *example = problem.into();
    }
    let text = found.to_string();
    let mut parts = text.split("first: line ");
    let head = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| format!("first: {}", part.trim_start_matches(char::is_numeric)));
    Ok(serde_json::from_str(&(head + &rest.collect::<String>())).unwrap())
}

/// A folder for files.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The analysis of a file with this content.
    pub(crate) fn analysis(&self, content: impl AsRef<[u8]>) -> Result<Value, String> {
        analysis(&[self.write("file", content)], &[])
    }
}
