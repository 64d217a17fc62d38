//! The end of a test: a run with the result, then the commit, then the tags and aliases of the registry.
//!
//! The run is written before the commit, while the evidence is about the tested file, and marked as complete after it: a
//! run that is not marked belongs to a decision that was never made, and is deleted. The tag with the trial is written
//! last of all, so a version that has it is done. A rollback does not wait for its run: if MLflow is away, the round that
//! completes it writes a run without an analysis.

use sidetrack::plan::{ConfigHash, Experiment};

use super::report::{Act, Report};
use super::round::Context;
use super::stage::Pair;
use crate::advance::Look;
use crate::advance::decide::OVER;
use crate::digest::sha256;
use crate::load::Source;
use crate::mlflow::log::{fill, record};
use crate::mlflow::promote::{State, Step, Tested, state, steps, take};
use crate::mlflow::tracking::{DIGEST, Record, Run};
use crate::mlflow::{CANDIDATE, REASON, RESULT, RUN_ID, TRIAL};
use crate::moment;
use crate::words::visible;

/// The longest tag of a version that older servers keep, in bytes.
const LONGEST: usize = 4900;

/// How a test ended.
pub(super) struct Ending<'p> {
    pub(super) pair: &'p Pair,
    /// Why it was rolled back; `None`: promoted.
    reason: Option<String>,
}

impl<'p> Ending<'p> {
    pub(super) fn promoted(pair: &'p Pair) -> Self {
        Self { pair, reason: None }
    }

    pub(super) fn rolled_back(pair: &'p Pair, reason: String) -> Self {
        Self { pair, reason: Some(reason) }
    }

    pub(super) fn reasons(&self) -> Vec<String> {
        let promoted = || format!("version {} won", self.pair.candidate);
        vec![self.reason.clone().unwrap_or_else(promoted)]
    }
}

/// Writes the run of a decision that is about to be committed.
pub(super) fn write_run(
    context: &Context<'_>,
    look: &Look,
    pair: &Pair,
    act: Act,
) -> anyhow::Result<()> {
    let client = context.client;
    let experiment = look.experiment()?;
    let folder = client.folder_or_new(&experiment.name)?;
    while let Some(run) = client.unfinished_run_with(&folder, TRIAL, &pair.trial)? {
        client.delete_run(&run)?;
    }
    let reasons = look.verdict.reasons.join("\n");
    let mut files = vec![("experiment.yaml".to_owned(), look.source.bytes().to_vec())];
    let (mut record, digest) = match &look.analysis {
        Some(analysis) => {
            let text = serde_json::to_vec_pretty(analysis)?;
            let digest = sha256(&text);
            files.push(("analysis.json".to_owned(), text));
            (record::record(experiment, analysis, &digest)?, digest)
        }
        None => (bare(experiment, look.loaded.plan.hash), sha256(reasons.as_bytes())),
    };
    let result = if act == Act::Promote { "promoted" } else { result(&reasons) };
    explain(&mut record, result, &look.verdict.reasons);
    let tags = [(TRIAL, pair.trial.as_str()), (DIGEST, digest.as_str())];
    let run = client.new_run(&folder, &record, &tags)?;
    fill(client, &run, &record, &files).map(drop)
}

/// Says first how the test ended, and why.
fn explain(record: &mut Record, result: &str, reasons: &[String]) {
    let why: Vec<String> = reasons.iter().map(|it| visible(it)).collect();
    for (key, value) in &mut record.tags {
        if key == NOTE {
            *value = shortened(&format!("**{result}**\n\n- {}\n\n{value}", why.join("\n- ")));
        }
    }
    record.tags.push((RESULT.to_owned(), result.to_owned()));
    record.tags.push((REASON.to_owned(), shortened(&why.join("; "))));
}

/// The tag with the description of a run.
const NOTE: &str = "mlflow.note.content";

/// A run without an analysis: the breakers or the registry ended the test before there was evidence.
fn bare(experiment: &Experiment, hash: ConfigHash) -> Record {
    let now = moment::now().get();
    let tags = [
        ("ab_test.experiment", experiment.name.clone()),
        ("ab_test.config_hash", hash.to_string()),
    ];
    let tags = tags.map(|(key, value)| (key.to_owned(), value)).into_iter();
    Record {
        name: format!("{} {}", experiment.name, moment::now()),
        from: now,
        to: now,
        metrics: Vec::new(),
        params: vec![("salt".to_owned(), experiment.salt.clone())],
        tags: tags.chain([(NOTE.to_owned(), String::new())]).collect(),
    }
}

/// Completes the run and writes the registry. Can be repeated.
pub(super) fn settle(
    context: &Context<'_>,
    ending: &Ending<'_>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (registry, pair) = (context.registry, ending.pair);
    let run = run(context, ending)?;
    let id = run.as_ref().map(|run| run.info.run_id.as_str());
    let candidate = &pair.candidate;
    let mut changes = Vec::new();
    match &ending.reason {
        Some(reason) => {
            changes.push(Step::tag(candidate, RESULT, result(reason)));
            changes.push(Step::tag(candidate, REASON, &shortened(&visible(reason))));
            changes.extend(id.map(|id| Step::tag(candidate, RUN_ID, id)));
            changes.push(Step::untag(candidate, CANDIDATE));
            for change in &changes {
                change.take(registry)?;
            }
        }
        None => {
            let tested = Tested::pair(registry.model, &pair.baseline, candidate);
            let found: State = state(registry, &tested)?;
            changes = steps(&tested, found, id, None);
            take(registry, &tested, &changes)?;
        }
    }
    // The last change: it says that all others were made.
    let done = Step::tag(candidate, TRIAL, &pair.trial);
    done.take(registry)?;
    changes.push(done);
    report.registry = changes.iter().map(ToString::to_string).collect();
    report.run = id.map(str::to_owned);
    Ok(())
}

/// The run of this trial, which is complete from now on.
fn run(context: &Context<'_>, ending: &Ending<'_>) -> anyhow::Result<Option<Run>> {
    let (client, pair) = (context.client, ending.pair);
    let source = Source::read(&context.args.file)?;
    let loaded = source.good()?;
    let Some(experiment) = loaded.plan.experiments.iter().next() else { return Ok(None) };
    let folder = client.folder_or_new(&experiment.name)?;
    let mut run = client.unfinished_run_with(&folder, TRIAL, &pair.trial)?;
    if run.is_none() {
        let finished = client.run_with(&folder, TRIAL, &pair.trial)?;
        let (None, Some(reason)) = (&finished, &ending.reason) else { return Ok(finished) };
        let mut record = bare(experiment, loaded.plan.hash);
        explain(&mut record, result(reason), std::slice::from_ref(reason));
        let digest = sha256(reason.as_bytes());
        let tags = [(TRIAL, pair.trial.as_str()), (DIGEST, digest.as_str())];
        let new = client.new_run(&folder, &record, &tags)?;
        let files = [("experiment.yaml".to_owned(), source.bytes().to_vec())];
        fill(client, &new, &record, &files)?;
        run = Some(new);
    }
    if let Some(run) = &run {
        client.finish(run, moment::now().get())?;
    }
    Ok(run)
}

/// The result in the tag of the version.
fn result(reason: &str) -> &'static str {
    if reason.starts_with(OVER) { "not_promoted" } else { "rolled_back" }
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
