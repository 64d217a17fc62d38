//! What the analysis says of a candidate: from access logs, or from a store's server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as Arguments;
use sidetrack::exposure::trial;
use sidetrack::plan::{Assignment, Experiment, Plan};
use sidetrack::quantity::{Ppm, Timestamp};
use sidetrack_analysis::answer::{AnalysisUnit, Conclusion, Decision, MetricResult, Role};
use sidetrack_analysis::plan::AnalysisPlan;
use sidetrack_analysis::{Analysis, MetricRequest};

use super::decide::{Evidence, Phase};
use crate::analyze::run::planned;
use crate::fault::Fault;
use crate::http::{agent, unreachable};
use crate::words::visible;

/// How long to wait for a store: it analyzes before it answers.
const ANSWER: Duration = Duration::from_secs(120);
/// A verdict with all its metrics has a few kilobytes by phase.
const LARGEST: u64 = 64 << 20;
/// The variable with the token of a store that needs one.
const TOKEN: &str = "SIDETRACK_STORE_TOKEN";

/// Where the evidence is.
#[derive(Arguments)]
pub(crate) struct EvidenceOptions {
    /// Access logs, plain or gzip, or folders that contain them
    #[arg(long, value_name = "LOG", num_args = 1..)]
    exposures: Vec<PathBuf>,
    /// Outcomes by request_id or unit: CSV with a header, or JSON
    #[arg(long, value_name = "FILE", requires = "exposures")]
    outcomes: Option<PathBuf>,
    /// The address of a `sidetrack serve`, instead of logs; a token comes from the variable SIDETRACK_STORE_TOKEN
    #[arg(long, value_name = "URL", conflicts_with = "exposures")]
    store: Option<String>,
}

/// The experiment that is asked about.
pub(super) struct Subject<'a> {
    pub(super) text: &'a str,
    pub(super) plan: &'a Plan,
    pub(super) experiment: &'a Experiment,
    pub(super) planned: &'a AnalysisPlan,
    pub(super) candidate: &'a str,
    pub(super) weight: Ppm,
}

impl EvidenceOptions {
    /// The evidence, with its analysis; `None` if no source is given.
    pub(super) fn read(&self, subject: &Subject<'_>) -> anyhow::Result<Option<Evidence>> {
        let Subject { text, plan, experiment, planned, .. } = *subject;
        let analysis = match &self.store {
            Some(url) => stored(url, experiment)?,
            None if self.exposures.is_empty() => return Ok(None),
            None => {
                let outcomes = self.outcomes.as_deref();
                let logs = &self.exposures;
                planned::analysis(text, plan, experiment, planned, logs, outcomes)?
            }
        };
        Ok(Some(evidence(&analysis, subject)))
    }
}

/// What a store's server says, which must be about the trial of the file.
fn stored(url: &str, experiment: &Experiment) -> anyhow::Result<Analysis> {
    let url = url.trim_end_matches('/');
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let page = format!("{url}/v1/experiments/{}", experiment.name);
    let call = format!("GET {page}");
    let hint =
        "hint: --store must be the address of `sidetrack serve`, such as http://127.0.0.1:8088";
    let failed = |error: ureq::Error| unreachable(&call, &error, hint);
    let mut request = agent(ANSWER).get(&page);
    if let Ok(token) = std::env::var(TOKEN) {
        request = request.header("authorization", format!("Bearer {}", token.trim()));
    }
    let mut reply = request.call().map_err(failed)?;
    let status = reply.status();
    let text = reply.body_mut().with_config().limit(LARGEST).read_to_string().map_err(failed)?;
    let detail = || {
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let words = ["detail", "title"].iter().find_map(|key| problem.get(key)?.as_str());
        words.map(|words| format!(": {}", visible(words))).unwrap_or_default()
    };
    anyhow::ensure!(status.is_success(), "{call}: status {status}{}\n  {hint}", detail());
    let analysis: Analysis = serde_json::from_str(&text).map_err(|_| {
        anyhow::anyhow!("{call}: status {status}, but not the result of an analysis\n  {hint}")
    })?;
    let wanted = trial(experiment);
    anyhow::ensure!(
        analysis.trial == wanted,
        Fault(format!(
            "the store at {url} analyzes trial {} of {}, but the file's is {wanted}\n  \
             hint: the server must have the same experiment file; a new salt is a new trial",
            visible(&analysis.trial),
            experiment.name
        ))
    );
    Ok(analysis)
}

