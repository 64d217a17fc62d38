//! The analysis, as `sidetrack analyze run --json` writes it: what goes into a run, and what a promotion asks.
//!
//! Keys that are not needed here are not read, so that the analysis may grow. Numbers that are undefined are `null`;
//! JSON has no other way to say so, and nothing here computes.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::fault::Fault;
use crate::words::visible;

/// An analysis, and the file that it stands in.
pub(crate) struct Read {
    pub(crate) analysis: Analysis,
    pub(crate) text: Vec<u8>,
    /// SHA-256 of the file, in hexadecimal: by this a run is found again.
    pub(crate) digest: String,
}

#[derive(Deserialize)]
pub(crate) struct Analysis {
    pub(crate) experiment: String,
    pub(crate) config_hash: String,
    #[serde(default)]
    pub(crate) from: Option<String>,
    #[serde(default)]
    pub(crate) to: Option<String>,
    pub(crate) unit_of_analysis: String,
    #[serde(default)]
    pub(crate) lines: Lines,
    pub(crate) variants: Vec<Variant>,
    pub(crate) srm: Srm,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) decision: Decision,
    #[serde(default)]
    pub(crate) winner: Option<String>,
    #[serde(default)]
    pub(crate) reasons: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    Promote,
    KeepBaseline,
    Inconclusive,
    Invalid,
}

impl Decision {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::KeepBaseline => "keep_baseline",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Lines {
    pub(crate) read: u64,
    pub(crate) used: u64,
    pub(crate) malformed: u64,
}

#[derive(Deserialize)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) units: u64,
    pub(crate) requests: u64,
    #[serde(default)]
    pub(crate) served_elsewhere: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Baseline,
    Candidate,
}

#[derive(Deserialize)]
pub(crate) struct Srm {
    pub(crate) verdict: String,
    #[serde(default)]
    pub(crate) p_value: Option<f64>,
    #[serde(default)]
    pub(crate) statistic: Option<f64>,
}

#[derive(Deserialize)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) goal: Option<String>,
    pub(crate) baseline: Measured,
    #[serde(default)]
    pub(crate) candidates: Vec<Compared>,
}

#[derive(Deserialize)]
pub(crate) struct Measured {
    pub(crate) variant: String,
    #[serde(default)]
    pub(crate) n: Option<f64>,
    #[serde(default)]
    pub(crate) value: Option<f64>,
}

/// A candidate beside the baseline. `ci` may lack an end, or both.
#[derive(Deserialize)]
pub(crate) struct Compared {
    #[serde(flatten)]
    pub(crate) measured: Measured,
    #[serde(default)]
    pub(crate) diff: Option<f64>,
    #[serde(default)]
    pub(crate) ci: Option<[Option<f64>; 2]>,
    #[serde(default)]
    pub(crate) relative_lift: Option<f64>,
    #[serde(default)]
    pub(crate) relative_lift_ci: Option<[Option<f64>; 2]>,
    #[serde(default)]
    pub(crate) p_value: Option<f64>,
    #[serde(default)]
    pub(crate) p_adjusted: Option<f64>,
    #[serde(default)]
    pub(crate) p_best: Option<f64>,
    #[serde(default)]
    pub(crate) expected_loss: Option<f64>,
    #[serde(default)]
    pub(crate) method: Option<String>,
    #[serde(default)]
    pub(crate) decision: Option<String>,
}

impl Analysis {
    pub(crate) fn baseline(&self) -> Option<&str> {
        let baseline = self.variants.iter().find(|variant| variant.role == Role::Baseline);
        baseline.map(|variant| variant.name.as_str())
    }

    pub(crate) fn candidates(&self) -> impl Iterator<Item = &str> {
        let candidates = self.variants.iter().filter(|variant| variant.role == Role::Candidate);
        candidates.map(|variant| variant.name.as_str())
    }
}

/// Reads an analysis.
///
/// # Errors
///
/// A [`Fault`] when the file is something else, or of another version.
pub(crate) fn read(path: &Path) -> anyhow::Result<Read> {
    #[derive(Deserialize)]
    struct Form {
        version: u64,
    }
    let name = visible(&path.to_string_lossy());
    let text = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let no_analysis = |error: serde_json::Error| {
        Fault(format!(
            "{name}: {error}; allowed: an analysis\n\
             hint: `sidetrack analyze run … --json > analysis.json` writes one"
        ))
    };
    let form: Form = serde_json::from_slice(&text).map_err(no_analysis)?;
    if form.version != 1 {
        let text = format!(
            "{name}: version is {}; allowed: 1\nhint: another sidetrack wrote it",
            form.version
        );
        return Err(Fault(text).into());
    }
    let analysis = serde_json::from_slice(&text).map_err(no_analysis)?;
    let digest = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Read { analysis, text, digest })
}
