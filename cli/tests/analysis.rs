//! `sidetrack analyze run` and `sidetrack bandit` from outside, on logs whose truth is known.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a test that fails may say so abruptly, and its numbers are small"
)]

#[path = "analysis/advance.rs"]
mod advance;
#[path = "analysis/assignments.rs"]
mod assignments;
#[path = "analysis/bandit.rs"]
mod bandit;
#[path = "analysis/broken.rs"]
mod broken;
#[path = "analysis/calm.rs"]
mod calm;
#[path = "analysis/counters.rs"]
mod counters;
#[path = "analysis/crowd.rs"]
mod crowd;
#[path = "analysis/documented.rs"]
mod documented;
#[path = "analysis/endings.rs"]
mod endings;
#[path = "analysis/engines.rs"]
mod engines;
#[path = "analysis/exit.rs"]
mod exit;
#[path = "analysis/folders.rs"]
mod folders;
#[path = "analysis/formats.rs"]
mod formats;
#[path = "analysis/identity.rs"]
mod identity;
#[path = "analysis/items.rs"]
mod items;
#[path = "analysis/life.rs"]
mod life;
#[path = "analysis/llm.rs"]
mod llm;
#[path = "analysis/long.rs"]
mod long;
#[path = "analysis/methods.rs"]
mod methods;
#[path = "analysis/models.rs"]
mod models;
#[path = "analysis/plan.rs"]
mod plan;
#[path = "analysis/printed.rs"]
mod printed;
#[path = "analysis/report.rs"]
mod report;
#[path = "analysis/schema.rs"]
mod schema;
#[path = "analysis/shadow.rs"]
mod shadow;
#[path = "analysis/traps.rs"]
mod traps;
#[path = "analysis/trials.rs"]
mod trials;
#[path = "analysis/truth.rs"]
mod truth;
#[path = "analysis/usable.rs"]
mod usable;
#[path = "analysis/wiring.rs"]
mod wiring;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder with what an analysis reads.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs `sidetrack` in the folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sidetrack"))
            .args(arguments)
            .current_dir(self.path())
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    }

    /// `analyze run experiment.json --exposures access.log … --json`.
    pub(crate) fn analysis(&self, more: &[&str]) -> Value {
        let mut arguments =
            vec!["analyze", "run", "experiment.json", "--json", "--exposures", "access.log"];
        arguments.extend(more);
        arguments.extend(["--summary-out", "sums.csv"]);
        let output = self.run(&arguments);
        let read = |output: &Output| -> Value {
            serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{error}: {output:?}"))
        };
        let analysis = read(&output);
        // The verdict from the table of sums is the same, bit for bit.
        let mut arguments =
            vec!["analyze", "summary", "experiment.json", "--json", "--from", "sums.csv"];
        arguments.extend(asked(more));
        assert_eq!(read(&self.run(&arguments)), analysis, "from sums.csv");
        analysis
    }

    /// The exit status, the text and the errors of `analyze run experiment.json --exposures access.log …`.
    pub(crate) fn report(&self, more: &[&str]) -> (i32, String, String) {
        let run = ["analyze", "run", "experiment.json", "--exposures", "access.log"];
        self.text(&[&run[..], more].concat())
    }

    pub(crate) fn text(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

/// The options that say what is asked, without those that say which data are read.
fn asked<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let data = ["--outcomes", "--trial", "--since", "--until", "--attribution", "--cap"];
    let (mut asked, mut is_data) = (Vec::new(), false);
    for option in options {
        if option.starts_with("--") {
            is_data = data.contains(option) || *option == "--exclude-breaker";
        }
        if !is_data && !option.starts_with("access") {
            asked.push(*option);
        }
    }
    asked
}

/// A candidate's result in a metric.
pub(crate) fn result<'a>(analysis: &'a Value, metric: &str) -> &'a Value {
    let metrics = analysis["metrics"].as_array().unwrap();
    let metric = metrics
        .iter()
        .find(|found| found["name"] == metric)
        .unwrap_or_else(|| panic!("{analysis:#}"));
    &metric["candidates"][0]
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}
