//! `sidetrack advance`: through the steps of the analysis plan, as far as the evidence allows.
//!
//! [`decide`] is the whole decision, as a pure function. Around it: what the analysis says ([`evidence`]), what the
//! proxies say ([`fleet`]), the edit of the file ([`change`]), and where it goes ([`git`]).

mod change;
mod decide;
mod evidence;
mod fleet;
mod git;
mod print;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as Arguments, ValueEnum};
use serde::Serialize;
use sidetrack::plan::Experiment;
use sidetrack::quantity::{Millis, Ppm};
use sidetrack::rollout::{InForce, Schedule};
use sidetrack_analysis::plan::AnalysisPlan;

use crate::fault::Fault;
use crate::load::{Loaded, chosen};
use crate::moment::Moment;
use crate::out::Out;
use crate::set;
use crate::words::{variant, visible};
use change::Change;
use decide::{Action, Facts, Verdict, decide};

/// Raise a candidate through the steps of its plan, or roll it back
///
/// Reads `analysis.steps` of the experiment, finds the present step by the candidate's weight in the file, and decides:
/// raise when the step's `min_for` and `min_units` are reached and no metric of the plan shows harm; roll back to weight
/// 0 on harm, on trips of the breaker in more than half of the proxies, or if the candidate has no ready endpoint; else
/// hold. It says why, and what is missing.
///
/// A rollback leaves a comment in the file, which blocks raises until you remove it. Only the verdict after the last
/// step promotes, and only with --promote.
#[derive(Arguments)]
#[command(
    after_help = "Exit codes: 0 raised or promoted, 3 rolled back, 4 held, 1 problems in the file\n\
    or data that cannot be trusted, 2 other errors.\n\nExamples:\n  \
    sidetrack advance experiment.yaml --exposures access.log \\\n      \
    --outcomes outcomes.csv --dry-run\n  \
    sidetrack advance experiment.yaml --store http://127.0.0.1:8088 \\\n      \
    --apply git --push\n  \
    sidetrack advance experiment.yaml --store http://127.0.0.1:8088 \\\n      \
    --prometheus http://prometheus:9090 --watch --every 10m"
)]
pub(crate) struct Args {
    /// The experiment file, in YAML
    file: PathBuf,
    /// The experiment; required if the file has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// The candidate to advance; required if the experiment has several
    #[arg(long, value_name = "NAME")]
    candidate: Option<String>,
    #[command(flatten, next_help_heading = "Evidence")]
    evidence: evidence::EvidenceOptions,
    /// Raise only by evidence that ends no longer ago than this, as in 1h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
    max_age: Millis,
    #[command(flatten, next_help_heading = "Proxies")]
    fleet: fleet::ProxyOptions,
    /// Where the change goes
    #[arg(long, value_name = "WHERE", default_value = "file", help_heading = "Change")]
    apply: Apply,
    /// With --apply git: pull before the decision, and push the commit
    #[arg(long, help_heading = "Change")]
    push: bool,
    /// Promote the winner after the last step, instead of printing the command
    #[arg(long, help_heading = "Change")]
    promote: bool,
    /// Begin with the first step, also if the candidate had traffic before
    #[arg(long, conflicts_with = "watch", help_heading = "Change")]
    start: bool,
    /// Decide and explain, but change nothing
    #[arg(long, help_heading = "Change")]
    dry_run: bool,
    /// Decide again and again until a signal ends the command; prints a line for each decision
    #[arg(long)]
    watch: bool,
    /// The time between two decisions of --watch, from 1s
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span)]
    every: Millis,
    #[command(flatten)]
    moment: Moment,
    /// Print JSON; with --watch, a line for each decision
    #[arg(long)]
    json: bool,
}

/// Where the change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Apply {
    /// Into the file
    File,
    /// Into the file, with a commit that has the reason as its message
    Git,
}

/// A decision for machines.
#[derive(Serialize)]
struct Answer {
    /// RFC 3339.
    at: String,
    file: String,
    experiment: String,
    candidate: String,
    /// `raise`, `hold`, `roll_back` or `promote`.
    action: &'static str,
    /// Whether the data can be trusted; if not, `reasons` say why.
    valid: bool,
    reasons: Vec<String>,
    /// Percent, before and after.
    from: f64,
    to: f64,
    /// The present step, from 1; null outside of the steps.
    step: Option<usize>,
    steps: usize,
    /// When time and units of the step will be reached, if they go on as so far.
    about: Option<String>,
    /// What `analyze run` says; null without evidence.
    decision: Option<&'static str>,
    /// Where the change went; null if nothing was changed.
    applied: Option<Apply>,
    dry_run: bool,
    /// The commit of --apply git.
    commit: Option<String>,
    /// The hash of the file after the change.
    hash: String,
    /// What to run next; null if there is nothing to do.
    next: Option<String>,
    #[serde(skip)]
    code: u8,
}

fn span(text: &str) -> Result<Millis, String> {
    Millis::parse(text).filter(|time| *time >= Millis::new(1000)).ok_or_else(|| {
        "expected a time of at least 1s: a number with s, m, h or d, as in 10m".to_owned()
    })
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !args.push || args.apply == Apply::Git,
        "--push pushes a commit; add --apply git"
    );
    if args.watch {
        return watch::run(args, out);
    }
    let answer = round(args)?;
    if args.json {
        out.json(&answer)?;
    } else {
        print::text(&answer, out)?;
    }
    Ok(ExitCode::from(answer.code))
}

