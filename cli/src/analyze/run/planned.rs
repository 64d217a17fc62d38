//! The planned analysis: what `analyze run` does without options, for commands that act on its result.
//!
//! Metrics of the plan that the outcomes do not have are left out: a command that acts on the result must see that they
//! are missing, while the others still show harm.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use sidetrack::plan::{Experiment, Plan};
use sidetrack_analysis::plan::AnalysisPlan;
use sidetrack_analysis::{
    ALPHA, Analysis, Input, LlmSource, MetricRequests, Outcomes, Settings, Strata, Wanted, Window,
    analyze,
};

use super::exposures;
use super::mistake::mistake;

/// Analyzes these logs by the plan of the file.
///
/// # Errors
///
/// A file that cannot be read, or a metric of the plan that cannot be computed.
pub(crate) fn analysis(
    text: &str,
    plan: &Plan,
    experiment: &Experiment,
    planned: &AnalysisPlan,
    logs: &[PathBuf],
    outcomes: Option<&Path>,
) -> anyhow::Result<Analysis> {
    let strata = Strata::new(experiment, text).map_err(mistake)?;
    let named = planned.named();
    let segments: Vec<&str> = planned.segments.iter().map(String::as_str).collect();
    let outcomes: Vec<PathBuf> = outcomes.map(Path::to_owned).into_iter().collect();
    let model = planned.model.as_ref();
    let wanted = Wanted { named: &named, segments: &segments, model, ..Wanted::default() };
    let outcomes = exposures::outcomes(&outcomes, experiment, wanted)?;
    let logs = exposures::read(logs)?;
    let llm = LlmSource {
        experiment,
        strata: &strata,
        logs: &logs,
        trial: None,
        window: Window::default(),
        prices: &planned.prices,
        required: &[],
        optional: &named,
    };
    let outcomes = exposures::with_llm(outcomes, llm)?;
    let asked =
        MetricRequests { primary: Vec::new(), guardrail: Vec::new(), exploratory: Vec::new() };
    let planned = planned.known(outcomes.as_ref().map_or(&[], Outcomes::columns));
    let mut exploratory = Vec::new();
    let settings = Settings {
        trial: None,
        window: Window::default(),
        metrics: planned.metrics(asked, &mut exploratory),
        caps: planned.caps(&[], &mut exploratory),
        segments: planned.dimensions(&[]),
        methods: planned.methods.clone(),
        attribution: planned.attribution,
        exploratory,
        prices: Vec::new(),
        planned_units: planned.planned_units,
        level: crate::analyze::fraction("--alpha", ALPHA)?,
        allow_srm: false,
        allowed: Vec::new(),
        assume_independent_requests: false,
        exclude_breaker: false,
        threads: std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        spill: Some(super::memory::spill()),
    };
    let config_hash = plan.hash.to_string();
    let input = Input {
        experiment,
        strata: &strata,
        config_hash: &config_hash,
        logs: &logs,
        outcomes: outcomes.as_ref(),
    };
    Ok(analyze(input, &settings, &|_, _| {}).map_err(mistake)?.0)
}
