//! What the analysis says of a candidate: from access logs, from a store's server, or from the store's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use sidetrack::exposure::{short, trial};
use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::{Ppm, Timestamp};
use sidetrack_analysis::answer::{AnalysisUnit, Conclusion, Decision, MetricResult, Role};
use sidetrack_analysis::plan::AnalysisPlan;
use sidetrack_analysis::{Analysis, MetricRequest};
use sidetrack_store::{Catalog, ExperimentFile, NoVerdict};
use ureq::http::StatusCode;

use super::decide::{Evidence, Phase};
use crate::analyze::run::planned;
use crate::fault::Fault;
use crate::http::shown;
use crate::load::{Loaded, Source};
use crate::serve::fault;
use crate::served::{self, Page};
use crate::store;
use crate::words::visible;

/// A candidate that served none of fewer requests than these may just have started.
const FEWEST: u64 = 100;
/// A candidate that is asked for a smaller share of its requests serves nothing.
const SERVED: f64 = 0.01;

/// Where the evidence is.
#[derive(Arguments)]
pub(crate) struct EvidenceOptions {
    /// Exposures, as for `analyze run`: files of any format, folders or patterns
    #[arg(long, value_name = "LOG", num_args = 1..)]
    exposures: Vec<PathBuf>,
    /// Outcomes by request_id or unit: CSV with a header, or JSON
    #[arg(long, value_name = "FILE", requires = "exposures")]
    outcomes: Option<PathBuf>,
    /// The address of a `sidetrack serve`, instead of logs; a token comes from the variable SIDETRACK_STORE_TOKEN. Or
    /// the folder of a store that no process uses
    #[arg(long, value_name = "URL|DIR", conflicts_with = "exposures")]
    store: Option<String>,
}

/// What a source of evidence says.
pub(crate) enum Found {
    /// No source is given.
    Nothing,
    /// The data do not carry an analysis yet, and why.
    NotYet(String),
    Analysis(Box<Analysis>),
}

/// The experiment that is asked about.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) source: &'a Source,
    pub(super) loaded: &'a Loaded,
    pub(super) experiment: &'a Experiment,
    pub(super) planned: &'a AnalysisPlan,
    pub(super) candidate: &'a str,
    pub(super) weight: Ppm,
}

impl EvidenceOptions {
    /// What the source says of the experiment.
    pub(super) fn read(&self, subject: &Subject<'_>) -> anyhow::Result<Found> {
        let Subject { source, loaded, experiment, planned, .. } = *subject;
        let Some(store) = &self.store else {
            if self.exposures.is_empty() {
                return Ok(Found::Nothing);
            }
            let outcomes = self.outcomes.as_deref();
            let text = String::from_utf8_lossy(source.bytes());
            let logs = &self.exposures;
            let analysis =
                planned::analysis(&text, &loaded.plan, experiment, planned, logs, outcomes)?;
            return Ok(Found::Analysis(Box::new(analysis)));
        };
        if served::is_folder(store) {
            return in_folder(Path::new(store), source, experiment);
        }
        stored(store, experiment)
    }
}

/// What a store says that no server has open.
fn in_folder(folder: &Path, source: &Source, experiment: &Experiment) -> anyhow::Result<Found> {
    let Loaded { plan, analyses, .. } = source.good()?;
    let text = String::from_utf8_lossy(source.bytes()).into_owned();
    let catalog = Catalog::new(vec![ExperimentFile { plan, analyses, text }]).map_err(fault)?;
    let store = store::open_alone(folder, catalog)?;
    let found = match store.verdict(&experiment.name) {
        Ok(verdict) => Found::Analysis(Box::new(verdict.analysis.clone())),
        Err(NoVerdict::NotYet(why)) => Found::NotYet(why),
        Err(NoVerdict::Failed(error)) => return Err(fault(error)),
        Err(NoVerdict::Unknown) => anyhow::bail!("the store does not know {}", experiment.name),
    };
    store.close();
    Ok(found)
}

