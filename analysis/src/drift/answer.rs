//! The result, typed, with serde both ways.

use serde::{Deserialize, Serialize};
use sidetrack::plan::Experiment;

use super::DriftSettings;
use super::samples::Rows;

/// Distances of distributions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The version of this form.
    pub version: u32,
    /// The experiment.
    pub experiment: String,
    /// The level of all comparisons together.
    pub alpha: f64,
    /// The index from which a difference matters.
    pub threshold: f64,
    /// Rows of the values that were compared.
    pub rows: u64,
    /// Rows of no variant that is known.
    pub unmatched: u64,
    /// Rows that could not be read, of the values and of the reference.
    pub malformed: u64,
    /// The first of them.
    pub examples: Vec<String>,
    /// Whether the units are known; else each row is one, and chance is underestimated where rows resemble each other.
    pub by_unit: bool,
    /// By column and pair of samples.
    pub compared: Vec<Compared>,
}

/// What a sample is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The baseline, in the same time.
    Baseline,
    /// The reference.
    Reference,
}

/// How a column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// By deciles of the first sample.
    Number,
    /// By category.
    Category,
}

/// How a difference is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftState {
    /// Small, and within chance.
    Stable,
    /// Beyond chance, but below the threshold.
    Small,
    /// Above the threshold, but within chance: the samples are too small.
    Unclear,
    /// Above the threshold and beyond chance.
    Drift,
    /// Too few units.
    Undefined,
}

/// A column of one sample beside that of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The column.
    pub column: String,
    /// How it is read.
    pub kind: Kind,
    /// What it is compared with.
    pub against: Against,
    /// The variant of the second sample; empty if the rows have none.
    pub variant: String,
    /// The judgement.
    pub state: DriftState,
    /// The population stability index; null if it is undefined.
    pub psi: Option<f64>,
    /// Its mean if nothing changed.
    pub psi_by_chance: Option<f64>,
    /// What one of twenty exceeds if nothing changed.
    pub psi_exceeded: Option<f64>,
    /// The Jensen-Shannon distance with natural logarithms.
    pub jensen_shannon: Option<f64>,
    /// What one of twenty exceeds if nothing changed.
    pub jensen_shannon_exceeded: Option<f64>,
    /// The Kolmogorov-Smirnov distance, of numbers.
    pub kolmogorov_smirnov: Option<f64>,
    /// What one of twenty exceeds if nothing changed.
    pub kolmogorov_smirnov_exceeded: Option<f64>,
    /// The p-value of the Kolmogorov-Smirnov distance.
    pub kolmogorov_smirnov_p: Option<f64>,
    /// The p-value of the index and of the Jensen-Shannon distance.
    pub p_value: Option<f64>,
    /// The same, adjusted for all comparisons (Holm).
    pub p_adjusted: Option<f64>,
    /// By how much more shares vary than those of independent rows.
    pub design_effect: Option<f64>,
    /// The baseline or the reference.
    pub first: Sample,
    /// The variant.
    pub second: Sample,
    /// The shares by bin or category.
    pub bins: Vec<Bin>,
}

/// A sample of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Rows with a value.
    pub rows: u64,
    /// Rows without one.
    pub missing: u64,
    /// Units of the rows with a value.
    pub units: u64,
    /// The mean, of numbers.
    pub mean: Option<f64>,
}

/// A bin or a category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The category, or the range of the bin.
    pub label: String,
    /// The share of the first sample.
    pub first: f64,
    /// The share of the second sample.
    pub second: f64,
}

impl Drift {
    pub(super) fn new(experiment: &Experiment, settings: &DriftSettings, rows: &Rows) -> Self {
        Self {
            version: 1,
            experiment: experiment.name.clone(),
            alpha: settings.alpha.get(),
            threshold: settings.threshold,
            rows: rows.used,
            unmatched: rows.unmatched,
            malformed: rows.malformed,
            examples: rows.examples.clone(),
            by_unit: rows.by_unit,
            compared: Vec::new(),
        }
    }

    /// The worst judgement.
    #[must_use]
    pub fn state(&self) -> DriftState {
        let has = |state: DriftState| self.compared.iter().any(|one| one.state == state);
        match () {
            () if has(DriftState::Drift) => DriftState::Drift,
            // Samples that cannot be compared are too small to know.
            () if has(DriftState::Unclear) || has(DriftState::Undefined) => DriftState::Unclear,
            () if has(DriftState::Small) => DriftState::Small,
            () => DriftState::Stable,
        }
    }
}
