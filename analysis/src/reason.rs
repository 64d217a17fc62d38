//! Reasons for a decision, as data: each with its numbers, worded by `Display`.
//!
//! JSON has the words, so a reason that is read back is only its text ([`Reason::Text`]).

mod unusable;
mod wording;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sidetrack_stats::result::Undefined;

use crate::answer::{AdjustmentResult, CandidateResult, CapResult, MetricResult, PosteriorResult};
use crate::check::Check;
use crate::scale::Scale;
pub use unusable::Unusable;

/// Why the decision is what it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// There is nothing to decide from.
    Unusable(Unusable),
    /// Too many requests were assigned with weights that differ from the file's.
    WeightsChanged {
        /// Their share of the requests.
        share: f64,
    },
    /// The variants did not get the configured shares of units.
    SampleRatioMismatch,
    /// A primary metric is better.
    Better(Finding),
    /// A primary metric is worse.
    Worse(Finding),
    /// A guardrail is worse by more than its margin.
    GuardrailBroken(Finding),
    /// Whether a guardrail is within its margin is not settled.
    GuardrailUnsettled {
        /// The candidate.
        variant: String,
        /// The guardrail.
        metric: String,
        /// The margin, in the metric's unit.
        margin: f64,
        /// How the margin is shown.
        scale: Scale,
    },
    /// A metric that decides cannot be judged.
    NotJudged {
        /// The candidate.
        variant: String,
        /// The metric.
        metric: String,
        /// It is a guardrail.
        guardrail: bool,
        /// Why the number is undefined; `None`: it has no interval.
        why: Option<Undefined>,
    },
    /// A primary metric shows no significant difference.
    NoDifference {
        /// The candidate.
        variant: String,
        /// The metric.
        metric: String,
    },
    /// Harm that shows only without the minutes in which a breaker was open.
    WorseWithoutBreaker(Finding),
    /// A candidate would win, but requests do not decide where users were randomized.
    RequestsDoNotDecide {
        /// The candidate.
        variant: String,
    },
    /// The planned units are reached without a better candidate.
    NothingBetter {
        /// The baseline.
        baseline: String,
        /// A candidate is better in a primary metric and does harm in another one.
        harmful: bool,
    },
    /// The planned units are reached, and a better candidate may still break a guardrail.
    UnsettledAtPlan {
        /// The candidate.
        variant: String,
    },
    /// The planned units are reached, and no primary metric can be judged.
    UnjudgedAtPlan {
        /// The candidate.
        variant: String,
    },
    /// A check of the data failed.
    Check(Box<Check>),
    /// What a reader must know before the numbers.
    Note(Note),
    /// A reason of an analysis that was read back.
    Text(String),
}

