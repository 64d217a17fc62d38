//! Comparisons: each metric with its candidates, and what the differences are worth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sidetrack_stats::result::Undefined;

use super::{CapResult, Conclusion, Goal, Kind, MetricUnit, Role};
use crate::scale::Scale;

/// A metric and its comparisons.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MetricResult {
    /// Its name.
    pub name: String,
    /// Its part.
    pub role: Role,
    /// How units become a number.
    pub kind: Kind,
    /// Which direction is better.
    pub goal: Goal,
    /// `s` for times, else null.
    pub unit: Option<MetricUnit>,
    /// Values are fractions of one, shown in percent.
    pub is_share: bool,
    /// A guardrail's margin, in the metric's unit.
    pub margin: Option<f64>,
    /// The value at which units are capped; null without a cap.
    #[serde(default)]
    pub cap: Option<CapResult>,
    /// The baseline.
    pub baseline: Value,
    /// The candidates.
    pub candidates: Vec<CandidateResult>,
}

/// The baseline's value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Value {
    /// Which variant.
    pub variant: String,
    /// Units behind the value.
    pub n: u64,
    /// The value.
    pub value: Option<f64>,
}

/// A candidate against the baseline in one metric.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CandidateResult {
    /// Which variant.
    pub variant: String,
    /// Units behind the value.
    pub n: u64,
    /// The value.
    pub value: Option<f64>,
    /// The baseline's value in this comparison: phases weigh as much as this candidate's units let them, so it may differ
    /// between candidates.
    pub baseline_value: Option<f64>,
    /// A guardrail's margin in this comparison, in the metric's unit.
    pub margin: Option<f64>,
    /// Candidate minus baseline.
    pub diff: Option<f64>,
    /// The interval of the difference.
    pub ci: [Option<f64>; 2],
    /// The difference over the baseline's value.
    pub relative_lift: Option<f64>,
    /// Its interval.
    pub relative_lift_ci: [Option<f64>; 2],
    /// The p-value.
    pub p_value: Option<f64>,
    /// Its decimal logarithm.
    pub log10_p: Option<f64>,
    /// Adjusted for the other comparisons.
    pub p_adjusted: Option<f64>,
    /// The test statistic.
    pub statistic: Option<f64>,
    /// Degrees of freedom.
    pub df: Option<f64>,
    /// The probability that it is the best variant.
    pub p_best: Option<f64>,
    /// The expected loss of choosing it.
    pub expected_loss: Option<f64>,
    /// What was computed, for people.
    pub method: String,
    /// Why the p-value is undefined; not in JSON, where `method` contains the reason.
    #[serde(skip)]
    pub undefined: Option<Undefined>,
    /// The conclusion.
    pub decision: Conclusion,
    /// The difference within each phase, if there are several.
    pub phases: Vec<PhaseResult>,
    /// How covariates adjusted the comparison; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjustment: Option<AdjustmentResult>,
    /// What is believed of the difference, by the prior of the plan; absent without a prior.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posterior: Option<PosteriorResult>,
}

/// What is believed of a difference after the data, by the prior of the plan.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct PosteriorResult {
    /// The difference is a share of the baseline's value; else it is in the metric's unit.
    pub relative: bool,
    /// The posterior's mean.
    pub mean: f64,
    /// Its standard deviation.
    pub sd: f64,
    /// Its interval, of a probability of one minus `alpha`.
    pub interval: [f64; 2],
    /// The probability that the candidate is better, in the direction of the goal.
    pub p_better: f64,
    /// What choosing the candidate costs on average.
    pub expected_loss: f64,
    /// The probability that the difference is too small to matter; null without `equivalence`.
    pub p_equivalent: Option<f64>,
}

/// How covariates adjusted a comparison (CUPED).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct AdjustmentResult {
    /// By covariate: how much of the metric goes with one unit of it.
    pub theta: BTreeMap<String, f64>,
    /// The share of the difference's variance that went away: 0.5 is as good as twice the units. Slightly below 0 if the
    /// covariates explain nothing.
    pub variance_reduction: f64,
    /// Without covariates: candidate minus baseline.
    pub diff: Option<f64>,
    /// Its interval.
    pub ci: [Option<f64>; 2],
    /// The difference over the baseline's value.
    pub relative_lift: Option<f64>,
    /// Its interval.
    pub relative_lift_ci: [Option<f64>; 2],
    /// Its p-value.
    pub p_value: Option<f64>,
}

/// A comparison within a phase.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PhaseResult {
    /// Which phase.
    pub phase: String,
    /// Units behind the value.
    pub n: [u64; 2],
    /// Candidate minus baseline.
    pub diff: f64,
    /// For this phase alone, of the same kind as the interval of the whole.
    pub ci: [Option<f64>; 2],
}

/// The differences at the user's prices.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ExpectedValue {
    /// Which variant.
    pub variant: String,
    /// Per prediction; null without `--value-per`.
    pub net: Option<f64>,
    /// Its interval.
    pub net_ci: [Option<f64>; 2],
    /// By metric.
    pub parts: Vec<ValuePart>,
    /// Milliseconds of mean latency that a percentage point of accuracy costs; null without such a trade-off.
    pub ms_per_point: Option<f64>,
    /// In words.
    pub sentence: String,
}

/// A metric's part in the value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ValuePart {
    /// Which metric.
    pub metric: String,
    /// In points, milliseconds or the metric's own unit; positive is better.
    pub gain: f64,
    /// The price.
    pub value_per: f64,
}

impl MetricResult {
    /// Whether all comparisons have the same value of the baseline, as it is shown.
    ///
    /// With several phases, each comparison weighs them by its own units.
    #[must_use]
    pub fn has_one_baseline(&self) -> bool {
        let scale = self.scale();
        let shown = |value: Option<f64>| value.map(|value| scale.amount(value));
        let own = |result: &CandidateResult| {
            result.baseline_value.is_none()
                || shown(result.baseline_value) == shown(self.baseline.value)
        };
        self.candidates.iter().all(own)
    }

    /// How its values are shown.
    #[must_use]
    pub const fn scale(&self) -> Scale {
        match self.unit {
            _ if self.is_share => Scale::Share,
            Some(MetricUnit::Seconds) => Scale::Seconds,
            None => Scale::Plain,
        }
    }
}
