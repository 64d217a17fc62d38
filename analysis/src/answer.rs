//! The result of an analysis, as `sidetrack analyze run --json` writes it and as MLflow and others read it back.
//!
//! docs/analysis.md describes each key; keys and words are stable. An undefined number is null, as is a missing end of
//! an interval.

mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sidetrack_stats::result::Undefined;

use crate::check::{Check, CheckState};
use crate::reason::Reason;
use crate::scale::Scale;
use crate::sums::Before;
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

/// Lines of the logs, by what became of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LineCounts {
    /// All lines.
    pub read: u64,
    /// Lines that count.
    pub used: u64,
    /// Those that cannot be read; skipped.
    pub malformed: u64,
    /// Well-formed lines that do not count, by reason.
    pub excluded: ExcludedCounts,
    /// The first malformed lines, with their places.
    pub examples: Vec<String>,
}

/// Well-formed lines that do not count, by reason.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ExcludedCounts {
    /// Of another experiment, or of none.
    pub other_experiment: u64,
    /// An override chose the variant.
    #[serde(rename = "override")]
    pub overridden: u64,
    /// Without a unit.
    pub missing_unit: u64,
    /// While a breaker was open.
    pub breaker: u64,
    /// Before the start.
    pub not_started: u64,
    /// While the experiment was disabled.
    pub disabled: u64,
    /// Outside the slots of its layer.
    pub excluded: u64,
    /// The client disconnected before the response: not in the metrics of responses, but its unit counts.
    pub aborted: u64,
    /// Assigned with other weights than those of the line or, if it has none, of the file.
    pub other_weights: u64,
    /// Of another trial of the experiment.
    #[serde(default)]
    pub other_trial: u64,
    /// Before `--since` or after `--until`.
    #[serde(default)]
    pub other_time: u64,
    /// Of a variant that the file does not have.
    #[serde(default)]
    pub other_variant: u64,
    /// The same request in another line: a file that was delivered twice, rotations that overlap.
    #[serde(default)]
    pub repeated: u64,
}

/// Rows of the outcomes, by what became of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OutcomeCounts {
    /// All rows.
    pub rows: u64,
    /// Rows that match a request or unit.
    pub matched: u64,
    /// Rows that match nothing.
    pub unmatched: u64,
    /// Those that cannot be read as a whole. If their key can, the unit is left out of all metrics.
    pub malformed: u64,
    /// Rows that say again what a row before them said; skipped.
    pub repeated: u64,
    /// Rows that contradict a row before them about the same request; skipped.
    #[serde(default)]
    pub conflicting: u64,
    /// Rows that match several requests with the same id; the row counts for each.
    pub shared: u64,
    /// Rows with a time before the unit's first request, by more than the tolerance of clocks.
    pub early: u64,
    /// Those of them that are less than ten minutes before it, and after the beginning of the logs.
    #[serde(default)]
    pub shortly_before: u64,
    /// Rows around the first request of their unit.
    #[serde(skip)]
    pub(crate) before: Before,
    /// Requests with a row, and those that share it.
    #[serde(skip)]
    pub(crate) sharing: (u64, u64),
    /// By variant: predictions of a class that labels have, and others.
    #[serde(skip)]
    pub(crate) classes: BTreeMap<String, [u64; 2]>,
    /// Rows about units with a time outside the one that is analyzed.
    #[serde(default)]
    pub other_time: u64,
    /// Rows about units that belong, or may belong, to an exposure in another trial; they do not count.
    #[serde(default)]
    pub other_trial: u64,
    /// Rows about units that count, although without a `time` they may belong to another trial.
    #[serde(default)]
    pub ambiguous: u64,
    /// The first malformed ones, with their places.
    pub examples: Vec<String>,
    /// Values that cannot be read; their units are left out of the metric.
    #[serde(default)]
    pub unreadable: Vec<UnreadableColumn>,
    /// Columns that are no metrics, and why.
    #[serde(default)]
    pub ignored_columns: Vec<String>,
    /// How many columns have no name, so that they are no metrics.
    #[serde(default)]
    pub nameless_columns: u64,
}

/// Values of a column that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct UnreadableColumn {
    /// Its name.
    pub column: String,
    /// In how many rows.
    pub rows: u64,
    /// The first ones, with their places.
    pub examples: Vec<String>,
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
    /// Units by variant; requests if the log has no units.
    pub observed: BTreeMap<String, u64>,
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
