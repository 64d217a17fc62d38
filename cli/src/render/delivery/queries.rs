//! The queries, in PromQL, each with the bound of a good value.

use serde::Serialize;
use sidetrack::names::label::{LE, MODEL, STATUS};
use sidetrack::names::metric;
use sidetrack::names::status::ERROR;
use sidetrack::plan::{BreakerMode, Experiment};

use crate::render::prometheus::{Series, answered, watched_slow};
use crate::words::{percent, variant};

/// What a candidate may do.
pub(super) struct Limits {
    pub(super) min_requests: u32,
    /// Failed requests beyond the baseline's, as a fraction.
    pub(super) errors: f64,
    /// The 95th percentile, relative to the baseline's.
    pub(super) latency: f64,
    /// The distance of the share from the weight, as a fraction.
    pub(super) drift: f64,
}

/// One metric.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Query {
    pub(super) name: &'static str,
    /// What it says, and what no value means.
    pub(super) about: String,
    pub(super) query: String,
    pub(super) bound: Bound,
}

/// Which values are good, and which are bad. Others are neither.
///
/// States of breakers are numbers of [`sidetrack::names::breaker_state`].
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    /// At most this; more is bad.
    Max(f64),
    /// Below the first is good; from the second on it is bad.
    Between(u32, u32),
    /// Within this distance of 0; more needs a person.
    Near(f64),
}

/// The metrics of a candidate. `window` is the range of the rates.
pub(super) fn of(
    experiment: &Experiment,
    candidate: &str,
    series: &Series,
    window: &str,
    limits: &Limits,
) -> Vec<Query> {
    let baseline = variant(experiment, experiment.baseline);
    let of = Of { series, window, candidate, baseline, min_requests: limits.min_requests };
    let mut queries = vec![of.errors(limits.errors)];
    queries.push(of.latency(limits.latency));
    if let Some((slow, le)) = watched_slow(experiment) {
        queries.push(Query {
            name: "slow",
            about: format!(
                "The share of {candidate}'s responses above {} s; the breaker's limit is {} above {}.",
                le,
                percent(slow.rate),
                slow.over
            ),
            query: of.compared(&of.slow(le)),
            bound: Bound::Max(slow.rate.fraction()),
        });
    }
    queries.extend(of.breaker(experiment.breaker.mode));
    // Units outside the slots of a layer count for the baseline, so the share is not the weight.
    if experiment.layer.is_none() {
        queries.push(of.share(limits.drift));
    }
    queries
}

/// The parts of the queries of one candidate.
struct Of<'a> {
    series: &'a Series,
    window: &'a str,
    candidate: &'a str,
    baseline: &'a str,
    min_requests: u32,
}