/// What a reader must know before the numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The log has no units.
    IndependentRequests,
    /// A compressed file, or one in frames, is truncated or damaged.
    Damaged {
        /// The file.
        file: String,
        /// What the decoder reported.
        error: String,
        /// The lines before the damage, which count.
        lines: u64,
    },
    /// A file of records is truncated or damaged; the records before that count.
    DamagedRecords {
        /// The file.
        file: String,
        /// What is wrong.
        error: String,
    },
    /// A bandit set the weights.
    Adaptive {
        /// How many times.
        steps: u64,
    },
    /// The weights rose and fell several times, as if outcomes had set them.
    Wandering {
        /// How many phases there are.
        phases: u64,
    },
    /// Checks that the table of a summary does not allow.
    NotChecked {
        /// Their names, and why.
        checks: std::collections::BTreeMap<crate::check::CheckName, String>,
    },
    /// The weights changed while the experiment ran.
    Phases {
        /// How many phases there are.
        phases: u64,
    },
    /// A breaker was open.
    BreakerOpen {
        /// Requests that it diverted or let through as probes.
        requests: u64,
        /// Their share of the candidates' requests.
        share: f64,
        /// Minutes with such requests.
        minutes: u64,
    },
    /// A few requests were assigned with weights that differ from the file's.
    OtherWeights {
        /// How many.
        requests: u64,
    },
    /// Units were assigned to two variants within one phase.
    TornUnits {
        /// How many.
        units: u64,
    },
    /// Units changed their variant from one phase to another.
    MovedUnits {
        /// How many.
        units: u64,
        /// Outcomes about units have no time, so they count for the first phase.
        untimed: bool,
    },
    /// Lines of other trials of the experiment.
    OtherTrials {
        /// How many.
        lines: u64,
    },
    /// Requests of variants that the file does not have.
    OtherVariant {
        /// How many.
        requests: u64,
    },
    /// Requests without a unit, in a log that has units.
    WithoutUnit {
        /// How many.
        requests: u64,
    },
    /// Units whose attribution window is open are left out.
    OpenWindows {
        /// How long outcomes count.
        window: String,
        /// How many, by variant.
        units: BTreeMap<String, u64>,
        /// Up to when outcomes are known.
        known_until: String,
        /// When the last window ends.
        last_closes: String,
    },
    /// Values of a metric are capped.
    Capped {
        /// The metric.
        metric: String,
        /// How its values are shown.
        scale: Scale,
        /// Where, and how many units.
        cap: CapResult,
    },
    /// Covariates adjusted a metric.
    Adjusted {
        /// The candidate.
        variant: String,
        /// The metric.
        metric: String,
        /// How its values are shown.
        scale: Scale,
        /// By how much, and what there is without them.
        adjustment: AdjustmentResult,
    },
    /// Covariates explain nearly all of a metric, as only the metric itself does.
    Explained {
        /// The candidate.
        variant: String,
        /// The metric.
        metric: String,
        /// The covariates.
        covariates: Vec<String>,
        /// Which share of the variance; `None`: all of it, so that nothing is left to compare.
        share: Option<f64>,
    },
    /// What is believed of a difference by the prior of the plan.
    Believed {
        /// The candidate.
        variant: String,
        /// The metric.
        metric: String,
        /// How its values are shown.
        scale: Scale,
        /// The posterior.
        posterior: PosteriorResult,
    },
    /// Units without a row count as zero.
    AbsentZero {
        /// The metric.
        metric: String,
        /// Which share of the units.
        share: f64,
    },
    /// A column decides that was not named.
    DefaultPrimary {
        /// The column.
        metric: String,
    },
    /// Rows of the outcomes that need attention.
    OutcomeRows {
        /// How many.
        rows: u64,
        /// What is wrong with them.
        problem: RowProblem,
    },
}

/// What is wrong with rows of the outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowProblem {
    /// No request or unit of the logs matches.
    Unmatched,
    /// The request has a row already.
    Repeated,
    /// They match several requests.
    Shared,
    /// They are from before the unit's first request.
    Early,
    /// They are from after the unit's attribution window.
    Late,
    /// Their request was in another trial, or the unit's latest exposure before them was, or may have been.
    OtherTrial,
}

/// A candidate's difference in a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The candidate.
    pub variant: String,
    /// The metric.
    pub metric: String,
    /// The difference.
    pub effect: Effect,
}

impl Finding {
    /// The finding of a comparison.
    #[must_use]
    pub fn of(metric: &MetricResult, result: &CandidateResult) -> Self {
        Self {
            variant: result.variant.clone(),
            metric: metric.name.clone(),
            effect: Effect::of(metric, result),
        }
    }
}

/// A difference with its interval, and how both are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Candidate minus baseline, in the metric's unit.
    pub difference: Option<f64>,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
    /// How both are shown.
    pub scale: Scale,
}

impl Effect {
    /// The effect of a comparison.
    #[must_use]
    pub fn of(metric: &MetricResult, result: &CandidateResult) -> Self {
        let interval = match result.ci {
            [Some(low), Some(high)] => Some((low, high)),
            _ => None,
        };
        Self { difference: result.diff, interval, scale: metric.scale() }
    }

    /// The interval in words, without a unit; `None` if it is undefined.
    #[must_use]
    pub fn range(&self) -> Option<String> {
        self.interval.map(|interval| self.scale.range(interval))
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::Text)
    }
}

impl From<Check> for Reason {
    fn from(check: Check) -> Self {
        Self::Check(Box::new(check))
    }
}

impl From<Note> for Reason {
    fn from(note: Note) -> Self {
        Self::Note(note)
    }
}
