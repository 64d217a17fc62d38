//! The result of an analysis, as `sidetrack analyze run --json` writes it and as MLflow and others read it back.
//!
//! docs/analysis.md describes each key; keys and words are stable. An undefined number is null, as is a missing end of
//! an interval.

mod counts;
mod daily;
mod metrics;
mod model;
mod outlook;
mod segments;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check::{Check, CheckState};
use crate::reason::Reason;
pub use counts::*;
pub use daily::*;
pub use metrics::*;
pub use model::*;
pub use outlook::*;
pub use segments::*;
pub use words::*;

/// A whole analysis.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Analysis {
    /// The version of this format: 1.
    pub version: u32,
    /// The experiment's name.
    pub experiment: String,
    /// The configuration's hash, in hexadecimal.
    pub config_hash: String,
    /// The trial that is analyzed: eight hexadecimal digits, as the log names it.
    #[serde(default)]
    pub trial: String,
    /// Other trials of the experiment in the logs; their lines do not count.
    #[serde(default)]
    pub other_trials: Vec<OtherTrial>,
    /// The time of the first request, RFC 3339.
    pub from: Option<String>,
    /// The time of the last request.
    pub to: Option<String>,
    /// What is compared.
    pub unit_of_analysis: AnalysisUnit,
    /// Which test.
    pub test: TestMode,
    /// The level of significance.
    pub alpha: f64,
    /// Units planned for all variants together.
    pub planned_units: Option<u64>,
    /// Where the data are among planned looks; absent without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<LookResult>,
    /// Units that count towards the planned ones: with attribution of a primary metric, those whose window is over.
    #[serde(default)]
    pub counted_units: Option<u64>,
    /// Which outcomes count; null without attribution.
    #[serde(default)]
    pub attribution: Option<AttributionResult>,
    /// The plan of the file.
    #[serde(default)]
    pub plan: PlanCheck,
    /// A bandit set the weights, or they rose and fell as if outcomes had set them; then no test is fixed.
    pub adaptive: bool,
    /// Lines of the logs.
    pub lines: LineCounts,
    /// Rows of the outcomes; null without outcomes.
    pub outcomes: Option<OutcomeCounts>,
    /// The variants.
    pub variants: Vec<Variant>,
    /// Each set of weights with its time, in the order of their beginnings.
    #[serde(default)]
    pub phases: Vec<PhaseTraffic>,
    /// The split.
    pub srm: Srm,
    /// Further checks of the data.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Open breakers.
    pub breaker: Breaker,
    /// Units that were assigned to two variants within one phase.
    pub torn_units: u64,
    /// Units whose variant changed from one phase to another.
    #[serde(default)]
    pub moved_units: u64,
    /// The comparisons.
    pub metrics: Vec<MetricResult>,
    /// The metrics that decide, by segment. They decide nothing there.
    #[serde(default)]
    pub segments: Vec<SegmentResult>,
    /// The metrics that decide by day, and by days since the first request of a unit.
    #[serde(default)]
    pub daily: Vec<DailyResult>,
    /// What the experiment can still find, and when it ends.
    #[serde(default)]
    pub outlook: Outlook,
    /// Predictions and labels by variant; null unless the plan says where the outcomes have them.
    #[serde(default)]
    pub model: Option<ModelResult>,
    /// The expected value of each candidate.
    pub worth: Vec<ExpectedValue>,
    /// The metrics without the minutes in which a breaker was open; null when no breaker was open.
    pub without_breaker: Option<Vec<MetricResult>>,
    /// The conclusion.
    pub decision: Decision,
    /// Which candidate to promote.
    pub winner: Option<String>,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
}

/// The analysis plan of the file, and whether the analysis is the planned one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct PlanCheck {
    /// Eight hexadecimal digits, as the log names it; null without a plan.
    pub digest: Option<String>,
    /// Why the analysis is exploratory; empty if it is the planned one.
    pub exploratory: Vec<String>,
}

/// Where the data are among planned looks (O'Brien and Fleming).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LookResult {
    /// This look, or the next one; the first one is 1.
    pub look: u32,
    /// How many there are.
    pub looks: u32,
    /// Units that count.
    pub units: u64,
    /// At how many units the next look is; null at a look.
    pub next_units: Option<u64>,
}

/// Which outcomes count: those of a time from the first request of their unit in a phase.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AttributionResult {
    /// How long outcomes count, as in `7d`.
    pub window: String,
    /// Outcomes are known up to this time; windows that end later are open.
    pub known_until: String,
    /// By variant: units that are left out of the metrics of outcomes, since the window of their first request is open.
    pub open_units: BTreeMap<String, u64>,
    /// When the last open window ends; null if none is open.
    pub last_closes: Option<String>,
    /// Rows of the outcomes from after the window of their unit; they do not count.
    pub late_rows: u64,
    /// Rows without a time; their units are left out.
    pub untimed_rows: u64,
}

/// The cap of a metric.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CapResult {
    /// The share of all units, of all variants together, whose value is at most the cap.
    pub quantile: f64,
    /// What a unit counts at most, in the metric's unit.
    pub value: f64,
    /// By variant: units whose value is larger.
    pub units: BTreeMap<String, u64>,
    /// By candidate: its difference from the baseline without the cap.
    #[serde(default)]
    pub uncapped: BTreeMap<String, f64>,
}