impl Of<'_> {
    fn rate(&self, name: &str, model: &str, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        let selector = self.series.of(name, &format!("{MODEL}=\"{model}\"{comma}{more}"));
        format!("sum(rate({selector}[{}]))", self.window)
    }

    /// The expression, while both variants have enough requests.
    fn compared(&self, expr: &str) -> String {
        let enough = |model: &str| {
            let more = format!("{MODEL}=\"{model}\",{}", answered());
            let selector = self.series.of(metric::REQUESTS, &more);
            format!("sum(increase({selector}[{}])) >= {}", self.window, self.min_requests)
        };
        format!(
            "({expr})\nand on () ({})\nand on () ({})",
            enough(self.candidate),
            enough(self.baseline)
        )
    }

    fn errors(&self, limit: f64) -> Query {
        let ratio = |model: &str| {
            let failed = self.rate(metric::REQUESTS, model, &format!("{STATUS}=\"{ERROR}\""));
            format!("{failed}\n  / {}", self.rate(metric::REQUESTS, model, &answered()))
        };
        let (candidate, baseline) = (self.candidate, self.baseline);
        let expr = format!("{}\n- {}", ratio(candidate), ratio(baseline));
        Query {
            name: "errors",
            about: format!(
                "The share of {candidate}'s requests that failed, minus that of {baseline}."
            ),
            query: self.compared(&expr),
            bound: Bound::Max(limit),
        }
    }

    fn latency(&self, limit: f64) -> Query {
        let quantile = |model: &str| {
            let selector =
                self.series.of(metric::RESPONSE_TIME_BUCKET, &format!("{MODEL}=\"{model}\""));
            format!("histogram_quantile(0.95, sum by ({LE}) (rate({selector}[{}])))", self.window)
        };
        let (candidate, baseline) = (self.candidate, self.baseline);
        let expr = format!("{}\n/ {}", quantile(candidate), quantile(baseline));
        Query {
            name: "latency",
            about: format!(
                "The 95th percentile of {candidate}'s seconds to the response headers, relative to that of {baseline}."
            ),
            query: self.compared(&expr),
            bound: Bound::Max(limit),
        }
    }

    fn slow(&self, le: &str) -> String {
        let fast =
            self.rate(metric::RESPONSE_TIME_BUCKET, self.candidate, &format!("{LE}=\"{le}\""));
        format!("1 - {fast}\n  / {}", self.rate(metric::RESPONSE_TIME_COUNT, self.candidate, ""))
    }

    fn breaker(&self, mode: BreakerMode) -> Option<Query> {
        let model = format!("{MODEL}=\"{}\"", self.candidate);
        let window = self.window;
        Some(match mode {
            BreakerMode::Enforce => Query {
                name: "breaker",
                about: format!(
                    "The worst state of {}'s breaker in any proxy: 0 closed, 1 half-open, 2 open.",
                    self.candidate
                ),
                query: format!(
                    "max(max_over_time({}[{window}]))",
                    self.series.of(metric::BREAKER_STATE, &model)
                ),
                bound: Bound::Between(1, 2),
            },
            BreakerMode::DryRun => Query {
                name: "breaker",
                about: format!(
                    "How often {}'s breaker would have opened, had it been enforced.",
                    self.candidate
                ),
                query: format!(
                    "sum(increase({}[{window}]))",
                    self.series.of(metric::BREAKER_WOULD_TRIP, &model)
                ),
                bound: Bound::Max(0.0),
            },
            BreakerMode::Disabled => return None,
        })
    }

    fn share(&self, limit: f64) -> Query {
        let model = format!("{MODEL}=\"{}\"", self.candidate);
        let assigned = format!(
            "{}\n  + {}",
            self.rate(metric::REQUESTS, self.candidate, ""),
            self.rate(metric::FALLBACKS, self.candidate, "")
        );
        let all = format!("sum(rate({}[{}]))", self.series.of(metric::REQUESTS, ""), self.window);
        let weight = format!(
            "avg(avg_over_time({}[{}])) / 1e6",
            self.series.of(metric::WEIGHT, &model),
            self.window
        );
        Query {
            name: "share",
            about: format!(
                "The share of the requests that are assigned to {}, minus its weight.",
                self.candidate
            ),
            query: self.compared(&format!("({assigned})\n/ {all}\n- {weight}")),
            bound: Bound::Near(limit),
        }
    }
}

impl Bound {
    /// The range of good values, as Flagger takes it: minimum and maximum.
    pub(super) fn range(self) -> (Option<f64>, f64) {
        match self {
            Self::Max(limit) => (None, limit),
            // Between the last good state and the next one.
            Self::Between(good, _) => (None, f64::from(good) - 0.5),
            Self::Near(limit) => (Some(-limit), limit),
        }
    }

    /// The conditions of success and of failure, as Argo Rollouts takes them. A measurement that meets neither is
    /// inconclusive: an empty result, `NaN`, or a value between the two.
    pub(super) fn conditions(self) -> (String, String) {
        let if_any = |condition: String| format!("len(result) > 0 && {condition}");
        match self {
            Self::Max(limit) => {
                (if_any(format!("result[0] <= {limit}")), if_any(format!("result[0] > {limit}")))
            }
            Self::Between(good, bad) => {
                (if_any(format!("result[0] < {good}")), if_any(format!("result[0] >= {bad}")))
            }
            Self::Near(limit) => {
                let near = format!("result[0] >= -{limit} && result[0] <= {limit}");
                (if_any(near), "false".to_owned())
            }
        }
    }
}
