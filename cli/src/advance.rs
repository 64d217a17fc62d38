//! `sidetrack advance`: through the steps of the analysis plan, as far as the evidence allows.
//!
//! [`decide`] is the whole decision, as a pure function. Around it: what the analysis says ([`evidence`]), what the
//! proxies say ([`fleet`]) and the edit of the file ([`change`]), which [`look`] brings together for all commands that
//! advance candidates. [`place`] is where the experiment is and where its change goes.

pub(crate) mod change;
pub(crate) mod decide;
mod evidence;
mod fleet;
mod kube;
mod look;
mod place;
mod print;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args as Arguments, ValueEnum};
use serde::Serialize;
use sidetrack::quantity::{Millis, Ppm};

use crate::fault;
use crate::moment::Moment;
use crate::out::{Ink, Out};
use crate::watch;
use decide::{Action, Verdict};
pub(crate) use evidence::EvidenceOptions;
pub(crate) use fleet::ProxyOptions;
use kube::{Cluster, Elector};
pub(crate) use look::{Look, Question};
use place::Place;

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
    --prometheus http://prometheus:9090 --watch --every 10m\n  \
    sidetrack advance --apply kube -n models --name ab \\\n      \
    --store https://store.models:8088 --watch"
)]
pub(crate) struct Args {
    /// The experiment file, in YAML; with --apply kube, the experiment is that of the object
    file: Option<PathBuf>,
    /// The experiment; required if the file has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// The candidate to advance; required if the experiment has several
    #[arg(long, value_name = "NAME")]
    candidate: Option<String>,
    #[command(flatten, next_help_heading = "Evidence")]
    evidence: EvidenceOptions,
    /// Raise only by evidence that ends no longer ago than this, as in 1h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
    max_age: Millis,
    #[command(flatten, next_help_heading = "Proxies")]
    fleet: ProxyOptions,
    /// Where the change goes
    #[arg(long, value_name = "WHERE", default_value = "file", help_heading = "Change")]
    apply: Apply,
    /// With --apply git: pull before the decision, and push the commit
    #[arg(long, help_heading = "Change")]
    push: bool,
    #[command(flatten, next_help_heading = "Change in a cluster, with --apply kube")]
    cluster: kube::ClusterOptions,
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
    #[arg(long, help_heading = "Options")]
    watch: bool,
    /// The time between two decisions of --watch, from 1s
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span, help_heading = "Options")]
    every: Millis,
    #[command(flatten, next_help_heading = "Options")]
    moment: Moment,
    /// Print JSON; with --watch, a line for each decision
    #[arg(long, help_heading = "Options")]
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
    /// Into a WasmPlugin or TrafficExtension in a cluster, by server-side apply
    Kube,
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
    /// Primary metrics that cannot be judged yet, which does not hold.
    unjudged: Vec<String>,
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
    decided: Action,
    #[serde(skip)]
    code: u8,
}

/// A time of at least a second.
pub(crate) fn span(text: &str) -> Result<Millis, String> {
    Millis::parse(text).filter(|time| *time >= Millis::new(1000)).ok_or_else(|| {
        "expected a time of at least 1s: a number with s, m, h or d, as in 10m".to_owned()
    })
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !args.push || args.apply == Apply::Git,
        "--push pushes a commit; add --apply git"
    );
    let cluster = cluster(args)?;
    if args.watch {
        return watched(args, cluster, out);
    }
    let answer = round(args, cluster.as_deref(), None)?;
    if args.json {
        out.json(&answer)?;
    } else {
        print::text(&answer, out)?;
    }
    Ok(ExitCode::from(answer.code))
}

/// The cluster of --apply kube.
fn cluster(args: &Args) -> anyhow::Result<Option<Arc<Cluster>>> {
    if args.apply != Apply::Kube {
        anyhow::ensure!(
            !args.cluster.is_given(),
            "the options of a cluster, such as --name, work only with --apply kube"
        );
        return Ok(None);
    }
    anyhow::ensure!(
        args.file.is_none(),
        "--apply kube takes no FILE: it reads the experiment from the object and changes it there\n  \
         hint: name the object with --namespace and --name, or use --apply file or git"
    );
    anyhow::ensure!(
        !args.promote,
        "--promote does not work with --apply kube: a new baseline also needs other routes\n  \
         hint: run `sidetrack promote` on the file, and apply what `sidetrack render` writes"
    );
    Ok(Some(Arc::new(Cluster::connect(&args.cluster)?)))
}

