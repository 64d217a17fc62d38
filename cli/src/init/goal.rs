//! The options for the plan of the analysis: what decides, how many users, which steps.

use std::str::FromStr;

use serde_json::{Value, json};
use sidetrack::quantity::{Millis, Ppm};

/// What protects the users if no guardrail is given.
const GUARDRAIL: &str = "error_rate:0.5pt";

/// The plan of the analysis; without a metric, it is a comment in the file.
#[derive(clap::Args)]
pub(super) struct Goal {
    /// The metric that decides, such as accuracy: a column of your outcomes; may be repeated
    #[arg(long, value_name = "METRIC")]
    metric: Vec<String>,
    /// A metric that must not become worse, with its margin, such as latency_p95:10%; may be repeated
    /// [default: error_rate:0.5pt]
    #[arg(long, value_name = "METRIC:MARGIN", requires = "metric")]
    guardrail: Vec<String>,
    /// The number of users of the test, from `sidetrack size`
    #[arg(long, value_name = "N", requires = "metric")]
    pub(super) planned_units: Option<u64>,
    /// A step of `sidetrack advance`: the candidate's share in percent, and for how long at least, such as 5:1d; may be
    /// repeated, and the first one is the share of the file
    #[arg(long, value_name = "PERCENT:TIME", requires = "metric")]
    step: Vec<Step>,
}

/// A share, and the time that it lasts.
#[derive(Clone, Copy, Debug)]
struct Step {
    weight: Ppm,
    min_for: Millis,
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let step = text.split_once(':').and_then(|(weight, time)| {
            Some(Self { weight: weight.parse().ok()?, min_for: Millis::parse(time)? })
        });
        step.ok_or_else(|| "expected a percentage and a time, such as 5:1d".to_owned())
    }
}

impl Goal {
    pub(super) fn first_share(&self) -> Option<Ppm> {
        self.step.first().map(|step| step.weight)
    }

    pub(super) fn metrics(&self, scalar: impl Fn(&str) -> String) -> Vec<String> {
        self.metric.iter().map(|name| scalar(name)).collect()
    }

    pub(super) fn guardrails(&self, scalar: impl Fn(&str) -> String) -> Vec<String> {
        let given = self.guardrail.iter().map(String::as_str);
        let default = self.guardrail.is_empty().then_some(GUARDRAIL);
        given.chain(default).map(scalar).collect()
    }

    pub(super) fn steps(&self) -> Vec<Value> {
        let step = |Step { weight, min_for }: &Step| json!({"weight": weight.to_string(), "min_for": min_for.to_string()});
        self.step.iter().map(step).collect()
    }
}