/// A trial of the experiment that is not analyzed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OtherTrial {
    /// Eight hexadecimal digits; null: lines without a trial.
    pub trial: Option<String>,
    /// Its lines.
    pub lines: u64,
    /// The time of the first line.
    pub from: Option<String>,
    /// The time of the last line.
    pub to: Option<String>,
}

/// A variant and its traffic.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its part.
    pub role: VariantRole,
    /// Units; requests if the log has no units.
    pub units: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that another variant served: an open breaker, or a failover.
    pub served_elsewhere: u64,
}

/// The test for a sample ratio mismatch.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Srm {
    /// The conclusion.
    pub verdict: SrmVerdict,
    /// The p-value, which holds at every look.
    pub p_value: Option<f64>,
    /// Its decimal logarithm.
    pub log10_p: Option<f64>,
    /// Pearson's chi-square of all phases, for comparison with other tools; it decides nothing.
    pub statistic: Option<f64>,
    /// Its degrees of freedom.
    pub df: Option<f64>,
    /// By phase.
    pub phases: Vec<SrmPhase>,
    /// What is not tested, and why; or which variant should have no units.
    pub note: Option<String>,
}

/// The traffic of a phase.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PhaseTraffic {
    /// Null if it is the only one.
    pub phase: Option<String>,
    /// The time of its first request; null without requests.
    pub from: Option<String>,
    /// The minute in which its requests really began; absent if that is `from`. Up to one in a thousand requests, or one,
    /// may be earlier: a single wrong clock does not make a phase older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady_from: Option<String>,
    /// The time of its last request.
    pub to: Option<String>,
    /// Shares by variant.
    pub shares: BTreeMap<String, f64>,
    /// Units with a response in this phase by variant, also those of earlier phases; requests if the log has no units.
    pub units: BTreeMap<String, u64>,
    /// Requests in this phase by variant.
    #[serde(default)]
    pub requests: BTreeMap<String, u64>,
    /// Of them, those for which the variant was asked itself: others answered the rest, as while its breaker is open.
    #[serde(default)]
    pub asked: BTreeMap<String, u64>,
    /// Candidates that in this phase answer clearly more requests with a status of 300 to 499 than the baseline.
    #[serde(default)]
    pub refusing: Vec<String>,
}

/// The split within a phase.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SrmPhase {
    /// Null without phases.
    pub phase: Option<String>,
    /// The first request, rounded to the minute.
    #[serde(default)]
    pub from: Option<String>,
    /// The last request, rounded up to the minute.
    #[serde(default)]
    pub to: Option<String>,
    /// Shares by variant.
    pub expected: BTreeMap<String, f64>,
    /// Units by variant whose first request was in this phase, which are tested; requests if the log has no units.
    pub observed: BTreeMap<String, u64>,
    /// Units by variant that were seen in this phase, also those of earlier phases; requests if the log has no units.
    #[serde(default)]
    pub seen: BTreeMap<String, u64>,
    /// The p-value of this phase alone, which holds at every look.
    pub p_value: Option<f64>,
}

/// When breakers were open.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Breaker {
    /// Requests that a breaker diverted or let through as a probe.
    pub requests: u64,
    /// Their share of the candidates' requests.
    pub share: f64,
    /// Minutes in which a breaker was open.
    pub minutes: u64,
    /// From minute to minute.
    pub intervals: Vec<OpenInterval>,
}

/// A time in which a breaker was open or recovering.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OpenInterval {
    /// Which variant.
    pub variant: String,
    /// Rounded to the minute.
    pub from: String,
    /// The last request (of an interval: its end).
    pub to: String,
    /// Requests.
    pub requests: u64,
}

impl Analysis {
    /// The baseline's name.
    #[must_use]
    pub fn baseline(&self) -> Option<&str> {
        let baseline = self.variants.iter().find(|variant| variant.role == VariantRole::Baseline);
        baseline.map(|variant| variant.name.as_str())
    }

    /// Whether there are as many units as planned.
    #[must_use]
    pub fn is_plan_reached(&self) -> bool {
        let all = || self.variants.iter().map(|variant| variant.units).sum();
        let units: u64 = self.counted_units.unwrap_or_else(all);
        self.planned_units.is_some_and(|planned| units >= planned)
    }

    /// How many units count towards the planned ones, if the attribution windows of others are still open.
    #[must_use]
    pub fn waiting(&self) -> Option<u64> {
        let all: u64 = self.variants.iter().map(|variant| variant.units).sum();
        self.counted_units.filter(|counted| *counted < all)
    }

    /// What failed and was accepted by an option, so that there is a decision although the data may not carry it.
    #[must_use]
    pub fn accepted(&self) -> Vec<&str> {
        if self.decision == Decision::Invalid {
            return Vec::new();
        }
        let split = (self.srm.verdict == SrmVerdict::Mismatch).then_some("the split");
        let checks = self.checks.iter().filter(|check| check.state == CheckState::Accepted);
        let mut names: Vec<&str> = split.into_iter().collect();
        names.extend(checks.map(|check| check.name.as_str()));
        names.dedup();
        names
    }

    /// The names of the candidates.
    pub fn candidates(&self) -> impl Iterator<Item = &str> {
        let candidates =
            self.variants.iter().filter(|variant| variant.role == VariantRole::Candidate);
        candidates.map(|variant| variant.name.as_str())
    }
}
