//! The answer, as `--json` prints it. docs/analysis.md describes each key; what is there stays.
//!
//! A number that is undefined is null. So is the end of an interval that is missing.

use serde::Serialize;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Analysis {
    pub(crate) version: u32,
    pub(crate) experiment: String,
    pub(crate) config_hash: String,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    /// `unit` or `request`.
    pub(crate) unit_of_analysis: &'static str,
    /// `fixed` or `always_valid`.
    pub(crate) test: &'static str,
    pub(crate) alpha: f64,
    pub(crate) planned_units: Option<u64>,
    /// A bandit chose the weights.
    pub(crate) adaptive: bool,
    pub(crate) lines: LineCounts,
    pub(crate) outcomes: Option<OutcomeCounts>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) srm: Srm,
    pub(crate) breaker: Breaker,
    /// Units that were assigned to two variants within one phase.
    pub(crate) torn_units: u64,
    pub(crate) metrics: Vec<MetricResult>,
    pub(crate) worth: Vec<Worth>,
    /// The same without the minutes in which a breaker was open; null when there were none.
    pub(crate) without_breaker: Option<Vec<MetricResult>>,
    /// `promote`, `keep_baseline`, `inconclusive` or `invalid`.
    pub(crate) decision: &'static str,
    pub(crate) winner: Option<String>,
    pub(crate) reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct LineCounts {
    pub(crate) read: u64,
    pub(crate) used: u64,
    pub(crate) malformed: u64,
    pub(crate) excluded: ExcludedCounts,
    /// The first malformed lines, with their places.
    pub(crate) examples: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ExcludedCounts {
    pub(crate) other_experiment: u64,
    #[serde(rename = "override")]
    pub(crate) overridden: u64,
    pub(crate) missing_unit: u64,
    pub(crate) breaker: u64,
    pub(crate) not_started: u64,
    pub(crate) disabled: u64,
    pub(crate) excluded: u64,
    /// The caller left before the answer: not in the metrics of answers, but its unit counts.
    pub(crate) aborted: u64,
    /// Assigned by other weights than the file's.
    pub(crate) other_weights: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct OutcomeCounts {
    pub(crate) rows: u64,
    pub(crate) matched: u64,
    pub(crate) unmatched: u64,
    pub(crate) malformed: u64,
    /// More than one row about a request; the first counts.
    pub(crate) repeated: u64,
    /// Requests of the log that share their id with another; the row counts for each.
    pub(crate) shared: u64,
    /// From before the unit's first request.
    pub(crate) early: u64,
    pub(crate) examples: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) units: u64,
    pub(crate) requests: u64,
    /// Requests that another variant answered: an open breaker, or a failover.
    pub(crate) served_elsewhere: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Srm {
    /// `ok`, `mismatch` or `undefined`.
    pub(crate) verdict: &'static str,
    pub(crate) p_value: Option<f64>,
    pub(crate) log10_p: Option<f64>,
    pub(crate) statistic: Option<f64>,
    pub(crate) df: Option<f64>,
    pub(crate) phases: Vec<SrmPhase>,
    /// What is not tested, and why; or what makes the test rough.
    pub(crate) note: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SrmPhase {
    /// Null when there is only one.
    pub(crate) phase: Option<String>,
    /// Shares by variant.
    pub(crate) expected: serde_json::Map<String, serde_json::Value>,
    /// Units by variant; requests where there are no units.
    pub(crate) observed: serde_json::Map<String, serde_json::Value>,
    pub(crate) p_value: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Breaker {
    /// Requests in which a breaker had a say.
    pub(crate) requests: u64,
    /// Of the requests assigned to candidates.
    pub(crate) share: f64,
    pub(crate) minutes: u64,
    pub(crate) intervals: Vec<OpenInterval>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct OpenInterval {
    pub(crate) variant: String,
    /// To the minute.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) requests: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct MetricResult {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) goal: &'static str,
    /// `s` for times, else null.
    pub(crate) unit: Option<&'static str>,
    /// A fraction of one, which people read in percent.
    pub(crate) is_share: bool,
    /// A guardrail's margin, in the metric's unit.
    pub(crate) margin: Option<f64>,
    pub(crate) baseline: Value,
    pub(crate) candidates: Vec<CandidateResult>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Value {
    pub(crate) variant: String,
    pub(crate) n: u64,
    pub(crate) value: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct CandidateResult {
    pub(crate) variant: String,
    pub(crate) n: u64,
    pub(crate) value: Option<f64>,
    pub(crate) diff: Option<f64>,
    pub(crate) ci: [Option<f64>; 2],
    pub(crate) relative_lift: Option<f64>,
    pub(crate) relative_lift_ci: [Option<f64>; 2],
    pub(crate) p_value: Option<f64>,
    pub(crate) log10_p: Option<f64>,
    pub(crate) p_adjusted: Option<f64>,
    pub(crate) statistic: Option<f64>,
    pub(crate) df: Option<f64>,
    pub(crate) p_best: Option<f64>,
    pub(crate) expected_loss: Option<f64>,
    pub(crate) method: String,
    pub(crate) decision: &'static str,
    /// The difference within each phase, when there are several.
    pub(crate) phases: Vec<PhaseResult>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct PhaseResult {
    pub(crate) phase: String,
    pub(crate) n: [u64; 2],
    pub(crate) diff: f64,
    /// Of this phase alone, for a single look.
    pub(crate) ci: [Option<f64>; 2],
}

/// What the differences come to in the user's own money.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Worth {
    pub(crate) variant: String,
    /// Per prediction; null without `--value-per`.
    pub(crate) net: Option<f64>,
    pub(crate) net_ci: [Option<f64>; 2],
    pub(crate) parts: Vec<WorthPart>,
    /// Milliseconds of mean latency that a percentage point of accuracy costs; null when it costs none or brings none.
    pub(crate) ms_per_point: Option<f64>,
    pub(crate) sentence: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorthPart {
    pub(crate) metric: String,
    /// In points or milliseconds or the metric's unit, in the good direction.
    pub(crate) gain: f64,
    pub(crate) value_per: f64,
}