fn evidence(analysis: &Analysis, subject: &Subject<'_>) -> Evidence {
    let Subject { candidate, planned, .. } = *subject;
    let mut harms = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    for metric in &analysis.metrics {
        let own = metric.candidates.iter().find(|result| result.variant == candidate);
        match (metric.role, own.map(|result| result.decision)) {
            (Role::Guardrail, Some(Conclusion::Inferior))
            | (Role::Primary, Some(Conclusion::Worse)) => harms.extend(harm(metric, candidate)),
            (Role::Guardrail, None | Some(Conclusion::Undefined)) => {
                unknown.push(metric.name.clone());
            }
            _ => {}
        }
    }
    let lost = |planned: &[MetricRequest]| -> Vec<String> {
        let is_there = |name: &str| analysis.metrics.iter().any(|metric| metric.name == name);
        let names = planned.iter().map(MetricRequest::name);
        names.filter(|name| !is_there(name)).map(str::to_owned).collect()
    };
    unknown.extend(lost(&planned.guardrails));
    // Other metrics must not decide in their place.
    let open = lost(&planned.metrics);
    let decision = match analysis.decision {
        Decision::Promote | Decision::KeepBaseline if !open.is_empty() => Decision::Inconclusive,
        decision => decision,
    };
    let reasons = open.iter().map(|metric| format!("the metric {metric} has no data"));
    let variant = analysis.variants.iter().find(|variant| variant.name == candidate);
    Evidence {
        decision,
        wins: decision == Decision::Promote && analysis.winner.as_deref() == Some(candidate),
        reasons: reasons.chain(analysis.reasons.iter().map(ToString::to_string)).collect(),
        harms,
        unknown,
        has_traffic: variant.is_some_and(|variant| variant.requests > 0),
        phase: phase(analysis, subject),
    }
}

/// `error_rate is +2.10 points, worse by more than its margin of 0.5 points`.
fn harm(metric: &MetricResult, candidate: &str) -> Option<String> {
    let result = metric.candidates.iter().find(|result| result.variant == candidate)?;
    let scale = metric.scale();
    let change = result.diff.map_or_else(|| "worse".to_owned(), |diff| scale.change(diff));
    let interval = match result.ci {
        [Some(low), Some(high)] => format!(" (CI {})", scale.range((low, high))),
        _ => String::new(),
    };
    let limit = match (metric.role, result.margin.or(metric.margin)) {
        (Role::Guardrail, Some(margin)) => {
            format!("worse by more than its margin of {}", scale.margin(margin))
        }
        _ => "significantly worse".to_owned(),
    };
    Some(format!("{} of {candidate} is {limit}: {change}{interval}", metric.name))
}

/// The last phase of the log, if the candidate had the file's weight in it.
fn phase(analysis: &Analysis, subject: &Subject<'_>) -> Option<Phase> {
    let last = analysis.srm.phases.last()?;
    let share = last.expected.get(subject.candidate)?;
    let is_current = (share * 1e6 - f64::from(subject.weight.get())).abs() < 0.5;
    let units: u64 = last.observed.values().sum();
    let time = |text: &Option<String>| Timestamp::parse(text.as_deref()?);
    let counts = analysis.unit_of_analysis == AnalysisUnit::Unit
        || subject.experiment.assignment == Assignment::RequestRandom;
    (is_current && units > 0).then_some(Phase {
        from: time(&last.from)?,
        to: time(&last.to)?,
        units: counts.then_some(units),
    })
}
