//! The words of an analysis: closed sets of values, each with one stable word in JSON.

use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// A candidate is better: make it the baseline.
    Promote,
    /// No candidate is better.
    KeepBaseline,
    /// Keep the experiment running.
    Inconclusive,
    /// The data cannot be trusted.
    Invalid,
}

impl Decision {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::KeepBaseline => "keep_baseline",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
        }
    }
}

/// What is compared: the unit of randomization, or requests in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnalysisUnit {
    /// Units, as the log names them.
    Unit,
    /// Requests, each taken as independent.
    Request,
}

impl AnalysisUnit {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Request => "request",
        }
    }
}

/// How often the data may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestMode {
    /// Once, at the planned number of units.
    Fixed,
    /// Any number of times.
    AlwaysValid,
    /// At planned looks.
    GroupSequential,
}

/// A variant's part in the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VariantRole {
    /// What candidates are compared with.
    Baseline,
    /// What may be promoted.
    Candidate,
}

/// Whether the split is as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SrmVerdict {
    /// No mismatch.
    Ok,
    /// The shares differ from the configured ones by more than chance allows.
    Mismatch,
    /// Not tested.
    Undefined,
}

impl SrmVerdict {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Mismatch => "mismatch",
            Self::Undefined => "undefined",
        }
    }
}

/// What a metric is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It decides.
    Primary,
    /// It must not get worse by more than its margin.
    Guardrail,
    /// It decides nothing.
    Exploratory,
}

impl Role {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Guardrail => "guardrail",
            Self::Exploratory => "exploratory",
        }
    }
}

/// How units become a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The share of units with at least one success.
    Proportion,
    /// The sum of each unit, averaged over all units.
    Mean,
    /// The sum over all units by the number of requests or rows.
    Ratio,
    /// The latency below which a given share of the requests lies.
    Quantile,
}

impl Kind {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proportion => "proportion",
            Self::Mean => "mean",
            Self::Ratio => "ratio",
            Self::Quantile => "quantile",
        }
    }
}

/// Which direction is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// More is better.
    Increase,
    /// Less is better.
    Decrease,
}

impl Goal {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Increase => "increase",
            Self::Decrease => "decrease",
        }
    }
}

/// The unit of a metric that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum MetricUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

/// What a metric shows of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// Significantly better than the baseline.
    Better,
    /// Significantly worse than the baseline.
    Worse,
    /// Neither; for a guardrail, it is not settled whether it is within its margin.
    NoDifferenceShown,
    /// A guardrail: not worse by more than its margin.
    NonInferior,
    /// A guardrail: worse by more than its margin.
    Inferior,
    /// The data allow no test.
    Undefined,
}

impl Conclusion {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifferenceShown => "no_difference_shown",
            Self::NonInferior => "non_inferior",
            Self::Inferior => "inferior",
            Self::Undefined => "undefined",
        }
    }
}

#[cfg(test)]
mod tests;
