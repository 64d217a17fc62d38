//! Results by segment. They never decide.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MetricResult;

/// The results by one dimension, such as the country.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SegmentResult {
    /// The column of the outcomes or the field of the access log.
    pub dimension: String,
    /// It is in the plan of the file.
    pub planned: bool,
    /// Where its values are.
    pub source: SegmentSource,
    /// How many values there are.
    pub values: u64,
    /// Units whose value was recorded after their first request, as far as that is known: a variant may have changed it.
    pub recorded_later: u64,
    /// The segments: the largest values, then the others together, then the units without a value.
    pub segments: Vec<Segment>,
    /// The metrics that decide, by segment; quantiles are not compared.
    pub metrics: Vec<SegmentedMetric>,
}

/// Where the values of a dimension are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentSource {
    /// In a field of the access log.
    Exposures,
    /// In a column of the outcomes.
    Outcomes,
}

/// What a segment consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    /// The units with one value.
    Value,
    /// The units with any of the values that are not among the largest.
    Other,
    /// The units without a value.
    Unknown,
}

/// A segment and its split.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Segment {
    /// Its value; null unless it is of one value.
    pub value: Option<String>,
    /// What it consists of.
    pub kind: SegmentKind,
    /// By variant: units, each once.
    pub units: BTreeMap<String, u64>,
    /// The p-value of its split against the configured one, which holds at every look.
    pub split_p_value: Option<f64>,
    /// Adjusted for the other segments (Holm).
    pub split_p_adjusted: Option<f64>,
}

/// A metric by segment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SegmentedMetric {
    /// Its name.
    pub name: String,
    /// The comparisons within each segment, in the order of the segments. p-values are adjusted for all segments of all
    /// dimensions (Holm).
    pub segments: Vec<MetricResult>,
    /// By candidate: whether the effect depends on the segment.
    pub candidates: Vec<Interaction>,
}

/// Whether the effect of a candidate depends on the segment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Interaction {
    /// The candidate.
    pub variant: String,
    /// Cochran's Q over the segments, without the units that have no value; null below two segments with an interval.
    pub statistic: Option<f64>,
    /// Its degrees of freedom.
    pub df: Option<f64>,
    /// The p-value, of the same kind as those of the metrics.
    pub p_value: Option<f64>,
    /// Adjusted for the other dimensions and candidates (Holm).
    pub p_adjusted: Option<f64>,
    /// The differences of all segments, merged by their sizes.
    pub merged_diff: Option<f64>,
    /// Its interval, of the same kind as those of the metrics.
    pub merged_ci: [Option<f64>; 2],
    /// The total and its parts disagree (Simpson's paradox).
    pub disagrees: bool,
}

impl Segment {
    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        match (self.kind, &self.value) {
            (SegmentKind::Value, Some(value)) => value,
            (SegmentKind::Unknown, _) => "(no value)",
            _ => "(other values)",
        }
    }
}