/// One decision, and its change.
fn round(args: &Args) -> anyhow::Result<Answer> {
    let repository = match args.apply {
        Apply::Git => Some(git::Repository::of(&args.file)?),
        Apply::File => None,
    };
    let pushes = repository.as_ref().filter(|_| args.push && !args.dry_run);
    if let Some(repository) = pushes {
        repository.pull()?;
        // What an earlier run could not push.
        repository.push()?;
    }
    let source = set::read(&args.file)?;
    anyhow::ensure!(
        !source.is_json(),
        Fault(format!(
            "{} is JSON, which has no comments, but a rollback leaves one that blocks raises\n  \
             hint: write the experiment in YAML",
            source.name
        ))
    );
    let old = source.good()?;
    let experiment = chosen(&old.plan, args.experiment.as_deref())?;
    let (candidate, weight) = candidate(experiment, args.candidate.as_deref())?;
    let planned = steps(&old, experiment)?;
    let text = String::from_utf8_lossy(source.bytes());
    let subject =
        evidence::Subject { text: &text, plan: &old.plan, experiment, planned, candidate, weight };
    let found = args.evidence.read(&subject)?;
    let id = experiment.variant(candidate.as_bytes());
    let cluster = id.and_then(|id| experiment.variants[id].cluster.as_deref());
    let now = args.moment.get();
    let block = change::block(&text, &experiment.name, candidate);
    let verdict = decide(&Facts {
        candidate,
        steps: &planned.steps,
        weight,
        enabled: experiment.enabled,
        block: block.as_deref(),
        start: args.start,
        evidence: found.as_ref(),
        fleet: args.fleet.read(&experiment.name, candidate, cluster)?,
        now,
        max_age: args.max_age,
    });
    let change = Change { source: &source, old: &old, experiment, candidate, weight, now };
    let edited = change.edited(&verdict, args.promote)?;
    let (mut applied, mut commit) = (None, None);
    if let Some(edited) = edited.as_ref().filter(|_| !args.dry_run) {
        if let Some(repository) = &repository {
            commit = Some(repository.commit(&edited.text, &change.message(&verdict))?);
        } else {
            change::write(&args.file, &edited.text)?;
        }
        applied = Some(args.apply);
    }
    if let Some(repository) = pushes {
        repository.push()?;
    }
    let hash = edited.as_ref().map_or(old.plan.hash, |edited| edited.loaded.plan.hash);
    let file = source.name.clone();
    let promotes = verdict.action == Action::Promote && !args.promote;
    Ok(Answer {
        at: now.to_string(),
        next: promotes.then(|| format!("sidetrack promote {file} {candidate}")),
        file,
        experiment: experiment.name.clone(),
        candidate: candidate.to_owned(),
        action: verdict.action.as_str(),
        valid: verdict.action != Action::Invalid,
        from: percents(weight),
        to: percents(target(&verdict, weight)),
        step: planned.steps.iter().position(|step| step.weight == weight).map(|at| at + 1),
        steps: planned.steps.len(),
        about: verdict.about.map(|about| about.to_string()),
        decision: found.as_ref().map(|found| found.decision.as_str()),
        applied,
        dry_run: args.dry_run,
        commit,
        hash: hash.to_string(),
        code: match verdict.action {
            Action::Raise(_) => 0,
            Action::Promote if args.promote => 0,
            Action::RollBack => 3,
            Action::Invalid => 1,
            Action::Hold | Action::Promote => 4,
        },
        reasons: verdict.reasons,
    })
}

fn percents(weight: Ppm) -> f64 {
    f64::from(weight.get()) / 10_000.0
}

fn target(verdict: &Verdict, weight: Ppm) -> Ppm {
    match verdict.action {
        Action::Raise(to) => to,
        Action::RollBack => Ppm::ZERO,
        Action::Hold | Action::Invalid | Action::Promote => weight,
    }
}

/// The candidate to advance, and its weight.
fn candidate<'e>(
    experiment: &'e Experiment,
    wanted: Option<&str>,
) -> anyhow::Result<(&'e str, Ppm)> {
    let ids: Vec<_> = experiment.candidates().collect();
    let names: Vec<&str> = ids.iter().map(|id| variant(experiment, *id)).collect();
    let id = match (wanted, ids.as_slice()) {
        (None, [only]) => *only,
        (None, _) => anyhow::bail!(
            "{} has several candidates; choose one with --candidate: {}",
            experiment.name,
            names.join(", ")
        ),
        (Some(wanted), ids) => {
            let found = ids.iter().find(|id| variant(experiment, **id) == wanted);
            *found.ok_or_else(|| {
                let wanted = visible(wanted);
                Fault(format!(
                    "--candidate: unknown candidate \"{wanted}\"; expected one of: {}",
                    names.join(", ")
                ))
            })?
        }
    };
    let InForce::Weights(weights, _) = experiment.schedule.at(crate::moment::now()) else {
        return Ok((variant(experiment, id), Ppm::ZERO));
    };
    Ok((variant(experiment, id), weights[id]))
}

/// The plan of the experiment, which must have steps.
fn steps<'l>(loaded: &'l Loaded, experiment: &Experiment) -> anyhow::Result<&'l AnalysisPlan> {
    let name = &experiment.name;
    anyhow::ensure!(
        matches!(experiment.schedule, Schedule::Fixed(_)),
        Fault(format!(
            "{name} has a rollout: its weights belong to the clock\n  \
             hint: replace the rollout by weights and analysis.steps"
        ))
    );
    let planned = set::analysis(loaded, name).filter(|plan| !plan.steps.is_empty());
    let missing = || {
        let example = "analysis: {steps: [{weight: 5, min_for: 1d}, {weight: 30}]}";
        let hint = format!("hint: write the weights to go through, such as {example}");
        Fault(format!("{name} has no analysis.steps\n  {hint}"))
    };
    Ok(planned.ok_or_else(missing)?)
}
