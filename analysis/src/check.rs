//! Checks of the data: named findings with a limit, some of which block a decision.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A check of the data and its result.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Check {
    /// Which one.
    pub name: CheckName,
    /// Its result.
    pub state: CheckState,
    /// The metric or column that it is about; null if it is about all data.
    pub subject: Option<String>,
    /// What is compared with the limit; null if there are no data for it.
    pub value: Option<f64>,
    /// Beyond this, the check fails.
    pub limit: f64,
    /// The numbers of the variants, if it compares them.
    pub variants: BTreeMap<String, f64>,
    /// In words.
    pub message: String,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Within the limit.
    Ok,
    /// Worth a look, but no reason to distrust the result.
    Warning,
    /// The data cannot be trusted: there is no decision.
    Blocking,
    /// Beyond the limit, and accepted with `--allow`.
    Accepted,
    /// Unknown: the table of a summary has not what it needs.
    NotChecked,
}

impl CheckState {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Blocking => "blocking",
            Self::Accepted => "accepted",
            Self::NotChecked => "not_checked",
        }
    }
}

/// Defines the names of checks once: for JSON, for `--allow` and for messages.
macro_rules! names {
    ($($variant:ident: $name:literal, $about:literal;)*) => {
        /// The name of a check.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum CheckName {
            $(#[doc = $about] $variant,)*
        }

        impl CheckName {
            /// All checks, in the order of a report.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As JSON and `--allow` write it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

names! {
    MatchedRows: "matched_rows", "Rows of the outcomes that match the logs.";
    UnmatchedRows: "unmatched_rows", "Rows of the outcomes that match nothing, and of which variant they would be.";
    MalformedRows: "malformed_rows", "Rows of the outcomes that cannot be read.";
    UnreadableValues: "unreadable_values", "Values of a metric that cannot be read.";
    ValueScale: "value_scale", "The size of the values of each variant.";
    AmbiguousRows: "ambiguous_rows", "Rows without a time, whose unit other trials exposed as well.";
    EarlyRows: "early_rows", "Rows from shortly before the first request of their unit.";
    EndingRows: "ending_rows", "The end of the outcomes of each variant.";
    DamagedLines: "damaged_lines", "Lines of the experiment that cannot be read.";
    RepeatedLines: "repeated_lines", "Lines about a request that another line is about.";
    UntoldTrials: "untold_trials", "Lines that name no trial, beside others that do.";
    UnitsNamedTwice: "units_named_twice", "Units in plain text that are in the log as digests as well.";
    RequestsPerUnit: "requests_per_unit", "Requests per unit of each variant.";
    LabelCoverage: "label_coverage", "How many requests or units of each variant have a value.";
    UnitsPerDay: "units_per_day", "New units of each day and variant.";
    FailedLines: "failed_lines", "Failed requests of each candidate, where the baseline has many.";
    ClientErrors: "client_errors", "Answers with a status of 4xx of each candidate.";
    NeverServed: "never_served", "Requests that a candidate did not serve itself.";
    EffectiveUnits: "effective_units", "How many units of equal weight each variant is worth.";
    HeavyUnits: "heavy_units", "The split of the heaviest units.";
    FewUnits: "few_units", "What is left of a conclusion without the heaviest units.";
    LargeValues: "large_values", "What is left of a conclusion without the largest values.";
    TornUnits: "torn_units", "Units that were assigned to two variants.";
    Covariate: "covariate", "Whether a covariate is from before the first exposure of each unit.";
    Skewness: "skewness", "Units of each variant, for the skewness of a metric.";
    RepeatedRows: "repeated_rows", "Rows about units that say again what earlier rows said.";
    SharedRows: "shared_rows", "Requests that share a row of the outcomes.";
    PredictedClasses: "predicted_classes", "Predictions of each variant with a class that no label has.";
    SegmentValues: "segment_values", "Units that have a value of a dimension of segments.";
    SegmentSplit: "segment_split", "The split of each segment.";
    SegmentSum: "segment_sum", "Whether totals agree with their segments.";
    EffectTrend: "effect_trend", "Whether an effect changes with the days since the first request.";
    LabelClasses: "label_classes", "Labels of each variant by class.";
    ConflictingRows: "conflicting_rows", "Rows that contradict another row about the same request.";
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CheckName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|name| name.as_str() == text).copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|name| name.as_str()).collect();
            format!("unknown check; expected one of: {}", names.join(", "))
        })
    }
}

impl Check {
    /// Whether it keeps the data from deciding.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.state == CheckState::Blocking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_json_and_on_the_command_line() {
        for name in CheckName::ALL {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
            assert_eq!(name.as_str().parse(), Ok(*name));
        }
        assert!("srm".parse::<CheckName>().unwrap_err().contains("matched_rows"));
    }
}