/// Decisions until a signal ends them. In a cluster, only the holder of the lease decides.
fn watched(args: &Args, cluster: Option<Arc<Cluster>>, out: &mut Out) -> anyhow::Result<ExitCode> {
    // Dry runs change nothing, so they need no lease.
    let acting = cluster.clone().filter(|_| !args.dry_run);
    let elector = acting.clone().map(Elector::start);
    let turn = async || {
        if let Some(elector) = &elector {
            elector.elected().await;
        }
    };
    watch::every_turn(args.every, out, turn, |out| {
        let answer = round(args, cluster.as_deref(), elector.as_ref()).inspect_err(|error| {
            let reported = acting.as_ref().map_or(Ok(()), |cluster| cluster.report_error(error));
            if let Err(error) = reported {
                warn(&error.context("the error was not reported as an Event"));
            }
        })?;
        if args.json {
            return Ok(writeln!(out, "{}", serde_json::to_string(&answer)?)?);
        }
        Ok(writeln!(out, "{}", print::line(&answer))?)
    })
}

/// Writes an error that does not end the command.
fn warn(error: &anyhow::Error) {
    let text = fault::text(error);
    writeln!(std::io::stderr().lock(), "{} {text}", Ink::stderr().bad("error:")).ok();
}

/// One decision, and its change.
fn round(
    args: &Args,
    cluster: Option<&Cluster>,
    elector: Option<&Elector>,
) -> anyhow::Result<Answer> {
    let Some(cluster) = cluster else { return decided(args, &Place::of_file(args)?) };
    cluster.decide(elector, |plugin| {
        let answer = decided(args, &Place::Plugin(plugin))?;
        if !args.dry_run
            && let Err(error) = plugin.report(&answer, args.watch)
        {
            warn(&error.context("the decision was not reported as an Event"));
        }
        Ok(answer)
    })
}

fn decided(args: &Args, place: &Place<'_>) -> anyhow::Result<Answer> {
    place.prepare()?;
    let now = args.moment.get();
    let removal = place.removal();
    let look = Look::take(
        place.source()?,
        &Question {
            experiment: args.experiment.as_deref(),
            candidate: args.candidate.as_deref(),
            evidence: &args.evidence,
            fleet: &args.fleet,
            max_age: args.max_age,
            stop: None,
            start: args.start,
            notes: place.notes(&removal),
            now,
        },
    )?;
    let edited = look.edited(args.promote)?;
    let (mut applied, mut commit) = (None, None);
    if let Some(edited) = edited.as_ref().filter(|_| !args.dry_run) {
        commit = place.write(edited, &look)?;
        applied = Some(args.apply);
    }
    place.finish()?;
    let Look { weight, verdict, .. } = &look;
    let hash = edited.as_ref().map_or(look.loaded.plan.hash, |edited| edited.loaded.plan.hash);
    let (file, candidate) = (look.source.name.clone(), look.candidate()?.to_owned());
    let next = match verdict.action {
        Action::Promote if !args.promote => {
            Some(format!("sidetrack promote {} {candidate}", place.file(&file)))
        }
        _ => None,
    };
    let mut reasons = verdict.reasons.clone();
    if verdict.action == Action::End {
        reasons.push("end the test with `enabled: false`, or set the weight to 0".to_owned());
    }
    let (step, steps) = look.step()?;
    Ok(Answer {
        at: now.to_string(),
        next,
        file,
        experiment: look.experiment()?.name.clone(),
        candidate,
        action: verdict.action.as_str(),
        valid: verdict.action != Action::Invalid,
        from: percents(*weight),
        to: percents(target(verdict, *weight)),
        step,
        steps,
        about: verdict.about.map(|about| about.to_string()),
        unjudged: look.unjudged.clone(),
        decision: look.analysis.as_ref().map(|analysis| analysis.decision.as_str()),
        applied,
        dry_run: args.dry_run,
        commit,
        hash: hash.to_string(),
        decided: verdict.action,
        code: match verdict.action {
            Action::Raise(_) => 0,
            Action::Promote if args.promote => 0,
            Action::RollBack => 3,
            Action::Invalid => 1,
            Action::Hold | Action::Promote | Action::End => 4,
        },
        reasons,
    })
}

pub(crate) fn percents(weight: Ppm) -> f64 {
    f64::from(weight.get()) / 10_000.0
}

fn target(verdict: &Verdict, weight: Ppm) -> Ppm {
    match verdict.action {
        Action::Raise(to) => to,
        Action::RollBack => Ppm::ZERO,
        Action::Hold | Action::Invalid | Action::Promote | Action::End => weight,
    }
}