/// What a store's server says, which must be about the trial and the plan of the file.
fn stored(url: &str, experiment: &Experiment) -> anyhow::Result<Found> {
    let page = served::read(url, &format!("/v1/experiments/{}", experiment.name))?;
    let Page { call, status, text, .. } = &page;
    let hint = served::HINT;
    let detail = || {
        let problem: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let words = ["detail", "title"].iter().find_map(|key| problem.get(key)?.as_str());
        words.map(|words| format!(": {}", visible(words))).unwrap_or_default()
    };
    if *status == StatusCode::CONFLICT {
        return Ok(Found::NotYet(detail().trim_start_matches(": ").to_owned()));
    }
    anyhow::ensure!(status.is_success(), "{call}: status {status}{}\n  {hint}", detail());
    let analysis: Analysis = serde_json::from_str(text).map_err(|_| {
        anyhow::anyhow!("{call}: status {status}, but not the result of an analysis\n  {hint}")
    })?;
    let (wanted, url) = (trial(experiment), shown(&page.url));
    anyhow::ensure!(
        analysis.trial == wanted,
        Fault(format!(
            "the store at {url} analyzes trial {} of {}, but the file's is {wanted}\n  \
             hint: the server must have the same experiment file; a new salt is a new trial",
            visible(&analysis.trial),
            experiment.name
        ))
    );
    // Its guardrails and its planned units decide, so they must be those of the file.
    let (name, plan) = (&experiment.name, experiment.analysis.as_ref().map(short));
    let word = |plan: &Option<String>| {
        plan.as_deref()
            .map_or_else(|| "no plan".to_owned(), |plan| format!("plan {}", visible(plan)))
    };
    anyhow::ensure!(
        analysis.plan.digest == plan,
        Fault(format!(
            "the store at {url} analyzes {name} by {}, but the file has {}\n  \
             hint: the server must have the same experiment file, with the same `analysis`",
            word(&analysis.plan.digest),
            word(&plan)
        ))
    );
    Ok(Found::Analysis(Box::new(analysis)))
}

/// The analysis as evidence about the candidate.
pub(super) fn evidence(analysis: &Analysis, subject: &Subject<'_>) -> Evidence {
    let Subject { candidate, planned, .. } = *subject;
    let mut harms = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    let mut unjudged: Vec<(String, String)> = Vec::new();
    // Without planned metrics, those that there are decide.
    let is_planned = |name: &str| {
        planned.metrics.is_empty() || planned.metrics.iter().any(|metric| metric.name() == name)
    };
    for metric in &analysis.metrics {
        let own = metric.candidates.iter().find(|result| result.variant == candidate);
        match (metric.role, own.map(|result| result.decision)) {
            (Role::Guardrail, Some(Conclusion::Inferior))
            | (Role::Primary, Some(Conclusion::Worse)) => harms.extend(harm(metric, candidate)),
            (Role::Guardrail, None | Some(Conclusion::Undefined)) => {
                unknown.push(metric.name.clone());
            }
            (Role::Primary, None | Some(Conclusion::Undefined)) if is_planned(&metric.name) => {
                let why = own.and_then(|result| result.undefined);
                let why = why.map_or("it has no data", |why| why.reason());
                unjudged.push((metric.name.clone(), why.to_owned()));
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
    unjudged.extend(open.iter().map(|name| (name.clone(), "it has no data".to_owned())));
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
        faults: faults(analysis, candidate),
        harms,
        asked: asked(analysis, candidate),
        unknown,
        unjudged,
        is_plan_reached: analysis.is_plan_reached(),
        has_traffic: variant.is_some_and(|variant| variant.requests > 0),
        phase: phase(analysis, subject),
    }
}

/// What the candidate itself does wrong in the present step: it refuses what the baseline answers, or answers nothing.
fn faults(analysis: &Analysis, candidate: &str) -> Vec<String> {
    let Some(present) = analysis.phases.last() else { return Vec::new() };
    let mut faults = Vec::new();
    if present.refusing.iter().any(|name| name == candidate) {
        faults.push(format!(
            "{candidate} answers clearly more of its requests with a status of 300 to 499 than the \
             baseline: it lacks a path, a right or a field that its clients use, redirects them, or \
             refuses more"
        ));
    }
    let (all, asked) = (count(&present.requests, candidate), count(&present.asked, candidate));
    if all >= FEWEST && share(asked, all) < SERVED {
        faults.push(format!(
            "{candidate} was assigned {all} requests and asked for {asked} of them: its route or its \
             cluster is missing, or its breaker was open all the time"
        ));
    }
    faults
}

/// The share of the candidate's requests in the present step for which it was asked: others answered the rest, as while its
/// breaker is open. `None` without requests.
fn asked(analysis: &Analysis, candidate: &str) -> Option<f64> {
    let present = analysis.phases.last()?;
    let all = count(&present.requests, candidate);
    (all > 0).then(|| share(count(&present.asked, candidate), all))
}

fn count(counts: &BTreeMap<String, u64>, variant: &str) -> u64 {
    counts.get(variant).copied().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn share(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
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
    let last = analysis.phases.last()?;
    let share = last.shares.get(subject.candidate)?;
    let is_current = (share * 1e6 - f64::from(subject.weight.get())).abs() < 0.5;
    let units: u64 = last.units.values().sum();
    let time = |text: &Option<String>| Timestamp::parse(text.as_deref()?);
    let counts = analysis.unit_of_analysis == AnalysisUnit::Unit
        || subject.experiment.assignment == Assignment::RequestRandom;
    (is_current && units > 0).then_some(Phase {
        from: time(if last.steady_from.is_some() { &last.steady_from } else { &last.from })?,
        to: time(&last.to)?,
        units: counts.then_some(units),
    })
}
