//! Reader of an analysis that `sidetrack analyze run --json` wrote, with the digest that identifies its run.
//!
//! Unknown keys are ignored, so a newer version may add some.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use sidetrack::config::json_problem;
use sidetrack_analysis::Analysis;

use crate::digest::sha256;
use crate::fault::Fault;
use crate::words::visible;

/// An analysis and its file.
pub(crate) struct Read {
    pub(crate) analysis: Analysis,
    pub(crate) text: Vec<u8>,
    /// SHA-256 of the file, in hexadecimal: identifies a run.
    pub(crate) digest: String,
}

/// Reads an analysis.
///
/// # Errors
///
/// A [`Fault`] if the file is not an analysis, or has another version.
pub(crate) fn read(path: &Path) -> anyhow::Result<Read> {
    #[derive(Deserialize)]
    struct Form {
        version: u64,
    }
    let name = visible(&path.to_string_lossy());
    let text = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let no_analysis = |error: serde_json::Error| {
        Fault(format!(
            "{name} is not an analysis: {}\n  \
             hint: `sidetrack analyze run … --json > analysis.json` writes one",
            json_problem(&error)
        ))
    };
    let form: Form = serde_json::from_slice(&text).map_err(no_analysis)?;
    if form.version != 1 {
        let text = format!(
            "{name}: version is {}, but must be 1\n  hint: another release of sidetrack wrote the file",
            form.version
        );
        return Err(Fault(text).into());
    }
    let analysis = serde_json::from_slice(&text).map_err(no_analysis)?;
    let digest = sha256(&text);
    Ok(Read { analysis, text, digest })
}
